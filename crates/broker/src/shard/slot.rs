//! A partition with the coordinator that may live in it, the order of their turns, and what leaves after a turn.

use std::sync::Arc;

use ottla_log::FlushJob;
use ottla_partition::{Ended, Turn, Wish};
use ottla_wire::Instant;

use super::driver::{Partition, PartitionDriver};
use crate::coordinator::{Coordinating, Coordinators};
use crate::partition::PartitionHandle;

/// A partition of the shard.
pub struct Slot {
    pub handle: Arc<PartitionHandle>,
    pub partition: Partition,
    pub coordinator: Option<Coordinating>,
    /// When the coordinator must be told that time has passed, as the shard knows it.
    pub due: Option<Instant>,
    /// It is on the shard's list for the end of the turn.
    listed: bool,
}

/// What a turn has left to be done.
pub struct Left {
    pub flush: Option<FlushJob>,
    /// When the coordinator must be told that time has passed.
    pub due: Option<Instant>,
    pub has_waiters: bool,
    /// There is more to write: the next turn is due at once.
    pub again: bool,
}

impl Slot {
    pub fn new(driver: PartitionDriver, desk: &Arc<Coordinators>) -> Slot {
        let PartitionDriver { handle, mut partition } = driver;
        let coordinator = Coordinating::of(&handle, desk);
        if coordinator.is_some() {
            partition.house_lodger();
        }
        Slot { handle, partition, coordinator, due: None, listed: false }
    }

    /// Puts it on the list; true if it was not there.
    pub fn list(&mut self) -> bool {
        !std::mem::replace(&mut self.listed, true)
    }

    /// Ends the turn: what the coordinator has written goes to the partition, the partition writes, and what came of it
    /// goes back.
    pub fn end_turn(&mut self, turn: Turn) -> Left {
        self.listed = false;
        if let Some(coordinator) = &mut self.coordinator {
            coordinator.host().write(turn, &mut self.partition);
        }
        let flush = if self.partition.is_touched() { self.end_partition(turn) } else { None };
        let (mut due, mut again) = (None, false);
        if let Some(coordinator) = &mut self.coordinator {
            let host = coordinator.host();
            again = host.settle(turn, &mut self.partition);
            due = host.next_deadline();
        }
        Left { flush, due, has_waiters: self.partition.has_waiters(), again }
    }

    /// Ends the turn of the partition alone.
    pub fn end_partition(&mut self, turn: Turn) -> Option<FlushJob> {
        let Ended { view, appends, deletions, wishes, flush } = self.partition.end_turn(turn);
        self.handle.publish(view);
        appends.for_each(|(ticket, outcome)| ticket.answer(outcome));
        for (waiter, outcome) in deletions {
            let _gone = waiter.send(outcome);
        }
        wishes.for_each(|wish| cannot_yet(&self.handle, &wish));
        flush
    }
}

/// What goes between brokers comes with clusters of several nodes. A cluster of one never asks for it.
fn cannot_yet(partition: &PartitionHandle, wish: &Wish) {
    match wish {
        Wish::Fetch(_) | Wish::ProposeIsr(_) => {
            let (topic, partition) = (&partition.topic, partition.index.0);
            tracing::error!(%topic, partition, ?wish, "replication between brokers is not there yet");
        }
        Wish::StopFetching => {}
    }
}
