//! Heartbeat (key 12): a member of a classic group says that it lives. KIP-345 (static members).

use ottla_group::{Request, Response};
use ottla_wire::messages::{HeartbeatRequest, HeartbeatResponse};

use super::Call;
use crate::coordinator::groups::ask;

pub async fn handle(call: &mut Call<'_>, request: HeartbeatRequest) -> HeartbeatResponse {
    let group = request.group_id.clone();
    match ask(call, &group, Request::Heartbeat(request)).await {
        Ok(Response::Heartbeat(response)) => response,
        Ok(_) => unreachable!("a coordinator answers what it was asked"),
        Err(code) => HeartbeatResponse { error_code: code.code(), ..Default::default() },
    }
}
