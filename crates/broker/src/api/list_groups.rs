//! ListGroups (key 16): the groups that this broker coordinates.
//!
//! - 1: the time of throttling.
//! - 3: flexible.
//! - 4: by state, and the state of each (KIP-518).
//! - 5: by type, and the type of each (KIP-848).

use ottla_wire::messages::{ListGroupsRequest, ListGroupsResponse};
use ottla_wire::protocol::ErrorCode;

use super::call::Call;
use crate::door::{Operation, Resource};

pub async fn handle(call: &mut Call<'_>, request: ListGroupsRequest) -> ListGroupsResponse {
    let mut response = ListGroupsResponse::default();
    let groups = call.ctx.coordinators.groups();
    for index in groups.led_here() {
        let listed = match groups.ask_at(index, call.caller(), request.clone(), None).await {
            Ok(listed) => listed,
            // The leadership has just ended, so its groups belong to another broker.
            Err(ErrorCode::NotCoordinator) => continue,
            Err(code) => ListGroupsResponse { error_code: code.code(), ..Default::default() },
        };
        // An incomplete list must not look complete.
        if listed.error_code != 0 {
            return ListGroupsResponse { error_code: listed.error_code, ..Default::default() };
        }
        response.groups.extend(listed.groups);
    }
    // A client that may describe the cluster sees all groups, others only those they may describe.
    if !call.may(Operation::Describe, Resource::Cluster) {
        response.groups.retain(|listed| call.may(Operation::Describe, Resource::Group(&listed.group_id)));
    }
    response
}
