//! A member that speaks the classic protocol, as old clients do: it gives everything up before it joins, or
//! (KIP-429) keeps what it has and joins again for what it gave up.

use bytes::Bytes;
use ottla_coordinator::Ticket;
use ottla_group::{Caller, Request, Response, Topics};
use ottla_wire::ErrorCode;
use ottla_wire::messages::*;
use ottla_wire::primitives::{Str, decode_from, encode_prefixed};

use super::client::{GROUP, Owned};
use crate::world::World;

/// Where it is on its way to partitions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    MustJoin,
    Joining(Ticket),
    Syncing(Ticket),
    Stable,
}

#[derive(Clone, Debug)]
pub struct ClassicClient {
    pub id: Str,
    pub instance: Option<Str>,
    pub generation: i32,
    pub topics: Vec<Str>,
    pub owned: Owned,
    pub standing: Standing,
    /// It keeps what it has while it joins. Such members lead no classic group here.
    pub is_cooperative: bool,
}

impl ClassicClient {
    pub fn of(topics: &[&str]) -> ClassicClient {
        ClassicClient {
            id: Str::default(),
            instance: None,
            generation: -1,
            topics: topics.iter().map(|topic| Str::from(*topic)).collect(),
            owned: Owned::new(),
            standing: Standing::MustJoin,
            is_cooperative: false,
        }
    }

    /// Does what is to be done next, or says that it lives.
    pub fn step(&mut self, world: &mut World) {
        match self.standing {
            Standing::MustJoin => self.join(world),
            Standing::Joining(ticket) => self.joined(world, ticket),
            Standing::Syncing(ticket) => self.synced(world, ticket),
            Standing::Stable => self.beat(world),
        }
    }

    pub fn join(&mut self, world: &mut World) {
        let metadata = if self.is_cooperative {
            self.cooperative_subscription(world)
        } else {
            self.owned.clear();
            subscription(&self.topics)
        };
        let protocol = join_group_request::JoinGroupRequestProtocol { name: "range".into(), metadata };
        let request = JoinGroupRequest {
            group_id: GROUP.into(),
            session_timeout_ms: 30_000,
            rebalance_timeout_ms: 60_000,
            member_id: self.id.clone(),
            group_instance_id: self.instance.clone(),
            protocol_type: "consumer".into(),
            protocols: vec![protocol],
            reason: None,
        };
        let ticket = world.ask(&caller(9), Request::JoinGroup(request));
        self.standing = Standing::Joining(ticket);
        self.joined(world, ticket);
    }

    fn joined(&mut self, world: &mut World, ticket: Ticket) {
        let Some(Response::JoinGroup(response)) = world.answer(ticket) else { return };
        match ErrorCode::from_code(response.error_code).expect("a code of the protocol") {
            ErrorCode::None => {}
            ErrorCode::MemberIdRequired => {
                self.id = response.member_id;
                self.standing = Standing::MustJoin;
                return;
            }
            error => return self.refused(error),
        }
        self.id = response.member_id.clone();
        self.generation = response.generation_id;
        let leads = response.leader == self.id;
        let assignments = if leads { assignments(world, &response.members) } else { Vec::new() };
        let request = SyncGroupRequest {
            group_id: GROUP.into(),
            generation_id: self.generation,
            member_id: self.id.clone(),
            group_instance_id: self.instance.clone(),
            protocol_type: response.protocol_type,
            protocol_name: response.protocol_name,
            assignments,
        };
        let ticket = world.ask(&caller(5), Request::SyncGroup(request));
        self.standing = Standing::Syncing(ticket);
        self.synced(world, ticket);
    }

    fn synced(&mut self, world: &mut World, ticket: Ticket) {
        let Some(Response::SyncGroup(response)) = world.answer(ticket) else { return };
        match ErrorCode::from_code(response.error_code).expect("a code of the protocol") {
            ErrorCode::None => {
                let assigned = assigned(world, &response.assignment);
                let gives_up = self.is_cooperative && !self.owned.is_subset(&assigned);
                self.owned = assigned;
                self.standing = if gives_up { Standing::MustJoin } else { Standing::Stable };
            }
            error => self.refused(error),
        }
    }

    fn cooperative_subscription(&self, world: &World) -> Bytes {
        let owned = self.owned.iter().filter_map(|(id, partition)| {
            let topic = world.topics().by_id(*id)?.name;
            Some(consumer_protocol_subscription::TopicPartition { topic, partitions: vec![*partition] })
        });
        let subscription = ConsumerProtocolSubscription {
            topics: self.topics.clone(),
            owned_partitions: owned.collect(),
            generation_id: self.generation,
            ..Default::default()
        };
        encode_prefixed(2, &subscription, 2).expect("a subscription")
    }

