//! What is true of this replica's own log, whatever its role: bounds, epochs, producers, the flush under way.

use std::sync::Arc;

use bytes::Bytes;
use ottla_wire::batch::{AppendBatch, BatchView, ControlRecord};
use ottla_wire::{EpochStart, Instant, LeaderEpoch, Offset};

use crate::config::{Durability, ReplicaConfig};
use crate::effect::Effect;
use crate::epochs::Epochs;
use crate::producer::ProducerTable;

/// A control record has a key of 4 and a value of 6 bytes; nothing larger is unpacked to look for one.
const CONTROL_RECORD_BYTES_MAX: usize = 1 << 16;

/// What was found of the partition's log when it was opened.
#[derive(Debug)]
pub struct Restored {
    pub log_start: Offset,
    pub log_end: Offset,
    /// Up to where recovery has made sure that the log is on stable storage.
    pub durable_end: Offset,
    /// From the checkpoint; taken as far as the log bears it out.
    pub high_watermark: Offset,
    pub epochs: Vec<EpochStart>,
    /// Rebuilt by a [`crate::Restorer`].
    pub producers: ProducerTable,
}

impl Restored {
    /// An empty log.
    pub fn empty(config: &ReplicaConfig) -> Restored {
        Restored {
            log_start: Offset::ZERO,
            log_end: Offset::ZERO,
            durable_end: Offset::ZERO,
            high_watermark: Offset::ZERO,
            epochs: Vec::new(),
            producers: ProducerTable::new(config),
        }
    }
}

/// The log of this replica.
///
/// Holds: `log_start <= high_watermark <= log_end`, `durable_end <= log_end`.
#[derive(Debug)]
pub(crate) struct Local {
    pub config: ReplicaConfig,
    pub log_start: Offset,
    pub log_end: Offset,
    pub durable_end: Offset,
    pub high_watermark: Offset,
    pub epochs: Arc<Epochs>,
    pub producers: ProducerTable,
    /// [`Effect::Truncate`] is under way: the producers are those of the log as it was.
    pub truncating: bool,
    flush: Flush,
    producers_checked_at: Option<Instant>,
}

/// The flush that was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Flush {
    None,
    Asked,
    /// Asked for before a truncation: what it vouches for may have been cut off and written anew.
    Void,
}

impl Local {
    pub fn new(config: ReplicaConfig, restored: Restored) -> Local {
        let mut epochs = Epochs::new(restored.epochs);
        epochs.truncate_from_end(restored.log_end);
        epochs.truncate_from_start(restored.log_start);
        let mut producers = restored.producers;
        let log_start = restored.log_start.min(restored.log_end);
        let high_watermark = restored.high_watermark.clamp(log_start, restored.log_end);
        producers.committed(high_watermark);
        Local {
            config,
            log_start,
            log_end: restored.log_end,
            durable_end: restored.durable_end.min(restored.log_end),
            high_watermark,
            epochs: Arc::new(epochs),
            producers,
            truncating: false,
            flush: Flush::None,
            producers_checked_at: None,
        }
    }

    /// Up to where this replica's records count.
    pub fn counted_end(&self) -> Offset {
        match self.config.durability {
            Durability::Flushed => self.durable_end,
            Durability::PageCache => self.log_end,
        }
    }

    /// Readers of committed data stop here: no transaction before it is undecided.
    pub fn last_stable(&self) -> Offset {
        match self.producers.first_unstable() {
            // Retention may have taken the beginning of a transaction.
            Some(first) => first.clamp(self.log_start, self.high_watermark),
            None => self.high_watermark,
        }
    }

    /// The next batch, offsets and epoch assigned. Its last offset MUST be at or above the log end.
    pub fn append(
        &mut self,
        now: Instant,
        batch: AppendBatch,
        control: Option<&ControlRecord>,
        effects: &mut Vec<Effect>,
    ) {
        let header = batch.header;
        assert!(header.base_offset >= self.log_end, "batches are appended in order");
        self.begin_epoch(header.partition_leader_epoch, header.base_offset, effects);
        self.log_end = header.next_offset();
        let aborted = self.producers.appended(&header, control, Some(now));
        effects.push(Effect::Write(batch));
        effects.extend(aborted.map(Effect::Aborted));
    }

    /// Nothing is in the log that can be read.
    pub fn is_empty(&self) -> bool {
        self.log_start == self.log_end
    }

    /// As [`Local::append`], for an empty log that starts inside the batch: the log begins anew with the
    /// whole batch, and its start stays where it is.
    pub fn begin_with(
        &mut self,
        now: Instant,
        batch: AppendBatch,
        control: Option<&ControlRecord>,
        effects: &mut Vec<Effect>,
    ) {
        assert!(self.is_empty(), "only an empty log can begin elsewhere");
        self.void_flush();
        self.log_end = batch.header.base_offset;
        self.durable_end = self.log_end;
        effects.push(Effect::RestartAt(self.log_end));
        self.append(now, batch, control, effects);
        Arc::make_mut(&mut self.epochs).truncate_from_start(self.log_start);
        effects.push(Effect::MoveLogStart(self.log_start));
    }

    /// `epoch` begins to write at `start`, if it is new.
    pub fn begin_epoch(&mut self, epoch: LeaderEpoch, start: Offset, effects: &mut Vec<Effect>) {
        if self.epochs.would_assign(epoch) {
            Arc::make_mut(&mut self.epochs).assign(epoch, start);
            effects.push(Effect::EpochsChanged);
        }
    }

