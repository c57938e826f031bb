//! The groups of one partition of `__consumer_offsets`: dispatch of requests, records and timers.

use std::collections::BTreeSet;
use std::sync::Arc;

use ottla_coordinator::{Coordinator, Moment, Output, Producer, Record, ReplayError, Ticket};
use ottla_wire::primitives::Str;
use ottla_wire::{Instant, Offset};

use crate::classic;
use crate::config::GroupConfig;
use crate::consumer;
use crate::context::Context;
use crate::group::{Group, Next};
use crate::groups::Groups;
use crate::history::Histories;
use crate::offsets::Offsets;
use crate::record::GroupRecord;
use crate::request::{Call, Caller, Reply, Request, Response};
use crate::timers::{Timer, Timers};
use crate::topics::Topics;
use crate::{admin, door};

/// Keeps the groups of one partition: see [`Coordinator`] for the contract.
pub struct GroupCoordinator {
    config: GroupConfig,
    topics: Arc<dyn Topics>,
    groups: Groups,
    offsets: Offsets,
    histories: Histories,
    timers: Timers,
}

/// The lasting state: see [`GroupCoordinator::records`].
#[derive(Clone, Debug, PartialEq)]
pub struct Lasting {
    pub records: Vec<GroupRecord>,
    /// Groups that know more than their records say: members of a rebalance that is not through. They are missing above.
    pub in_motion: BTreeSet<Str>,
}

/// What a step works on: the context, and the state beside it.
struct Parts<'a> {
    ctx: Context<'a>,
    groups: &'a mut Groups,
    offsets: &'a mut Offsets,
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
        }
    }

    /// The settings have changed. They count from the next step on.
    pub fn configure(&mut self, config: GroupConfig) {
        self.histories.configure(config.limits);
        self.config = config;
    }

    /// The cluster's topics have changed; `deleted` names those that are gone, also where one of the same name has come
    /// since. To be called inside [`ottla_coordinator::Frame::act`].
    pub fn topics_changed(
        &mut self,
        at: &Moment,
        topics: Arc<dyn Topics>,
        deleted: &[Str],
        out: &mut Output<Reply>,
    ) {
        self.topics = topics;
        let Parts { mut ctx, groups, offsets } = self.parts(at, out);
        let touched = offsets.remove_topics(&mut ctx, groups, deleted);
        for id in groups.ids() {
            if let Some(Group::Consumer(group)) = groups.get_mut(&id) {
                let next = group.topics_changed(&mut ctx, deleted);
                groups.settle(&mut ctx, offsets, &id, next);
            }
        }
        for id in touched {
            groups.settle(&mut ctx, offsets, &id, Next::Stays);
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

    fn parts<'a>(&'a mut self, at: &'a Moment, out: &'a mut Output<Reply>) -> Parts<'a> {
        Parts {
            ctx: Context {
                at,
                config: &self.config,
                topics: &*self.topics,
                timers: &mut self.timers,
                histories: &mut self.histories,
                out,
            },
            groups: &mut self.groups,
            offsets: &mut self.offsets,
        }
    }
}

