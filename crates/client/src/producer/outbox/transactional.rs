//! What a transaction has to do with batches: the identity that its coordinator gave is taken over, the
//! coordinator is told of partitions (version 1), and what a transaction that is to be aborted has not sent
//! is dropped.

use std::collections::BTreeSet;

use super::{Effect, Outbox, Question, SLEEP_MAX, World};
use crate::cluster::TopicPartition;
use crate::coordinator::pause_after;
use crate::error::Error;
use crate::producer::batch::Batch;
use crate::producer::delivery::Outcome;
use crate::producer::record::ProduceError;
use crate::producer::transaction::{Asked, Cause, judge, verdict_on};
use crate::seam::Instant;

impl Outbox {
    /// Sees to the transaction; gives the time to look again.
    pub(super) fn see_to_transaction(&mut self, world: &mut World<'_>) -> Instant {
        let later = world.now + SLEEP_MAX;
        let Some(transaction) = &world.transaction else { return later };
        let (drops, identity) = (transaction.drops(), transaction.identity());
        if drops {
            self.drop_queued(world);
        }
        if let (Some(sequences), Some(identity)) = (&mut self.sequences, identity)
            && sequences.identity() != Some(identity)
        {
            sequences.identify(identity.0, identity.1);
        }
        self.add_partitions(world)
    }

    /// Gives up what waits: a transaction that is aborted has no use for it.
    fn drop_queued(&mut self, world: &mut World<'_>) {
        for batch in world.accumulator.take_all() {
            let (error, maybe_stored) = (batch.given_up(ProduceError::Aborted), batch.maybe_stored);
            self.fail(&batch, error, maybe_stored, world);
        }
    }

    /// Tells the coordinator of partitions that records were taken for.
    fn add_partitions(&mut self, world: &mut World<'_>) -> Instant {
        let failures = match self.question.may_be_asked(world.now) {
            Ok(failures) => failures,
            Err(look_again) => return look_again,
        };
        if let Some((identity, partitions)) = world.transaction.as_mut().and_then(|of| of.next_to_add()) {
            self.question = Question::UnderWay { failures };
            world.effects.push(Effect::AddPartitions { identity, partitions });
        }
        world.now + SLEEP_MAX
    }

    /// [`Effect::AddPartitions`] is done.
    pub(in crate::producer) fn added(
        &mut self,
        partitions: BTreeSet<TopicPartition>,
        outcome: Result<(), Error>,
        world: &mut World<'_>,
    ) {
        match &outcome {
            Ok(()) => self.question = Question::NEW,
            Err(error) => self.ask_again(pause_after(error, (world.pause)(self.question.failed())), world),
        }
        let Some(transaction) = &mut world.transaction else { return };
        match outcome {
            Ok(()) => transaction.added(partitions),
            Err(error) => {
                let (verdict, maybe) = (judge(Asked::AddPartitions, &error), error.outcome_unknown());
                transaction.not_added(verdict, error.into(), maybe);
            }
        }
    }

    /// Tells the transaction that one of its batches was given up.
    pub(super) fn fail_transaction(&self, batch: &Batch, outcome: &Outcome, world: &mut World<'_>) {
        let Some(transaction) = &mut world.transaction else { return };
        let error = match outcome {
            Outcome::Failed(error) => error.clone(),
            Outcome::Refused { error, .. } => ProduceError::Refused(error.clone()),
            Outcome::Stored { .. } | Outcome::Split { .. } => return,
        };
        // Half of a batch that was split counts as sent: it has the numbers of the whole.
        let sequences = self.sequences.as_ref();
        let has_numbers = sequences.is_some_and(|of| of.stamp(&batch.partition, batch.id).is_some());
        transaction.record_failed(verdict_on(&error), Cause::from(error), batch.attempts > 0 || has_numbers);
    }
}
