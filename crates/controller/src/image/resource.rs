//! What a dynamic configuration belongs to.

use ottla_settings::Table;
use ottla_wire::primitives::Str;

/// A thing that has dynamic settings.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConfigResource {
    pub kind: ResourceKind,
    /// A topic, group or subscription name; a broker id in decimal, or empty for the default of all brokers.
    pub name: Str,
}

/// Kinds of config resources, as Kafka numbers them on the wire and in records.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ResourceKind {
    Topic,
    Broker,
    BrokerLogger,
    ClientMetrics,
    Group,
}

impl ConfigResource {
    pub fn new(kind: ResourceKind, name: impl Into<Str>) -> ConfigResource {
        ConfigResource { kind, name: name.into() }
    }

    pub fn topic(name: impl Into<Str>) -> ConfigResource {
        ConfigResource::new(ResourceKind::Topic, name)
    }

    pub fn broker(id: ottla_wire::BrokerId) -> ConfigResource {
        ConfigResource::new(ResourceKind::Broker, id.to_string())
    }

    /// The cluster-wide defaults of all brokers.
    pub fn all_brokers() -> ConfigResource {
        ConfigResource::new(ResourceKind::Broker, "")
    }

    pub fn group(name: impl Into<Str>) -> ConfigResource {
        ConfigResource::new(ResourceKind::Group, name)
    }
}

impl ResourceKind {
    pub const ALL: [ResourceKind; 5] = [
        ResourceKind::Topic,
        ResourceKind::Broker,
        ResourceKind::BrokerLogger,
        ResourceKind::ClientMetrics,
        ResourceKind::Group,
    ];

    pub fn code(self) -> i8 {
        match self {
            ResourceKind::Topic => 2,
            ResourceKind::Broker => 4,
            ResourceKind::BrokerLogger => 8,
            ResourceKind::ClientMetrics => 16,
            ResourceKind::Group => 32,
        }
    }

    pub fn from_code(code: i8) -> Option<ResourceKind> {
        ResourceKind::ALL.into_iter().find(|kind| kind.code() == code)
    }

    /// The table of its settings. Loggers have levels in place of settings.
    pub fn table(self) -> Option<Table> {
        match self {
            ResourceKind::Topic => Some(Table::Topic),
            ResourceKind::Broker => Some(Table::Broker),
            ResourceKind::ClientMetrics => Some(Table::ClientMetrics),
            ResourceKind::Group => Some(Table::Group),
            ResourceKind::BrokerLogger => None,
        }
    }

    /// Kafka's name, as messages to the user say it.
    pub fn name(self) -> &'static str {
        match self {
            ResourceKind::Topic => "TOPIC",
            ResourceKind::Broker => "BROKER",
            ResourceKind::BrokerLogger => "BROKER_LOGGER",
            ResourceKind::ClientMetrics => "CLIENT_METRICS",
            ResourceKind::Group => "GROUP",
        }
    }
}
