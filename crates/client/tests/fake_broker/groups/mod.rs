//! Groups of the fake broker: enough of a coordinator to see how members behave.
//!
//! - `classic`, `consumer`: the two protocols.
//! - `offsets`: what groups commit.
//! - `describe`: what is told of them.

mod classic;
mod consumer;
mod describe;
pub mod offsets;

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use ottla_wire::messages::*;
use ottla_wire::primitives::{Request, Str, decode_from};
use ottla_wire::protocol::{ApiKey, ErrorCode};

use super::broker::World;
use super::handlers::Call;
pub use classic::State;

#[derive(Default)]
pub struct Group {
    pub protocol: Protocol,
    pub offsets: BTreeMap<(String, i32), Committed>,
    /// Every commit, as it came: partition, offset.
    pub commits: Vec<(String, i32, i64)>,
}

#[derive(Default)]
pub enum Protocol {
    #[default]
    Empty,
    Classic(classic::Classic),
    Consumer(consumer::Consumer),
}

#[derive(Clone, Debug, PartialEq)]
pub struct Committed {
    pub offset: i64,
    pub leader_epoch: i32,
    pub metadata: String,
}

impl Group {
    pub fn classic(&mut self) -> &mut classic::Classic {
        if !matches!(self.protocol, Protocol::Classic(_)) {
            self.protocol = Protocol::Classic(classic::Classic::default());
        }
        let Protocol::Classic(classic) = &mut self.protocol else { unreachable!() };
        classic
    }

    pub fn consumer(&mut self) -> &mut consumer::Consumer {
        if !matches!(self.protocol, Protocol::Consumer(_)) {
            self.protocol = Protocol::Consumer(consumer::Consumer::default());
        }
        let Protocol::Consumer(consumer) = &mut self.protocol else { unreachable!() };
        consumer
    }

    pub fn members(&self) -> BTreeSet<String> {
        match &self.protocol {
            Protocol::Empty => BTreeSet::new(),
            Protocol::Classic(classic) => classic.members.keys().cloned().collect(),
            Protocol::Consumer(consumer) => consumer.members.keys().cloned().collect(),
        }
    }

    /// Puts a member out, as when its session times out.
    pub fn expel(&mut self, member: &str) {
        match &mut self.protocol {
            Protocol::Empty => {}
            Protocol::Classic(classic) => classic.remove(member),
            Protocol::Consumer(consumer) => consumer.remove(member),
        }
    }
}

impl World {
    pub fn group(&mut self, id: &str) -> &mut Group {
        self.groups.entry(id.to_owned()).or_default()
    }

    pub fn group_fault(&mut self, key: ApiKey, faults: impl IntoIterator<Item = ErrorCode>) {
        self.group_faults.entry(key).or_default().extend(faults);
    }
}

impl Call<'_> {
    pub async fn about_groups(&self, key: ApiKey, body: Bytes) -> Option<Bytes> {
        match key {
            ApiKey::FindCoordinator => {
                self.respond(body, |world, request| find_coordinator(world, self.asked.version, request))
            }
            ApiKey::JoinGroup => self.join_group(body).await,
            ApiKey::SyncGroup => self.sync_group(body).await,
            ApiKey::Heartbeat => self.respond(body, |world, request: HeartbeatRequest| {
                let fault = self.fault(world, ApiKey::Heartbeat);
                let outcome = fault.map_or_else(|| classic::heartbeat(world, &request), Err);
                HeartbeatResponse { error_code: code(outcome), ..Default::default() }
            }),
            ApiKey::LeaveGroup => {
                self.respond(body, |world, request| match self.fault(world, ApiKey::LeaveGroup) {
                    Some(fault) => LeaveGroupResponse { error_code: fault.code(), ..Default::default() },
                    None => classic::leave(world, request),
                })
            }
            ApiKey::ConsumerGroupHeartbeat => {
                self.respond(body, |world, request| match self.fault(world, ApiKey::ConsumerGroupHeartbeat) {
                    Some(fault) => {
                        ConsumerGroupHeartbeatResponse { error_code: fault.code(), ..Default::default() }
                    }
                    None => consumer::heartbeat(world, request),
                })
            }
            ApiKey::OffsetCommit => self.respond(body, |world, request| {
                let fault = self.fault(world, ApiKey::OffsetCommit);
                offsets::commit(world, request, fault)
            }),
            ApiKey::OffsetFetch => self.respond(body, |world, request| {
                let fault = self.fault(world, ApiKey::OffsetFetch);
                offsets::fetch(world, self.asked.version, request, fault)
            }),
            ApiKey::OffsetDelete => self.respond(body, offsets::delete),
            ApiKey::ListGroups => {
                self.respond(body, |world, request| describe::list(world, self.broker, request))
            }
            ApiKey::DescribeGroups => self.respond(body, |world, request| {
                describe::describe_classic(world, self.broker, self.asked.version, request)
            }),
            ApiKey::ConsumerGroupDescribe => {
                self.respond(body, |world, request| describe::describe_consumer(world, self.broker, request))
            }
            ApiKey::DeleteGroups => {
                self.respond(body, |world, request| describe::delete(world, self.broker, request))
            }
            other => panic!("{other} is not served"),
        }
    }

    /// What the script, or being the wrong broker, says to a request.
    pub fn fault(&self, world: &mut World, key: ApiKey) -> Option<ErrorCode> {
        if self.broker != world.coordinator {
            return Some(ErrorCode::NotCoordinator);
        }
        let script = world.group_faults.get_mut(&key)?;
        script.pop_front().filter(|&fault| fault != ErrorCode::None)
    }

    pub fn read<R: Request>(&self, body: Bytes) -> R {
        decode_from(body, self.asked.version).unwrap()
    }
}

pub fn code(outcome: Result<(), ErrorCode>) -> i16 {
    outcome.err().unwrap_or(ErrorCode::None).code()
}

fn find_coordinator(
    world: &mut World,
    version: i16,
    request: FindCoordinatorRequest,
) -> FindCoordinatorResponse {
    let script = world.group_faults.get_mut(&ApiKey::FindCoordinator);
    let error_code = script.and_then(|script| script.pop_front()).unwrap_or(ErrorCode::None).code();
    let address = world.addresses[world.coordinator];
    let (node_id, host, port) =
        (world.coordinator as i32, Str::from(address.ip().to_string()), address.port().into());
    if version < 4 {
        return FindCoordinatorResponse { error_code, node_id, host, port, ..Default::default() };
    }
    let found = |key: &Str| find_coordinator_response::Coordinator {
        key: key.clone(),
        node_id,
        host: host.clone(),
        port,
        error_code,
        ..Default::default()
    };
    let coordinators = request.coordinator_keys.iter().map(found).collect();
    FindCoordinatorResponse { coordinators, ..Default::default() }
}
