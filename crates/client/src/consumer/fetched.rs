//! Turns what a broker fetched for one partition into records: checks batches, leaves out control batches,
//! aborted transactions (read_committed) and records before the offset that was asked for. Pure.

use std::collections::{BTreeSet, VecDeque};

use bytes::Bytes;
use ottla_wire::batch::{BatchError, BatchView, Batches, ControlRecord, Record, RecordIter, batches};
use ottla_wire::messages::fetch_response::AbortedTransaction;
use ottla_wire::{LeaderEpoch, Offset, ProducerId};

/// How batches are read.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reading {
    pub(super) check_crcs: bool,
    pub(super) committed_only: bool,
    pub(super) decompressed_bytes_max: usize,
}

/// Fetched records of one partition, read one by one.
pub(super) struct Fetched {
    batches: Batches,
    records: Option<RecordIter>,
    reading: Reading,
    aborted: Aborted,
    /// The offset to go on with.
    position: Offset,
    /// Of the batch that was read last.
    epoch: LeaderEpoch,
    /// Where the present batch ends.
    batch_end: Offset,
    /// A whole batch has been seen.
    any: bool,
}

impl Fetched {
    /// `position` is the offset that was asked for: records before it are left out.
    pub(super) fn new(
        bytes: Bytes,
        position: Offset,
        aborted: Vec<AbortedTransaction>,
        reading: Reading,
    ) -> Fetched {
        Fetched {
            batches: batches(bytes),
            records: None,
            reading,
            aborted: Aborted::new(aborted),
            position,
            epoch: LeaderEpoch::NONE,
            batch_end: position,
            any: false,
        }
    }

    /// The offset after the last record that was given or left out.
    pub(super) fn position(&self) -> Offset {
        self.position
    }

    /// The leader epoch of the batch that was read last.
    pub(super) fn epoch(&self) -> LeaderEpoch {
        self.epoch
    }

    /// The next record; `None` at the end. After an error the position is that of the batch it is about.
    pub(super) fn next(&mut self) -> Result<Option<Record>, BatchError> {
        loop {
            if let Some(records) = &mut self.records {
                match records.next().transpose()? {
                    Some(record) if record.offset < self.position => continue,
                    Some(record) => {
                        self.position = record.offset.plus(1);
                        return Ok(Some(record));
                    }
                    None => {
                        // Compaction may have removed the last records of a batch: go on behind them all the
                        // same.
                        self.position = self.position.max(self.batch_end);
                        self.records = None;
                    }
                }
            }
            match self.batches.next() {
                Some(Ok(batch)) => self.open(&batch)?,
                // The broker cuts where the limit is, even within a batch; the rest comes with the next
                // fetch.
                Some(Err(BatchError::Truncated { .. })) if self.any => return Ok(None),
                Some(Err(error)) => return Err(error),
                None => return Ok(None),
            }
        }
    }

    fn open(&mut self, batch: &BatchView) -> Result<(), BatchError> {
        if self.reading.check_crcs {
            batch.check_crc()?;
        }
        let header = batch.header();
        self.any = true;
        self.epoch = header.partition_leader_epoch;
        self.batch_end = header.next_offset();
        if self.reading.committed_only && header.is_transactional() {
            self.aborted.reach(header.last_offset());
            if header.is_control() {
                self.read_marker(batch)?;
            } else if self.aborted.covers(header.producer_id) {
                self.position = self.position.max(self.batch_end);
                return Ok(());
            }
        }
        if header.is_control() {
            self.position = self.position.max(self.batch_end);
            return Ok(());
        }
        self.records = Some(batch.records(self.reading.decompressed_bytes_max)?);
        Ok(())
    }

    /// An abort marker ends the aborted transaction of its producer.
    fn read_marker(&mut self, batch: &BatchView) -> Result<(), BatchError> {
        if let Some(record) = batch.records(self.reading.decompressed_bytes_max)?.next().transpose()?
            && let Some(ControlRecord::Abort { .. }) =
                ControlRecord::parse(record.key.as_ref(), record.value.as_ref())?
        {
            self.aborted.ended(batch.header().producer_id);
        }
        Ok(())
    }
}

/// The aborted transactions that overlap what was fetched.
struct Aborted {
    /// In the order of their first offsets.
    to_come: VecDeque<AbortedTransaction>,
    open: BTreeSet<ProducerId>,
}

