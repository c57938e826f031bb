//! How the settings of a broker come to be: read, checked one by one, then checked together.

use std::collections::BTreeMap;

use crate::checks;
use crate::error::{ConfigError, SettingsError};
use crate::properties;
use crate::settings::{BrokerSettings, Warning};
use crate::support::{self, Table};
use crate::tables;

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
        let mut set: BTreeMap<&'static str, String> = BTreeMap::new();
        let mut errors = Vec::new();
        for (name, value) in pairs {
            match tables::known(tables::brokers(), "broker", name.as_ref()) {
                Ok(definition) => drop(set.insert(definition.name, value.into())),
                Err(error) => errors.push(error),
            }
        }
        let mut warnings = Vec::new();
        for (name, value) in &set {
            match checked(name, value) {
                Ok(None) => {}
                Ok(Some(why)) => warnings.push(Warning { name, why }),
                Err(error) => errors.push(error),
            }
        }
        let settings = BrokerSettings::unchecked(set, warnings);
        if errors.is_empty() {
            errors = checks::together(&settings);
        }
        if errors.is_empty() { Ok(settings) } else { Err(SettingsError(errors)) }
    }

    /// The same settings with one more: what start-up decided, such as `node.id`.
    pub fn with(&self, name: &str, value: &str) -> Result<BrokerSettings, SettingsError> {
        let own = self.pairs().map(|(name, value): (&str, &str)| (name, value));
        BrokerSettings::from_pairs(own.chain([(name, value)]))
    }
}

/// The warning that is due for a value which stands alone, or why it is refused.
fn checked(name: &'static str, value: &str) -> Result<Option<&'static str>, ConfigError> {
    let definition = tables::known(tables::brokers(), "broker", name)?;
    definition.parse(value)?;
    support::check(Table::Broker, definition, value)
}