    /// Asks for a flush when records wait for one and none is under way.
    pub fn want_flush(&mut self, epoch: LeaderEpoch, effects: &mut Vec<Effect>) {
        let wanted = self.config.durability == Durability::Flushed && self.durable_end < self.log_end;
        if wanted && self.flush == Flush::None && !self.truncating {
            self.flush = Flush::Asked;
            effects.push(Effect::Flush { epoch, end: self.log_end });
        }
    }

    /// A flush has come back. Returns whether it counts.
    pub fn flushed(&mut self, end: Offset) -> bool {
        let counts = self.flush != Flush::Void;
        self.flush = Flush::None;
        if counts {
            self.durable_end = self.durable_end.max(end.min(self.log_end));
        }
        counts
    }

    /// A new leader epoch: flushes of the last one come back under its name and are not listened to.
    pub fn forget_flush(&mut self) {
        self.flush = Flush::None;
    }

    /// Never goes back: that is only for truncation.
    pub fn raise_high_watermark(&mut self, to: Offset) {
        assert!(to <= self.log_end, "what is committed is in the log");
        if to > self.high_watermark {
            self.high_watermark = to;
            self.producers.committed(to);
        }
    }

    /// The log starts at `start` now; it never moves back, and never past the high watermark.
    pub fn start_moved(&mut self, start: Offset, effects: &mut Vec<Effect>) {
        let start = start.min(self.high_watermark);
        if start <= self.log_start {
            return;
        }
        self.log_start = start;
        self.producers.log_started(start);
        if Arc::make_mut(&mut self.epochs).truncate_from_start(start) {
            effects.push(Effect::EpochsChanged);
        }
    }

    /// Cuts the log back to `to`, which MUST NOT be below its start. Returns whether anything was cut or
    /// forgotten.
    pub fn truncate(&mut self, to: Offset, effects: &mut Vec<Effect>) -> bool {
        let cut = to < self.log_end;
        if cut {
            self.end_at(to);
            self.truncating = true;
            effects.push(Effect::Truncate { to });
        }
        // An epoch may have begun at the log end without writing anything.
        let forgotten = Arc::make_mut(&mut self.epochs).truncate_from_end(self.log_end);
        if forgotten {
            effects.push(Effect::EpochsChanged);
        }
        cut || forgotten
    }

    /// The truncation is done; the log may have been cut further back than was asked, to the start of a
    /// batch.
    pub fn truncated(&mut self, end: Offset, producers: ProducerTable, effects: &mut Vec<Effect>) {
        self.truncating = false;
        self.end_at(end.min(self.log_end));
        self.log_start = self.log_start.min(self.log_end);
        if Arc::make_mut(&mut self.epochs).truncate_from_end(self.log_end) {
            effects.push(Effect::EpochsChanged);
        }
        self.producers = producers;
        self.producers.limit_to(self.config.producers_max);
        self.producers.committed(self.high_watermark);
    }

    /// What was appended last did not get into the log, which ends at `end`.
    pub fn unwritten(&mut self, end: Offset, mut producers: ProducerTable, effects: &mut Vec<Effect>) {
        let end = end.min(self.log_end);
        // A flush under way is of what was written before, and counts.
        self.log_end = end;
        self.durable_end = self.durable_end.min(end);
        self.high_watermark = self.high_watermark.min(end);
        self.log_start = self.log_start.min(end);
        if Arc::make_mut(&mut self.epochs).truncate_from_end(end) {
            effects.push(Effect::EpochsChanged);
        }
        producers.take_over(&mut self.producers);
        producers.limit_to(self.config.producers_max);
        producers.committed(self.high_watermark);
        self.producers = producers;
    }

    /// Drops everything and starts anew at `offset`.
    pub fn restart_at(&mut self, offset: Offset, effects: &mut Vec<Effect>) {
        self.void_flush();
        self.log_start = offset;
        self.log_end = offset;
        self.durable_end = offset;
        self.high_watermark = offset;
        self.producers.clear();
        Arc::make_mut(&mut self.epochs).clear();
        effects.push(Effect::RestartAt(offset));
        effects.push(Effect::EpochsChanged);
    }

    /// Forgets silent producers now and then.
    pub fn expire_producers(&mut self, now: Instant) {
        let every = self.config.producer_expiry_check;
        if self.producers_checked_at.is_none_or(|checked| now.since(checked) >= every) {
            self.producers_checked_at = Some(now);
            self.producers.expire(now, self.config.producer_expiry);
        }
    }

    fn end_at(&mut self, end: Offset) {
        if end < self.log_end {
            self.void_flush();
        }
        self.log_end = end;
        self.durable_end = self.durable_end.min(end);
        self.high_watermark = self.high_watermark.min(end);
    }

    fn void_flush(&mut self) {
        if self.flush == Flush::Asked {
            self.flush = Flush::Void;
        }
    }
}

/// The control record of a control batch; `None` if compaction has emptied it or it is of a kind that is not
/// known.
pub(crate) fn control_record(batch: &Bytes) -> Option<ControlRecord> {
    let view = BatchView::parse(batch.clone()).ok()?;
    let record = view.records(CONTROL_RECORD_BYTES_MAX).ok()?.next()?.ok()?;
    ControlRecord::parse(record.key.as_ref(), record.value.as_ref()).ok()?
}
