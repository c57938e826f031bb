//! Checks every request before it reaches a group.

use ottla_wire::ErrorCode;

use crate::config::{CLIENT_ID_BYTES_MAX, ID_BYTES_MAX};
use crate::context::Context;
use crate::groups::Groups;
use crate::request::{Caller, Request};

/// Whether the request may be served at all: its ids fit into records, and there is room for one more group.
pub fn check(
    ctx: &Context<'_>,
    groups: &Groups,
    caller: &Caller,
    request: &Request,
) -> Result<(), ErrorCode> {
    if let Some(group) = request.group() {
        if group.len() > ID_BYTES_MAX || (group.is_empty() && request.needs_name()) {
            return Err(ErrorCode::InvalidGroupId);
        }
        if request.may_create() && groups.get(group).is_none() {
            if groups.len() >= ctx.config.limits.groups_max {
                return Err(ErrorCode::PolicyViolation);
            }
            if ctx.memory.is_full() {
                return Err(ErrorCode::CoordinatorNotAvailable);
            }
        }
        if request.brings_much() && ctx.memory.is_overfull() {
            return Err(ErrorCode::CoordinatorNotAvailable);
        }
    }
    request.check(ctx.config)?;
    if caller.client_id.len() > CLIENT_ID_BYTES_MAX
        || caller.client_host.len() > ID_BYTES_MAX
        || request.ids().into_iter().flatten().any(|id| id.len() > ID_BYTES_MAX)
    {
        return Err(ErrorCode::InvalidRequest);
    }
    Ok(())
}
