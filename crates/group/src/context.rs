//! The input of a step of a group.

use ottla_coordinator::{Moment, Output, Producer, Ticket};

use crate::config::GroupConfig;
use crate::history::Histories;
use crate::memory::Memory;
use crate::record::GroupRecord;
use crate::request::{Reply, Response};
use crate::timers::Timers;
use crate::topics::Topics;

/// Time, settings, topics and memory; timers and the history; and the way out.
pub struct Context<'a> {
    pub at: &'a Moment,
    pub config: &'a GroupConfig,
    pub topics: &'a dyn Topics,
    /// As it was when the step began.
    pub memory: Memory,
    pub timers: &'a mut Timers,
    pub histories: &'a mut Histories,
    pub out: &'a mut Output<Reply>,
}

impl Context<'_> {
    /// Writes a record. The caller applies it itself.
    pub fn write(&mut self, record: &GroupRecord) {
        self.out.write(record.encode());
    }

    /// Writes a record of a producer's transaction.
    pub fn write_in(&mut self, producer: Producer, record: &GroupRecord) {
        self.out.write_in(producer, record.encode());
    }

    pub fn reply(&mut self, to: Ticket, response: Response) {
        self.out.send(Reply { to, response });
    }
}
