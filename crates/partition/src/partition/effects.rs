//! Carries out the core's effects on the log.

use ottla_log::LogError;
use ottla_replica::{AppendError, DeleteError, Effect, Event};
use ottla_wire::Offset;

use super::{AppendOutcome, Partition, Turn, Waiter, Wish};
use crate::marker::Marker;
use crate::restore::Rebuilt;

impl<W, D> Partition<W, D> {
    /// Feeds an event and carries out its effects. For events without a method of their own.
    pub fn step(&mut self, turn: Turn, event: Event) {
        let mut completed = self.step_once(turn, event);
        while let Some(event) = completed {
            completed = self.step_once(turn, event);
        }
        if self.unwritten {
            self.take_back(turn);
        }
    }

    /// Feeds one event. Returns the event that reports the completion of its effects, if there is one.
    fn step_once(&mut self, turn: Turn, event: Event) -> Option<Event> {
        let mut effects = std::mem::take(&mut self.effects);
        self.core.step(turn.now, turn.wall, event, &mut effects);
        let (mut next, mut failed) = (None, None);
        for effect in effects.drain(..) {
            // A failed disk gets no more work, but its waiters must get an answer.
            if failed.is_some() && !matches!(effect, Effect::Reply { .. } | Effect::DeleteReplied { .. }) {
                continue;
            }
            match self.carry_out(effect) {
                Ok(completed) => next = completed.or(next),
                Err(error) => failed = Some(error),
            }
        }
        self.effects = effects;
        match failed {
            None => next,
            Some(error) => {
                self.storage_failed(turn, error);
                None
            }
        }
    }

    /// Carries out one effect. Returns the completion event, if the core waits for one and the work is
    /// already done. That holds for truncations, of which there is one at a time.
    fn carry_out(&mut self, effect: Effect) -> Result<Option<Event>, LogError> {
        match effect {
            // It would come after what is not there.
            Effect::Write(_) | Effect::Aborted(_) if self.unwritten => {}
            Effect::Write(batch) => {
                if self.lodgers.keeps_markers && batch.header.is_control() {
                    self.lodgers.markers.extend(Marker::of(&batch));
                }
                self.log.append(batch)?;
            }
            Effect::Flush { epoch, .. } => self.core_wants_flush(epoch),
            Effect::Reply { to, outcome } => match self.appends.take(to) {
                Some(Waiter::Sender(waiter)) => self.held.push((waiter, outcome)),
                Some(Waiter::Lodger(lodger, generation)) => {
                    self.lodgers.outcomes.push((lodger, generation, outcome));
                }
                None => {}
            },
            Effect::DeleteReplied { to, outcome } => {
                if let Some(waiter) = self.deletions.take(to) {
                    self.held_deletions.push((waiter, outcome));
                }
            }
            Effect::MoveLogStart(start) => {
                // Queued writes count, too.
                self.write()?;
                self.log.move_start(start)?;
            }
            Effect::EpochsChanged => self.log.store_epochs(self.core.epochs().entries()),
            Effect::Aborted(txn) => self.log.append_aborted(txn),
            Effect::Truncate { to } => return self.truncate(to).map(Some),
            Effect::RestartAt(offset) => self.log.restart_at(offset)?,
            Effect::Fetch(fetch) => self.wishes.push(Wish::Fetch(fetch)),
            Effect::StopFetching => self.wishes.push(Wish::StopFetching),
            Effect::ProposeIsr(proposal) => self.wishes.push(Wish::ProposeIsr(proposal)),
        }
        Ok(None)
    }

    /// Cuts the log and rebuilds the producers from the rest. A flush may be running. The core ignores its
    /// result, and the next flush writes the current epochs.
    fn truncate(&mut self, to: Offset) -> Result<Event, LogError> {
        self.write()?;
        let end = self.log.truncate_to(to)?;
        let mut rebuilt = Rebuilt::new(self.core.config());
        self.log.replay(&mut rebuilt)?;
        Ok(Event::Truncated { end, producers: rebuilt.into_producers() })
    }

    /// Writes what is queued, and takes back what there is no room for.
    pub(super) fn write_now(&mut self, turn: Turn) {
        match self.write() {
            Err(error) => self.storage_failed(turn, error),
            Ok(()) if self.unwritten => self.take_back(turn),
            Ok(()) => {}
        }
    }

    /// Writes what is queued. Where there is no room for it, it is for the end of the step to take it back.
    fn write(&mut self) -> Result<(), LogError> {
        match self.log.write() {
            Err(LogError::Full { .. }) => {
                self.unwritten = true;
                Ok(())
            }
            written => written,
        }
    }

    /// What was queued is not in the log and never was: nobody has seen it yet, and nobody hears otherwise.
    fn take_back(&mut self, turn: Turn) {
        self.unwritten = false;
        let end = self.log.log_end();
        let lost = |outcome: &AppendOutcome| matches!(outcome, Ok(appended) if appended.last_offset >= end);
        let outcomes = self.held.iter_mut().map(|(_, outcome)| outcome);
        let of_lodgers = self.lodgers.outcomes.iter_mut().map(|(.., outcome)| outcome);
        for outcome in outcomes.chain(of_lodgers).filter(|outcome| lost(outcome)) {
            *outcome = Err(AppendError::NoRoom);
        }
        self.lodgers.markers.retain(|marker| marker.offset < end);
        let mut rebuilt = Rebuilt::new(self.core.config());
        match self.log.replay(&mut rebuilt) {
            Ok(()) => self.step(turn, Event::Unwritten { end, producers: rebuilt.into_producers() }),
            Err(error) => self.storage_failed(turn, error),
        }
    }

    /// The disk has failed. No promise of this turn may leave as a success, and nothing in it is reported to
    /// others.
    pub(super) fn storage_failed(&mut self, turn: Turn, error: LogError) {
        let mut effects = Vec::new();
        self.core.step(turn.now, turn.wall, Event::StorageFailed, &mut effects);
        self.wishes.clear();
        for effect in effects {
            // A failed disk gets no more work.
            if let Effect::Reply { .. } | Effect::DeleteReplied { .. } | Effect::StopFetching = effect {
                let _no_disk_in_it = self.carry_out(effect);
            }
        }
        for (_, outcome) in &mut self.held {
            *outcome = outcome.and(Err(AppendError::Storage));
        }
        for (_, _, outcome) in &mut self.lodgers.outcomes {
            *outcome = outcome.and(Err(AppendError::Storage));
        }
        for (_, outcome) in &mut self.held_deletions {
            *outcome = outcome.and(Err(DeleteError::Storage));
        }
        if self.failure.is_none() {
            let (topic, partition) = (self.log.topic(), self.log.partition().0);
            tracing::error!(topic, partition, %error, "the log failed: the partition goes offline");
            self.failure = Some(error);
        }
    }
}
