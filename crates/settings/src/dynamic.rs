//! The settings that change while brokers run. The cluster keeps them; this room only asks for them.

use std::collections::BTreeMap;

use ottla_wire::BrokerId;
use ottla_wire::primitives::Str;

/// The dynamic settings of one resource: name to value.
pub type ConfigMap = BTreeMap<Str, Str>;

/// Whoever keeps the dynamic settings. A resource that has none is `None`.
pub trait Dynamic {
    /// The defaults of all brokers.
    fn of_all_brokers(&self) -> Option<&ConfigMap>;
    fn of_broker(&self, id: BrokerId) -> Option<&ConfigMap>;
    fn of_topic(&self, name: &str) -> Option<&ConfigMap>;
}
