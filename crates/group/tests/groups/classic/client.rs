//! A client of a classic group, with the answers as a person would read them.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use ottla_coordinator::Ticket;
use ottla_group::{Caller, GroupConfig, Request, Response};
use ottla_wire::ErrorCode;
use ottla_wire::messages::join_group_request::JoinGroupRequestProtocol;
use ottla_wire::messages::leave_group_request::MemberIdentity;
use ottla_wire::messages::sync_group_request::SyncGroupRequestAssignment;
use ottla_wire::messages::*;
use ottla_wire::primitives::{Str, encode_prefixed};

use crate::world::World;

/// The group of every test that needs but one.
pub const GROUP: &str = "g";
/// `group.initial.rebalance.delay.ms` of every test.
pub const INITIAL_DELAY: Duration = Duration::from_secs(3);
/// Session timeout of clients that do not say another.
pub const SESSION: Duration = Duration::from_secs(10);
/// Rebalance timeout of clients that do not say another.
pub const REBALANCE: Duration = Duration::from_secs(60);

/// So late that no test comes there.
const EXPIRY_CHECK: Duration = Duration::from_secs(365 * 24 * 3600);

pub fn world() -> World {
    World::new(GroupConfig {
        initial_rebalance_delay: INITIAL_DELAY,
        offsets_check_interval: EXPIRY_CHECK,
        ..GroupConfig::default()
    })
}

/// One client. What it is told it remembers: its member id and its generation.
#[derive(Clone, Debug)]
pub struct Client {
    pub name: Str,
    pub caller: Caller,
    pub group: Str,
    pub id: Str,
    pub instance: Option<Str>,
    pub generation: i32,
    pub session: Duration,
    pub rebalance: Duration,
    pub protocol_type: Str,
    pub protocols: Vec<(Str, Bytes)>,
    pub reason: Option<Str>,
}

impl Client {
    /// A consumer of topic `t` that knows "range" and speaks the newest versions.
    pub fn new(name: &str) -> Client {
        Client {
            name: name.into(),
            caller: Caller { client_id: name.into(), client_host: "/10.0.0.1".into(), version: 9 },
            group: GROUP.into(),
            id: Str::default(),
            instance: None,
            generation: -1,
            session: SESSION,
            rebalance: REBALANCE,
            protocol_type: "consumer".into(),
            protocols: vec![("range".into(), subscription(&["t"]))],
            reason: None,
        }
    }

    pub fn of_group(mut self, group: &str) -> Client {
        self.group = group.into();
        self
    }

    pub fn instance(mut self, instance: &str) -> Client {
        self.instance = Some(instance.into());
        self
    }

    /// The version of JoinGroup; those of the other requests follow from it.
    pub fn version(mut self, version: i16) -> Client {
        self.caller.version = version;
        self
    }

    pub fn session(mut self, session: Duration) -> Client {
        self.session = session;
        self
    }

    pub fn rebalance(mut self, rebalance: Duration) -> Client {
        self.rebalance = rebalance;
        self
    }

    pub fn knows(mut self, protocols: &[&str]) -> Client {
        self.protocols = protocols.iter().map(|name| (Str::from(*name), subscription(&["t"]))).collect();
        self
    }

    pub fn reads(mut self, topics: &[&str]) -> Client {
        for (_, metadata) in &mut self.protocols {
            *metadata = subscription(topics);
        }
        self
    }

    pub fn join_request(&self) -> JoinGroupRequest {
        JoinGroupRequest {
            group_id: self.group.clone(),
            session_timeout_ms: self.session.as_millis() as i32,
            rebalance_timeout_ms: self.rebalance.as_millis() as i32,
            member_id: self.id.clone(),
            group_instance_id: self.instance.clone(),
            protocol_type: self.protocol_type.clone(),
            protocols: self
                .protocols
                .iter()
                .map(|(name, metadata)| JoinGroupRequestProtocol {
                    name: name.clone(),
                    metadata: metadata.clone(),
                })
                .collect(),
            reason: self.reason.clone(),
        }
    }

    /// Asks to join, and again if it is given an id first.
    pub fn join(&mut self, world: &mut World) -> Ticket {
        let ticket = world.ask(&self.caller, Request::JoinGroup(self.join_request()));
        if self.id.is_empty() && self.instance.is_none() && self.caller.version >= 4 {
            let response = join_answer(world, ticket);
            assert_eq!(error(response.error_code), ErrorCode::MemberIdRequired);
            self.id = response.member_id;
            return world.ask(&self.caller, Request::JoinGroup(self.join_request()));
        }
        ticket
    }

    /// Asks to join and is refused at once.
    pub fn join_error(&mut self, world: &mut World) -> ErrorCode {
        let ticket = self.join(world);
        error(join_answer(world, ticket).error_code)
    }

    /// Takes the answer of a JoinGroup that went well.
    pub fn joined(&mut self, world: &mut World, ticket: Ticket) -> JoinGroupResponse {
        let response = join_answer(world, ticket);
        assert_eq!(error(response.error_code), ErrorCode::None, "{}", self.name);
        self.id = response.member_id.clone();
        self.generation = response.generation_id;
        response
    }