impl Aborted {
    fn new(mut transactions: Vec<AbortedTransaction>) -> Aborted {
        transactions.sort_unstable_by_key(|transaction| transaction.first_offset);
        Aborted { to_come: transactions.into(), open: BTreeSet::new() }
    }

    /// Opens the transactions that began up to `offset`.
    fn reach(&mut self, offset: Offset) {
        let reached = self.to_come.partition_point(|next| next.first_offset <= offset.0);
        let reached = self.to_come.drain(..reached).map(|transaction| ProducerId(transaction.producer_id));
        self.open.extend(reached);
    }

    fn covers(&self, producer: ProducerId) -> bool {
        self.open.contains(&producer)
    }

    fn ended(&mut self, producer: ProducerId) {
        self.open.remove(&producer);
    }
}

#[cfg(test)]
mod tests {
    use ottla_wire::batch::BatchBuilder;
    use ottla_wire::{ProducerEpoch, Sequence, Timestamp};

    use super::*;

    const READING: Reading =
        Reading { check_crcs: true, committed_only: true, decompressed_bytes_max: 1 << 20 };

    fn data(base: i64, producer: Option<i64>, values: &[&str]) -> Bytes {
        let mut builder = BatchBuilder::new().base_offset(Offset(base));
        if let Some(producer) = producer {
            builder = builder.producer(ProducerId(producer), ProducerEpoch(0), Sequence(0)).transactional();
        }
        for value in values {
            builder.push(Timestamp(1), None, Some(value.as_bytes()));
        }
        builder.build().unwrap()
    }

    fn marker(base: i64, producer: i64, abort: bool) -> Bytes {
        let record = if abort {
            ControlRecord::Abort { coordinator_epoch: 0 }
        } else {
            ControlRecord::Commit { coordinator_epoch: 0 }
        };
        let mut builder = BatchBuilder::new()
            .base_offset(Offset(base))
            .producer(ProducerId(producer), ProducerEpoch(0), Sequence::NONE)
            .transactional();
        builder.push_control(Timestamp(1), &record);
        builder.build().unwrap()
    }

    fn read(bytes: &[Bytes], from: i64, aborted: &[(i64, i64)], reading: Reading) -> (Vec<i64>, i64) {
        let aborted = aborted
            .iter()
            .map(|&(producer_id, first_offset)| AbortedTransaction { producer_id, first_offset });
        let mut fetched = Fetched::new(bytes.concat().into(), Offset(from), aborted.collect(), reading);
        let mut offsets = Vec::new();
        while let Some(record) = fetched.next().unwrap() {
            offsets.push(record.offset.0);
        }
        (offsets, fetched.position().0)
    }

    #[test]
    fn begins_at_the_offset_that_was_asked_for() {
        assert_eq!(read(&[data(10, None, &["a", "b", "c"])], 11, &[], READING), (vec![11, 12], 13));
    }

    #[test]
    fn a_batch_cut_at_the_end_is_left_for_the_next_fetch() {
        let cut = data(2, None, &["c"]).slice(..40);
        assert_eq!(read(&[data(0, None, &["a", "b"]), cut], 0, &[], READING), (vec![0, 1], 2));
    }

    #[test]
    fn aborted_and_control_records_are_left_out_but_passed_over() {
        let log = [
            data(0, Some(1), &["aborted"]),
            data(1, Some(2), &["committed"]),
            data(2, Some(1), &["aborted"]),
            marker(3, 1, true),
            data(4, Some(1), &["committed later"]),
            marker(5, 2, false),
            data(6, None, &["plain"]),
            marker(7, 1, false),
        ];
        assert_eq!(read(&log, 0, &[(1, 0)], READING), (vec![1, 4, 6], 8));
        let uncommitted = Reading { committed_only: false, ..READING };
        assert_eq!(read(&log, 0, &[], uncommitted), (vec![0, 1, 2, 4, 6], 8));
    }

    #[test]
    fn a_changed_byte_is_an_error_at_the_position_of_its_batch() {
        let mut bytes = [data(0, None, &["a"]), data(1, None, &["b"])].concat();
        let last = bytes.len() - 2;
        bytes[last] ^= 1;
        let mut fetched = Fetched::new(bytes.into(), Offset(0), Vec::new(), READING);
        assert!(fetched.next().unwrap().is_some());
        assert!(matches!(fetched.next(), Err(BatchError::Crc { .. })));
        assert_eq!(fetched.position(), Offset(1));
    }
}
