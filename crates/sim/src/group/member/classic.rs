//! A member of the classic protocol: it joins, syncs and beats, and lets everything go before it joins again.

use std::time::Duration;

use ottla_group::{Request, Response};
use ottla_wire::messages::join_group_request::JoinGroupRequestProtocol;
use ottla_wire::messages::leave_group_request::MemberIdentity;
use ottla_wire::messages::sync_group_request::SyncGroupRequestAssignment;
use ottla_wire::messages::{
    HeartbeatRequest, JoinGroupRequest, JoinGroupResponse, LeaveGroupRequest, SyncGroupRequest,
};
use ottla_wire::primitives::Str;
use ottla_wire::{ErrorCode, Instant};

use super::assign::{self, Seen};
use super::holdings::Holdings;
use super::turn::Turn;
use crate::group::settings::{HEARTBEAT, MemberSettings, REBALANCE, SESSION};

const PROTOCOL_TYPE: Str = Str::from_static("consumer");
const PROTOCOL: Str = Str::from_static("range");

/// Time between two tries.
const RETRY: Duration = Duration::from_millis(200);

#[derive(Debug)]
pub struct Classic {
    /// Empty until the coordinator has given one.
    pub id: Str,
    /// -1 while it belongs to no generation.
    pub generation: i32,
    phase: Phase,
    next: Instant,
    /// For the leader: what it has made the assignment from.
    led: Option<Seen>,
}

#[derive(Debug)]
enum Phase {
    /// Must join, or join again.
    Out,
    /// Must sync; the leader with what it has shared out.
    Joined(Vec<SyncGroupRequestAssignment>),
    In,
    Fenced,
}

impl Default for Classic {
    fn default() -> Classic {
        Classic { id: Str::default(), generation: -1, phase: Phase::Out, next: Instant(0), led: None }
    }
}

impl Classic {
    pub fn is_fenced(&self) -> bool {
        matches!(self.phase, Phase::Fenced)
    }

    /// An answer never came. Whatever was asked is asked again.
    pub fn lost(&mut self) {}

    /// Says good-bye. A static member does not: it comes back.
    pub fn leave(&self, settings: &MemberSettings) -> Option<Request> {
        let is_dynamic_member = !self.id.is_empty() && settings.instance.is_none();
        is_dynamic_member.then(|| {
            let member = MemberIdentity { member_id: self.id.clone(), ..Default::default() };
            Request::LeaveGroup(LeaveGroupRequest {
                group_id: settings.group.clone(),
                members: vec![member],
                ..Default::default()
            })
        })
    }

    pub fn request(
        &mut self,
        turn: &mut Turn,
        settings: &MemberSettings,
        holdings: &mut Holdings,
        may_let_go: bool,
    ) -> Option<Request> {
        if let (Phase::In, Some(seen)) = (&self.phase, &self.led)
            && assign::seen_now(seen, turn.topics) != *seen
        {
            self.phase = Phase::Out;
        }
        if turn.now < self.next {
            return None;
        }
        self.next = turn.now + RETRY;
        match &self.phase {
            Phase::Fenced => None,
            Phase::Out if !may_let_go => None,
            Phase::Out => {
                holdings.clear();
                self.led = None;
                Some(Request::JoinGroup(self.join(settings)))
            }
            Phase::Joined(assignments) => Some(Request::SyncGroup(SyncGroupRequest {
                group_id: settings.group.clone(),
                generation_id: self.generation,
                member_id: self.id.clone(),
                group_instance_id: settings.instance.clone(),
                protocol_type: Some(PROTOCOL_TYPE),
                protocol_name: Some(PROTOCOL),
                assignments: assignments.clone(),
            })),
            Phase::In => Some(Request::Heartbeat(HeartbeatRequest {
                group_id: settings.group.clone(),
                generation_id: self.generation,
                member_id: self.id.clone(),
                group_instance_id: settings.instance.clone(),
            })),
        }
    }

    pub fn answered(
        &mut self,
        turn: &mut Turn,
        settings: &MemberSettings,
        response: Response,
        holdings: &mut Holdings,
    ) {
        let code = match response {
            Response::JoinGroup(response) if response.error_code == 0 => {
                return self.joined(turn, settings, response);
            }
            Response::JoinGroup(response) => {
                if response.error_code == ErrorCode::MemberIdRequired.code() {
                    self.id = response.member_id;
                    self.next = turn.now;
                }
                response.error_code
            }
            Response::SyncGroup(response) if response.error_code == 0 => {
                let assigned = assign::assigned(response.assignment);
                holdings.become_these(&assigned);
                self.phase = Phase::In;
                self.next = turn.now + HEARTBEAT;
                return;
            }
            Response::SyncGroup(response) => response.error_code,
            Response::Heartbeat(response) => {
                if response.error_code == 0 {
                    self.next = turn.now + HEARTBEAT;
                }
                response.error_code
            }
            _ => return,
        };
        self.refused(ErrorCode::from_code(code).unwrap_or(ErrorCode::UnknownServerError), holdings);
    }

    fn joined(&mut self, turn: &mut Turn, settings: &MemberSettings, response: JoinGroupResponse) {
        self.id = response.member_id;
        self.generation = response.generation_id;
        self.next = turn.now;
        let leads = response.leader == self.id && !response.skip_assignment;
        let mut assignments = Vec::new();
        if leads {
            let (made, seen) = assign::assign(&response.members, turn.topics);
            assignments = made;
            self.led = Some(seen);
        } else if response.leader == self.id {
            // A static leader that came back does not know what the assignment was made from: it makes
            // another.
            let unheard_of = settings.subscription.iter().map(|topic| (topic.clone(), -1));
            self.led = Some(unheard_of.collect());
        }
        self.phase = Phase::Joined(assignments);
    }

    fn refused(&mut self, error: ErrorCode, holdings: &mut Holdings) {
        match error {
            ErrorCode::None | ErrorCode::MemberIdRequired => {}
            // It goes on as it was, and joins when it may.
            ErrorCode::RebalanceInProgress => self.phase = Phase::Out,
            ErrorCode::IllegalGeneration => {
                holdings.clear();
                self.generation = -1;
                self.phase = Phase::Out;
            }
            ErrorCode::UnknownMemberId => {
                holdings.clear();
                (self.id, self.generation) = (Str::default(), -1);
                self.phase = Phase::Out;
            }
            ErrorCode::FencedInstanceId => {
                holdings.clear();
                self.phase = Phase::Fenced;
            }
            _ => {} // the coordinator is away: the same again
        }
    }

    fn join(&self, settings: &MemberSettings) -> JoinGroupRequest {
        JoinGroupRequest {
            group_id: settings.group.clone(),
            session_timeout_ms: SESSION.as_millis() as i32,
            rebalance_timeout_ms: REBALANCE.as_millis() as i32,
            member_id: self.id.clone(),
            group_instance_id: settings.instance.clone(),
            protocol_type: PROTOCOL_TYPE,
            protocols: vec![JoinGroupRequestProtocol {
                name: PROTOCOL,
                metadata: assign::subscription(&settings.subscription),
            }],
            reason: None,
        }
    }
}
