//! A member that speaks the consumer protocol, as clients do.

use std::collections::BTreeSet;

use ottla_group::{Caller, Request, Response};
use ottla_wire::messages::consumer_group_describe_response::{DescribedGroup, Member as DescribedMember};
use ottla_wire::messages::consumer_group_heartbeat_request::TopicPartitions;
use ottla_wire::messages::{ConsumerGroupHeartbeatRequest, ConsumerGroupHeartbeatResponse};
use ottla_wire::primitives::Str;
use ottla_wire::{ErrorCode, TopicId};

use crate::world::World;

pub const GROUP: &str = "g";

pub type Owned = BTreeSet<(TopicId, i32)>;

/// A member. It keeps what it is to give up until [`Client::give_up`].
#[derive(Clone, Debug)]
pub struct Client {
    pub id: Str,
    pub epoch: i32,
    pub instance: Option<Str>,
    pub rack: Option<Str>,
    pub assignor: Option<Str>,
    pub topics: Option<Vec<Str>>,
    pub regex: Option<Str>,
    /// What it reads.
    pub owned: Owned,
    /// What it was last told to read.
    pub assigned: Owned,
    /// An answer was lost: it says everything next time, to be told everything.
    pub is_unsure: bool,
}

impl Client {
    pub fn named(id: &str) -> Client {
        Client {
            id: id.into(),
            epoch: 0,
            instance: None,
            rack: None,
            assignor: None,
            topics: None,
            regex: None,
            owned: Owned::new(),
            assigned: Owned::new(),
            is_unsure: false,
        }
    }

    pub fn of(id: &str, topics: &[&str]) -> Client {
        let mut client = Client::named(id);
        client.subscribe(topics);
        client
    }

    pub fn subscribe(&mut self, topics: &[&str]) {
        self.topics = Some(topics.iter().map(|topic| Str::from(*topic)).collect());
    }

    pub fn instance(mut self, instance: &str) -> Client {
        self.instance = Some(instance.into());
        self
    }

    pub fn regex(mut self, regex: &str) -> Client {
        self.regex = Some(regex.into());
        self
    }

    /// What it sends when it joins: everything.
    pub fn joining(&self) -> ConsumerGroupHeartbeatRequest {
        ConsumerGroupHeartbeatRequest {
            group_id: GROUP.into(),
            member_id: self.id.clone(),
            member_epoch: 0,
            instance_id: self.instance.clone(),
            rack_id: self.rack.clone(),
            rebalance_timeout_ms: 60_000,
            subscribed_topic_names: self.topics.clone(),
            subscribed_topic_regex: self.regex.clone(),
            server_assignor: self.assignor.clone(),
            topic_partitions: Some(Vec::new()),
        }
    }

    /// What it sends to say that it lives.
    pub fn living(&self) -> ConsumerGroupHeartbeatRequest {
        ConsumerGroupHeartbeatRequest {
            group_id: GROUP.into(),
            member_id: self.id.clone(),
            member_epoch: self.epoch,
            instance_id: self.instance.clone(),
            ..Default::default()
        }
    }

    /// What it sends to say what it has, and what it wants to have.
    pub fn owning(&self) -> ConsumerGroupHeartbeatRequest {
        ConsumerGroupHeartbeatRequest {
            subscribed_topic_names: self.topics.clone(),
            subscribed_topic_regex: self.regex.clone(),
            topic_partitions: Some(to_wire(&self.owned)),
            rebalance_timeout_ms: if self.is_unsure { 60_000 } else { -1 },
            ..self.living()
        }
    }

    /// Joins, or says what it has; takes over what it is told.
    pub fn beat(&mut self, world: &mut World) -> ConsumerGroupHeartbeatResponse {
        let request = if self.epoch == 0 { self.joining() } else { self.owning() };
        let response = heartbeat(world, request);
        self.take(&response);
        response
    }

    /// Takes over what an answer says. A member that is refused has nothing any more, and joins anew.
    pub fn take(&mut self, response: &ConsumerGroupHeartbeatResponse) {
        if response.error_code != ErrorCode::None.code() {
            return self.forget();
        }
        self.epoch = response.member_epoch;
        self.is_unsure = false;
        if let Some(assignment) = &response.assignment {
            let topics = assignment.topic_partitions.iter();
            self.assigned = topics
                .flat_map(|topic| topic.partitions.iter().map(|index| (topic.topic_id, *index)))
                .collect();
            self.owned.extend(self.assigned.iter().copied());
        }
    }

    pub fn forget(&mut self) {
        self.epoch = 0;
        self.owned.clear();
        self.assigned.clear();
    }

    /// Stops to read what it is not to read any more.
    pub fn give_up(&mut self) {
        self.owned.clone_from(&self.assigned);
    }

    pub fn leave(&mut self, world: &mut World, epoch: i32) -> ConsumerGroupHeartbeatResponse {
        let request = ConsumerGroupHeartbeatRequest { member_epoch: epoch, ..self.living() };
        let response = heartbeat(world, request);
        self.forget();
        response
    }
}

pub fn to_wire(owned: &Owned) -> Vec<TopicPartitions> {
    let mut topics: Vec<TopicPartitions> = Vec::new();
    for (topic_id, partition) in owned {
        match topics.last_mut().filter(|last| last.topic_id == *topic_id) {
            Some(last) => last.partitions.push(*partition),
            None => topics.push(TopicPartitions { topic_id: *topic_id, partitions: vec![*partition] }),
        }
    }
    topics
}

pub fn caller(version: i16) -> Caller {
    Caller { client_id: "client".into(), client_host: "/127.0.0.1".into(), version }
}

pub fn heartbeat(
    world: &mut World,
    request: ConsumerGroupHeartbeatRequest,
) -> ConsumerGroupHeartbeatResponse {
    heartbeat_at(world, 1, request)
}

pub fn heartbeat_at(
    world: &mut World,
    version: i16,
    request: ConsumerGroupHeartbeatRequest,
) -> ConsumerGroupHeartbeatResponse {
    match world.call(&caller(version), Request::ConsumerGroupHeartbeat(request)) {
        Response::ConsumerGroupHeartbeat(response) => response,
        other => panic!("another answer: {other:?}"),
    }
}

pub fn describe(world: &mut World) -> DescribedGroup {
    match world.call(&caller(1), Request::ConsumerGroupDescribe(GROUP.into())) {
        Response::ConsumerGroupDescribe(response) => response,
        other => panic!("another answer: {other:?}"),
    }
}

pub fn described(world: &mut World, member: &str) -> DescribedMember {
    let group = describe(world);
    group.members.into_iter().find(|found| found.member_id == *member).expect("it is a member")
}

/// All members beat and give up what they must, until everybody has had time for it.
pub fn settle(world: &mut World, clients: &mut [&mut Client]) {
    for _ in 0..6 {
        for client in clients.iter_mut() {
            client.beat(world);
            client.give_up();
        }
        world.advance(std::time::Duration::from_secs(1));
    }
}

pub fn error(response: &ConsumerGroupHeartbeatResponse) -> ErrorCode {
    ErrorCode::from_code(response.error_code).expect("a code of the protocol")
}
