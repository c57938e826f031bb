//! What is checked of every request before it reaches a group.

use std::time::Duration;

use ottla_wire::ErrorCode;
use ottla_wire::messages::*;
use ottla_wire::primitives::Str;

use crate::config::{GroupConfig, ID_BYTES_MAX};
use crate::context::Context;
use crate::groups::Groups;
use crate::offsets;
use crate::request::{Caller, Request, Response};

/// Bytes that a member id has beside the id of the client or instance: a dash and a UUID in hex.
const MEMBER_ID_SUFFIX_BYTES: usize = 37;

/// Whether the request may be served at all: its ids fit into records, and there is room for one more group.
pub fn check(
    ctx: &Context<'_>,
    groups: &Groups,
    caller: &Caller,
    request: &Request,
) -> Result<(), ErrorCode> {
    let config = ctx.config;
    if let Some(group) = group_of(request) {
        if group.len() > ID_BYTES_MAX || (group.is_empty() && needs_name(request)) {
            return Err(ErrorCode::InvalidGroupId);
        }
        if may_create(request) && groups.get(group).is_none() {
            if groups.len() >= config.limits.groups_max {
                return Err(ErrorCode::PolicyViolation);
            }
            if ctx.memory.is_full() {
                return Err(ErrorCode::CoordinatorNotAvailable);
            }
        }
        if brings_much(request) && ctx.memory.is_overfull() {
            return Err(ErrorCode::CoordinatorNotAvailable);
        }
    }
    if let Request::JoinGroup(request) = request {
        check_join(config, request)?;
    }
    if caller.client_id.len() > ID_BYTES_MAX - MEMBER_ID_SUFFIX_BYTES
        || caller.client_host.len() > ID_BYTES_MAX
        || ids_of(request).into_iter().flatten().any(|id| id.len() > ID_BYTES_MAX)
    {
        return Err(ErrorCode::InvalidRequest);
    }
    Ok(())
}

fn check_join(config: &GroupConfig, request: &JoinGroupRequest) -> Result<(), ErrorCode> {
    let session = Duration::from_millis(u64::try_from(request.session_timeout_ms).unwrap_or(0));
    if session < config.session_timeout_min || session > config.session_timeout_max {
        return Err(ErrorCode::InvalidSessionTimeout);
    }
    let bytes: usize = request.protocols.iter().map(|it| it.name.len() + it.metadata.len()).sum();
    if bytes > config.limits.member_protocols_bytes_max {
        return Err(ErrorCode::MessageTooLarge);
    }
    let instance = request.group_instance_id.as_ref();
    if instance.is_some_and(|instance| instance.len() > ID_BYTES_MAX - MEMBER_ID_SUFFIX_BYTES) {
        return Err(ErrorCode::InvalidRequest);
    }
    Ok(())
}

/// The answer to a request that is refused as a whole.
pub fn refusal(request: Request, error: ErrorCode) -> Response {
    let error_code = error.code();
    match request {
        Request::JoinGroup(request) => Response::JoinGroup(JoinGroupResponse {
            error_code,
            member_id: request.member_id,
            protocol_name: Some(Str::default()),
            ..Default::default()
        }),
        Request::SyncGroup(_) => Response::SyncGroup(SyncGroupResponse { error_code, ..Default::default() }),
        Request::Heartbeat(_) => Response::Heartbeat(HeartbeatResponse { error_code, ..Default::default() }),
        Request::LeaveGroup(_) => {
            Response::LeaveGroup(LeaveGroupResponse { error_code, ..Default::default() })
        }
        Request::ConsumerGroupHeartbeat(_) => {
            Response::ConsumerGroupHeartbeat(ConsumerGroupHeartbeatResponse {
                error_code,
                ..Default::default()
            })
        }
        Request::OffsetCommit(request) => Response::OffsetCommit(offsets::refuse_commit(&request, error)),
        Request::TxnOffsetCommit(request) => {
            Response::TxnOffsetCommit(offsets::refuse_txn_commit(&request, error))
        }
        Request::OffsetFetch(of) => Response::OffsetFetch(offsets::refuse_fetch(&of.group, error)),
        Request::OffsetDelete(_) => Response::OffsetDelete(offsets::refuse_delete(error)),
        Request::ListGroups(_) => {
            Response::ListGroups(ListGroupsResponse { error_code, ..Default::default() })
        }
        Request::DescribeGroup(group_id) => {
            Response::DescribeGroup(describe_groups_response::DescribedGroup {
                group_id,
                error_code,
                ..Default::default()
            })
        }
        Request::ConsumerGroupDescribe(group_id) => {
            Response::ConsumerGroupDescribe(consumer_group_describe_response::DescribedGroup {
                group_id,
                error_code,
                ..Default::default()
            })
        }
        Request::DeleteGroup(group_id) => {
            Response::DeleteGroup(delete_groups_response::DeletableGroupResult { group_id, error_code })
        }
        Request::History(_) => Response::History(Vec::new()),
    }
}

