//! ListGroups (key 16): the groups that this broker coordinates. KIP-518 (states), KIP-848 (types).

use ottla_group::GroupCoordinator;
use ottla_wire::messages::{ListGroupsRequest, ListGroupsResponse};
use ottla_wire::protocol::ErrorCode;

use super::call::Call;
use crate::coordinator::ask::led_here;
use crate::coordinator::groups::{ListGroups, ask_partition, caller};

pub async fn handle(call: &mut Call<'_>, request: ListGroupsRequest) -> ListGroupsResponse {
    let mut response = ListGroupsResponse::default();
    for index in led_here::<GroupCoordinator>(call.ctx) {
        let asked = ListGroups(request.clone());
        let listed = match ask_partition(call.ctx, index, caller(call), asked, None).await {
            Ok(listed) => listed,
            // The leadership has just gone: its groups are somebody else's.
            Err(ErrorCode::NotCoordinator) => continue,
            Err(code) => ListGroupsResponse { error_code: code.code(), ..Default::default() },
        };
        // A list that lacks groups must not look like one that has all.
        if listed.error_code != 0 {
            return ListGroupsResponse { error_code: listed.error_code, ..Default::default() };
        }
        response.groups.extend(listed.groups);
    }
    response
}
