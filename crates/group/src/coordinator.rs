//! The groups of one partition of `__consumer_offsets`, as a coordinator's core.

use std::collections::BTreeSet;
use std::sync::Arc;

use ottla_coordinator::{Coordinator, Moment, Output, Producer, Record, ReplayError, Ticket};
use ottla_wire::primitives::Str;
use ottla_wire::{Instant, Offset};

use crate::classic;
use crate::config::GroupConfig;
use crate::consumer;
use crate::context::Context;
use crate::groups::Groups;
use crate::history::Histories;
use crate::memory::Memory;
use crate::offsets::Offsets;
use crate::record::GroupRecord;
use crate::request::{Call, Reply};
use crate::step::Step;
use crate::timers::Timers;
use crate::topics::Topics;

/// Keeps the groups of one partition: see [`Coordinator`] for the contract.
pub struct GroupCoordinator {
    config: GroupConfig,
    topics: Arc<dyn Topics>,
    groups: Groups,
    offsets: Offsets,
    histories: Histories,
    timers: Timers,
    /// Memory that the other coordinators of this broker take.
    others_bytes: usize,
}

/// The lasting state: see [`GroupCoordinator::records`].
#[derive(Clone, Debug, PartialEq)]
pub struct Lasting {
    pub records: Vec<GroupRecord>,
    /// Groups in the middle of a rebalance, which know more than their records say. They are missing above.
    pub in_motion: BTreeSet<Str>,
}

impl GroupCoordinator {
    pub fn new(config: GroupConfig, topics: Arc<dyn Topics>) -> GroupCoordinator {
        let histories = Histories::new(config.limits);
        GroupCoordinator {
            config,
            topics,
            groups: Groups::default(),
            offsets: Offsets::default(),
            histories,
            timers: Timers::default(),
            others_bytes: 0,
        }
    }

    /// The settings have changed. They count from the next step on.
    pub fn configure(&mut self, config: GroupConfig) {
        self.histories.configure(config.limits);
        self.config = config;
    }

    /// The memory that the other coordinators of this broker take.
    pub fn set_others_bytes(&mut self, bytes: usize) {
        self.others_bytes = bytes;
    }

    /// Bytes that the state takes in memory, as far as can be reckoned: see [`crate::memory`].
    pub fn bytes(&self) -> usize {
        self.groups.bytes() + self.offsets.bytes() + self.histories.bytes()
    }

    /// The cluster's topics have changed; `deleted` names those that are gone, also where one of the same
    /// name has come since. To be called inside [`ottla_coordinator::Frame::act`].
    pub fn topics_changed(
        &mut self,
        at: &Moment,
        topics: Arc<dyn Topics>,
        deleted: &[Str],
        out: &mut Output<Reply>,
    ) {
        self.topics = topics;
        let mut step = self.step(at, out);
        step.offsets.remove_topics(&mut step.ctx, step.groups, deleted);
        for id in step.groups.ids() {
            let Some(group) = step.groups.get_mut(&id) else { continue };
            let next = group.topics_changed(&mut step.ctx, deleted);
            step.settle(&id, next);
        }
    }

    /// The groups, to look at.
    pub fn groups(&self) -> &Groups {
        &self.groups
    }

    /// The committed offsets, to look at.
    pub fn offsets(&self) -> &Offsets {
        &self.offsets
    }

    /// What is due when, to look at.
    pub fn timers(&self) -> &Timers {
        &self.timers
    }

    /// The lasting state as the records that stand for it: what compaction would leave of the log.
    pub fn records(&self) -> Lasting {
        let mut lasting = Lasting { records: self.offsets.records(), in_motion: BTreeSet::new() };
        for (id, group) in self.groups.iter() {
            match group.records() {
                Some(records) => lasting.records.extend(records),
                None => {
                    lasting.in_motion.insert(id.clone());
                }
            }
        }
        lasting
    }

    /// How many rebalances have begun since the coordinator was made.
    pub fn rebalances_begun(&self) -> u64 {
        self.histories.begun()
    }

    fn step<'a>(&'a mut self, at: &'a Moment, out: &'a mut Output<Reply>) -> Step<'a> {
        let taken = self.bytes() + self.others_bytes;
        Step {
            ctx: Context {
                at,
                config: &self.config,
                topics: &*self.topics,
                memory: Memory { taken, max: self.config.state_bytes_max },
                timers: &mut self.timers,
                histories: &mut self.histories,
                out,
            },
            groups: &mut self.groups,
            offsets: &mut self.offsets,
        }
    }
}

impl Coordinator for GroupCoordinator {
    type Request = Call;
    type Outbound = Reply;

    fn handle(&mut self, at: &Moment, ticket: Ticket, call: Call, out: &mut Output<Reply>) {
        self.step(at, out).serve(ticket, &call.caller, call.request);
    }

    fn only_reads(call: &Call) -> bool {
        call.request.reads_only()
    }

    fn tick(&mut self, at: &Moment, out: &mut Output<Reply>) {
        // As many as there are now. A timer that is set again for this moment waits for the next tick, so
        // this one ends.
        for _ in 0..self.timers.len() {
            let Some(timer) = self.timers.pop_due(at.now) else { return };
            self.step(at, out).on_timer(timer);
        }
    }

    fn next_deadline(&self) -> Option<Instant> {
        self.timers.next()
    }

    fn replay(
        &mut self,
        _offset: Offset,
        producer: Option<Producer>,
        record: Record,
    ) -> Result<(), ReplayError> {
        match GroupRecord::decode(record)? {
            GroupRecord::Offset { key, value } => {
                self.offsets.apply(producer, &key, value.as_ref());
                if value.is_some() {
                    classic::get_or_create(&mut self.groups, &key.group);
                }
                Ok(())
            }
            GroupRecord::Group { key, value } => classic::replay(&mut self.groups, key, value),
            record @ (GroupRecord::ConsumerGroup { .. }
            | GroupRecord::ConsumerGroupPartitions { .. }
            | GroupRecord::ConsumerGroupMember { .. }
            | GroupRecord::TargetAssignment { .. }
            | GroupRecord::TargetAssignmentMember { .. }
            | GroupRecord::CurrentAssignment { .. }
            | GroupRecord::RegularExpression { .. }) => consumer::replay(&mut self.groups, record),
        }
    }

    fn end_transaction(&mut self, producer: Producer, commit: bool) {
        for id in self.offsets.end_transaction(producer, commit) {
            if self.groups.is_left_over(&self.offsets, &id) {
                self.groups.forget(&mut self.timers, &mut self.histories, &id);
            }
        }
    }

    fn start(&mut self, at: &Moment, out: &mut Output<Reply>) {
        let mut step = self.step(at, out);
        step.offsets.start(&mut step.ctx);
        for id in step.groups.ids() {
            let Some(group) = step.groups.get_mut(&id) else { continue };
            let next = group.start(&mut step.ctx);
            step.settle(&id, next);
        }
    }
}
