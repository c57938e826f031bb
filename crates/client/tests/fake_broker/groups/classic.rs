//! The classic protocol: generations that begin when every member has joined.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use bytes::Bytes;
use ottla_wire::messages::*;
use ottla_wire::primitives::Str;
use ottla_wire::protocol::{ApiKey, ErrorCode};

use super::super::PATIENCE;
use super::super::broker::World;
use super::super::handlers::Call;

/// How long a rebalance waits for more members.
const JOIN_WINDOW: Duration = Duration::from_millis(25);
const LOOK_AGAIN: Duration = Duration::from_millis(2);

#[derive(Default)]
pub struct Classic {
    pub state: State,
    pub generation: i32,
    pub members: BTreeMap<String, Member>,
    pub leader: String,
    pub protocol: String,
    /// Ids that were given and not used yet.
    pending: BTreeSet<String>,
    next_member: u32,
    began: Option<Instant>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum State {
    #[default]
    Empty,
    Preparing,
    Completing,
    Stable,
}

#[derive(Default)]
pub struct Member {
    pub instance: Option<String>,
    protocols: Vec<(String, Bytes)>,
    joining: bool,
    pub assignment: Bytes,
}

impl Classic {
    pub fn remove(&mut self, member: &str) {
        if self.members.remove(member).is_some() {
            self.prepare();
        }
    }

    pub fn prepare(&mut self) {
        if self.members.is_empty() {
            self.state = State::Empty;
        } else if self.state != State::Preparing {
            self.state = State::Preparing;
            self.began = Some(Instant::now());
        }
    }

    fn new_id(&mut self) -> String {
        self.next_member += 1;
        format!("member-{}", self.next_member)
    }

    fn check(&self, member: &str, instance: Option<&Str>, generation: i32) -> Result<(), ErrorCode> {
        if let Some(instance) = instance {
            let holder =
                self.members.iter().find(|(_, known)| known.instance.as_deref() == Some(instance.as_str()));
            if holder.is_some_and(|(id, _)| id != member) {
                return Err(ErrorCode::FencedInstanceId);
            }
        }
        if !self.members.contains_key(member) {
            return Err(ErrorCode::UnknownMemberId);
        }
        if generation != self.generation {
            return Err(ErrorCode::IllegalGeneration);
        }
        Ok(())
    }

    pub fn may_commit(&self, member: &str, instance: Option<&Str>, generation: i32) -> Result<(), ErrorCode> {
        if generation < 0 && self.members.is_empty() {
            return Ok(());
        }
        self.check(member, instance, generation)?;
        if self.state == State::Completing { Err(ErrorCode::RebalanceInProgress) } else { Ok(()) }
    }

    fn join(&mut self, request: &JoinGroupRequest, version: i16) -> Result<String, (ErrorCode, String)> {
        let instance = request.group_instance_id.as_ref().map(Str::to_string);
        let mut id = request.member_id.to_string();
        if id.is_empty() {
            id = self.new_id();
            match &instance {
                None if version >= 4 => {
                    self.pending.insert(id.clone());
                    return Err((ErrorCode::MemberIdRequired, id));
                }
                None => {}
                Some(_) => self.members.retain(|_, member| member.instance != instance),
            }
        } else if !self.pending.remove(&id) {
            if let Some(instance) = &request.group_instance_id
                && self.check(&id, Some(instance), self.generation) == Err(ErrorCode::FencedInstanceId)
            {
                return Err((ErrorCode::FencedInstanceId, id));
            }
            if !self.members.contains_key(&id) {
                return Err((ErrorCode::UnknownMemberId, id));
            }
        }
        let member = self.members.entry(id.clone()).or_default();
        member.instance = instance;
        member.joining = true;
        member.protocols =
            request.protocols.iter().map(|of| (of.name.to_string(), of.metadata.clone())).collect();
        self.prepare();
        Ok(id)
    }

    /// Begins the next generation if all are there, or have been waited for long enough.
    fn complete(&mut self) {
        let waited = self.began.map_or(PATIENCE, |began| began.elapsed());
        let all = self.members.values().all(|member| member.joining);
        if self.state != State::Preparing || waited < JOIN_WINDOW || (!all && waited < PATIENCE) {
            return;
        }
        self.members.retain(|_, member| member.joining);
        self.members.values_mut().for_each(|member| member.joining = false);
        let first = self.members.values().next().unwrap();
        let common = |name: &String| {
            self.members.values().all(|member| member.protocols.iter().any(|(known, _)| known == name))
        };
        self.protocol = first.protocols.iter().map(|(name, _)| name.clone()).find(common).unwrap();
        self.leader = self.members.keys().next().unwrap().clone();
        self.generation += 1;
        self.state = State::Completing;
    }

