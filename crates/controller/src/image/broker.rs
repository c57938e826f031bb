//! Brokers and controllers that have registered.

use ottla_wire::primitives::Str;
use ottla_wire::{BrokerEpoch, BrokerId, Uuid};

/// A broker as it registered last.
#[derive(Clone, Debug, PartialEq)]
pub struct Registration {
    pub id: BrokerId,
    /// Which registration this is. What a broker asks with an older epoch is refused.
    pub epoch: BrokerEpoch,
    /// New for each start of the process.
    pub incarnation: Uuid,
    pub listeners: Vec<Endpoint>,
    /// The feature levels the broker can run with.
    pub features: Vec<SupportedFeature>,
    pub rack: Option<Str>,
    /// A fenced broker leads nothing and is hidden from clients.
    pub fenced: bool,
    /// The broker is going; it takes no new leaderships.
    pub in_controlled_shutdown: bool,
    /// The log directories that are online (KIP-858).
    pub log_dirs: Vec<Uuid>,
    /// Directories which take no new replicas; `None` from a broker that does not say.
    pub cordoned_log_dirs: Option<Vec<Uuid>>,
}

/// Where a node is reached by one of its listeners: the advertised address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// The listener's name, as in `listeners`.
    pub name: Str,
    pub host: Str,
    pub port: u16,
    /// 0 PLAINTEXT, 1 SSL, 2 SASL_PLAINTEXT, 3 SASL_SSL.
    pub security_protocol: i16,
}

/// The levels of one feature that a node can run with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SupportedFeature {
    pub name: Str,
    pub min: i16,
    pub max: i16,
}

/// A controller node as it registered last (kept as data: the quorum has its own view of its members).
#[derive(Clone, Debug, PartialEq)]
pub struct ControllerRegistration {
    pub id: BrokerId,
    pub incarnation: Uuid,
    pub listeners: Vec<Endpoint>,
    pub features: Vec<SupportedFeature>,
}

impl Registration {
    /// May lead partitions: not fenced and not on its way out.
    pub fn is_active(&self) -> bool {
        !self.fenced && !self.in_controlled_shutdown
    }

    pub fn listener(&self, name: &str) -> Option<&Endpoint> {
        self.listeners.iter().find(|listener| listener.name.as_str() == name)
    }

    /// Whether `directory` is online here. A registration from before KIP-858 names none and vouches for all.
    pub fn has_online_dir(&self, directory: Uuid) -> bool {
        self.log_dirs.is_empty() || self.log_dirs.contains(&directory)
    }

    /// Whether every online directory is closed to new replicas.
    pub fn is_cordoned(&self) -> bool {
        let Some(cordoned) = &self.cordoned_log_dirs else { return false };
        !self.log_dirs.is_empty() && self.log_dirs.iter().all(|dir| cordoned.contains(dir))
    }
}
