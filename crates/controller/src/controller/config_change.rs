//! Changes of dynamic settings: what IncrementalAlterConfigs and AlterConfigs have in common.

use std::collections::{BTreeMap, BTreeSet};

use ottla_wire::BrokerId;
use ottla_wire::messages::{ConfigRecord, MetadataRecord};
use ottla_wire::primitives::Str;
use ottla_wire::protocol::ErrorCode;

use super::alters_configs::{Altered, AltersConfigs};
use super::change::Change;
use super::{Call, Cuts, Failure, Outcome, leadership, parts, topic_names};
use crate::image::{ConfigResource, Image, Partition, ResourceKind};
use ottla_settings::{
    ConfigError, Definition, Layers, Scope, Table, Unit, check_support, tables, topic_synonyms,
    validate_group, validate_topic,
};

/// The longest value: what is larger is not a setting but data.
const VALUE_BYTES_MAX: usize = 32 * 1024;

/// Settings of a resource as they are to be; `None` takes one away. What is not named stays.
pub(super) type Wanted = BTreeMap<Str, Option<Str>>;

/// What the changes of a request come to.
pub(super) struct Changes {
    records: Vec<MetadataRecord>,
    /// Where each resource's records begin.
    starts: Vec<usize>,
}

impl Changes {
    /// Each resource is changed whole or not at all.
    pub(super) fn outcome<R>(self, response: R) -> Outcome<R> {
        Outcome { records: self.records, cuts: Cuts::Before(self.starts), response }
    }
}

/// Decides on each resource of a request; one that is named more than once is refused. Gives the changes, and
/// the response.
pub(super) fn each_once<R: AltersConfigs>(
    call: &Call<'_>,
    request: &R,
    mut decide: impl FnMut(usize) -> Result<Vec<MetadataRecord>, Failure>,
) -> (Changes, R::Response) {
    let mut seen = BTreeSet::new();
    let repeated: BTreeSet<_> = request.resources().filter(|named| !seen.insert(*named)).collect();
    let mut changes: Vec<Vec<MetadataRecord>> = Vec::new();
    let response = R::answer(request.resources().enumerate().map(|(at, named)| {
        let decided = match repeated.contains(&named) {
            true => Err(Failure::new(ErrorCode::InvalidRequest, "Each resource must appear at most once.")),
            false => decide(at).map(|new| changes.push(new)),
        };
        let (resource_type, resource_name) = (named.0, named.1.clone());
        let (error_code, error_message) = parts(decided);
        Altered { resource_type, resource_name, error_code, error_message }
    }));
    let mut records = elr_records(call, &changes);
    let mut starts: Vec<usize> = (0..records.len()).collect();
    for change in changes {
        starts.push(records.len());
        records.extend(change);
    }
    (Changes { records, starts }, response)
}

/// The resource that a request names, if it can have settings and is there.
pub(super) fn resource(image: &Image, kind: i8, name: &Str) -> Result<ConfigResource, Failure> {
    let invalid = |why: String| Err(Failure::new(ErrorCode::InvalidRequest, why));
    let Some(kind) = ResourceKind::from_code(kind) else {
        return invalid(format!("Unsupported config resource type {kind}"));
    };
    match kind {
        ResourceKind::Topic if name.is_empty() => {
            return invalid("Default topic resources are not allowed.".to_owned());
        }
        ResourceKind::Topic => {
            topic_names::check(name)?;
            if image.topic(name).is_none() {
                let why = format!("The topic '{name}' does not exist.");
                return Err(Failure::new(ErrorCode::UnknownTopicOrPartition, why));
            }
        }
        ResourceKind::Broker if name.is_empty() => {}
        ResourceKind::Broker => {
            let Ok(id) = name.parse::<i32>() else {
                return invalid(format!("Broker id must be an integer, but it is: {name}"));
            };
            if image.broker(BrokerId(id)).is_none() {
                let why = format!("No broker with id {id} found.");
                return Err(Failure::new(ErrorCode::BrokerIdNotRegistered, why));
            }
        }
        ResourceKind::BrokerLogger => {
            return invalid("Log levels cannot be changed by this request yet".to_owned());
        }
        ResourceKind::ClientMetrics if name.is_empty() => {
            return invalid("Subscription name can't be empty".to_owned());
        }
        ResourceKind::Group if name.is_empty() => {
            return invalid("Default group resources are not allowed.".to_owned());
        }
        ResourceKind::ClientMetrics | ResourceKind::Group => {}
    }
    Ok(ConfigResource { kind, name: name.clone() })
}

