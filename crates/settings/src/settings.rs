//! The settings of one broker: `server.properties` and what the command line sets above it.

use std::collections::BTreeMap;
use std::fmt::Display;

use ottla_wire::BrokerId;

use crate::definition::{Definition, Scope};
use crate::dynamic::{ConfigMap, Dynamic};
use crate::tables;
use crate::value::Value;

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
        let set =
            |name| self.set_value(name).and_then(|text| text.trim().parse().ok()).filter(|id: &i32| *id >= 0);
        set("node.id").or_else(|| set("broker.id")).map(BrokerId)
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
