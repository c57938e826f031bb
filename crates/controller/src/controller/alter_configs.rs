//! AlterConfigs (key 33): replaces all settings of a resource. Old clients use it; newer ones alter one by
//! one.

use std::collections::BTreeSet;

use ottla_wire::messages::alter_configs_request::AlterConfigsResource;
use ottla_wire::messages::{AlterConfigsRequest, AlterConfigsResponse, MetadataRecord};
use ottla_wire::protocol::ErrorCode;

use super::config_change::{self, Wanted};
use super::{Call, Controller, Failure, Outcome};

impl Controller {
    /// What a resource has and the request does not name is taken away.
    pub fn alter_configs(
        &mut self,
        call: &mut Call<'_>,
        request: &AlterConfigsRequest,
    ) -> Outcome<AlterConfigsResponse> {
        let (changes, response) =
            config_change::each_once(call, request, |at| replaced(call, &request.resources[at]));
        if request.validate_only { Outcome::only(response) } else { changes.outcome(response) }
    }
}

fn replaced(call: &Call<'_>, asked: &AlterConfigsResource) -> Result<Vec<MetadataRecord>, Failure> {
    let resource = config_change::resource(call.image, asked.resource_type, &asked.resource_name)?;
    let own = call.image.config(&resource).into_iter().flatten();
    let mut wanted: Wanted = own.map(|(name, _)| (name.clone(), None)).collect();
    let mut named = BTreeSet::new();
    for config in &asked.configs {
        if !named.insert(config.name.as_str()) {
            return Err(Failure::new(ErrorCode::InvalidRequest, "Error due to duplicate config keys"));
        }
        let Some(value) = &config.value else {
            let why = format!("Null value not supported for : {}", config.name);
            return Err(Failure::new(ErrorCode::InvalidRequest, why));
        };
        wanted.insert(config.name.clone(), Some(value.clone()));
    }
    config_change::records(call, &resource, &wanted)
}
