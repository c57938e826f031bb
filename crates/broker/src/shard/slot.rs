//! A partition with its coordinators, and the effects of a turn.

use std::sync::Arc;

use ottla_controller::controller::IdSource;
use ottla_log::{FlushJob, LogError};
use ottla_partition::{DeleteOutcome, Ended, Fate, Lodger, SlotEnded, Turn, Wish};
use ottla_replica::Event;
use ottla_wire::{Instant, Uuid};
use tokio::sync::oneshot;

use super::appends::Ticket;
use super::driver::PartitionDriver;
use super::mailbox::LodgerMail;
use crate::controllers::Random;
use crate::coordinator::{Coordinating, Coordinators};
use crate::partition::PartitionHandle;

/// The machine with its lodgers and waiters in a broker.
pub type Machine = ottla_partition::Slot<Ticket, oneshot::Sender<DeleteOutcome>, Coordinating>;

/// A partition of the shard.
pub struct Slot {
    pub handle: Arc<PartitionHandle>,
    pub machine: Machine,
    /// When to tell coordinators that time has passed, as noted by the shard.
    pub due: Option<Instant>,
    /// It is on the shard's list for the end of the turn.
    listed: bool,
}

/// The work that a turn has left.
pub struct Left {
    pub flush: Option<FlushJob>,
    /// When to tell coordinators that time has passed.
    pub due: Option<Instant>,
    pub has_waiters: bool,
    /// There is more to write, so the next turn is due at once.
    pub again: bool,
}

impl Slot {
    pub fn new(driver: PartitionDriver, desk: &Arc<Coordinators>) -> Slot {
        let PartitionDriver { handle, partition } = driver;
        let coordinators = Coordinating::of(&handle, desk).into_iter().collect();
        Slot { handle, machine: Machine::new(partition, coordinators), due: None, listed: false }
    }

    /// Lists it. True if it was not listed before.
    pub fn list(&mut self) -> bool {
        !std::mem::replace(&mut self.listed, true)
    }

    pub fn has_coordinators(&self) -> bool {
        !self.machine.lodgers().is_empty()
    }

    /// Delivers mail to the coordinator of its kind. Dropped if there is none.
    pub fn deliver(&mut self, turn: Turn, mail: LodgerMail) {
        let (coordinators, partition) = self.machine.lodgers_mut();
        let mut mail = Some(mail);
        for coordinator in coordinators {
            mail = mail.and_then(|mail| coordinator.take(&turn.moment(uuid()), mail, partition));
        }
    }

    /// Runs `act` on each coordinator here.
    pub fn coordinate(&mut self, act: impl FnMut(&mut Coordinating)) {
        self.machine.lodgers_mut().0.iter_mut().for_each(act);
    }

    /// Tells the coordinators here that time has passed.
    pub fn tick_coordinators(&mut self, turn: Turn) {
        self.coordinate(|coordinator| coordinator.tick(&turn.moment(uuid())));
    }

    /// Ends the turn and carries out its effects.
    pub fn end_turn(&mut self, turn: Turn) -> Left {
        self.listed = false;
        let SlotEnded { partition, due, has_waiters, again } = self.machine.end_turn(turn, &mut uuid);
        let flush = partition.and_then(|ended| carry_out(&self.handle, ended));
        self.coordinate(Coordinating::carry_out);
        Left { flush, due, has_waiters, again }
    }

    /// Gives up the partition and its files.
    pub fn retire(mut self, turn: Turn, fate: Fate) -> Result<(), LogError> {
        let partition = self.machine.partition_mut();
        partition.step(turn, Event::Retired);
        let _no_flush = carry_out(&self.handle, partition.end_turn(turn));
        self.machine.into_partition().give_up(fate)
    }
}

/// Publishes the partition's new view, then answers the waiters.
fn carry_out(
    handle: &PartitionHandle,
    ended: Ended<'_, Ticket, oneshot::Sender<DeleteOutcome>>,
) -> Option<FlushJob> {
    let Ended { view, appends, deletions, wishes, flush } = ended;
    handle.publish(view);
    appends.for_each(|(ticket, outcome)| ticket.answer(outcome));
    for (waiter, outcome) in deletions {
        let _gone = waiter.send(outcome);
    }
    wishes.for_each(|wish| cannot_yet(handle, &wish));
    flush
}

/// A random id for one step of a coordinator.
pub fn uuid() -> Uuid {
    Random.uuid()
}

/// Effects between brokers come with clusters of several nodes. A cluster of one never needs them.
fn cannot_yet(partition: &PartitionHandle, wish: &Wish) {
    match wish {
        Wish::Fetch(_) | Wish::ProposeIsr(_) => {
            let (topic, partition) = (&partition.topic, partition.index.0);
            tracing::error!(%topic, partition, ?wish, "replication between brokers is not there yet");
        }
        Wish::StopFetching => {}
    }
}
