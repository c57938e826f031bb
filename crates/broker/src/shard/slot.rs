//! A partition with the coordinators that live in it, and what leaves after a turn.

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

/// The machine, with who lives there and who waits for it in a broker.
pub type Machine = ottla_partition::Slot<Ticket, oneshot::Sender<DeleteOutcome>, Coordinating>;

/// A partition of the shard.
pub struct Slot {
    pub handle: Arc<PartitionHandle>,
    pub machine: Machine,
    /// When coordinators must be told that time has passed, as the shard knows it.
    pub due: Option<Instant>,
    /// It is on the shard's list for the end of the turn.
    listed: bool,
}

/// What a turn has left to be done.
pub struct Left {
    pub flush: Option<FlushJob>,
    /// When coordinators must be told that time has passed.
    pub due: Option<Instant>,
    pub has_waiters: bool,
    /// There is more to write: the next turn is due at once.
    pub again: bool,
}

impl Slot {
    pub fn new(driver: PartitionDriver, desk: &Arc<Coordinators>) -> Slot {
        let PartitionDriver { handle, partition } = driver;
        let coordinators = Coordinating::of(&handle, desk).into_iter().collect();
        Slot { handle, machine: Machine::new(partition, coordinators), due: None, listed: false }
    }

    /// Puts it on the list; true if it was not there.
    pub fn list(&mut self) -> bool {
        !std::mem::replace(&mut self.listed, true)
    }

    pub fn has_coordinators(&self) -> bool {
        !self.machine.lodgers().is_empty()
    }

    /// Mail to the coordinator of its kind. It is dropped if none of that kind lives here.
    pub fn deliver(&mut self, turn: Turn, mail: LodgerMail) {
        let (coordinators, partition) = self.machine.lodgers_mut();
        let mut mail = Some(mail);
        for coordinator in coordinators {
            mail = mail.and_then(|mail| coordinator.take(&turn.moment(uuid()), mail, partition));
        }
    }

    /// Does something with each coordinator that lives here.
    pub fn coordinate(&mut self, act: impl FnMut(&mut Coordinating)) {
        self.machine.lodgers_mut().0.iter_mut().for_each(act);
    }

    /// Time has passed for those who live here.
    pub fn tick_coordinators(&mut self, turn: Turn) {
        self.coordinate(|coordinator| coordinator.tick(&turn.moment(uuid())));
    }

    /// Ends the turn, and carries out what it leads to.
    pub fn end_turn(&mut self, turn: Turn) -> Left {
        self.listed = false;
        let SlotEnded { partition, due, has_waiters, again } = self.machine.end_turn(turn, &mut uuid);
        let flush = partition.and_then(|ended| carry_out(&self.handle, ended));
        self.coordinate(Coordinating::carry_out);
        Left { flush, due, has_waiters, again }
    }

    /// Gives the partition up, and its files.
    pub fn retire(mut self, turn: Turn, fate: Fate) -> Result<(), LogError> {
        let partition = self.machine.partition_mut();
        partition.step(turn, Event::Retired);
        let _no_flush = carry_out(&self.handle, partition.end_turn(turn));
        self.machine.into_partition().give_up(fate)
    }
}

/// Everybody sees the partition as it is now, then those who wait hear of it.
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

/// An id for one step of a coordinator.
pub fn uuid() -> Uuid {
    Random.uuid()
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
