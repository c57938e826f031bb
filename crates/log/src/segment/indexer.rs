//! When an index entry is due: the same for batches that are appended and for batches that recovery finds.

use std::io;

use ottla_wire::batch::BatchHeader;
use ottla_wire::{Offset, Timestamp};

use super::Segment;
use super::cursor::{Cursor, CursorError, LOOKUP_WINDOW};
use super::index::{Entry, UNPERSISTED_ENTRIES_MAX};

/// Keeps the indexes of one segment while batches come in order.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Indexer {
    bytes_since_entry: u64,
    largest: Timestamp,
    /// Last offset of the first batch that has the largest timestamp.
    offset_of_largest: Offset,
    last_time_entry: Timestamp,
}

impl Indexer {
    /// For a segment whose indexes are complete up to their last entries.
    pub fn resume(segment: &Segment) -> io::Result<Indexer> {
        let last = segment.times.last()?;
        let largest = Timestamp(last.map_or(Timestamp::NONE.0, |entry| entry.key));
        let offset = last.map_or(segment.base, |entry| segment.base.plus(i64::from(entry.value)));
        Ok(Indexer { bytes_since_entry: 0, largest, offset_of_largest: offset, last_time_entry: largest })
    }

    /// Reads the headers after the last entry of the offset index, adding entries that are due. No CRC is
    /// checked.
    pub fn catch_up(&mut self, segment: &Segment, interval: u64) -> Result<(), CursorError> {
        let last = segment.offsets.last()?;
        let start = last.map_or(0, |entry| u64::from(entry.value));
        let mut cursor = Cursor::new(&segment.file()?, start, segment.size(), LOOKUP_WINDOW);
        while let Some(found) = cursor.next()? {
            if last.is_some() && found.position == start {
                self.skip(&found.header);
            } else {
                self.note_found(segment, &found.header, found.position, interval)?;
            }
        }
        Ok(())
    }

    pub fn largest(&self) -> Timestamp {
        self.largest
    }

    /// Counts a batch that has its index entry already.
    pub fn skip(&mut self, header: &BatchHeader) {
        self.bytes_since_entry = header.total_len() as u64;
    }

    /// Counts a batch at `position` and adds the entries that are due after `interval` bytes.
    pub fn note(&mut self, segment: &Segment, header: &BatchHeader, position: u64, interval: u64) {
        if header.max_timestamp > self.largest {
            self.largest = header.max_timestamp;
            self.offset_of_largest = header.last_offset();
        }
        if self.bytes_since_entry > interval {
            let key = header.last_offset().0 - segment.base.0;
            // A segment is below 2 GiB, so a position is an i32.
            segment.offsets.push(Entry { key, value: position as u32 });
            self.note_time(segment);
            self.bytes_since_entry = 0;
        }
        self.bytes_since_entry += header.total_len() as u64;
    }

    /// As [`Indexer::note`], and takes the entries out of memory when they have become many.
    pub fn note_found(
        &mut self,
        segment: &Segment,
        header: &BatchHeader,
        position: u64,
        interval: u64,
    ) -> io::Result<()> {
        self.note(segment, header, position, interval);
        if segment.offsets.unpersisted() >= UNPERSISTED_ENTRIES_MAX {
            segment.offsets.persist()?;
            segment.times.persist()?;
        }
        Ok(())
    }

    /// Adds the largest timestamp to the time index, if it is not there: when a segment is closed, too.
    pub fn note_time(&mut self, segment: &Segment) {
        if self.largest > self.last_time_entry {
            let value = (self.offset_of_largest.0 - segment.base.0) as u32; // below 2^31 in every segment
            segment.times.push(Entry { key: self.largest.0, value });
            self.last_time_entry = self.largest;
        }
    }
}
