//! What a member of a classic group asks its coordinator.

use ottla_wire::messages::join_group_request::JoinGroupRequestProtocol;
use ottla_wire::messages::{
    HeartbeatRequest, HeartbeatResponse, JoinGroupRequest, JoinGroupResponse, LeaveGroupResponse,
    SyncGroupRequest, SyncGroupResponse,
};
use ottla_wire::primitives::Str;
use ottla_wire::protocol::ApiKey;

use super::Classic;
use crate::error::{Error, LinkError};
use crate::group::protocol::{PROTOCOL_TYPE, Subscribed};

/// A request to the coordinator.
#[derive(Clone, Debug)]
pub(in crate::group) enum Question {
    Join(JoinGroupRequest),
    Sync(SyncGroupRequest),
    Heartbeat(HeartbeatRequest),
    /// LeaveGroup, whose form depends on its version.
    Leave {
        member_id: Str,
        instance: Option<Str>,
        reason: &'static str,
    },
}

#[derive(Debug)]
pub(in crate::group) enum Answer {
    Join(Result<JoinGroupResponse, Error>),
    Sync(Result<SyncGroupResponse, Error>),
    Heartbeat(Result<HeartbeatResponse, Error>),
    Leave(Result<LeaveGroupResponse, Error>),
}

impl Classic {
    /// # Errors
    /// A subscription that cannot be written: a topic name longer than the protocol allows.
    pub(super) fn join_request(&self) -> Result<JoinGroupRequest, Error> {
        let settings = &self.settings;
        let subscribed = Subscribed {
            topics: self.subscription.clone(),
            owned: self.owned.clone(),
            generation: self.generation,
        };
        let metadata = subscribed
            .encode(settings.rack.as_ref())
            .map_err(|source| LinkError::Encode { api: ApiKey::JoinGroup, source })?;
        let protocol = |assignor: &crate::group::Assignor| JoinGroupRequestProtocol {
            name: Str::from_static(assignor.name()),
            metadata: metadata.clone(),
        };
        Ok(JoinGroupRequest {
            group_id: settings.group.clone(),
            session_timeout_ms: millis(settings.session_timeout),
            rebalance_timeout_ms: millis(settings.max_poll_interval),
            member_id: self.member_id.clone(),
            group_instance_id: settings.instance.clone(),
            protocol_type: Str::from_static(PROTOCOL_TYPE),
            protocols: settings.assignors.iter().map(protocol).collect(),
            reason: None,
        })
    }

    pub(super) fn heartbeat(&self) -> Question {
        Question::Heartbeat(HeartbeatRequest {
            group_id: self.settings.group.clone(),
            generation_id: self.generation,
            member_id: self.member_id.clone(),
            group_instance_id: self.settings.instance.clone(),
        })
    }
}

fn millis(of: std::time::Duration) -> i32 {
    i32::try_from(of.as_millis()).unwrap_or(i32::MAX)
}
