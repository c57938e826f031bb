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

    /// The cluster's topics have changed; `deleted` names the deleted ones, even if there is a new topic of
    /// the same name. To be called inside [`ottla_coordinator::Frame::act`].
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

#[cfg(test)]
mod tests {
    use ottla_wire::messages::list_groups_response::ListedGroup;
    use ottla_wire::messages::*;
    use ottla_wire::{ErrorCode, Timestamp, TopicId, Uuid};

    use super::*;
    use crate::context::Context;
    use crate::group::{Committer, Group, Next};
    use crate::request::{Caller, ConsumerGroupDescribe, DeleteGroup, DescribeGroup, Request, Response};
    use crate::timers::Timer;
    use crate::topics::TopicFacts;

    /// A group of a type that no request knows, with one member.
    struct Strange {
        id: Str,
    }

    impl Group for Strange {
        fn id(&self) -> &Str {
            &self.id
        }

        fn start(&mut self, _ctx: &mut Context<'_>) -> Next {
            Next::Unchanged
        }

        fn on_timer(&mut self, _ctx: &mut Context<'_>, _timer: Timer) -> Next {
            Next::Unchanged
        }

        fn members_len(&self) -> usize {
            1
        }

        fn is_subscribed_to(&self, _topic: &str) -> bool {
            true
        }

        fn validate_commit(&self, _by: &Committer<'_>) -> Result<(), ErrorCode> {
            Err(ErrorCode::UnknownMemberId)
        }

        fn committed(&mut self, _ctx: &mut Context<'_>, _by: &Committer<'_>) {}

        fn listed(&self) -> ListedGroup {
            let group_type = Str::from_static("strange");
            ListedGroup { group_id: self.id.clone(), group_type, ..Default::default() }
        }

        fn records(&self) -> Option<Vec<GroupRecord>> {
            Some(Vec::new())
        }

        fn tombstones(&self, _ctx: &mut Context<'_>) {}

        fn bytes(&self) -> usize {
            0
        }
    }

    struct NoTopics;

    impl Topics for NoTopics {
        fn by_name(&self, _name: &str) -> Option<TopicFacts> {
            None
        }

        fn by_id(&self, _id: TopicId) -> Option<TopicFacts> {
            None
        }

        fn each_name(&self, _visit: &mut dyn FnMut(&Str)) {}

        fn racks(&self, _id: TopicId, _partition: i32) -> Vec<Str> {
            Vec::new()
        }
    }

    /// The answer of a coordinator that has a strange group.
    fn answered(request: impl Into<Request>, version: i16) -> Response {
        let mut core = GroupCoordinator::new(GroupConfig::default(), Arc::new(NoTopics));
        core.groups.put(Box::new(Strange { id: "g".into() }));
        let at = Moment { now: Instant(0), wall: Timestamp(0), uuid: Uuid::ZERO };
        let mut out = Output::default();
        let caller = Caller { version, ..Caller::default() };
        core.handle(&at, Ticket(1), Call { caller, request: request.into() }, &mut out);
        assert_eq!(core.groups.get("g").map(Group::members_len), Some(1), "the group is as it was");
        let (batches, mut replies) = out.take();
        assert!(batches.is_empty(), "nothing is written");
        replies.pop().expect("an answer").response
    }

    /// Requests of members of other types do not find the group, as in Kafka; what concerns groups of every
    /// type does.
    #[test]
    fn a_type_of_group_is_an_addition() {
        let group_id = || Str::from_static("g");
        let join = JoinGroupRequest {
            group_id: group_id(),
            session_timeout_ms: 10_000,
            protocol_type: "consumer".into(),
            ..Default::default()
        };
        let Response::JoinGroup(joined) = answered(join, 9) else { panic!("another answer") };
        assert_eq!(joined.error_code, ErrorCode::InconsistentGroupProtocol.code());
        let sync = SyncGroupRequest { group_id: group_id(), ..Default::default() };
        let Response::SyncGroup(synced) = answered(sync, 5) else { panic!("another answer") };
        assert_eq!(synced.error_code, ErrorCode::UnknownMemberId.code());
        let heartbeat = HeartbeatRequest { group_id: group_id(), ..Default::default() };
        let Response::Heartbeat(heard) = answered(heartbeat, 4) else { panic!("another answer") };
        assert_eq!(heard.error_code, ErrorCode::UnknownMemberId.code());
        let leave = LeaveGroupRequest { group_id: group_id(), ..Default::default() };
        let Response::LeaveGroup(left) = answered(leave, 0) else { panic!("another answer") };
        assert_eq!(left.error_code, ErrorCode::UnknownMemberId.code());
        let heartbeat = ConsumerGroupHeartbeatRequest {
            group_id: group_id(),
            member_id: "m".into(),
            rebalance_timeout_ms: 1_000,
            subscribed_topic_names: Some(vec!["orders".into()]),
            topic_partitions: Some(Vec::new()),
            ..Default::default()
        };
        let Response::ConsumerGroupHeartbeat(heard) = answered(heartbeat, 1) else {
            panic!("another answer")
        };
        assert_eq!(heard.error_code, ErrorCode::GroupIdNotFound.code(), "{heard:?}");
        let Response::DescribeGroup(described) = answered(DescribeGroup::from("g"), 6) else {
            panic!("another answer")
        };
        assert_eq!(described.error_code, ErrorCode::GroupIdNotFound.code());
        let Response::ConsumerGroupDescribe(described) = answered(ConsumerGroupDescribe::from("g"), 1) else {
            panic!("another answer")
        };
        assert_eq!(described.error_code, ErrorCode::GroupIdNotFound.code());
        let Response::DeleteGroup(deleted) = answered(DeleteGroup::from("g"), 2) else {
            panic!("another answer")
        };
        assert_eq!(deleted.error_code, ErrorCode::NonEmptyGroup.code());
        let Response::ListGroups(listed) = answered(ListGroupsRequest::default(), 5) else {
            panic!("another answer")
        };
        assert_eq!(&*listed.groups[0].group_type, "strange");
    }
}