/// The definition of a setting of `resource`.
pub(super) fn definition(resource: &ConfigResource, name: &str) -> Result<&'static Definition, Failure> {
    let Some(table) = resource.kind.table() else {
        let why = format!("{} has no settings", shown(resource));
        return Err(Failure::new(ErrorCode::InvalidRequest, why));
    };
    table.known(name).map_err(|error| refused(resource, &error))
}

/// The value that an APPEND or SUBTRACT starts from: the resource's own, or what holds without.
pub(super) fn current(call: &Call<'_>, resource: &ConfigResource, definition: &'static Definition) -> String {
    if let Some(own) = call.image.config_value(resource, definition.name) {
        return own.to_string();
    }
    let layers = Layers::new(call.image, call.settings);
    let found = match resource.kind {
        ResourceKind::Topic => {
            topic_synonyms(definition, None, &layers).into_iter().next().map(|one| one.converted)
        }
        ResourceKind::Broker => {
            let chain = [(definition.name, Unit::Same)];
            layers.synonyms(&chain).into_iter().next().map(|one| one.converted)
        }
        ResourceKind::BrokerLogger | ResourceKind::ClientMetrics | ResourceKind::Group => None,
    };
    found.or_else(|| definition.default_text().map(str::to_owned)).unwrap_or_default()
}

/// Records that make the settings of `resource` what is wanted, once all of them together have been found
/// right.
pub(super) fn records(
    call: &Call<'_>,
    resource: &ConfigResource,
    wanted: &Wanted,
) -> Result<Vec<MetadataRecord>, Failure> {
    let own = call.image.config(resource);
    let value_now = |name: &str| own.and_then(|own| own.get(name));
    for (name, value) in wanted {
        // What this version does not know can be taken away if it is there.
        if value.is_some() || value_now(name).is_none() {
            definition(resource, name)?;
        }
        if value.as_ref().is_some_and(|value| value.len() > VALUE_BYTES_MAX) {
            let why = format!("The value of {name} is longer than {VALUE_BYTES_MAX} bytes");
            return Err(Failure::new(ErrorCode::InvalidConfig, why));
        }
    }
    check_together(call, resource, wanted)?;
    let changed = wanted.iter().filter(|(name, value)| value_now(name) != value.as_ref());
    let records = changed
        .map(|(name, value)| {
            MetadataRecord::Config(ConfigRecord {
                resource_type: resource.kind.code(),
                resource_name: resource.name.clone(),
                name: name.clone(),
                value: value.clone(),
            })
        })
        .collect();
    Ok(records)
}

/// Checks the settings that the resource would have.
fn check_together(call: &Call<'_>, resource: &ConfigResource, wanted: &Wanted) -> Result<(), Failure> {
    let image = call.image;
    let refused = |error: ConfigError| refused(resource, &error);
    match resource.kind {
        ResourceKind::Topic => {
            let mut all: BTreeMap<&str, &str> = BTreeMap::new();
            all.extend(
                image
                    .config(resource)
                    .into_iter()
                    .flatten()
                    .map(|(name, value)| (name.as_str(), value.as_str())),
            );
            for (name, value) in wanted {
                match value {
                    Some(value) => all.insert(name, value),
                    None => all.remove(name.as_str()),
                };
            }
            // A setting that another version of this program left behind does not keep the others from
            // changing.
            all.retain(|name, _| wanted.contains_key(*name) || tables::topic(name).is_some());
            validate_topic(&all).map_err(refused)
        }
        ResourceKind::Broker => {
            check_scopes(image, resource, wanted)?;
            check_values(resource, wanted, Table::Broker)
        }
        ResourceKind::Group => {
            check_values(resource, wanted, Table::Group)?;
            let mut own = image.config(resource).cloned().unwrap_or_default();
            for (name, value) in wanted {
                match value {
                    Some(value) => own.insert(name.clone(), value.clone()),
                    None => own.remove(name),
                };
            }
            validate_group(&own, &call.settings.with_dynamic(image)).map_err(refused)
        }
        ResourceKind::ClientMetrics => check_values(resource, wanted, Table::ClientMetrics),
        ResourceKind::BrokerLogger => Ok(()),
    }
}

