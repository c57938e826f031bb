//! Snapshot files: `<20 digits of the last entry's index>.snapshot`, the whole state up to that entry.
//!
//! Frames with salt 0, the same bytes on disk and on the way to another node:
//!
//! ```text
//! head     u8 0, u8 version 1, last log id, stored membership, u64 applied proposals
//! records  u8 1, u32 records, each: u32 length, bytes        as many as needed
//! end      u8 2, u64 records in all
//! ```

use std::io;
use std::path::{Path, PathBuf};

use bytes::Bytes;

use crate::codec::{Input, Malformed, Output};
use crate::disk::{Disk, FILE_BYTES_MAX};
use crate::frame::{self, Found};
use crate::raft::{LogId, SnapshotMeta, StoredMembership};
use crate::types::StartError;

const VERSION: u8 = 1;
const KIND_HEAD: u8 = 0;
const KIND_RECORDS: u8 = 1;
const KIND_END: u8 = 2;
const EXTENSION: &str = "snapshot";
/// Records beyond this many bytes begin another frame.
const FRAME_BYTES_SOFT: usize = 1 << 20;

/// What a snapshot is of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Head {
    pub(crate) last: LogId,
    pub(crate) membership: StoredMembership,
    /// How many proposals the state holds.
    pub(crate) index: u64,
}

/// A snapshot, read.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Snapshot {
    pub(crate) head: Head,
    pub(crate) records: Vec<Bytes>,
}

impl Head {
    pub(crate) fn meta(&self) -> SnapshotMeta {
        SnapshotMeta {
            last_log_id: Some(self.last),
            last_membership: self.membership.clone(),
            // Two snapshots of one entry are the same, so the entry names them.
            snapshot_id: format!("{}-{}", self.last.leader_id.term, self.last.index),
        }
    }
}

/// Writes a snapshot, which is durable when this returns. Keeps the previous one, because it may be on its
/// way to another node, and deletes the older ones.
pub(crate) fn save(disk: &Disk, dir: &Path, snapshot: &Snapshot) -> io::Result<PathBuf> {
    let frames = encode(snapshot);
    let bytes: u64 = frames.iter().map(|frame| frame.len() as u64).sum();
    if bytes > FILE_BYTES_MAX {
        let message = format!("a metadata snapshot of {bytes} bytes is over the limit of {FILE_BYTES_MAX}");
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, message));
    }
    let path = path(dir, &snapshot.head.last);
    disk.replace(&path, &frames.iter().map(Vec::as_slice).collect::<Vec<_>>())?;
    for older in disk.list(dir, EXTENSION)?.into_iter().rev().filter(|found| *found < path).skip(1) {
        disk.remove(&older)?;
    }
    Ok(path)
}

/// The newest snapshot. A damaged one is an error even if there is an older one, because the log no longer
/// reaches back to that.
pub(crate) fn load(disk: &Disk, dir: &Path) -> Result<Option<(Snapshot, PathBuf)>, StartError> {
    let io_error = |source| StartError::Io { dir: dir.to_path_buf(), source };
    let Some(path) = disk.list(dir, EXTENSION).map_err(io_error)?.pop() else { return Ok(None) };
    let file = disk.read(&path).map_err(io_error)?.unwrap_or_default();
    match decode(file) {
        Ok(snapshot) => Ok(Some((snapshot, path))),
        Err((position, reason)) => Err(StartError::Damaged { file: path, position, reason }),
    }
}

/// Reads a snapshot. An error names the place and the reason.
pub(crate) fn decode(file: Bytes) -> Result<Snapshot, (u64, String)> {
    let mut head = None;
    let mut records = Vec::new();
    let mut at = 0;
    loop {
        let damaged = |reason: &str| (at as u64, reason.to_string());
        let (body, next) = match frame::get(&file, 0, at) {
            Found::Frame { body, next } => (body, next),
            Found::End => return Err(damaged("the snapshot has no end")),
            Found::Damage(reason) => return Err(damaged(reason)),
        };
        let part = part(body).map_err(|Malformed(what)| damaged(&format!("unexpected {what}")))?;
        match (part, &head) {
            (Part::Head(found), None) => head = Some(found),
            (Part::Records(more), Some(_)) => records.extend(more),
            (Part::End(count), Some(head)) if count == records.len() as u64 && next == file.len() => {
                return Ok(Snapshot { head: head.clone(), records });
            }
            (Part::End(_), Some(_)) => {
                return Err(damaged("the end does not fit what is before or after it"));
            }
            (Part::Head(_), Some(_)) => return Err(damaged("a second head")),
            (_, None) => return Err(damaged("no head")),
        }
        at = next;
    }
}

enum Part {
    Head(Head),
    Records(Vec<Bytes>),
    End(u64),
}

