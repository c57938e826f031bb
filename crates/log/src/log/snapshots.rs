//! Producer snapshots: the state of the producers at an offset, so that opening a log need not read all of
//! it.

use std::collections::BTreeSet;
use std::io::{self, IoSlice};
use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use ottla_wire::Offset;
use ottla_wire::messages::ProducerSnapshot;
use ottla_wire::primitives::{decode_from, encode_prefixed};

use super::Log;
use crate::disk::{Open, read_file, write_all};
use crate::names::FileKind;
use crate::segment::{LogFolder, Segment};

/// The version that Kafka writes and reads.
const VERSION: i16 = 1;
/// After the version and the CRC: what the CRC covers.
const CRC_COVERS_FROM: usize = 6;
/// A larger file is not a snapshot: forty million producers would fit.
const SNAPSHOT_BYTES_MAX: u64 = 2 << 30;

/// The snapshots of a log that are on the disk.
#[derive(Debug, Default)]
pub(super) struct Snapshots {
    pub offsets: BTreeSet<Offset>,
    /// Bytes of the newest.
    pub newest_len: u64,
}

impl Snapshots {
    /// The newest snapshot at or below `known` that is whole. Later ones stay for the segments that start
    /// there, but for those that are damaged or of what is no longer in the log: these must not come back
    /// once the log has grown again.
    pub fn newest_usable(
        &mut self,
        place: &LogFolder,
        known: Offset,
        log_end: Offset,
    ) -> io::Result<Option<(Offset, ProducerSnapshot)>> {
        let mut removed = false;
        let mut usable = None;
        for offset in self.offsets.clone().into_iter().rev() {
            let whole = if offset <= log_end { read(place, offset)? } else { None };
            match whole {
                None => {
                    remove(place, offset)?;
                    self.offsets.remove(&offset);
                    removed = true;
                }
                Some(snapshot) if offset <= known => {
                    self.newest_len = place.disk.len(&place.path(offset, FileKind::Snapshot))?;
                    usable = Some((offset, snapshot));
                    break;
                }
                Some(_) => {}
            }
        }
        if removed {
            place.disk.sync_dir(&place.folder)?;
        }
        Ok(usable)
    }
}

impl Log {
    /// Writes the snapshot for the log's end, if there is none. It is synced with the next flush.
    pub(super) fn store_snapshot(&mut self, producers: &ProducerSnapshot) -> io::Result<()> {
        // One that is there says the same and may be durable already; writing it anew would put it at risk.
        if self.snapshots.offsets.contains(&self.log_end) {
            return Ok(());
        }
        let bytes = encode(producers)?;
        let path = self.place.path(self.log_end, FileKind::Snapshot);
        let file = self.place.disk.open(&path, Open::Create)?;
        let written = file.set_len(0).and_then(|()| write_all(&*file, &[IoSlice::new(&bytes)], 0));
        written.inspect_err(|_| {
            // Half of one is found out by the next start, too.
            let _ = self.place.disk.remove_file(&path);
        })?;
        self.snapshots.offsets.insert(self.log_end);
        self.snapshots.newest_len = bytes.len() as u64;
        self.flush.snapshot_written(self.log_end, file);
        Ok(())
    }

    /// Removes the snapshots that no start will need: of those that are not at the base of a segment, all
    /// before the newest that is at or below `covered`; those of segments that are gone. `covered` is what
    /// every start trusts from now on: the checkpointed recovery point, or where the log surely begins.
    pub(super) fn prune_snapshots(&mut self, covered: Offset) -> io::Result<()> {
        let Some(oldest_needed) = self.snapshots.offsets.range(..=covered).next_back().copied() else {
            return Ok(());
        };
        let segments = self.segments();
        let is_base = |offset: &Offset| segments.iter().any(|segment| segment.base == *offset);
        let old = self.snapshots.offsets.range(..oldest_needed).filter(|offset| !is_base(offset));
        let old: Vec<Offset> = old.copied().collect();
        self.remove_snapshots(old)
    }

    pub(super) fn remove_snapshots_after(&mut self, offset: Offset) -> io::Result<()> {
        let after = self.snapshots.offsets.range(offset.plus(1)..).copied().collect();
        self.remove_snapshots(after)
    }

    /// How many of the first `count` segments can go such that a crash finds a snapshot for the producers in
    /// them: one at the base of the first segment that stays, or a later one that the checkpointed recovery
    /// point covers. After a crash there may be none until the next flush has vouched.
    pub(super) fn removable(&self, segments: &[Arc<Segment>], count: usize) -> usize {
        let stands_in = |base: Offset| {
            let covered = base..=self.slot.checkpointed().max(base);
            self.snapshots.offsets.range(covered).next().is_some()
        };
        // If all go, the new segment that is started first has its snapshot.
        let can_go = |count: &usize| segments.get(*count).is_none_or(|first| stands_in(first.base));
        // A crash may also bring back the last ones of those that go.
        (1..=count).take_while(can_go).last().unwrap_or(0)
    }

