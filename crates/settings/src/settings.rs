//! The settings of one broker: `server.properties` and what the command line sets above it.

use std::collections::BTreeMap;

use ottla_wire::BrokerId;

use crate::definition::Scope;
use crate::dynamic::{ConfigMap, Dynamic};
use crate::error::ConfigError;
use crate::key;
use crate::support::Warning;
use crate::tables;
use crate::typed::{Key, Read};

/// A validated set of broker settings. Every value in it is of its type, in its range and served.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct BrokerSettings {
    set: BTreeMap<&'static str, String>,
    warnings: Vec<Warning>,
}

impl BrokerSettings {
    /// Of values that nobody has looked at yet.
    pub(crate) fn unchecked(set: BTreeMap<&'static str, String>, warnings: Vec<Warning>) -> BrokerSettings {
        BrokerSettings { set, warnings }
    }

    /// What holds now: these settings with the dynamic ones for all brokers and for this one above them.
    pub fn with_dynamic(&self, dynamic: &impl Dynamic) -> BrokerSettings {
        let mut settings = self.clone();
        settings.overlay(dynamic.of_all_brokers());
        if let Some(id) = self.node_id() {
            settings.overlay(dynamic.of_broker(id));
        }
        settings
    }

    /// `node.id`, or its older name `broker.id`; `None` leaves it to the data directory.
    pub fn node_id(&self) -> Option<BrokerId> {
        self.read(key::NODE_ID).or_else(|| self.read(key::BROKER_ID)).map(BrokerId)
    }

    /// What was accepted without effect, for the log at start-up.
    pub fn warnings(&self) -> &[Warning] {
        &self.warnings
    }

    /// What was set, not counting defaults.
    pub fn set_value(&self, name: &str) -> Option<&str> {
        self.set.get(name).map(String::as_str)
    }

    /// Names and values that were set.
    pub fn pairs(&self) -> impl Iterator<Item = (&'static str, &str)> {
        self.set.iter().map(|(name, value)| (*name, value.as_str()))
    }

    /// What holds: set, or the default.
    pub fn read<T: Read>(&self, key: Key<T>) -> T {
        let definition = key.definition();
        let text = self.set_value(definition.name).or_else(|| definition.default_text());
        key.typed(text.and_then(|text| definition.parse(text).ok()))
    }

    /// Whether it was set, be it to its default.
    pub fn is_set<T>(&self, key: Key<T>) -> bool {
        self.set.contains_key(key.name())
    }

    /// What holds as it is written, to be shown.
    pub(crate) fn text<T>(&self, key: Key<T>) -> &str {
        self.set_value(key.name()).or_else(|| key.definition().default_text()).unwrap_or_default()
    }

    /// Says that the value of `key` does not go with what else is set.
    pub(crate) fn conflict<T>(&self, key: Key<T>, why: String) -> ConfigError {
        ConfigError::Conflict { name: key.name(), value: self.text(key).to_owned(), why }
    }

    fn overlay(&mut self, dynamic: Option<&ConfigMap>) {
        for (name, value) in dynamic.into_iter().flatten() {
            // What an older or newer version wrote and this one cannot use does not count.
            let Some(definition) =
                tables::broker(name).filter(|definition| definition.scope != Scope::ReadOnly)
            else {
                continue;
            };
            if definition.parse(value).is_ok() {
                self.set.insert(definition.name, value.to_string());
            }
        }
    }
}