    pub fn beat(&mut self, world: &mut World) {
        match self.heartbeat(world) {
            ErrorCode::None => {}
            error => self.refused(error),
        }
    }

    pub fn heartbeat(&mut self, world: &mut World) -> ErrorCode {
        let request = HeartbeatRequest {
            group_id: GROUP.into(),
            generation_id: self.generation,
            member_id: self.id.clone(),
            group_instance_id: self.instance.clone(),
        };
        match world.call(&caller(4), Request::Heartbeat(request)) {
            Response::Heartbeat(response) => {
                ErrorCode::from_code(response.error_code).expect("a code of the protocol")
            }
            other => panic!("another answer: {other:?}"),
        }
    }

    pub fn leave(&mut self, world: &mut World) -> LeaveGroupResponse {
        let member = leave_group_request::MemberIdentity {
            member_id: self.id.clone(),
            group_instance_id: self.instance.clone(),
            reason: None,
        };
        let request =
            LeaveGroupRequest { group_id: GROUP.into(), members: vec![member], ..Default::default() };
        self.forget();
        match world.call(&caller(5), Request::LeaveGroup(request)) {
            Response::LeaveGroup(response) => response,
            other => panic!("another answer: {other:?}"),
        }
    }

    /// The process is gone, or begins anew.
    pub fn forget(&mut self) {
        self.id = Str::default();
        self.generation = -1;
        self.owned.clear();
        self.standing = Standing::MustJoin;
    }

    fn refused(&mut self, error: ErrorCode) {
        self.standing = Standing::MustJoin;
        match error {
            // It keeps what it reads until it joins again.
            ErrorCode::RebalanceInProgress => {}
            ErrorCode::IllegalGeneration => self.owned.clear(),
            ErrorCode::UnknownMemberId | ErrorCode::GroupIdNotFound | ErrorCode::FencedInstanceId => {
                self.forget();
            }
            other => panic!("refused with {other:?}"),
        }
    }
}

fn caller(version: i16) -> Caller {
    Caller { client_id: "old".into(), client_host: "/127.0.0.1".into(), version }
}

pub fn subscription(topics: &[Str]) -> Bytes {
    let subscription = ConsumerProtocolSubscription { topics: topics.to_vec(), ..Default::default() };
    encode_prefixed(0, &subscription, 0).expect("a subscription")
}

/// What a leader does: each topic's partitions in turn to those who want them.
fn assignments(
    world: &mut World,
    members: &[join_group_response::JoinGroupResponseMember],
) -> Vec<sync_group_request::SyncGroupRequestAssignment> {
    let topics = world.topics().clone();
    let mut given: Vec<Vec<consumer_protocol_assignment::TopicPartition>> = vec![Vec::new(); members.len()];
    topics.each_name(&mut |name| {
        let wants = |member: &join_group_response::JoinGroupResponseMember| {
            let subscription: ConsumerProtocolSubscription =
                decode_from(member.metadata.slice(2..), 0).expect("a subscription");
            subscription.topics.contains(name)
        };
        let wanting: Vec<usize> = (0..members.len()).filter(|member| wants(&members[*member])).collect();
        for partition in 0..topics.by_name(name).map_or(0, |facts| facts.partitions) {
            if let Some(member) = wanting.get(partition as usize % wanting.len().max(1)) {
                let partitions = vec![partition];
                let topic = name.clone();
                given[*member].push(consumer_protocol_assignment::TopicPartition { topic, partitions });
            }
        }
    });
    let members = members.iter().zip(given);
    members
        .map(|(member, assigned_partitions)| {
            let assignment = ConsumerProtocolAssignment { assigned_partitions, user_data: None };
            let assignment = encode_prefixed(0, &assignment, 0).expect("an assignment");
            let member_id = member.member_id.clone();
            sync_group_request::SyncGroupRequestAssignment { member_id, assignment }
        })
        .collect()
}

fn assigned(world: &World, bytes: &Bytes) -> Owned {
    if bytes.is_empty() {
        return Owned::new();
    }
    let assignment: ConsumerProtocolAssignment =
        decode_from(bytes.slice(2..), 0).expect("an assignment of version 0");
    let topics = assignment.assigned_partitions.into_iter();
    let known = topics.filter_map(|topic| Some((world.topics().by_name(&topic.topic)?.id, topic.partitions)));
    known.flat_map(|(id, partitions)| partitions.into_iter().map(move |index| (id, index))).collect()
}
