//! SyncGroup (key 14): the leader of a classic group hands out the assignment, the others wait for theirs.
//! KIP-345 (static members), KIP-559 (protocol type and name).

use ottla_group::{Request, Response};
use ottla_wire::messages::{SyncGroupRequest, SyncGroupResponse};

use super::Call;
use crate::coordinator::groups::ask;

pub async fn handle(call: &mut Call<'_>, request: SyncGroupRequest) -> SyncGroupResponse {
    let group = request.group_id.clone();
    match ask(call, &group, Request::SyncGroup(request)).await {
        Ok(Response::SyncGroup(response)) => response,
        Ok(_) => unreachable!("a coordinator answers what it was asked"),
        Err(code) => SyncGroupResponse { error_code: code.code(), ..Default::default() },
    }
}
