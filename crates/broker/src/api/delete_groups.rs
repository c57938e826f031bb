//! DeleteGroups (key 42): deletes empty groups with their offsets. KIP-229.
//!
//! - 2: flexible.

use ottla_group::request::DeleteGroup;
use ottla_wire::messages::delete_groups_response::DeletableGroupResult;
use ottla_wire::messages::{DeleteGroupsRequest, DeleteGroupsResponse};
use ottla_wire::primitives::Str;

use super::call::Call;
use crate::door::Operation;

pub async fn handle(call: &mut Call<'_>, request: DeleteGroupsRequest) -> DeleteGroupsResponse {
    let mut response = DeleteGroupsResponse::default();
    for id in request.groups_names {
        // The answer has one entry for each group.
        if !response.results.iter().any(|known| known.group_id == id) {
            response.results.push(delete(call, id).await);
        }
    }
    response
}

async fn delete(call: &Call<'_>, id: Str) -> DeletableGroupResult {
    let answer = call.ask_group(Operation::Delete, DeleteGroup::from(id.clone())).await;
    answer.unwrap_or_else(|code| DeletableGroupResult { group_id: id, error_code: code.code() })
}
