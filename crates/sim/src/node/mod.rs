//! A broker: a machine with a disk, and the process that runs on it, now and then.
//!
//! - [`partition`]: the machine of the one partition, on the simulated disk.
//! - `process`: what a running broker does with messages and timers.
//! - `lifecycle`: what it tells the controller and is told by it.
//! - `metadata`: what it makes of the metadata log.
//! - `serve`: reads for followers and consumers.

mod lifecycle;
mod metadata;
pub mod partition;
mod process;
mod serve;

use std::time::Duration;

use ottla_log::MemDisk;
use ottla_wire::{BrokerId, Instant, Offset};

use crate::message::Message;
use crate::network::Party;
use crate::rng::Rng;

pub use partition::{PARTITION, TOPIC, Turn};
pub use process::{CLUSTER, Process, Setup};
pub use serve::read_all;

/// A machine.
pub struct Node {
    pub index: usize,
    pub disk: MemDisk,
    /// `None` while nothing runs on it.
    pub process: Option<Process>,
    /// How many processes it has had. What was meant for one does not reach the next.
    pub starts: u64,
    /// Stopped by a signal until then: everything waits.
    pub paused_until: Option<Instant>,
    /// How far the wall clock is off, in milliseconds.
    pub clock_off_ms: i64,
    /// Each flush takes up to this long.
    pub flush_ms_max: u64,
    /// The broker epoch that it would show after a crash, where it keeps that.
    pub last_epoch: Option<i64>,
    /// What was flushed when the last process went.
    pub durable_then: Offset,
}

/// What a process wants done when it has had its turn.
#[derive(Debug, Default)]
pub struct Outbox {
    pub sends: Vec<(Party, Message)>,
    pub timers: Vec<(Duration, Timer)>,
    /// What it promised to callers: for the invariants.
    pub facts: Vec<Fact>,
    /// The process ends here: its disk has failed, or it was let go.
    pub exits: bool,
}

/// What a process has to be woken for.
#[derive(Debug)]
pub enum Timer {
    /// Time passes for the core; every now and then also for what is slow.
    Tick,
    Heartbeat,
    /// A flush ends.
    Flush(u64),
    /// A turn of the partition ends, which has taken in what came meanwhile.
    EndTurn,
    /// No answer came to a fetch or an ISR proposal.
    GiveUp(u64),
    /// A fetch that follows a failed one.
    FetchNow(u64),
    /// A fetch that waited for records is answered without.
    Unpark(u64),
}

/// Something that a process has done, and that can be right or wrong.
#[derive(Clone, Debug)]
pub enum Fact {
    /// A produce request was answered with success.
    Promised { acks: ottla_replica::Acks, last_offset: Offset, durable_end: Offset, high_watermark: Offset },
}

impl Node {
    pub fn new(index: usize) -> Node {
        Node {
            index,
            disk: MemDisk::new(),
            process: None,
            starts: 0,
            paused_until: None,
            clock_off_ms: 0,
            flush_ms_max: 3,
            last_epoch: None,
            durable_then: Offset::ZERO,
        }
    }

    pub fn broker(&self) -> BrokerId {
        broker_id(self.index)
    }

    /// The process is gone; what was not flushed is, too, if the power went with it.
    pub fn end_process(&mut self, power_lost: bool, rng: &mut Rng) {
        if let Some(process) = self.process.take() {
            self.durable_then = process.partition().map_or(self.durable_then, |one| one.log().durable_end());
            self.last_epoch = process.epoch().or(self.last_epoch);
        }
        if power_lost {
            self.disk.crash(&mut || rng.draw());
        } else {
            self.disk.set_faults(ottla_log::Faults::default());
        }
        self.paused_until = None;
    }
}

/// Broker ids begin at 1.
pub fn broker_id(index: usize) -> BrokerId {
    BrokerId(index as i32 + 1)
}

/// The index of a broker of this cluster.
pub fn index_of(broker: BrokerId) -> usize {
    (broker.0 - 1) as usize
}