fn part(body: Bytes) -> Result<Part, Malformed> {
    let mut input = Input::new(body);
    let part = match input.u8("frame kind")? {
        KIND_HEAD => {
            if input.u8("version")? != VERSION {
                return Err(Malformed("version, newer than this release reads"));
            }
            let last = input.log_id()?;
            Part::Head(Head { last, membership: input.stored_membership()?, index: input.u64("index")? })
        }
        KIND_RECORDS => {
            let count = input.count(4, "records")?;
            Part::Records((0..count).map(|_| input.bytes("record")).collect::<Result<_, _>>()?)
        }
        KIND_END => Part::End(input.u64("count")?),
        _ => return Err(Malformed("frame kind")),
    };
    input.end()?;
    Ok(part)
}

/// The frames of a snapshot, in order.
fn encode(snapshot: &Snapshot) -> Vec<Vec<u8>> {
    let mut frames = vec![encode_frame(|body| {
        body.u8(KIND_HEAD);
        body.u8(VERSION);
        body.log_id(&snapshot.head.last);
        body.stored_membership(&snapshot.head.membership);
        body.u64(snapshot.head.index);
    })];
    let mut rest = snapshot.records.as_slice();
    while !rest.is_empty() {
        let mut bytes = 0;
        let more = |record: &&Bytes| {
            bytes += record.len() + 4;
            bytes <= FRAME_BYTES_SOFT
        };
        let (run, after) = rest.split_at(rest.iter().take_while(more).count().max(1));
        frames.push(encode_frame(|body| {
            body.u8(KIND_RECORDS);
            body.count(run.len());
            run.iter().for_each(|record| body.bytes(record));
        }));
        rest = after;
    }
    frames.push(encode_frame(|body| {
        body.u8(KIND_END);
        body.u64(snapshot.records.len() as u64);
    }));
    frames
}

fn encode_frame(write: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut out = Vec::new();
    frame::put(&mut out, 0, write);
    out
}

fn path(dir: &Path, last: &LogId) -> PathBuf {
    dir.join(format!("{:020}.{EXTENSION}", last.index))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use ottla_wire::ids::BrokerId;

    use super::*;
    use crate::raft::{Membership, log_id};

    fn snapshot(index: u64, records: Vec<Bytes>) -> Snapshot {
        let voters = BTreeSet::from([BrokerId(1)]);
        let membership = StoredMembership::new(Some(log_id(0, 0)), Membership::new(vec![voters], ()));
        Snapshot { head: Head { last: log_id(2, index), membership, index: index - 1 }, records }
    }

    fn bytes(snapshot: &Snapshot) -> Bytes {
        Bytes::from(encode(snapshot).concat())
    }

    #[test]
    fn golden_bytes() {
        let file = bytes(&snapshot(9, vec![Bytes::from_static(b"ab"), Bytes::new()]));
        let head: &[u8] = &[
            0, 1, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 9, // last log id
            1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, // where the membership is
            0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 1, // the membership
            0, 0, 0, 0, 0, 0, 0, 8,
        ];
        let records: &[u8] = &[1, 0, 0, 0, 2, 0, 0, 0, 2, b'a', b'b', 0, 0, 0, 0];
        let end: &[u8] = &[2, 0, 0, 0, 0, 0, 0, 0, 2];
        let expected: Vec<u8> =
            [head, records, end].into_iter().flat_map(|body| encode_frame(|out| out.put(body))).collect();
        assert_eq!(file, expected);
    }

    #[test]
    fn a_snapshot_reads_back_and_replaces_the_older_ones() {
        let dir = tempfile::tempdir().unwrap();
        let disk = Disk::default();
        let big = Bytes::from(vec![7; FRAME_BYTES_SOFT + 1]);
        let records = vec![big.clone(), Bytes::from_static(b"x"), big];
        for (index, records) in [(9, vec![]), (10, records), (11, vec![])] {
            let written = snapshot(index, records);
            let path = save(&disk, dir.path(), &written).unwrap();
            assert_eq!(load(&disk, dir.path()).unwrap(), Some((written, path)));
        }
        assert_eq!(disk.list(dir.path(), EXTENSION).unwrap().len(), 2);
    }

    #[test]
    fn a_cut_or_changed_snapshot_is_refused() {
        let good = bytes(&snapshot(9, vec![Bytes::from_static(b"ab"), Bytes::new()]));
        for i in 0..good.len() {
            assert!(decode(good.slice(..i)).is_err(), "cut at {i}");
            let mut bad = good.to_vec();
            bad[i] ^= 1;
            assert!(decode(Bytes::from(bad)).is_err(), "byte {i}");
        }
        assert!(decode(Bytes::from([good.as_ref(), b"x"].concat())).is_err());
    }
}
