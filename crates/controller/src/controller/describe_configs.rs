//! DescribeConfigs (key 32): settings with their sources, synonyms, types and documentation (KIP-133,
//! KIP-226).

use ottla_wire::BrokerId;
use ottla_wire::messages::describe_configs_request::DescribeConfigsResource;
use ottla_wire::messages::describe_configs_response::{
    DescribeConfigsResourceResult, DescribeConfigsResult, DescribeConfigsSynonym,
};
use ottla_wire::messages::{DescribeConfigsRequest, DescribeConfigsResponse};
use ottla_wire::primitives::Str;
use ottla_wire::protocol::ErrorCode;

use super::{Failure, topic_names};
use crate::image::{ConfigResource, Image, ResourceKind};
use ottla_settings::{
    BrokerSettings, Definition, Layers, Scope, Source, Synonym, Unit, chain, group_broker_default, tables,
    topic_doc, topic_synonyms,
};

/// What holds on the broker of `settings`. A null list of keys means all, and so does an empty one.
pub fn describe_configs(
    image: &Image,
    settings: &BrokerSettings,
    request: &DescribeConfigsRequest,
) -> DescribeConfigsResponse {
    let asked = ConfigQuery { image, settings, request };
    let results = request.resources.iter().map(|resource| asked.resource(resource)).collect();
    DescribeConfigsResponse { results, ..DescribeConfigsResponse::default() }
}

struct ConfigQuery<'a> {
    image: &'a Image,
    settings: &'a BrokerSettings,
    request: &'a DescribeConfigsRequest,
}