impl Parts<'_> {
    fn handle(&mut self, ticket: Ticket, caller: &Caller, request: Request) {
        if let Err(error) = door::check(self.groups, self.ctx.config, caller, &request) {
            return self.ctx.reply(ticket, door::refusal(request, error));
        }
        let Parts { ctx, groups, offsets } = self;
        match request {
            Request::JoinGroup(request) => {
                let id = request.group_id.detached();
                let next = match groups.get_mut(&id) {
                    Some(Group::Classic(group)) => {
                        group.join(ctx, ticket, caller, request);
                        Next::Stays
                    }
                    Some(Group::Consumer(group)) if !group.is_empty() => {
                        group.classic_join(ctx, ticket, caller, request)
                    }
                    Some(Group::Consumer(_)) | None => {
                        classic::first_join(ctx, groups, ticket, caller, request);
                        Next::Stays
                    }
                };
                groups.settle(ctx, offsets, &id, next);
            }
            Request::SyncGroup(request) => {
                let id = request.group_id.detached();
                let next = match groups.get_mut(&id) {
                    Some(Group::Classic(group)) => {
                        group.sync(ctx, ticket, caller, request);
                        Next::Stays
                    }
                    Some(Group::Consumer(group)) => group.classic_sync(ctx, ticket, caller, request),
                    None => {
                        ctx.reply(ticket, classic::sync_in_unknown_group());
                        Next::Stays
                    }
                };
                groups.settle(ctx, offsets, &id, next);
            }
            Request::Heartbeat(request) => match groups.get_mut(&request.group_id) {
                Some(Group::Classic(group)) => group.heartbeat(ctx, ticket, &request),
                Some(Group::Consumer(group)) => {
                    let id = request.group_id.detached();
                    let next = group.classic_heartbeat(ctx, ticket, caller, request);
                    groups.settle(ctx, offsets, &id, next);
                }
                None => ctx.reply(ticket, classic::heartbeat_in_unknown_group()),
            },
            Request::LeaveGroup(request) => {
                let id = request.group_id.detached();
                let next = match groups.get_mut(&id) {
                    Some(Group::Classic(group)) => {
                        group.leave(ctx, ticket, caller, request);
                        Next::Stays
                    }
                    Some(Group::Consumer(group)) => group.classic_leave(ctx, ticket, caller, request),
                    None => {
                        ctx.reply(ticket, classic::leave_unknown_group(caller, request));
                        Next::Stays
                    }
                };
                groups.settle(ctx, offsets, &id, next);
            }
            Request::ConsumerGroupHeartbeat(request) => {
                let id = request.group_id.detached();
                let next = match groups.get_mut(&id) {
                    Some(Group::Consumer(group)) => group.heartbeat(ctx, ticket, caller, request),
                    Some(Group::Classic(_)) | None => {
                        consumer::first_heartbeat(ctx, groups, ticket, caller, request);
                        Next::Stays
                    }
                };
                groups.settle(ctx, offsets, &id, next);
            }
            Request::OffsetCommit(request) => {
                let id = request.group_id.detached();
                offsets.commit(ctx, groups, ticket, caller, request);
                groups.settle(ctx, offsets, &id, Next::Stays);
            }
            Request::TxnOffsetCommit(request) => {
                let id = request.group_id.detached();
                offsets.commit_in_transaction(ctx, groups, ticket, caller, request);
                groups.settle(ctx, offsets, &id, Next::Stays);
            }
            Request::OffsetFetch { group, require_stable } => {
                offsets.fetch(ctx, groups, ticket, caller, group, require_stable);
            }
            Request::OffsetDelete(request) => {
                let id = request.group_id.detached();
                offsets.delete(ctx, groups, ticket, request);
                groups.settle(ctx, offsets, &id, Next::Stays);
            }
            Request::ListGroups(request) => {
                let response = admin::list_groups(groups, &request);
                ctx.reply(ticket, Response::ListGroups(response));
            }
            Request::DescribeGroup(id) => {
                let response = admin::describe_group(groups, caller, id);
                ctx.reply(ticket, Response::DescribeGroup(response));
            }
            Request::ConsumerGroupDescribe(id) => {
                let response = admin::describe_consumer_group(groups, ctx.topics, id);
                ctx.reply(ticket, Response::ConsumerGroupDescribe(response));
            }
            Request::DeleteGroup(id) => {
                let response = admin::delete_group(ctx, groups, offsets, id);
                ctx.reply(ticket, Response::DeleteGroup(response));
            }
            Request::History(id) => {
                let history = ctx.histories.rebalances(&id);
                ctx.reply(ticket, Response::History(history));
            }
        }
    }

    fn on_timer(&mut self, timer: Timer) {
        let Parts { ctx, groups, offsets } = self;
        let Some(id) = timer.group().cloned() else {
            for id in offsets.expire(ctx, groups) {
                groups.settle(ctx, offsets, &id, Next::Stays);
            }
            return;
        };
        let next = match groups.get_mut(&id) {
            Some(Group::Classic(group)) => {
                group.on_timer(ctx, timer);
                Next::Stays
            }
            Some(Group::Consumer(group)) => group.on_timer(ctx, timer),
            None => return, // the group went away and its timers were left behind
        };
        groups.settle(ctx, offsets, &id, next);
    }
}

impl Coordinator for GroupCoordinator {
    type Request = Call;
    type Outbound = Reply;

    fn handle(&mut self, at: &Moment, ticket: Ticket, call: Call, out: &mut Output<Reply>) {
        self.parts(at, out).handle(ticket, &call.caller, call.request);
    }

    fn only_reads(call: &Call) -> bool {
        match call.request {
            Request::OffsetFetch { .. }
            | Request::ListGroups(_)
            | Request::DescribeGroup(_)
            | Request::ConsumerGroupDescribe(_)
            | Request::History(_) => true,
            Request::JoinGroup(_)
            | Request::SyncGroup(_)
            | Request::Heartbeat(_)
            | Request::LeaveGroup(_)
            | Request::ConsumerGroupHeartbeat(_)
            | Request::OffsetCommit(_)
            | Request::TxnOffsetCommit(_)
            | Request::OffsetDelete(_)
            | Request::DeleteGroup(_) => false,
        }
    }

    fn tick(&mut self, at: &Moment, out: &mut Output<Reply>) {
        while let Some(timer) = self.timers.pop_due(at.now) {
            self.parts(at, out).on_timer(timer);
        }
    }

    fn next_deadline(&self) -> Option<Instant> {
        self.timers.next()
    }

    fn replay(
        &mut self,
        offset: Offset,
        producer: Option<Producer>,
        record: Record,
    ) -> Result<(), ReplayError> {
        match GroupRecord::decode(record)? {
            GroupRecord::Offset { key, value } => {
                self.offsets.replay(&mut self.groups, offset, producer, key, value)
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
        for id in self.offsets.end_transaction(&mut self.groups, producer, commit) {
            if self.groups.is_left_over(&self.offsets, &id) {
                self.groups.forget(&mut self.timers, &mut self.histories, &id);
            }
        }
    }

    fn start(&mut self, at: &Moment, out: &mut Output<Reply>) {
        let Parts { mut ctx, groups, offsets } = self.parts(at, out);
        offsets.start(&mut ctx);
        for id in groups.ids() {
            let next = match groups.get_mut(&id) {
                Some(Group::Classic(group)) => {
                    group.start(&mut ctx);
                    Next::Stays
                }
                Some(Group::Consumer(group)) => group.start(&mut ctx),
                None => continue,
            };
            groups.settle(&mut ctx, offsets, &id, next);
        }
    }
}