fn group_of(request: &Request) -> Option<&Str> {
    match request {
        Request::JoinGroup(request) => Some(&request.group_id),
        Request::SyncGroup(request) => Some(&request.group_id),
        Request::Heartbeat(request) => Some(&request.group_id),
        Request::LeaveGroup(request) => Some(&request.group_id),
        Request::ConsumerGroupHeartbeat(request) => Some(&request.group_id),
        Request::OffsetCommit(request) => Some(&request.group_id),
        Request::TxnOffsetCommit(request) => Some(&request.group_id),
        Request::OffsetFetch(of) => Some(&of.group.group_id),
        Request::OffsetDelete(request) => Some(&request.group_id),
        Request::ListGroups(_) => None,
        Request::DescribeGroup(id)
        | Request::ConsumerGroupDescribe(id)
        | Request::DeleteGroup(id)
        | Request::History(id) => Some(id),
    }
}

/// Whether the empty id is refused. Kafka lets old clients keep offsets under it, so offsets of it can be looked at and
/// such a group deleted, too.
fn needs_name(request: &Request) -> bool {
    match request {
        Request::JoinGroup(_)
        | Request::SyncGroup(_)
        | Request::Heartbeat(_)
        | Request::LeaveGroup(_)
        | Request::TxnOffsetCommit(_)
        | Request::OffsetDelete(_)
        | Request::ConsumerGroupDescribe(_) => true,
        // A consumer's heartbeat is refused in words of its own, with its other fields.
        Request::ConsumerGroupHeartbeat(_)
        | Request::OffsetCommit(_)
        | Request::OffsetFetch(_)
        | Request::ListGroups(_)
        | Request::DescribeGroup(_)
        | Request::DeleteGroup(_)
        | Request::History(_) => false,
    }
}

fn may_create(request: &Request) -> bool {
    matches!(
        request,
        Request::JoinGroup(_)
            | Request::ConsumerGroupHeartbeat(_)
            | Request::OffsetCommit(_)
            | Request::TxnOffsetCommit(_)
    )
}

/// Whether the request has something that a member there is already would be kept with, and that may be large. Offsets are
/// looked at one by one: [`offsets`].
fn brings_much(request: &Request) -> bool {
    match request {
        Request::JoinGroup(_) => true,
        Request::SyncGroup(request) => !request.assignments.is_empty(),
        Request::ConsumerGroupHeartbeat(request) => {
            request.subscribed_topic_names.is_some() || request.subscribed_topic_regex.is_some()
        }
        Request::Heartbeat(_)
        | Request::LeaveGroup(_)
        | Request::OffsetCommit(_)
        | Request::TxnOffsetCommit(_)
        | Request::OffsetFetch(_)
        | Request::OffsetDelete(_)
        | Request::ListGroups(_)
        | Request::DescribeGroup(_)
        | Request::ConsumerGroupDescribe(_)
        | Request::DeleteGroup(_)
        | Request::History(_) => false,
    }
}

/// Ids of members and instances, and names that go into records.
fn ids_of(request: &Request) -> [Option<&Str>; 4] {
    match request {
        Request::JoinGroup(request) => [
            Some(&request.member_id),
            request.group_instance_id.as_ref(),
            Some(&request.protocol_type),
            request.protocols.iter().map(|protocol| &protocol.name).max_by_key(|name| name.len()),
        ],
        Request::ConsumerGroupHeartbeat(request) => [
            Some(&request.member_id),
            request.instance_id.as_ref(),
            request.rack_id.as_ref(),
            request.server_assignor.as_ref(),
        ],
        // Ids in these are only compared.
        Request::SyncGroup(_)
        | Request::Heartbeat(_)
        | Request::LeaveGroup(_)
        | Request::OffsetCommit(_)
        | Request::TxnOffsetCommit(_)
        | Request::OffsetFetch(_)
        | Request::OffsetDelete(_)
        | Request::ListGroups(_)
        | Request::DescribeGroup(_)
        | Request::ConsumerGroupDescribe(_)
        | Request::DeleteGroup(_)
        | Request::History(_) => [None; 4],
    }
}
