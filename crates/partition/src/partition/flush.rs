//! Flushes: one at a time, each for who asked for it; and the recovery point, which flushes move now and
//! then.

use std::time::Duration;

use ottla_log::{FlushDone, FlushJob, LogError};
use ottla_replica::Event;
use ottla_wire::{Instant, LeaderEpoch};

use super::{Partition, Turn};

/// How long what was written to a topic that has given up flushes may stay in the page cache only.
const INTERVAL_RELAXED: Duration = Duration::from_secs(30);

/// Who asked for a flush.
#[derive(Clone, Copy, Debug)]
enum Asker {
    /// The core, in this epoch: the outcome is for that epoch.
    Core(LeaderEpoch),
    /// The driver, of its own accord: the outcome is for whatever epoch it then is.
    Driver,
}

/// What is to be flushed, and what is being flushed.
#[derive(Debug, Default)]
pub(super) struct Flushing {
    /// A flush that has been asked for and not begun.
    wanted: Option<Asker>,
    /// The next flush is to move the recovery point, too.
    vouch_wanted: bool,
    vouched_at: Option<Instant>,
    /// Who asked for the flush under way.
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

    /// A flush has ended: what it has made durable counts from now on.
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

    /// The partition is its driver's from now on. What a crash has left unflushed is flushed, so that it
    /// counts; of a topic that has given up flushes it counts as it is, and a thousand flushes would hold up
    /// the start.
    pub fn adopted(&mut self) {
        if self.log.durable_end() < self.log.log_end() && !self.log.is_relaxed() {
            self.want_flush();
        }
    }

    /// Makes the files of the log complete, as a clean stop leaves them, and gives the flush that is to be
    /// run for it. There MUST be no flush under way.
    pub fn close(&mut self) -> Result<Option<FlushJob>, LogError> {
        let job = self.log.close(&self.core.snapshot_producers())?;
        self.flushing.under_way = job.as_ref().map(|_| Asker::Driver);
        Ok(job)
    }

    /// Bytes that a crash now would make the next start scan. Those of a topic that has given up flushes do
    /// not count.
    pub fn unvouched_bytes(&self) -> u64 {
        if self.log.is_relaxed() { 0 } else { self.log.unvouched_bytes() }
    }

    /// Asks for a flush that lets a crash find nothing to do here, if there are at least so many bytes to be
    /// found. A log that has given up flushes is asked rarely.
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
            // A flush that an earlier epoch had asked for covered it, and the core did not listen to that.
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