fn check_values(resource: &ConfigResource, wanted: &Wanted, table: Table) -> Result<(), Failure> {
    for (name, value) in wanted {
        if let Some(value) = value {
            let definition = definition(resource, name)?;
            // What has no effect is kept and shown. The broker's log says so.
            let checked = definition.parse(value).and_then(|_| check_support(table, definition, value));
            checked.map_err(|error| refused(resource, &error))?;
        }
    }
    Ok(())
}

/// Which broker settings may change at all, and where (KIP-226, KIP-966).
fn check_scopes(image: &Image, resource: &ConfigResource, wanted: &Wanted) -> Result<(), Failure> {
    let scoped = |scope: Scope| -> BTreeSet<&str> {
        let names = wanted.keys().map(Str::as_str);
        names
            .filter(|name| tables::broker(name).is_some_and(|definition| definition.scope == scope))
            .collect()
    };
    let fail = |why: String| {
        let why = format!("Invalid config value for resource {}: {why}", shown(resource));
        Err(Failure::new(ErrorCode::InvalidRequest, why))
    };
    let list = |names: BTreeSet<&str>| names.into_iter().collect::<Vec<_>>().join(", ");
    let fixed = scoped(Scope::ReadOnly);
    if !fixed.is_empty() {
        return fail(format!("Cannot update these configs dynamically: {}", list(fixed)));
    }
    let everywhere = resource.name.is_empty();
    let single = scoped(Scope::PerBroker);
    if everywhere && !single.is_empty() {
        let names = list(single);
        return fail(format!(
            "Cannot update these configs at default cluster level, they must be set at broker level: {names}"
        ));
    }
    // Where leaders may come from must not depend on which broker is asked.
    if let Some(value) =
        wanted.get("min.insync.replicas").filter(|_| image.features.eligible_leader_replicas())
    {
        let why = match (everywhere, value) {
            (false, _) => "Broker-level min.insync.replicas cannot be altered while ELR is enabled.",
            (true, None) => "Cluster-level min.insync.replicas cannot be removed while ELR is enabled.",
            (true, Some(_)) => return Ok(()),
        };
        return Err(Failure::new(ErrorCode::InvalidConfig, why));
    }
    Ok(())
}

/// Partitions whose ISR is large enough by the new `min.insync.replicas` need no ELR any more. Its members
/// may miss what is acknowledged from then on, so this is logged before the settings: a part of it alone does
/// no harm.
fn elr_records(call: &Call<'_>, changes: &[Vec<MetadataRecord>]) -> Vec<MetadataRecord> {
    let is_min_isr = |record: &MetadataRecord| match record {
        MetadataRecord::Config(config) => config.name.as_str() == "min.insync.replicas",
        _ => false,
    };
    if !changes.iter().flatten().any(is_min_isr) {
        return Vec::new();
    }
    let Ok((image, _)) = call.image.apply_all(changes.iter().flatten()) else { return Vec::new() };
    let may_lead = |broker| image.is_active(broker);
    let has_elr = |partition: &Partition| !partition.elr.is_empty();
    leadership::each(&image, call.settings, usize::MAX, has_elr, |topic, index, partition, config| {
        Change::new(&image, topic, index, partition, config, &may_lead).record()
    })
}

/// Kafka answers INVALID_CONFIG for topics and groups, and INVALID_REQUEST for values that a broker cannot
/// take.
fn refused(resource: &ConfigResource, error: &ConfigError) -> Failure {
    let code = match (resource.kind, error) {
        (ResourceKind::Broker, ConfigError::WrongType { .. } | ConfigError::OutOfRange { .. }) => {
            ErrorCode::InvalidRequest
        }
        _ => ErrorCode::InvalidConfig,
    };
    Failure::new(code, error.to_string())
}

fn shown(resource: &ConfigResource) -> String {
    format!("ConfigResource(type={}, name='{}')", resource.kind.name(), resource.name)
}
