//! Flushes: one at a time, each for the epoch that asked for it. Its outcome comes a while after it has begun.

use ottla_log::{FlushDone, FlushJob, LogError};
use ottla_replica::Event;
use ottla_wire::{LeaderEpoch, Offset};

use super::{Out, Partition, Turn};

/// The flush under way.
pub(super) struct Flushing {
    number: u64,
    /// Who asked for it.
    epoch: LeaderEpoch,
    work: Work,
}

enum Work {
    ToDo(FlushJob),
    /// The disk was fast, only the news is slow.
    Done(FlushDone),
}

impl Work {
    fn done(self) -> FlushDone {
        match self {
            Work::ToDo(job) => job.run(),
            Work::Done(done) => done,
        }
    }
}

impl Partition {
    /// What the flush under way makes durable is what was written when it began, not what was when it ends.
    pub fn run_flush(&mut self) {
        if let Some(mut flushing) = self.flushing.take() {
            flushing.work = Work::Done(flushing.work.done());
            self.flushing = Some(flushing);
        }
    }

    /// A flush has come back.
    pub fn flushed(&mut self, turn: Turn, number: u64, out: &mut Vec<Out>) {
        let Some(flushing) = self.flushing.take_if(|flushing| flushing.number == number) else {
            return; // from before the files were opened anew
        };
        let epoch = flushing.epoch;
        match self.finish(flushing.work.done()) {
            Ok(end) => self.turn(turn, Event::Flushed { epoch, end }, out),
            Err(error) => self.storage_failed(turn, &error, out),
        }
    }

    pub(super) fn begin_flush(&mut self, turn: Turn, out: &mut Vec<Out>) {
        let Some(epoch) = self.flush_wanted.filter(|_| self.flushing.is_none() && !self.failed) else {
            return;
        };
        self.flush_wanted = None;
        let core = &self.core;
        match self.log.begin_flush(&mut || core.snapshot_producers()) {
            Some(job) => self.start(epoch, job, out),
            // A flush that an older epoch asked for has done it already.
            None if self.log.durable_end() == self.log.written_end() => {
                let end = self.log.durable_end();
                self.turn(turn, Event::Flushed { epoch, end }, out);
            }
            None if self.dir.health().is_online() => {
                self.complaint.get_or_insert_with(|| "the log does not flush".to_owned());
            }
            None => self.storage_failed(turn, &LogError::Offline("flush".to_owned()), out),
        }
    }

    pub(super) fn start(&mut self, epoch: LeaderEpoch, job: FlushJob, out: &mut Vec<Out>) {
        self.flushes += 1;
        self.flushing = Some(Flushing { number: self.flushes, epoch, work: Work::ToDo(job) });
        out.push(Out::Flush(self.flushes));
    }

    pub(super) fn finish(&mut self, done: FlushDone) -> Result<Offset, LogError> {
        if let Err(error) = &done.result {
            return Err(LogError::Offline(error.to_string()));
        }
        Ok(self.log.finish_flush(done))
    }
}
