//! Appending: to the queue, then to the file, then on to the next segment.

use std::io::{self, IoSlice};
use std::ops::Range;
use std::sync::Arc;

use ottla_wire::batch::{AppendBatch, BatchHeader, HEADER_LEN};
use ottla_wire::messages::ProducerSnapshot;
use ottla_wire::{AbortedTxn, Offset, Timestamp};

use super::{Active, Log, LogError};
use crate::disk::write_all;
use crate::segment::index::UNPERSISTED_ENTRIES_MAX;

/// Batches up to this size are copied together before they are written: that is cheaper than two more parts
/// of a vectored write each.
const COPY_BYTES_MAX: usize = 4096;

/// Batches that are written at once: no more than there is room for their index entries in memory.
const RUN_BATCHES_MAX: usize = UNPERSISTED_ENTRIES_MAX / 2;

impl Log {
    /// Queues a batch with its offsets and epoch assigned. No I/O; readers do not see it before
    /// [`Log::write`].
    ///
    /// The owner MUST have rolled if [`Log::roll_due`] said so for this batch.
    pub fn append(&mut self, batch: AppendBatch) -> Result<(), LogError> {
        self.check_online()?;
        let base_offset = batch.header.base_offset;
        if base_offset < self.log_end || batch.header.last_offset() < base_offset {
            return Err(LogError::OutOfOrder { base_offset, log_end: self.log_end });
        }
        if !self.active.fits(self.queued_bytes, &batch.header) {
            return Err(LogError::SegmentFull { base_offset, segment: self.active.base() });
        }
        self.log_end = batch.header.next_offset();
        self.queued_bytes += batch.total_len() as u64;
        self.queue.push(batch);
        Ok(())
    }

    /// Queues an entry of the transaction index. Its marker MUST have been appended to the segment that
    /// grows.
    pub fn append_aborted(&mut self, aborted: AbortedTxn) {
        self.aborted.push(aborted);
    }

    /// Writes everything that is queued to the page cache, by one vectored write, and shows it to readers.
    /// After an error what did not get there is nowhere: the log ends with what is visible.
    pub fn write(&mut self) -> Result<(), LogError> {
        if self.queue.is_empty() && self.aborted.is_empty() {
            return Ok(());
        }
        self.check_online()?;
        let written = self.write_queue();
        self.queue.clear();
        self.aborted.clear();
        self.queued_bytes = 0;
        written.map_err(|error| {
            self.log_end = self.active.segment().end();
            // What was half written would be cut off by the next start; if the disk still lets us, do it now.
            match self.cut_torn() {
                Ok(()) => self.fail("write to", error),
                Err(_) => self.fail_halfway("write to", error),
            }
        })
    }

    /// Whether the owner has to [`Log::roll`] before it appends a batch with this header: the segment would
    /// get too large, its first record is too old, or an index is full.
    pub fn roll_due(&mut self, next: &BatchHeader, wall: Timestamp) -> bool {
        self.active.roll_due(self.queued_bytes, next, wall, &self.config)
    }

    /// As [`Log::roll_due`], for a batch that comes after `bytes` more that are not appended yet.
    pub fn roll_due_behind(&mut self, bytes: u64, next: &BatchHeader, wall: Timestamp) -> bool {
        self.active.roll_due(self.queued_bytes + bytes, next, wall, &self.config)
    }

    /// Writes what is queued and starts a new segment at the log's end. `producers` MUST be the state of the
    /// producers after everything that was appended. Does nothing if the segment is empty.
    pub fn roll(&mut self, producers: &ProducerSnapshot) -> Result<(), LogError> {
        self.write()?;
        if self.active.size() == 0 {
            return Ok(());
        }
        self.start_segment(producers).map_err(|error| self.fail("start a segment in", error))
    }

    /// Takes what a failed write has left behind the end of the log out of the files.
    fn cut_torn(&self) -> io::Result<()> {
        let segment = self.active.segment();
        if let Some(file) = self.active.file() {
            file.set_len(segment.size())?;
        }
        segment.txns.cut_torn()
    }

    fn start_segment(&mut self, producers: &ProducerSnapshot) -> io::Result<()> {
        self.active.complete_indexes()?;
        if let Some(file) = self.active.file().filter(|_| self.config.preallocate) {
            file.set_len(self.active.size())?; // gives back what was not used
        }
        self.store_snapshot(producers)?;
        let next = Active::create(&self.place, self.log_end, &self.config)?;
        self.flush.rolled(&self.active);
        let mut segments = Vec::clone(&self.segments());
        segments.push(Arc::clone(next.segment()));
        self.active = next;
        self.publish_segments(segments);
        self.flush.folder_changed();
        Ok(())
    }

    fn write_queue(&mut self) -> io::Result<()> {
        self.write_metadata()?;
        let (queue, aborted) = (std::mem::take(&mut self.queue), std::mem::take(&mut self.aborted));
        let mut aborted = &aborted[..];
        for run in queue.chunks(RUN_BATCHES_MAX) {
            let end = run.last().map_or(Offset::ZERO, |batch| batch.header.next_offset());
            let (of_run, later) = aborted.split_at(aborted.partition_point(|txn| txn.last_offset < end));
            self.write_run(run, of_run)?;
            aborted = later;
        }
        // Their markers were written before.
        self.active.segment().txns.append(aborted)
    }

    /// Whatever can fail comes first: once the batches are in the file, they are in the log.
    fn write_run(&mut self, run: &[AppendBatch], aborted: &[AbortedTxn]) -> io::Result<()> {
        let file = self.active.make_file(&self.config)?;
        self.active.make_index_room(run.len())?;
        let (copied, pieces) = gather(run);
        let parts: Vec<IoSlice<'_>> = pieces
            .iter()
            .map(|piece| match piece {
                Piece::Copied(range) => IoSlice::new(&copied[range.clone()]),
                Piece::Body(at) => IoSlice::new(&run[*at].body),
            })
            .collect();
        write_all(&*file, &parts, self.active.size())?;
        self.active.segment().txns.append(aborted)?;
        for batch in run {
            self.recent.push(&batch.header, self.active.base(), self.active.size());
            self.active.wrote(&batch.header, self.config.index_interval_bytes);
        }
        self.flush.wrote(run.iter().map(|batch| batch.total_len() as u64).sum());
        self.active.publish();
        Ok(())
    }
}

enum Piece {
    Copied(Range<usize>),
    /// Of the batch with this number in the queue.
    Body(usize),
}

/// Headers and small batches one after the other in one buffer, large bodies where they are.
fn gather(queue: &[AppendBatch]) -> (Vec<u8>, Vec<Piece>) {
    let is_small = |batch: &AppendBatch| batch.body.len() <= COPY_BYTES_MAX;
    let len = queue.iter().map(|b| if is_small(b) { b.total_len() } else { HEADER_LEN }).sum();
    let mut copied = Vec::with_capacity(len);
    let mut pieces = Vec::new();
    let mut from = 0;
    for (at, batch) in queue.iter().enumerate() {
        copied.extend_from_slice(&batch.header.encode());
        if is_small(batch) {
            copied.extend_from_slice(&batch.body);
        } else {
            pieces.push(Piece::Copied(from..copied.len()));
            pieces.push(Piece::Body(at));
            from = copied.len();
        }
    }
    if from < copied.len() {
        pieces.push(Piece::Copied(from..copied.len()));
    }
    (copied, pieces)
}
