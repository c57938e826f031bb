//! IncrementalAlterConfigs (key 44): set, delete, append to and subtract from settings one by one (KIP-339).

use std::collections::BTreeSet;

use ottla_wire::messages::incremental_alter_configs_request::{AlterConfigsResource, AlterableConfig};
use ottla_wire::messages::{IncrementalAlterConfigsRequest, IncrementalAlterConfigsResponse, MetadataRecord};
use ottla_wire::primitives::Str;
use ottla_wire::protocol::ErrorCode;

use super::config_change::{self, Wanted};
use super::{Call, Controller, Failure, Outcome};
use crate::image::ConfigResource;
use ottla_settings::{Kind, split_list};

impl Controller {
    /// All changes of one resource or none of them; resources stand alone.
    pub fn incremental_alter_configs(
        &mut self,
        call: &mut Call<'_>,
        request: &IncrementalAlterConfigsRequest,
    ) -> Outcome<IncrementalAlterConfigsResponse> {
        let (changes, response) =
            config_change::each_once(call, request, |at| altered(call, &request.resources[at]));
        if request.validate_only { Outcome::only(response) } else { changes.outcome(response) }
    }
}

fn altered(call: &Call<'_>, asked: &AlterConfigsResource) -> Result<Vec<MetadataRecord>, Failure> {
    let mut names = BTreeSet::new();
    if !asked.configs.iter().all(|config| names.insert(config.name.as_str())) {
        return Err(Failure::new(ErrorCode::InvalidRequest, "Error due to duplicate config keys"));
    }
    let resource = config_change::resource(call.image, asked.resource_type, &asked.resource_name)?;
    let mut wanted = Wanted::new();
    for config in &asked.configs {
        wanted.insert(config.name.clone(), value(call, &resource, config)?);
    }
    config_change::records(call, &resource, &wanted)
}

/// The value after the operation; `None` if it is deleted.
fn value(
    call: &Call<'_>,
    resource: &ConfigResource,
    config: &AlterableConfig,
) -> Result<Option<Str>, Failure> {
    const SET: i8 = 0;
    const DELETE: i8 = 1;
    const APPEND: i8 = 2;
    const SUBTRACT: i8 = 3;
    let invalid = |why: String| Err(Failure::new(ErrorCode::InvalidRequest, why));
    if !(SET..=SUBTRACT).contains(&config.config_operation) {
        return invalid(format!("Unknown operation {} for {}", config.config_operation, config.name));
    }
    if config.config_operation == DELETE {
        return Ok(None);
    }
    let Some(given) = &config.value else {
        return invalid(format!("Null value not supported for : {}", config.name));
    };
    if config.config_operation == SET {
        return Ok(Some(given.clone()));
    }
    let definition = config_change::definition(resource, &config.name)?;
    if definition.kind != Kind::List {
        let verb = if config.config_operation == APPEND { "APPEND" } else { "SUBTRACT" };
        let why = format!("Can't {verb} to key {} because its type is not LIST.", config.name);
        return Err(Failure::new(ErrorCode::InvalidConfig, why));
    }
    let mut entries = split_list(&config_change::current(call, resource, definition));
    let given = split_list(given);
    if config.config_operation == SUBTRACT {
        entries.retain(|entry| !given.contains(entry));
    } else {
        entries.extend(given.into_iter().filter(|entry| !entries.contains(entry)).collect::<Vec<_>>());
    }
    Ok(Some(entries.join(",").into()))
}