    /// Makes durable the snapshots that stand for the producers of the segments below `base`, before these
    /// go: a crash may bring back the last of them, so each that goes needs the one at its end. Those of
    /// segments that went before are removed.
    pub(super) fn sync_snapshots_to(&mut self, base: Offset) -> io::Result<()> {
        let Some(first) = self.segments().first().map(|segment| segment.base) else { return Ok(()) };
        // What the recovery point covers was synced with it.
        let covered = first.max(self.slot.checkpointed());
        for offset in self.snapshots.offsets.range(..=base).filter(|offset| **offset >= covered) {
            self.place.disk.open(&self.place.path(*offset, FileKind::Snapshot), Open::Write)?.sync_data()?;
        }
        // It makes durable, too, that the segments below the first are gone.
        self.place.disk.sync_dir(&self.place.folder)?;
        self.prune_snapshots(covered)
    }

    fn remove_snapshots(&mut self, offsets: Vec<Offset>) -> io::Result<()> {
        for offset in offsets {
            remove(&self.place, offset)?;
            self.snapshots.offsets.remove(&offset);
            self.flush.files.forget_snapshot(offset);
        }
        Ok(())
    }
}

pub(super) fn remove(place: &LogFolder, offset: Offset) -> io::Result<()> {
    match place.disk.remove_file(&place.path(offset, FileKind::Snapshot)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        removed => removed,
    }
}

/// Reads a snapshot. `None` if it is damaged, as a crash may leave it, or speaks of what comes after its
/// offset: then it is another's and has got a wrong name.
pub(super) fn read(place: &LogFolder, offset: Offset) -> io::Result<Option<ProducerSnapshot>> {
    let path: PathBuf = place.path(offset, FileKind::Snapshot);
    let bytes = match read_file(&*place.disk, &path, SNAPSHOT_BYTES_MAX) {
        Err(error) if error.kind() == io::ErrorKind::InvalidData => return Ok(None),
        read => read?,
    };
    let is_of = |snapshot: &ProducerSnapshot| {
        let entries = &snapshot.producer_entries;
        entries.iter().all(|entry| entry.last_offset.max(entry.current_txn_first_offset) < offset.0)
    };
    Ok(decode(Bytes::from(bytes)).filter(is_of))
}

fn encode(producers: &ProducerSnapshot) -> io::Result<Vec<u8>> {
    let encoded = encode_prefixed(VERSION, producers, VERSION).map_err(io::Error::other)?;
    let mut bytes = encoded.to_vec();
    let crc = crc32c::crc32c(&bytes[CRC_COVERS_FROM..]);
    bytes[2..CRC_COVERS_FROM].copy_from_slice(&crc.to_be_bytes());
    Ok(bytes)
}

fn decode(bytes: Bytes) -> Option<ProducerSnapshot> {
    let version = i16::from_be_bytes(*bytes.first_chunk()?);
    let covered = bytes.get(CRC_COVERS_FROM..)?;
    let crc = crc32c::crc32c(covered);
    let snapshot: ProducerSnapshot = decode_from(bytes.slice(2..), VERSION).ok()?;
    (version == VERSION && snapshot.crc == crc).then_some(snapshot)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `codecs-0/00000000000000000500.snapshot` of Kafka 4.3.1.
    const KAFKAS: &str = "00014d5e4bdb00000001000000000000000000000000\
        01f300000000000001f3000001f3000001a205934572ffffffffffffffffffffffff";

    #[test]
    fn snapshot_is_as_kafka_writes_it() {
        let bytes: Vec<u8> = (0..KAFKAS.len())
            .step_by(2)
            .map(|i| u8::from_str_radix(&KAFKAS[i..i + 2], 16).unwrap())
            .collect();
        let snapshot = decode(Bytes::from(bytes.clone())).unwrap();
        assert_eq!(snapshot.producer_entries[0].last_offset, 499);
        assert_eq!(encode(&snapshot).unwrap(), bytes);
        for at in 0..bytes.len() {
            let mut damaged = bytes.clone();
            damaged[at] ^= 1;
            assert_eq!(decode(Bytes::from(damaged)), None, "byte {at}");
            assert_eq!(decode(Bytes::from(bytes[..at].to_vec())), None, "cut at {at}");
        }
    }
}