impl ConfigQuery<'_> {
    fn resource(&self, resource: &DescribeConfigsResource) -> DescribeConfigsResult {
        let mut result = DescribeConfigsResult {
            resource_type: resource.resource_type,
            resource_name: resource.resource_name.clone(),
            ..DescribeConfigsResult::default()
        };
        match self.entries(resource) {
            Ok(configs) => result.configs = configs,
            Err(failure) => (result.error_code, result.error_message) = failure.parts(),
        }
        result
    }

    fn entries(
        &self,
        resource: &DescribeConfigsResource,
    ) -> Result<Vec<DescribeConfigsResourceResult>, Failure> {
        let name = &resource.resource_name;
        let invalid = |why: String| Err(Failure::new(ErrorCode::InvalidRequest, why));
        let wanted = |definition: &&'static Definition| {
            let keys = resource.configuration_keys.as_deref().unwrap_or_default();
            !definition.internal
                && (keys.is_empty() || keys.iter().any(|key| key.as_str() == definition.name))
        };
        match ResourceKind::from_code(resource.resource_type) {
            Some(ResourceKind::Topic) => {
                topic_names::check(name)?;
                if self.image.topic(name).is_none() {
                    let why = "This server does not host this topic-partition.";
                    return Err(Failure::new(ErrorCode::UnknownTopicOrPartition, why));
                }
                Ok(tables::topics().iter().filter(wanted).map(|one| self.topic_entry(name, one)).collect())
            }
            Some(ResourceKind::Broker) if name.is_empty() => {
                let set = |one: &&'static Definition| {
                    self.image.config_value(&ConfigResource::all_brokers(), one.name).is_some()
                };
                let entries = tables::brokers().iter().filter(wanted).filter(set);
                Ok(entries.map(|one| self.default_broker_entry(one)).collect())
            }
            Some(ResourceKind::Broker) => {
                let own = self.settings.node_id().map_or(BrokerId::NONE, |id| id);
                if name.parse::<i32>().ok() != Some(own.0) {
                    return invalid(format!(
                        "Unexpected broker id, expected {own} or empty string, but received {name}"
                    ));
                }
                Ok(tables::brokers().iter().filter(wanted).map(|one| self.broker_entry(one)).collect())
            }
            Some(ResourceKind::BrokerLogger) => {
                invalid("Log levels cannot be described by this request yet".to_owned())
            }
            Some(ResourceKind::ClientMetrics) if name.is_empty() => {
                invalid("Client metrics subscription name must not be empty".to_owned())
            }
            Some(ResourceKind::Group) if name.is_empty() => {
                invalid("Group name must not be empty".to_owned())
            }
            Some(kind @ ResourceKind::ClientMetrics) => {
                let entries = tables::client_metrics().iter().filter(wanted);
                Ok(entries.map(|one| self.plain_entry(kind, name, Source::ClientMetrics, one)).collect())
            }
            Some(ResourceKind::Group) => {
                Ok(tables::groups().iter().filter(wanted).map(|one| self.group_entry(name, one)).collect())
            }
            None => invalid(format!("Unsupported resource type: {}", resource.resource_type)),
        }
    }

    fn topic_entry(&self, topic: &Str, definition: &'static Definition) -> DescribeConfigsResourceResult {
        let own = self.image.config(&ConfigResource::topic(topic.clone()));
        let synonyms = topic_synonyms(definition, own, &Layers::new(self.image, self.settings));
        self.entry(definition, synonyms, false, topic_doc(definition.name))
    }

    fn broker_entry(&self, definition: &'static Definition) -> DescribeConfigsResourceResult {
        let names: Vec<_> = chain(definition.name).into_iter().map(|name| (name, Unit::Same)).collect();
        let synonyms = Layers::new(self.image, self.settings).synonyms(&names);
        // Of log.retention.ms the value is its own; that of log.retention.hours is a synonym in another unit.
        let own = synonyms.iter().find(|one| one.name == definition.name).cloned();
        let mut entry = self.entry(definition, synonyms, definition.scope == Scope::ReadOnly, definition.doc);
        let value = own.as_ref().map(|one| Str::from(one.value.as_str()));
        entry.value = value.filter(|_| !definition.is_sensitive());
        entry.config_source = own.map_or(Source::Default, |one| one.source).code();
        entry
    }

    fn default_broker_entry(&self, definition: &'static Definition) -> DescribeConfigsResourceResult {
        let value = self.image.config_value(&ConfigResource::all_brokers(), definition.name);
        let value = value.map(Str::to_string).unwrap_or_default();
        let source = Source::DynamicDefaultBroker;
        let synonym = Synonym { name: definition.name, converted: value.clone(), value, source };
        self.entry(definition, vec![synonym], definition.scope == Scope::ReadOnly, definition.doc)
    }

    fn plain_entry(
        &self,
        kind: ResourceKind,
        name: &Str,
        source: Source,
        definition: &'static Definition,
    ) -> DescribeConfigsResourceResult {
        let set = self.image.config_value(&ConfigResource::new(kind, name.clone()), definition.name);
        let synonym = |value: &str, source| Synonym {
            name: definition.name,
            value: value.to_owned(),
            converted: value.to_owned(),
            source,
        };
        let own = set.map(|value| synonym(value, source));
        let default = definition.default_text().map(|text| synonym(text, Source::Default));
        self.entry(definition, own.into_iter().chain(default).collect(), false, definition.doc)
    }

    /// What a group has not set is what the broker says for all groups.
    fn group_entry(&self, group: &Str, definition: &'static Definition) -> DescribeConfigsResourceResult {
        let own = self.image.config_value(&ConfigResource::group(group.clone()), definition.name);
        let own = own.map(|value| Synonym {
            name: definition.name,
            value: value.to_string(),
            converted: value.to_string(),
            source: Source::Group,
        });
        let of_broker = group_broker_default(definition.name).map(|name| (name, Unit::Same));
        let layers = Layers::new(self.image, self.settings).synonyms(of_broker.as_slice());
        self.entry(definition, own.into_iter().chain(layers).collect(), false, definition.doc)
    }

    /// The first synonym holds; none leaves the default of the setting itself.
    fn entry(
        &self,
        definition: &'static Definition,
        synonyms: Vec<Synonym>,
        read_only: bool,
        doc: Option<&'static str>,
    ) -> DescribeConfigsResourceResult {
        let visible = |value: &str| (!definition.is_sensitive()).then(|| Str::from(value));
        let value = match synonyms.first() {
            Some(strongest) => visible(&strongest.converted),
            None => definition.default_text().and_then(visible),
        };
        let source = synonyms.first().map_or(Source::Default, |strongest| strongest.source);
        let synonym = |one: &Synonym| DescribeConfigsSynonym {
            name: one.name.into(),
            value: visible(&one.value),
            source: one.source.code(),
        };
        let listed = if self.request.include_synonyms { &synonyms[..] } else { &[] };
        DescribeConfigsResourceResult {
            name: definition.name.into(),
            value,
            read_only,
            config_source: source.code(),
            is_sensitive: definition.is_sensitive(),
            synonyms: listed.iter().map(synonym).collect(),
            config_type: definition.kind.code(),
            documentation: doc.filter(|_| self.request.include_documentation).map(Str::from),
        }
    }
}
