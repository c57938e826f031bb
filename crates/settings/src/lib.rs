//! Settings: what Kafka knows, what each may hold, where its value comes from.
//!
//! Pure: no files, no clock. The tables in `schema/` are read when the crate is built.
//!
//! - [`tables`]: every setting by name: type, default, range, and whether it may change while a broker runs.
//! - [`support()`]: which of them do something here.
//! - [`key`]: those that are read, each with its type: the way to a value.
//! - [`BrokerSettings`]: what one broker was started with, read and checked.
//! - [`TopicConfig`]: what holds for one topic.
//! - [`Layers`]: how both come together with the settings that change at run time, which [`Dynamic`] keeps.

mod checks;
mod definition;
mod docs;
mod dynamic;
mod error;
mod groups;
pub mod key;
mod layers;
mod listeners;
mod load;
mod properties;
mod reading;
mod removed;
mod settings;
mod support;
mod synonyms;
pub mod tables;
mod topic;
mod typed;
mod value;

pub use definition::{Definition, Fallback, Range, Scope};
pub use docs::topic_doc;
pub use dynamic::{ConfigMap, Dynamic};
pub use error::{ConfigError, SettingsError};
pub use groups::{broker_default as group_broker_default, validate_group};
pub use layers::{Layers, Source, Synonym};
pub use listeners::{Listener, brackets, host_and_port};
pub use properties::parse as parse_properties;
pub use settings::BrokerSettings;
pub use support::{Support, Warning, check as check_support, support, without_effect};
pub use synonyms::{Unit, broker_names, chain};
pub use tables::Table;
pub use topic::{Compression, TopicConfig, topic_synonyms, validate_topic};
pub use typed::{Key, Read};
pub use value::{Kind, Value, split_list};
