//! Why a request of a member is not served.

use ottla_wire::ErrorCode;
use ottla_wire::messages::*;
use ottla_wire::primitives::Str;

use crate::request::Response;

/// An error of the protocol, and what it means here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    pub error: ErrorCode,
    pub message: String,
}

impl Refusal {
    pub fn new(error: ErrorCode, message: impl Into<String>) -> Refusal {
        Refusal { error, message: message.into() }
    }

    pub fn unknown_member(member: &str, group: &str) -> Refusal {
        let message = format!("Member {member} is not a member of group {group}.");
        Refusal::new(ErrorCode::UnknownMemberId, message)
    }

    pub fn unknown_instance(instance: &str) -> Refusal {
        Refusal::new(ErrorCode::UnknownMemberId, format!("Instance id {instance} is unknown."))
    }

    pub fn fenced_instance(member: &str, instance: &str, by: &str) -> Refusal {
        let message =
            format!("Static member {member} with instance id {instance} was fenced by member {by}.");
        Refusal::new(ErrorCode::FencedInstanceId, message)
    }

    pub fn into_heartbeat(self) -> Response {
        Response::ConsumerGroupHeartbeat(ConsumerGroupHeartbeatResponse {
            error_code: self.error.code(),
            error_message: Some(self.message.into()),
            ..Default::default()
        })
    }

    /// The classic APIs have no room for a message.
    pub fn into_join(self, member_id: Str) -> Response {
        let error_code = self.error.code();
        Response::JoinGroup(JoinGroupResponse {
            error_code,
            member_id,
            protocol_name: Some(Str::default()),
            ..Default::default()
        })
    }

    pub fn into_sync(self) -> Response {
        let error_code = self.error.code();
        Response::SyncGroup(SyncGroupResponse { error_code, ..Default::default() })
    }

    pub fn into_classic_heartbeat(self) -> Response {
        let error_code = self.error.code();
        Response::Heartbeat(HeartbeatResponse { error_code, ..Default::default() })
    }
}
