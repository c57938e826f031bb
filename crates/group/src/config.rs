//! Settings of the coordinator and of single groups, and the limits that are not settings of Kafka's.

use std::collections::BTreeMap;
use std::time::Duration;

use ottla_wire::primitives::Str;

/// Bytes of an id (group, member, instance, client, host, topic): what a record's key can hold.
pub const ID_BYTES_MAX: usize = i16::MAX as usize;

/// Bytes of the id of a client or instance: a member id is made of it, a dash and a UUID in hex.
pub const CLIENT_ID_BYTES_MAX: usize = ID_BYTES_MAX - 37;

/// The broker's settings for groups. Names are Kafka's; defaults are those of `configs.txt`.
#[derive(Clone, Debug, PartialEq)]
pub struct GroupConfig {
    /// `group.initial.rebalance.delay.ms`: how long an empty classic group waits for more members.
    pub initial_rebalance_delay: Duration,
    /// `group.min.session.timeout.ms`
    pub session_timeout_min: Duration,
    /// `group.max.session.timeout.ms`
    pub session_timeout_max: Duration,
    /// `group.max.size`: members of a classic group.
    pub classic_size_max: usize,
    /// `group.consumer.max.size`
    pub consumer_size_max: usize,
    /// `group.coordinator.rebalance.protocols` has `consumer`.
    pub consumer_protocol: bool,
    /// `group.consumer.assignors`, the default first.
    pub assignors: Vec<Str>,
    /// `group.consumer.migration.policy`
    pub migration: Migration,
    /// `group.consumer.session.timeout.ms`, for groups that do not set their own.
    pub consumer_session_timeout: Duration,
    /// `group.consumer.heartbeat.interval.ms`, for groups that do not set their own.
    pub consumer_heartbeat_interval: Duration,
    /// `group.consumer.assignment.interval.ms`: the least time between two assignments of a group.
    pub assignment_interval: Duration,
    /// `group.consumer.regex.refresh.interval.ms`
    pub regex_refresh_interval: Duration,
    /// `offset.metadata.max.bytes`
    pub offset_metadata_bytes_max: usize,
    /// `offsets.retention.minutes`
    pub offsets_retention: Duration,
    /// `offsets.retention.check.interval.ms`
    pub offsets_check_interval: Duration,
    /// `group.coordinator.state.max.bytes`: memory of all groups on a broker. See [`crate::memory::Memory`].
    pub state_bytes_max: usize,
    /// The settings of single groups.
    pub overrides: BTreeMap<Str, GroupOverrides>,
    pub limits: Limits,
}

/// Settings of one group (resource type GROUP). The controller has checked their ranges.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct GroupOverrides {
    /// `consumer.session.timeout.ms`
    pub session_timeout: Option<Duration>,
    /// `consumer.heartbeat.interval.ms`
    pub heartbeat_interval: Option<Duration>,
    /// `consumer.assignment.interval.ms`
    pub assignment_interval: Option<Duration>,
}

/// Which groups may change their protocol while they have members.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Migration {
    Disabled,
    /// Classic to consumer.
    Upgrade,
    /// Consumer to classic.
    Downgrade,
    Bidirectional,
}

/// Limits that Kafka lacks. Each is far above what a sound client needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Groups of one partition of `__consumer_offsets`.
    pub groups_max: usize,
    /// Offsets of one partition of `__consumer_offsets`, those in open transactions too.
    pub offsets_max: usize,
    /// Bytes that the protocols (subscriptions) of one classic member, or the topics of one consumer member,
    /// may take.
    pub member_protocols_bytes_max: usize,
    /// Bytes that the protocols of all members of a classic group may take.
    pub group_protocols_bytes_max: usize,
    /// Bytes of the record of a classic group, which holds all its members, and of what is written when a
    /// group changes its type. It is one batch, and the log must take it.
    pub group_record_bytes_max: usize,
    /// Ids that a classic group keeps for members that have not joined with them yet.
    pub pending_members_max: usize,
    /// Topics that one member may name.
    pub member_topics_max: usize,
    /// Rebalances remembered for each group.
    pub history_len_max: usize,
    /// Rebalances remembered for all groups of one partition. Each group has an equal share, and the last one
    /// at least.
    pub history_rebalances_max: usize,
    /// Members named in one remembered rebalance.
    pub history_members_max: usize,
}

impl Default for GroupConfig {
    fn default() -> GroupConfig {
        GroupConfig {
            initial_rebalance_delay: Duration::from_secs(3),
            session_timeout_min: Duration::from_secs(6),
            session_timeout_max: Duration::from_secs(1800),
            classic_size_max: i32::MAX as usize,
            consumer_size_max: i32::MAX as usize,
            consumer_protocol: true,
            assignors: vec![Str::from_static("uniform"), Str::from_static("range")],
            migration: Migration::Bidirectional,
            consumer_session_timeout: Duration::from_secs(45),
            consumer_heartbeat_interval: Duration::from_secs(5),
            assignment_interval: Duration::from_secs(1),
            regex_refresh_interval: Duration::from_secs(600),
            offset_metadata_bytes_max: 4096,
            offsets_retention: Duration::from_secs(7 * 24 * 3600),
            offsets_check_interval: Duration::from_secs(600),
            state_bytes_max: 1 << 30,
            overrides: BTreeMap::new(),
            limits: Limits::default(),
        }
    }
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            groups_max: 1_000_000,
            offsets_max: 20_000_000,
            member_protocols_bytes_max: 1 << 20,
            group_protocols_bytes_max: 256 << 20,
            group_record_bytes_max: 8 << 20,
            pending_members_max: 100_000,
            member_topics_max: 100_000,
            history_len_max: 32,
            history_rebalances_max: 10_000,
            history_members_max: 20,
        }
    }
}

impl GroupConfig {
    pub fn session_timeout(&self, group: &str) -> Duration {
        self.of(group).session_timeout.unwrap_or(self.consumer_session_timeout)
    }

    pub fn heartbeat_interval(&self, group: &str) -> Duration {
        self.of(group).heartbeat_interval.unwrap_or(self.consumer_heartbeat_interval)
    }

    pub fn assignment_interval(&self, group: &str) -> Duration {
        self.of(group).assignment_interval.unwrap_or(self.assignment_interval)
    }

    fn of(&self, group: &str) -> GroupOverrides {
        self.overrides.get(group).copied().unwrap_or_default()
    }
}

impl Migration {
    pub fn may_upgrade(self) -> bool {
        matches!(self, Migration::Upgrade | Migration::Bidirectional)
    }

    pub fn may_downgrade(self) -> bool {
        matches!(self, Migration::Downgrade | Migration::Bidirectional)
    }
}
