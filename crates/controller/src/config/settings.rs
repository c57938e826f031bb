//! The settings of one broker: `server.properties` and what the command line sets above it.

use std::collections::BTreeMap;
use std::fmt::Display;

use super::checks;
use super::definition::{Definition, Scope};
use super::error::{ConfigError, SettingsError};
use super::properties;
use super::support::{self, Table};
use super::tables;
use super::value::Value;
use crate::image::{ConfigMap, ConfigResource, Image};

/// A validated set of broker settings. Every value in it is of its type, in its range and served.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct BrokerSettings {
    set: BTreeMap<&'static str, String>,
    warnings: Vec<Warning>,
}

/// A setting that was accepted and has no effect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Warning {
    pub name: &'static str,
    pub why: &'static str,
}

impl Display for Warning {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} has no effect: {}", self.name, self.why)
    }
}

impl BrokerSettings {
    /// Reads a properties file; the pairs in `overrides` win over it. All that is wrong is told at once.
    pub fn parse(text: &str, overrides: &[(String, String)]) -> Result<BrokerSettings, SettingsError> {
        let mut pairs = properties::parse(text).map_err(|error| SettingsError(vec![error]))?;
        pairs.extend_from_slice(overrides);
        BrokerSettings::from_pairs(pairs)
    }

    /// Of names and values, a later pair winning over an earlier one.
    pub fn from_pairs(
        pairs: impl IntoIterator<Item = (impl AsRef<str>, impl Into<String>)>,
    ) -> Result<BrokerSettings, SettingsError> {
        let mut settings = BrokerSettings::default();
        let mut errors = Vec::new();
        for (name, value) in pairs {
            match tables::known(tables::brokers(), "broker", name.as_ref()) {
                Ok(definition) => drop(settings.set.insert(definition.name, value.into())),
                Err(error) => errors.push(error),
            }
        }
        for (name, value) in &settings.set {
            match checked(name, value) {
                Ok(None) => {}
                Ok(Some(why)) => settings.warnings.push(Warning { name, why }),
                Err(error) => errors.push(error),
            }
        }
        if errors.is_empty() {
            errors = checks::together(&settings);
        }
        if errors.is_empty() { Ok(settings) } else { Err(SettingsError(errors)) }
    }

    /// The same settings with one more: what start-up decided, such as `node.id`.
    pub fn with(&self, name: &str, value: &str) -> Result<BrokerSettings, SettingsError> {
        let own = self.set.iter().map(|(name, value)| (*name, value.as_str()));
        BrokerSettings::from_pairs(own.chain([(name, value)]))
    }

    /// What holds now: these settings with the dynamic ones of the image for all brokers and for this one
    /// above them.
    pub fn with_dynamic(&self, image: &Image) -> BrokerSettings {
        let mut settings = self.clone();
        settings.overlay(image.config(&ConfigResource::all_brokers()));
        if let Some(id) = self.node_id() {
            settings.overlay(image.config(&ConfigResource::broker(id)));
        }
        settings
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

    /// What holds as text: set, or the default. `None` is null.
    pub fn get(&self, name: &'static str) -> Option<&str> {
        self.set_value(name).or_else(|| tables::broker(name).and_then(Definition::default_text))
    }

    /// A whole number. The setting MUST have a default or be set.
    pub fn integer(&self, name: &'static str) -> i64 {
        match self.value(name) {
            Some(Value::Integer(number)) => number,
            other => unreachable!("{name} is a number with a default, not {other:?}"),
        }
    }

    /// A truth value. The setting MUST have a default or be set.
    pub fn boolean(&self, name: &'static str) -> bool {
        match self.value(name) {
            Some(Value::Boolean(value)) => value,
            other => unreachable!("{name} is a boolean with a default, not {other:?}"),
        }
    }

    /// The entries of a list; null is none.
    pub fn list(&self, name: &'static str) -> Vec<String> {
        match self.value(name) {
            Some(Value::List(entries)) => entries,
            None => Vec::new(),
            other => unreachable!("{name} is a list, not {other:?}"),
        }
    }

    /// The value with its type; `None` is null.
    pub fn value(&self, name: &'static str) -> Option<Value> {
        tables::broker(name)?.parse(self.get(name)?).ok()
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

/// The warning that is due for a value which stands alone, or why it is refused.
fn checked(name: &'static str, value: &str) -> Result<Option<&'static str>, ConfigError> {
    let definition = tables::known(tables::brokers(), "broker", name)?;
    definition.parse(value)?;
    support::check(Table::Broker, definition, value)
}
