//! LeaveGroup (key 13): members leave a classic group, or are removed from it. KIP-345 (several at once), KIP-800 (reasons).

use ottla_group::{Request, Response};
use ottla_wire::messages::leave_group_request::MemberIdentity;
use ottla_wire::messages::{LeaveGroupRequest, LeaveGroupResponse};

use super::Call;
use crate::coordinator::groups::ask;

/// From this version on, a request names several members.
const SEVERAL_VERSION: i16 = 3;

pub async fn handle(call: &mut Call<'_>, mut request: LeaveGroupRequest) -> LeaveGroupResponse {
    let alone = call.version < SEVERAL_VERSION;
    if alone {
        let member_id = std::mem::take(&mut request.member_id);
        request.members = vec![MemberIdentity { member_id, ..Default::default() }];
    }
    let group = request.group_id.clone();
    let response = match ask(call, &group, Request::LeaveGroup(request)).await {
        Ok(Response::LeaveGroup(response)) => response,
        Ok(_) => unreachable!("a coordinator answers what it was asked"),
        Err(code) => LeaveGroupResponse { error_code: code.code(), ..Default::default() },
    };
    if alone { of_one(response) } else { response }
}

/// What became of the only member is what became of the request.
fn of_one(mut response: LeaveGroupResponse) -> LeaveGroupResponse {
    let member = response.members.drain(..).next();
    if let Some(member) = member.filter(|_| response.error_code == 0) {
        response.error_code = member.error_code;
    }
    response
}
