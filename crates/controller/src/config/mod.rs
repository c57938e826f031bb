//! Settings: what Kafka knows, what each may hold, where its value comes from.
//!
//! The tables in `schema/` are read when the crate is built. [`BrokerSettings`] is what one broker was
//! started with, [`TopicConfig`] what holds for one topic, [`Layers`] how the two come together with the
//! dynamic settings of the image.

mod checks;
mod definition;
mod docs;
mod error;
mod getters;
mod groups;
mod layers;
mod listeners;
mod properties;
mod settings;
mod support;
mod synonyms;
pub mod tables;
mod topic;
mod value;

pub use definition::{Definition, Fallback, Kind, Range, Scope};
pub use docs::topic_doc;
pub use error::{ConfigError, SettingsError};
pub use getters::InternalTopic;
pub use groups::broker_default as group_broker_default;
pub(crate) use groups::validate_group;
pub use layers::{Layers, Source};
pub use listeners::{Listener, host_and_port};
pub use properties::parse as parse_properties;
pub use settings::{BrokerSettings, Warning};
pub use support::{Support, Table, check as check_support, support};
pub use synonyms::{Synonym, Unit, broker_names, chain};
pub use topic::{Compression, TopicConfig, topic_synonyms, validate_topic};
pub use value::{Value, split_list};
