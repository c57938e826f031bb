//! How batches end.

use ottla_wire::{Offset, Timestamp};

use super::{Effect, Outbox, Sent, World};
use crate::producer::batch::Batch;
use crate::producer::delivery::Outcome;
use crate::producer::record::ProduceError;

impl Outbox {
    /// Settles everything at once, for `reason` what was not sent: the producer was closed in a hurry, or has
    /// failed.
    pub(in crate::producer) fn give_up(&mut self, reason: &ProduceError, world: &mut World<'_>) {
        let queued = world.accumulator.take_all();
        let sent = std::mem::take(&mut self.requests).into_values();
        for Sent { batch, .. } in sent.flat_map(|request| request.batches) {
            self.fail_with(&batch, batch.unknown(), true, world);
        }
        for batch in queued {
            self.fail(&batch, batch.given_up(reason.clone()), true, world);
        }
    }

    /// Ends a batch as stored.
    pub(super) fn stored(
        &mut self,
        sent: &Sent,
        base: Option<Offset>,
        log_append_time: Option<Timestamp>,
        world: &mut World<'_>,
    ) {
        let batch = &sent.batch;
        if let (Some(sequences), Some(stamp)) = (&mut self.sequences, sent.stamp) {
            sequences.acked(&batch.partition, batch.id, stamp);
        }
        end(batch, Outcome::Stored { base, log_append_time }, world);
    }

    /// Ends a batch as failed. `maybe_stored`: the broker may have its numbers.
    pub(super) fn fail(
        &mut self,
        batch: &Batch,
        error: ProduceError,
        maybe_stored: bool,
        world: &mut World<'_>,
    ) {
        self.fail_with(batch, Outcome::Failed(error), maybe_stored, world);
    }

    pub(super) fn fail_with(
        &mut self,
        batch: &Batch,
        outcome: Outcome,
        maybe_stored: bool,
        world: &mut World<'_>,
    ) {
        self.fail_transaction(batch, &outcome, world);
        if let Some(sequences) = &mut self.sequences {
            sequences.failed(&batch.partition, batch.id, maybe_stored);
        }
        end(batch, outcome, world);
    }
}

fn end(batch: &Batch, outcome: Outcome, world: &mut World<'_>) {
    if !batch.is_told {
        world.effects.push(Effect::Settle(batch.settlement.clone(), outcome));
    }
    world.accumulator.settled(batch.id);
    world.effects.push(Effect::Release(batch.reserved));
}
