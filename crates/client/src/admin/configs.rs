//! Configs of topics, brokers, groups and client metrics: describe and alter.

use std::collections::BTreeMap;

use ottla_link::Connection;
use ottla_wire::BrokerId;
use ottla_wire::messages::describe_configs_request::DescribeConfigsResource;
use ottla_wire::messages::describe_configs_response::DescribeConfigsResourceResult;
use ottla_wire::messages::incremental_alter_configs_request::{AlterConfigsResource, AlterableConfig};
use ottla_wire::messages::{DescribeConfigsRequest, IncrementalAlterConfigsRequest};
use ottla_wire::primitives::Str;

use super::{Admin, Repeat};
use crate::error::{ApiError, Error};

/// What has configs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ResourceType {
    Topic = 2,
    Broker = 4,
    BrokerLogger = 8,
    ClientMetrics = 16,
    Group = 32,
}

/// A thing that has configs. A broker's name is its id, or empty for the defaults of all brokers.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ConfigResource {
    pub kind: ResourceType,
    pub name: String,
}

impl ConfigResource {
    pub fn topic(name: impl Into<String>) -> ConfigResource {
        ConfigResource { kind: ResourceType::Topic, name: name.into() }
    }

    pub fn broker(id: BrokerId) -> ConfigResource {
        ConfigResource { kind: ResourceType::Broker, name: id.to_string() }
    }

    /// The broker that must be asked; none if any will do.
    fn broker_id(&self) -> Option<BrokerId> {
        match self.kind {
            ResourceType::Broker | ResourceType::BrokerLogger => self.name.parse().ok().map(BrokerId),
            ResourceType::Topic | ResourceType::ClientMetrics | ResourceType::Group => None,
        }
    }
}

/// One setting of a resource.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigEntry {
    pub name: String,
    /// None for a sensitive setting, or one that is not set.
    pub value: Option<String>,
    pub read_only: bool,
    pub sensitive: bool,
    /// Where the value comes from, as on the wire: 1 topic, 2 broker, 3 broker default, 4 static broker, 5
    /// default, 6 broker logger, 7 client metrics, 8 group.
    pub source: i8,
    /// As on the wire: 1 boolean, 2 string, 3 int, 4 short, 5 long, 6 double, 7 list, 8 class, 9 password.
    pub config_type: i8,
    /// Other places that give a value, the one in force first.
    pub synonyms: Vec<ConfigSynonym>,
    pub documentation: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigSynonym {
    pub name: String,
    pub value: Option<String>,
    pub source: i8,
}

/// What to do with a setting (KIP-339).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AlterOp {
    Set = 0,
    /// Back to the default.
    Delete = 1,
    /// Add to a list.
    Append = 2,
    /// Take from a list.
    Subtract = 3,
}

/// A change of one setting.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigChange {
    pub name: String,
    pub op: AlterOp,
    pub value: Option<String>,
}

impl ConfigChange {
    pub fn set(name: impl Into<String>, value: impl Into<String>) -> ConfigChange {
        ConfigChange { name: name.into(), op: AlterOp::Set, value: Some(value.into()) }
    }

    pub fn delete(name: impl Into<String>) -> ConfigChange {
        ConfigChange { name: name.into(), op: AlterOp::Delete, value: None }
    }
}

impl Admin {
    /// The configs of resources: all, or those in `names`; with `documentation` if asked for, always with
    /// synonyms.
    pub async fn describe_configs(
        &self,
        resources: &[ConfigResource],
        names: Option<&[&str]>,
        documentation: bool,
    ) -> Result<BTreeMap<ConfigResource, Result<Vec<ConfigEntry>, ApiError>>, Error> {
        let mut described = BTreeMap::new();
        for (broker, resources) in by_broker(resources) {
            let ask = |resource: &&ConfigResource| DescribeConfigsResource {
                resource_type: resource.kind as i8,
                resource_name: Str::from(&resource.name),
                configuration_keys: names.map(|names| names.iter().map(|&name| Str::from(name)).collect()),
            };
            let request = DescribeConfigsRequest {
                resources: resources.iter().map(ask).collect(),
                include_synonyms: true,
                include_documentation: documentation,
            };
            let answer = || async { Ok(self.keeper(broker).await?.call(&request).await?) };
            for result in self.repeat(Repeat::Harmless, answer).await?.results {
                let Some(resource) = find(&resources, result.resource_type, &result.resource_name) else {
                    continue;
                };
                let outcome = ApiError::check(result.error_code, result.error_message.as_deref());
                let entries = outcome.map(|()| result.configs.into_iter().map(read_entry).collect());
                described.insert(resource, entries);
            }
        }
        Ok(described)
    }

