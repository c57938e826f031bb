//! LeaveGroup (key 13): members leave a classic group, or are removed from it. KIP-345 (several at once), KIP-800 (reasons).

use ottla_group::{Request, Response};
use ottla_wire::messages::{LeaveGroupRequest, LeaveGroupResponse};

use super::Call;
use crate::coordinator::groups::ask;

pub async fn handle(call: &mut Call<'_>, request: LeaveGroupRequest) -> LeaveGroupResponse {
    let group = request.group_id.clone();
    match ask(call, &group, Request::LeaveGroup(request)).await {
        Ok(Response::LeaveGroup(response)) => response,
        Ok(_) => unreachable!("a coordinator answers what it was asked"),
        Err(code) => LeaveGroupResponse { error_code: code.code(), ..Default::default() },
    }
}
