//! The file `cluster`: the cluster that owns the metadata log. It reveals a backup that was restored into the
//! directory of another cluster.
//!
//! One frame with salt 0: `u8 version 1, bytes cluster id`.

use std::path::Path;

use crate::codec::{Input, Malformed, Output};
use crate::disk::Disk;
use crate::frame::{self, Found};
use crate::types::StartError;

/// The file's name.
pub(crate) const FILE: &str = "cluster";
const VERSION: u8 = 1;

/// Checks that the folder belongs to `cluster`. A folder without the file is claimed for it.
pub(crate) fn claim(disk: &Disk, dir: &Path, cluster: &str) -> Result<(), StartError> {
    let io = |source| StartError::Io { dir: dir.to_path_buf(), source };
    let path = dir.join(FILE);
    let Some(file) = disk.read(&path).map_err(io)? else {
        let mut out = Vec::new();
        frame::put(&mut out, 0, |body| {
            body.u8(VERSION);
            body.bytes(cluster.as_bytes());
        });
        return disk.replace(&path, &[&out]).map_err(io);
    };
    let damaged =
        |reason: &str| StartError::Damaged { file: path.clone(), position: 0, reason: reason.to_owned() };
    let body = match frame::get(&file, 0, 0) {
        Found::Frame { body, next } if next == file.len() => body,
        Found::Frame { .. } => return Err(damaged("bytes follow the cluster id")),
        Found::End => return Err(damaged("the file is empty")),
        Found::Damage(reason) => return Err(damaged(reason)),
    };
    let found = parse(Input::new(body)).map_err(|Malformed(what)| damaged(&format!("unexpected {what}")))?;
    if found != cluster {
        let (dir, expected) = (dir.to_path_buf(), cluster.to_owned());
        return Err(StartError::OtherCluster { dir, found, expected });
    }
    Ok(())
}

fn parse(mut input: Input) -> Result<String, Malformed> {
    if input.u8("version")? != VERSION {
        return Err(Malformed("version, newer than this release reads"));
    }
    let id = input.bytes("cluster id")?;
    input.end()?;
    String::from_utf8(id.to_vec()).map_err(|_| Malformed("cluster id"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_belongs_to_the_first_cluster_that_claims_it() {
        let dir = tempfile::tempdir().unwrap();
        let disk = Disk::default();
        claim(&disk, dir.path(), "one").unwrap();
        claim(&disk, dir.path(), "one").unwrap();
        let other = claim(&disk, dir.path(), "two").unwrap_err();
        assert!(matches!(other, StartError::OtherCluster { found, .. } if found == "one"));
    }

    #[test]
    fn damage_is_told_from_another_cluster() {
        let dir = tempfile::tempdir().unwrap();
        let disk = Disk::default();
        claim(&disk, dir.path(), "one").unwrap();
        let good = std::fs::read(dir.path().join(FILE)).unwrap();
        for i in 0..good.len() {
            let mut bad = good.clone();
            bad[i] ^= 1;
            std::fs::write(dir.path().join(FILE), &bad).unwrap();
            assert!(matches!(claim(&disk, dir.path(), "one"), Err(StartError::Damaged { .. })), "byte {i}");
        }
    }
}