    /// Changes settings one by one; settings that are not named stay. With `validate_only`, says whether it
    /// could be done.
    pub async fn incremental_alter_configs(
        &self,
        changes: &[(ConfigResource, Vec<ConfigChange>)],
        validate_only: bool,
    ) -> Result<BTreeMap<ConfigResource, Result<(), ApiError>>, Error> {
        let resources: Vec<ConfigResource> = changes.iter().map(|(resource, _)| resource.clone()).collect();
        let mut altered = BTreeMap::new();
        for (broker, resources) in by_broker(&resources) {
            let ask = |resource: &&ConfigResource| AlterConfigsResource {
                resource_type: resource.kind as i8,
                resource_name: Str::from(&resource.name),
                configs: changes
                    .iter()
                    .filter(|(of, _)| of == *resource)
                    .flat_map(|(_, changes)| changes.iter().map(alterable))
                    .collect(),
            };
            let request = IncrementalAlterConfigsRequest {
                resources: resources.iter().map(ask).collect(),
                validate_only,
            };
            // Append and subtract leave a list alone that already is as wanted: again is harmless.
            let answer = || async { Ok(self.keeper(broker).await?.call(&request).await?) };
            for result in self.repeat(Repeat::Harmless, answer).await?.responses {
                let Some(resource) = find(&resources, result.resource_type, &result.resource_name) else {
                    continue;
                };
                let outcome = ApiError::check(result.error_code, result.error_message.as_deref());
                altered.insert(resource, outcome);
            }
        }
        Ok(altered)
    }

    /// The one to ask: a certain broker, or any.
    async fn keeper(&self, broker: Option<BrokerId>) -> Result<Connection, Error> {
        match broker {
            Some(broker) => self.broker(broker).await,
            None => self.cluster.any().await,
        }
    }
}

fn by_broker(resources: &[ConfigResource]) -> BTreeMap<Option<BrokerId>, Vec<&ConfigResource>> {
    let mut grouped: BTreeMap<Option<BrokerId>, Vec<&ConfigResource>> = BTreeMap::new();
    for resource in resources {
        let group = grouped.entry(resource.broker_id()).or_default();
        if !group.contains(&resource) {
            group.push(resource);
        }
    }
    grouped
}

fn find(resources: &[&ConfigResource], kind: i8, name: &str) -> Option<ConfigResource> {
    resources.iter().find(|asked| asked.kind as i8 == kind && asked.name == name).map(|&asked| asked.clone())
}

fn alterable(change: &ConfigChange) -> AlterableConfig {
    AlterableConfig {
        name: Str::from(&change.name),
        config_operation: change.op as i8,
        value: change.value.as_ref().map(Str::from),
    }
}

fn read_entry(result: DescribeConfigsResourceResult) -> ConfigEntry {
    let synonyms = result.synonyms.into_iter().map(|synonym| ConfigSynonym {
        name: synonym.name.into(),
        value: synonym.value.map(String::from),
        source: synonym.source,
    });
    ConfigEntry {
        name: result.name.into(),
        value: result.value.map(String::from),
        read_only: result.read_only,
        sensitive: result.is_sensitive,
        source: result.config_source,
        config_type: result.config_type,
        synonyms: synonyms.collect(),
        documentation: result.documentation.map(String::from),
    }
}
