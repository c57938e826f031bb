//! The file `vote`: this node's last vote. It is replaced as a whole before the vote is sent to anyone.
//!
//! One frame with salt 0: `u8 version 1, vote`.

use std::io;
use std::path::{Path, PathBuf};

use crate::codec::{Input, Malformed, Output};
use crate::disk::Disk;
use crate::frame::{self, Found};
use crate::raft::Vote;
use crate::types::StartError;

/// The file's name.
pub(crate) const FILE: &str = "vote";
const VERSION: u8 = 1;

/// Writes the vote, which is durable when this returns.
pub(crate) fn save(disk: &Disk, dir: &Path, vote: &Vote) -> io::Result<()> {
    disk.replace(&path(dir), &[&encode(vote)])
}

/// The last vote, if there was one. A damaged file is an error: a second vote in the same term could elect
/// two leaders.
pub(crate) fn load(disk: &Disk, dir: &Path) -> Result<Option<Vote>, StartError> {
    let file = disk.read(&path(dir)).map_err(|source| StartError::Io { dir: dir.to_path_buf(), source })?;
    let damaged =
        |reason: &str| StartError::Damaged { file: path(dir), position: 0, reason: reason.to_string() };
    let Some(file) = file else { return Ok(None) };
    match frame::get(&file, 0, 0) {
        Found::Frame { body, next } if next == file.len() => {
            let mut input = Input::new(body);
            let mut read = || {
                let version = input.u8("version")?;
                if version != VERSION {
                    return Err(Malformed("version, newer than this release reads"));
                }
                input.vote()
            };
            let vote = read().and_then(|vote| input.end().map(|()| vote));
            vote.map(Some).map_err(|Malformed(what)| damaged(&format!("unexpected {what}")))
        }
        Found::Frame { .. } => Err(damaged("bytes follow the vote")),
        Found::End => Err(damaged("the file is empty")),
        Found::Damage(reason) => Err(damaged(reason)),
    }
}

fn encode(vote: &Vote) -> Vec<u8> {
    let mut out = Vec::new();
    frame::put(&mut out, 0, |body| {
        body.u8(VERSION);
        body.vote(vote);
    });
    out
}

fn path(dir: &Path) -> PathBuf {
    dir.join(FILE)
}

#[cfg(test)]
mod tests {
    use ottla_wire::ids::BrokerId;

    use super::*;

    #[test]
    fn golden_bytes() {
        let expected = [
            0x4f, 0x74, 0x46, 0x72, 0, 0, 0, 15, 0xba, 0x8a, 0x52, 0xdf, 0x3d, 0x12, 0x37,
            0x49, // frame
            1, 0, 0, 0, 0, 0, 0, 0, 5, 1, 1, 0, 0, 0, 3,
        ];
        assert_eq!(encode(&Vote::new_committed(5, BrokerId(3))), expected);
    }

    #[test]
    fn a_vote_reads_back_and_a_damaged_one_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let disk = Disk::default();
        assert_eq!(load(&disk, dir.path()).unwrap(), None);
        for vote in [Vote::default(), Vote::new(3, BrokerId(1)), Vote::new_committed(3, BrokerId(1))] {
            save(&disk, dir.path(), &vote).unwrap();
            assert_eq!(load(&disk, dir.path()).unwrap(), Some(vote));
        }
        let good = std::fs::read(path(dir.path())).unwrap();
        for i in 0..good.len() {
            let mut bad = good.clone();
            bad[i] ^= 1;
            std::fs::write(path(dir.path()), &bad).unwrap();
            assert!(matches!(load(&disk, dir.path()), Err(StartError::Damaged { .. })), "byte {i}");
            std::fs::write(path(dir.path()), &good[..i]).unwrap();
            assert!(matches!(load(&disk, dir.path()), Err(StartError::Damaged { .. })), "cut at {i}");
        }
    }
}
