//! A partition with the coordinator that may live in it, and the order of their turns.

use std::sync::Arc;

use ottla_log::FlushJob;
use ottla_wire::Instant;

use super::driver::{PartitionDriver, Turn};
use crate::coordinator::{Coordinating, Coordinators};

/// A partition of the shard.
pub struct Slot {
    pub partition: PartitionDriver,
    pub coordinator: Option<Coordinating>,
    /// When the coordinator must be told that time has passed, as the shard knows it.
    pub due: Option<Instant>,
    /// It is on the shard's list for the end of the turn.
    listed: bool,
}

/// What a turn has left to be done.
pub struct Ended {
    pub flush: Option<FlushJob>,
    /// When the coordinator must be told that time has passed.
    pub due: Option<Instant>,
    pub has_waiters: bool,
    /// There is more to write: the next turn is due at once.
    pub again: bool,
}

impl Slot {
    pub fn new(mut partition: PartitionDriver, desk: &Arc<Coordinators>) -> Slot {
        let coordinator = Coordinating::of(partition.handle(), desk);
        if coordinator.is_some() {
            partition.house_coordinator();
        }
        Slot { partition, coordinator, due: None, listed: false }
    }

    /// Puts it on the list; true if it was not there.
    pub fn list(&mut self) -> bool {
        !std::mem::replace(&mut self.listed, true)
    }

    /// Ends the turn: what the coordinator has written goes to the partition, the partition writes, and what came of it
    /// goes back.
    pub fn end_turn(&mut self, turn: Turn) -> Ended {
        self.listed = false;
        if let Some(coordinator) = &mut self.coordinator {
            coordinator.host().write(turn, &mut self.partition);
        }
        let flush = if self.partition.is_touched() { self.partition.end_turn(turn) } else { None };
        let (mut due, mut again) = (None, false);
        if let Some(coordinator) = &mut self.coordinator {
            let host = coordinator.host();
            again = host.settle(turn, &mut self.partition);
            due = host.next_deadline();
        }
        Ended { flush, due, has_waiters: self.partition.has_waiters(), again }
    }
}
