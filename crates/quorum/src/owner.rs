//! The file `cluster`: the cluster that owns the metadata log. It reveals a backup that was restored into the
//! directory of another cluster.
//!
//! One frame with salt 0: `u8 version 1, bytes cluster id`.

use std::io;
use std::path::Path;

use crate::codec::{Input, Malformed, Output};
use crate::disk::Disk;
use crate::frame::{self, Found};
use crate::types::StartError;

/// The file's name.
pub(crate) const FILE: &str = "cluster";
const VERSION: u8 = 1;

/// The cluster that owns the folder, if the file is there.
pub(crate) fn load(disk: &Disk, dir: &Path) -> Result<Option<String>, StartError> {
    let path = dir.join(FILE);
    let file = disk.read(&path).map_err(|source| StartError::Io { dir: dir.to_path_buf(), source })?;
    let Some(file) = file else { return Ok(None) };
    let damaged =
        |reason: &str| StartError::Damaged { file: path.clone(), position: 0, reason: reason.to_owned() };
    let body = match frame::get(&file, 0, 0) {
        Found::Frame { body, next } if next == file.len() => body,
        Found::Frame { .. } => return Err(damaged("bytes follow the cluster id")),
        Found::End => return Err(damaged("the file is empty")),
        Found::Damage(reason) => return Err(damaged(reason)),
    };
    let found = parse(Input::new(body));
    found.map(Some).map_err(|Malformed(what)| damaged(&format!("unexpected {what}")))
}

/// Makes `cluster` the owner of the folder.
pub(crate) fn save(disk: &Disk, dir: &Path, cluster: &str) -> io::Result<()> {
    let mut out = Vec::new();
    frame::put(&mut out, 0, |body| {
        body.u8(VERSION);
        body.bytes(cluster.as_bytes());
    });
    disk.replace(&dir.join(FILE), &[&out])
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
    fn the_owner_reads_back_and_damage_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let disk = Disk::default();
        assert_eq!(load(&disk, dir.path()).unwrap(), None);
        save(&disk, dir.path(), "one").unwrap();
        assert_eq!(load(&disk, dir.path()).unwrap().as_deref(), Some("one"));
        let good = std::fs::read(dir.path().join(FILE)).unwrap();
        for i in 0..good.len() {
            let mut bad = good.clone();
            bad[i] ^= 1;
            std::fs::write(dir.path().join(FILE), &bad).unwrap();
            assert!(matches!(load(&disk, dir.path()), Err(StartError::Damaged { .. })), "byte {i}");
        }
    }
}
