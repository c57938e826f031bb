//! How the settings of a broker come to be: read, checked one by one, then checked together.

use std::collections::BTreeMap;

use crate::checks;
use crate::error::{ConfigError, SettingsError};
use crate::properties;
use crate::removed::removed;
use crate::settings::BrokerSettings;
use crate::support::{self, Warning};
use crate::tables::Table;

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
        let (mut errors, mut warnings) = (Vec::new(), Vec::new());
        for (name, value) in pairs {
            match Table::Broker.known(name.as_ref()) {
                Ok(definition) => drop(set.insert(definition.name, value.into())),
                Err(error) => match removed(name.as_ref()) {
                    Some((name, why)) => warnings.push(Warning { name, why }),
                    None => errors.push(error),
                },
            }
        }
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
    let definition = Table::Broker.known(name)?;
    definition.parse(value)?;
    support::check(Table::Broker, definition, value)
}