    fn joined(&self, id: &str) -> JoinGroupResponse {
        let metadata = |member: &Member| {
            let of = member.protocols.iter().find(|(name, _)| *name == self.protocol);
            of.unwrap().1.clone()
        };
        let all = self.members.iter().map(|(id, member)| join_group_response::JoinGroupResponseMember {
            member_id: Str::from(id),
            group_instance_id: member.instance.as_ref().map(Str::from),
            metadata: metadata(member),
        });
        JoinGroupResponse {
            generation_id: self.generation,
            protocol_type: Some("consumer".into()),
            protocol_name: Some(Str::from(&self.protocol)),
            leader: Str::from(&self.leader),
            member_id: Str::from(id),
            members: if id == self.leader { all.collect() } else { Vec::new() },
            ..Default::default()
        }
    }
}

impl Call<'_> {
    pub async fn join_group(&self, body: Bytes) -> Option<Bytes> {
        let request: JoinGroupRequest = self.read(body);
        let response = match self.enter(&request) {
            Ok(id) => self.wait_for_all(&request.group_id, &id).await,
            Err((error, id)) => refused(error, &id),
        };
        Some(self.asked.answer(&response))
    }

    fn enter(&self, request: &JoinGroupRequest) -> Result<String, (ErrorCode, String)> {
        let mut world = self.brokers.world();
        if let Some(fault) = self.fault(&mut world, ApiKey::JoinGroup) {
            return Err((fault, String::new()));
        }
        world.group(&request.group_id).classic().join(request, self.asked.version)
    }

    async fn wait_for_all(&self, group: &str, id: &str) -> JoinGroupResponse {
        loop {
            {
                let mut world = self.brokers.world();
                let classic = world.group(group).classic();
                classic.complete();
                match classic.members.get(id) {
                    None => return refused(ErrorCode::UnknownMemberId, id),
                    Some(member) if !member.joining => return classic.joined(id),
                    Some(_) => {}
                }
            }
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    }

    pub async fn sync_group(&self, body: Bytes) -> Option<Bytes> {
        let request: SyncGroupRequest = self.read(body);
        let outcome = self.synced(&request).await;
        let response = match outcome {
            Ok(assignment) => SyncGroupResponse { assignment, ..Default::default() },
            Err(error) => SyncGroupResponse { error_code: error.code(), ..Default::default() },
        };
        Some(self.asked.answer(&response))
    }

    async fn synced(&self, request: &SyncGroupRequest) -> Result<Bytes, ErrorCode> {
        let mut first = true;
        loop {
            {
                let mut world = self.brokers.world();
                if let Some(fault) = self.fault(&mut world, ApiKey::SyncGroup).filter(|_| first) {
                    return Err(fault);
                }
                let classic = world.group(&request.group_id).classic();
                let (id, instance) = (request.member_id.as_str(), request.group_instance_id.as_ref());
                classic.check(id, instance, request.generation_id)?;
                if self.asked.version >= 5
                    && request.protocol_name.as_deref() != Some(classic.protocol.as_str())
                {
                    return Err(ErrorCode::InconsistentGroupProtocol);
                }
                match classic.state {
                    State::Preparing | State::Empty => return Err(ErrorCode::RebalanceInProgress),
                    State::Completing if classic.leader == id => {
                        for member in classic.members.values_mut() {
                            member.assignment = Bytes::new();
                        }
                        for of in &request.assignments {
                            classic.members.get_mut(of.member_id.as_str()).unwrap().assignment =
                                of.assignment.clone();
                        }
                        classic.state = State::Stable;
                    }
                    State::Completing => {}
                    State::Stable => return Ok(classic.members[id].assignment.clone()),
                }
            }
            first = false;
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    }
}

fn refused(error: ErrorCode, id: &str) -> JoinGroupResponse {
    JoinGroupResponse {
        error_code: error.code(),
        member_id: Str::from(id),
        protocol_name: Some(Str::default()),
        ..Default::default()
    }
}

pub fn heartbeat(world: &mut World, request: &HeartbeatRequest) -> Result<(), ErrorCode> {
    let classic = world.group(&request.group_id).classic();
    classic.check(&request.member_id, request.group_instance_id.as_ref(), request.generation_id)?;
    if classic.state == State::Preparing { Err(ErrorCode::RebalanceInProgress) } else { Ok(()) }
}

pub fn leave(world: &mut World, request: LeaveGroupRequest) -> LeaveGroupResponse {
    let classic = world.group(&request.group_id).classic();
    let mut members = Vec::new();
    if request.members.is_empty() {
        classic.remove(&request.member_id);
    }
    for member in request.members {
        let by_instance = |known: &Member| {
            member.group_instance_id.is_some()
                && known.instance.as_deref() == member.group_instance_id.as_deref()
        };
        let found = classic.members.iter().find(|(id, known)| {
            **id == member.member_id.as_str() || member.member_id.is_empty() && by_instance(known)
        });
        let id = found.map(|(id, _)| id.clone());
        let error = if id.is_some() { ErrorCode::None } else { ErrorCode::UnknownMemberId };
        if let Some(id) = id {
            classic.remove(&id);
        }
        members.push(leave_group_response::MemberResponse {
            member_id: member.member_id,
            group_instance_id: member.group_instance_id,
            error_code: error.code(),
        });
    }
    LeaveGroupResponse { members, ..Default::default() }
}
