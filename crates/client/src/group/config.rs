//! Settings of a member of a group. Names and defaults are Kafka's; the setting's name stands before each
//! field.

use std::time::Duration;

use super::assignor::Assignor;
use crate::error::Error;

/// `group.protocol`: who shares the partitions, and how members learn of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GroupProtocol {
    /// One member, the leader, shares them; every change stops and starts the group by generations.
    Classic,
    /// The broker shares them, and members move to their new share one by one (KIP-848).
    Consumer,
}

/// How a consumer takes part in a group. How it fetches is in [`crate::ConsumerConfig`].
#[derive(Clone, Debug)]
pub struct GroupConfig {
    /// `group.id` (required).
    pub group_id: String,
    /// `group.instance.id` (none): makes this a static member, which may restart within the session timeout
    /// without a rebalance (KIP-345). Unique in the group.
    pub group_instance_id: Option<String>,
    /// `group.protocol` (classic).
    pub group_protocol: GroupProtocol,
    /// `group.remote.assignor` (none: the broker's choice): the broker's assignor; for the consumer protocol
    /// only.
    pub group_remote_assignor: Option<String>,
    /// `partition.assignment.strategy` (range, cooperative-sticky): for the classic protocol only. The group
    /// uses the first one that all of its members know. Rebalances are cooperative if every one of the list
    /// is.
    pub partition_assignment_strategy: Vec<Assignor>,
    /// `session.timeout.ms` (45 s): a member that is not heard of for so long is put out of the group. With
    /// the consumer protocol the broker sets it.
    pub session_timeout: Duration,
    /// `heartbeat.interval.ms` (3 s): likewise.
    pub heartbeat_interval: Duration,
    /// `max.poll.interval.ms` (5 min): a member whose owner does not poll for so long leaves the group.
    /// Rebalances wait for it this long, too.
    pub max_poll_interval: Duration,
    /// `enable.auto.commit` (true): whether positions are committed now and then, before partitions are given
    /// up, and when the consumer is closed. A record counts as done when the poll after the one that gave it
    /// begins.
    pub enable_auto_commit: bool,
    /// `auto.commit.interval.ms` (5 s).
    pub auto_commit_interval: Duration,
    /// `exclude.internal.topics` (true): whether a pattern leaves out the cluster's own topics. For the
    /// classic protocol; with the consumer protocol the broker matches.
    pub exclude_internal_topics: bool,
}

impl GroupConfig {
    /// The defaults with this group id.
    pub fn new(group_id: impl Into<String>) -> GroupConfig {
        GroupConfig {
            group_id: group_id.into(),
            group_instance_id: None,
            group_protocol: GroupProtocol::Classic,
            group_remote_assignor: None,
            partition_assignment_strategy: vec![Assignor::Range, Assignor::CooperativeSticky],
            session_timeout: Duration::from_secs(45),
            heartbeat_interval: Duration::from_secs(3),
            max_poll_interval: Duration::from_secs(300),
            enable_auto_commit: true,
            auto_commit_interval: Duration::from_secs(5),
            exclude_internal_topics: true,
        }
    }

    pub(super) fn check(&self) -> Result<(), Error> {
        let refuse = |name, value: String, reason| Err(Error::Config { name, value, reason });
        if self.group_id.is_empty() {
            return refuse("group.id", "empty".into(), "a group needs a name");
        }
        if self.group_instance_id.as_ref().is_some_and(String::is_empty) {
            return refuse("group.instance.id", "empty".into(), "leave it out for a dynamic member");
        }
        if self.max_poll_interval.is_zero() {
            return refuse("max.poll.interval.ms", "0".into(), "the member would leave at once");
        }
        match self.group_protocol {
            GroupProtocol::Classic if self.group_remote_assignor.is_some() => refuse(
                "group.remote.assignor",
                self.group_remote_assignor.clone().unwrap_or_default(),
                "it needs group.protocol=consumer",
            ),
            GroupProtocol::Classic if self.partition_assignment_strategy.is_empty() => {
                refuse("partition.assignment.strategy", "empty".into(), "name at least one assignor")
            }
            GroupProtocol::Classic if self.heartbeat_interval >= self.session_timeout => refuse(
                "heartbeat.interval.ms",
                self.heartbeat_interval.as_millis().to_string(),
                "it must be less than session.timeout.ms",
            ),
            GroupProtocol::Classic | GroupProtocol::Consumer => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_work_is_refused() {
        let good = GroupConfig::new("g");
        assert!(good.check().is_ok());
        let classic = GroupConfig { group_remote_assignor: Some("uniform".into()), ..good.clone() };
        assert!(GroupConfig { group_protocol: GroupProtocol::Consumer, ..classic.clone() }.check().is_ok());
        for (setting, config) in [
            ("group.id", GroupConfig::new("")),
            ("group.instance.id", GroupConfig { group_instance_id: Some(String::new()), ..good.clone() }),
            ("group.remote.assignor", classic),
            (
                "partition.assignment.strategy",
                GroupConfig { partition_assignment_strategy: vec![], ..good.clone() },
            ),
            (
                "heartbeat.interval.ms",
                GroupConfig { heartbeat_interval: good.session_timeout, ..good.clone() },
            ),
            ("max.poll.interval.ms", GroupConfig { max_poll_interval: Duration::ZERO, ..good }),
        ] {
            let error = config.check().unwrap_err();
            assert!(matches!(error, Error::Config { name, .. } if name == setting), "{setting}: {error}");
        }
    }
}
