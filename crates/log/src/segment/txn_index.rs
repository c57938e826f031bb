//! The transaction index of a segment (`.txnindex`): the transactions whose abort marker it holds.

use std::io::{self, IoSlice};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use ottla_wire::{AbortedTxn, Offset, ProducerId};

use super::LogFolder;
use crate::disk::{Cold, DiskFile, FileSlot, Open, read_exact_if, write_all};
use crate::names::FileKind;

pub(crate) const ENTRY_LEN: usize = 34;
const VERSION: i16 = 0;
/// Entries that one read brings.
const BLOCK: u64 = 120;

/// The entries, in the order of their markers. There is no file until there is an entry.
#[derive(Debug)]
pub(crate) struct TxnIndex {
    place: Arc<LogFolder>,
    base: Offset,
    slot: FileSlot,
    /// Entries that readers may see.
    count: AtomicU64,
}

impl TxnIndex {
    pub fn new(place: &Arc<LogFolder>, base: Offset, count: u64) -> TxnIndex {
        TxnIndex { place: Arc::clone(place), base, slot: FileSlot::default(), count: AtomicU64::new(count) }
    }

    pub fn len(&self) -> u64 {
        self.count.load(Ordering::Acquire)
    }

    /// Appends entries. Only the owner may; nothing is synced.
    pub fn append(&self, entries: &[AbortedTxn]) -> io::Result<()> {
        if entries.is_empty() {
            return Ok(());
        }
        let count = self.len();
        let bytes: Vec<u8> = entries.iter().flat_map(encode).collect();
        write_all(&*self.file(Open::Create)?, &[IoSlice::new(&bytes)], count * ENTRY_LEN as u64)?;
        self.count.store(count + entries.len() as u64, Ordering::Release);
        Ok(())
    }

    /// Takes away what a failed [`TxnIndex::append`] has left behind the last entry.
    pub fn cut_torn(&self) -> io::Result<()> {
        self.slot.open_file().map_or(Ok(()), |file| file.set_len(self.len() * ENTRY_LEN as u64))
    }

    /// Shows the entries in order until `visit` says `false`.
    pub fn visit(&self, cold: Cold, mut visit: impl FnMut(AbortedTxn) -> bool) -> io::Result<()> {
        let count = self.len();
        let mut at = 0;
        while at < count {
            let block = (count - at).min(BLOCK);
            let mut bytes = vec![0; block as usize * ENTRY_LEN];
            let file = self.slot.get_if(&*self.place.disk, || self.path(), cold)?;
            read_exact_if(&*file, &mut bytes, at * ENTRY_LEN as u64, cold)?;
            for entry in bytes.chunks_exact(ENTRY_LEN) {
                let entry = decode(entry).ok_or_else(|| {
                    let path = self.path();
                    io::Error::new(io::ErrorKind::InvalidData, format!("{} is corrupt", path.display()))
                })?;
                if !visit(entry) {
                    return Ok(());
                }
            }
            at += block;
        }
        Ok(())
    }

    /// Keeps the entries of markers below `offset`; what follows one that is not an entry goes too. Only the
    /// owner may.
    pub fn truncate(&self, offset: Offset) -> io::Result<()> {
        let mut kept = 0;
        let visited = self.visit(Cold::Wait, |entry| {
            let keep = entry.last_offset < offset;
            kept += u64::from(keep);
            keep
        });
        match visited {
            Err(error) if error.kind() != io::ErrorKind::InvalidData => return Err(error),
            _ => {}
        }
        // Also with nothing to drop: an entry that a crash left half written goes.
        match self.file(Open::Write) {
            Ok(file) => file.set_len(kept * ENTRY_LEN as u64)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound && kept == 0 => {}
            Err(error) => return Err(error),
        }
        self.count.store(kept, Ordering::Release);
        Ok(())
    }

    pub fn file(&self, how: Open) -> io::Result<Arc<dyn DiskFile>> {
        self.slot.get(&*self.place.disk, || self.path(), how)
    }

    fn path(&self) -> Box<Path> {
        self.place.path(self.base, FileKind::TxnIndex).into()
    }

    pub fn open_file(&self) -> Option<Arc<dyn DiskFile>> {
        self.slot.open_file()
    }

    pub fn close(&self) {
        self.slot.close();
    }
}

fn encode(entry: &AbortedTxn) -> [u8; ENTRY_LEN] {
    let mut bytes = [0; ENTRY_LEN];
    bytes[..2].copy_from_slice(&VERSION.to_be_bytes());
    let fields = [entry.producer_id.0, entry.first_offset.0, entry.last_offset.0, entry.last_stable_offset.0];
    for (place, field) in bytes[2..].chunks_exact_mut(8).zip(fields) {
        place.copy_from_slice(&field.to_be_bytes());
    }
    bytes
}

fn decode(bytes: &[u8]) -> Option<AbortedTxn> {
    let (version, fields) = bytes.split_first_chunk::<2>()?;
    let mut numbers = [0; 4];
    for (number, field) in numbers.iter_mut().zip(fields.chunks_exact(8)) {
        *number = i64::from_be_bytes(*field.first_chunk()?);
    }
    let [producer_id, first_offset, last_offset, last_stable_offset] = numbers;
    // A hole of zeros has the right version but no marker after its first record.
    (i16::from_be_bytes(*version) == VERSION && last_offset > first_offset).then_some(AbortedTxn {
        producer_id: ProducerId(producer_id),
        first_offset: Offset(first_offset),
        last_offset: Offset(last_offset),
        last_stable_offset: Offset(last_stable_offset),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entry_is_as_kafka_writes_it() {
        let entry = AbortedTxn {
            producer_id: ProducerId(5),
            first_offset: Offset(8),
            last_offset: Offset(11),
            last_stable_offset: Offset(12),
        };
        let bytes = encode(&entry);
        assert_eq!(bytes[..2], [0, 0]);
        assert_eq!((bytes[9], bytes[17], bytes[25], bytes[33]), (5, 8, 11, 12));
        assert_eq!(decode(&bytes), Some(entry));
        assert_eq!(decode(&[0; ENTRY_LEN]), None);
    }
}
