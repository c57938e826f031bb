//! IncrementalAlterConfigs (key 44): sets, deletes, appends to and subtracts from single settings. KIP-339.
//!
//! - 1: flexible.

use ottla_wire::messages::{IncrementalAlterConfigsRequest, IncrementalAlterConfigsResponse};

use super::call::Call;
use super::shared::config_resources::alter;

pub async fn handle(
    call: &mut Call<'_>,
    request: IncrementalAlterConfigsRequest,
) -> IncrementalAlterConfigsResponse {
    alter(call, request).await
}
