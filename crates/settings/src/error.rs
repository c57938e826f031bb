//! What can be wrong with a setting.

use crate::value::Kind;

/// Why a setting was refused. The text names the setting and says what would do.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    #[error("Unknown {of} config name: {name}{}", hint(*.nearest))]
    Unknown { of: &'static str, name: String, nearest: Option<&'static str> },
    #[error("Invalid value {value} for configuration {name}: Not a {}", kind.name())]
    WrongType { name: &'static str, value: String, kind: Kind },
    #[error("Invalid value {value} for configuration {name}: Value must be {must}")]
    OutOfRange { name: &'static str, value: String, must: String },
    #[error("{name}={value} is refused: {reason}")]
    NotServed { name: &'static str, value: String, reason: &'static str },
    #[error("Missing required configuration {name} which has no default value{}", .why)]
    Missing { name: &'static str, why: &'static str },
    #[error("Invalid value {value} for configuration {name}: {why}")]
    Conflict { name: &'static str, value: String, why: String },
    #[error("line {line}: {what}")]
    Syntax { line: usize, what: &'static str },
}

/// All that was wrong with the settings of a broker, so that one start shows everything.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}", self.0.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))]
pub struct SettingsError(pub Vec<ConfigError>);

fn hint(nearest: Option<&'static str>) -> String {
    nearest.map(|name| format!(" (did you mean {name}?)")).unwrap_or_default()
}
