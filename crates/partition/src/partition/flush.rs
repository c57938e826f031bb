//! Flushes, one at a time, each with the one who asked for it; and the recovery point, which some flushes
//! move.

use std::time::Duration;

use ottla_log::{FlushDone, FlushJob, LogError};
use ottla_replica::Event;
use ottla_wire::{Instant, LeaderEpoch};

use super::{Partition, Turn};

/// How long writes to a topic with relaxed flushes may stay in the page cache alone.
const INTERVAL_RELAXED: Duration = Duration::from_secs(30);

/// Who asked for a flush.
#[derive(Clone, Copy, Debug)]
enum Asker {
    /// The core, in this epoch. The result is for that epoch.
    Core(LeaderEpoch),
    /// The driver, on its own. The result is for the epoch at that time.
    Driver,
}

/// The wanted flush and the running one.
#[derive(Debug, Default)]
pub(super) struct Flushing {
    /// A wanted flush that has not begun.
    wanted: Option<Asker>,
    /// The next flush must move the recovery point, too.
    vouch_wanted: bool,
    vouched_at: Option<Instant>,
    /// The one who asked for the running flush.
    under_way: Option<Asker>,
}

impl<W, D> Partition<W, D> {
    /// Asks for a flush at the end of the turn.
    pub fn want_flush(&mut self) {
        self.flushing.wanted.get_or_insert(Asker::Driver);
    }

    /// A flush is under way.
    pub fn is_flushing(&self) -> bool {
        self.flushing.under_way.is_some()
    }

    /// A flush has ended. What it made durable counts from now on.
    pub fn flushed(&mut self, turn: Turn, done: FlushDone) {
        let asker = self.flushing.under_way.take().unwrap_or(Asker::Driver);
        let epoch = self.epoch_of(asker);
        let failed = done.result.as_ref().err().map(|error| LogError::Flush(error.to_string()));
        let end = self.log.finish_flush(done);
        match failed {
            None => self.step(turn, Event::Flushed { epoch, end }),
            Some(error) => self.storage_failed(turn, error),
        }
    }

    /// The driver has taken the partition over. Data that a crash left unflushed is flushed so that it
    /// counts. For a topic with relaxed flushes it counts as it is, because a thousand flushes would delay
    /// the start.
    pub fn adopted(&mut self) {
        if self.log.durable_end() < self.log.log_end() && !self.log.is_relaxed() {
            self.want_flush();
        }
    }

    /// Completes the files of the log, as a clean stop leaves them, and returns the flush to run for it.
    /// There MUST be no flush running.
    pub fn close(&mut self) -> Result<Option<FlushJob>, LogError> {
        let job = self.log.close(&self.core.snapshot_producers())?;
        self.flushing.under_way = job.as_ref().map(|_| Asker::Driver);
        Ok(job)
    }

    /// The bytes that the next start would scan after a crash now. Those of a topic with relaxed flushes do
    /// not count.
    pub fn unvouched_bytes(&self) -> u64 {
        if self.log.is_relaxed() { 0 } else { self.log.unvouched_bytes() }
    }

    /// Asks for a flush after which a crash leaves nothing to scan, if there are at least `least` bytes to
    /// scan. A log with relaxed flushes is asked rarely.
    pub(super) fn vouch(&mut self, now: Instant, least: u64) {
        let interval = if self.log.is_relaxed() { INTERVAL_RELAXED } else { Duration::ZERO };
        let waited = now.since(self.flushing.vouched_at.unwrap_or(Instant(0)));
        if self.log.unvouched_bytes() >= least && waited >= interval {
            self.flushing.vouched_at = Some(now);
            self.flushing.vouch_wanted = true;
            self.want_flush();
        }
    }

    pub(super) fn core_wants_flush(&mut self, epoch: LeaderEpoch) {
        self.flushing.wanted = Some(Asker::Core(epoch));
    }

    pub(super) fn is_flush_wanted(&self) -> bool {
        self.flushing.wanted.is_some()
    }

    pub(super) fn begin_flush(&mut self, turn: Turn) -> Option<FlushJob> {
        if self.flushing.under_way.is_some() || self.failure.is_some() {
            return None;
        }
        let asker = self.flushing.wanted.take()?;
        let core = &self.core;
        let mut producers = || core.snapshot_producers();
        let job = match std::mem::take(&mut self.flushing.vouch_wanted) {
            true => self.log.begin_vouch(&mut producers),
            false => self.log.begin_flush(&mut producers),
        };
        if job.is_some() {
            self.flushing.under_way = Some(asker);
        } else if self.log.durable_end() < self.log.written_end() {
            self.storage_failed(turn, LogError::Offline("no flush can be begun".to_owned()));
        } else {
            // A flush of an earlier epoch covered it, but the core ignored that result.
            let (epoch, end) = (self.epoch_of(asker), self.log.durable_end());
            self.step(turn, Event::Flushed { epoch, end });
        }
        job
    }

    fn epoch_of(&self, asker: Asker) -> LeaderEpoch {
        match asker {
            Asker::Core(epoch) => epoch,
            Asker::Driver => self.core.view().leader_epoch,
        }
    }
}
