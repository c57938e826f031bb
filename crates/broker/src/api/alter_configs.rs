//! AlterConfigs (key 33): replaces all dynamic settings of a resource. Superseded by IncrementalAlterConfigs.
//! KIP-133.
//!
//! - 2: flexible.

use ottla_wire::messages::{AlterConfigsRequest, AlterConfigsResponse};

use super::call::Call;
use super::shared::config_resources::alter;

pub async fn handle(call: &mut Call<'_>, request: AlterConfigsRequest) -> AlterConfigsResponse {
    alter(call, request).await
}