    pub fn sync_request(&self, assignments: &[(&Client, &str)]) -> SyncGroupRequest {
        SyncGroupRequest {
            group_id: self.group.clone(),
            generation_id: self.generation,
            member_id: self.id.clone(),
            group_instance_id: self.instance.clone(),
            protocol_type: Some(self.protocol_type.clone()),
            protocol_name: self.protocols.first().map(|(name, _)| name.clone()),
            assignments: assignments
                .iter()
                .map(|(client, assignment)| SyncGroupRequestAssignment {
                    member_id: client.id.clone(),
                    assignment: Bytes::copy_from_slice(assignment.as_bytes()),
                })
                .collect(),
        }
    }

    pub fn sync(&self, world: &mut World, assignments: &[(&Client, &str)]) -> Ticket {
        world.ask(&self.at(5), Request::SyncGroup(self.sync_request(assignments)))
    }

    pub fn sync_error(&self, world: &mut World) -> ErrorCode {
        let ticket = self.sync(world, &[]);
        error(sync_answer(world, ticket).error_code)
    }

    pub fn heartbeat(&self, world: &mut World) -> ErrorCode {
        let request = HeartbeatRequest {
            group_id: self.group.clone(),
            generation_id: self.generation,
            member_id: self.id.clone(),
            group_instance_id: self.instance.clone(),
        };
        match world.call(&self.at(4), Request::Heartbeat(request)) {
            Response::Heartbeat(response) => error(response.error_code),
            other => panic!("{other:?}"),
        }
    }

    pub fn leave(&self, world: &mut World) -> ErrorCode {
        let member = MemberIdentity {
            member_id: self.id.clone(),
            group_instance_id: self.instance.clone(),
            reason: self.reason.clone(),
        };
        error(leave(world, &self.at(5), &self.group, vec![member]).members[0].error_code)
    }

    pub fn at(&self, version: i16) -> Caller {
        Caller { version, ..self.caller.clone() }
    }
}

pub fn leave(
    world: &mut World,
    caller: &Caller,
    group: &str,
    members: Vec<MemberIdentity>,
) -> LeaveGroupResponse {
    let request = LeaveGroupRequest { group_id: group.into(), members, ..Default::default() };
    match world.call(caller, Request::LeaveGroup(request)) {
        Response::LeaveGroup(response) => response,
        other => panic!("{other:?}"),
    }
}

/// Leads a new group of these clients to its first generation, stable; each is given its name as its
/// assignment.
pub fn settle(world: &mut World, clients: &mut [&mut Client]) {
    let tickets: Vec<Ticket> = clients.iter_mut().map(|client| client.join(world)).collect();
    // As often as newcomers extend the wait.
    world.advance(INITIAL_DELAY * 2);
    finish(world, clients, &tickets);
}

/// Takes the answers to these JoinGroups, and syncs everybody.
pub fn finish(world: &mut World, clients: &mut [&mut Client], joins: &[Ticket]) {
    let mut leader = Str::default();
    for (client, ticket) in clients.iter_mut().zip(joins) {
        leader = client.joined(world, *ticket).leader;
    }
    let all: Vec<Client> = clients.iter().map(|client| (**client).clone()).collect();
    let assignments: Vec<(&Client, &str)> = all.iter().map(|client| (client, client.name.as_str())).collect();
    let syncs: Vec<Ticket> = clients
        .iter()
        .map(|client| client.sync(world, if client.id == leader { &assignments } else { &[] }))
        .collect();
    for (client, ticket) in clients.iter().zip(syncs) {
        let response = sync_answer(world, ticket);
        assert_eq!(error(response.error_code), ErrorCode::None);
        assert_eq!(response.assignment, client.name.as_bytes());
    }
}

/// Lets every client join again, all at once, and settles the group.
pub fn rejoin(world: &mut World, clients: &mut [&mut Client]) {
    let tickets: Vec<Ticket> = clients.iter_mut().map(|client| client.join(world)).collect();
    finish(world, clients, &tickets);
}

pub fn join_answer(world: &mut World, ticket: Ticket) -> JoinGroupResponse {
    match world.answer(ticket) {
        Some(Response::JoinGroup(response)) => response,
        other => panic!("JoinGroup is answered, not {other:?}"),
    }
}

pub fn sync_answer(world: &mut World, ticket: Ticket) -> SyncGroupResponse {
    match world.answer(ticket) {
        Some(Response::SyncGroup(response)) => response,
        other => panic!("SyncGroup is answered, not {other:?}"),
    }
}

pub fn error(code: i16) -> ErrorCode {
    ErrorCode::from_code(code).expect("an error that Kafka knows")
}

/// A consumer's subscription, as the newest clients write it.
pub fn subscription(topics: &[&str]) -> Bytes {
    let topics = topics.iter().map(|topic| Str::from(*topic)).collect();
    let subscription = ConsumerProtocolSubscription { topics, ..Default::default() };
    encode_prefixed(3, &subscription, 3).expect("writable")
}

pub fn describe_at(world: &mut World, group: &str, version: i16) -> describe_groups_response::DescribedGroup {
    let caller = Caller { version, ..Caller::default() };
    match world.call(&caller, Request::DescribeGroup(group.into())) {
        Response::DescribeGroup(described) => described,
        other => panic!("{other:?}"),
    }
}

pub fn state(world: &mut World) -> String {
    describe_at(world, GROUP, 6).group_state.into()
}

/// The members of the group by client id, each with its assignment.
pub fn members(world: &mut World) -> BTreeMap<String, String> {
    let described = describe_at(world, GROUP, 6);
    let assignment = |bytes: &Bytes| String::from_utf8_lossy(bytes).into_owned();
    described.members.iter().map(|m| (m.client_id.to_string(), assignment(&m.member_assignment))).collect()
}
