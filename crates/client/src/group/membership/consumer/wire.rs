//! ConsumerGroupHeartbeat (key 68): what a member says, and only what is new in it.

use std::collections::BTreeMap;

use ottla_wire::TopicId;
use ottla_wire::messages::consumer_group_heartbeat_request::TopicPartitions;
use ottla_wire::messages::{ConsumerGroupHeartbeatRequest, ConsumerGroupHeartbeatResponse};

use super::{Consumer, Owned};
use crate::error::Error;
use crate::group::membership::Subscription;

/// The epoch of one who wants to join.
pub(super) const JOIN: i32 = 0;
/// Of one who leaves.
pub(super) const LEAVE: i32 = -1;
/// Of a static member that leaves and may come back.
pub(super) const LEAVE_FOR_A_WHILE: i32 = -2;

/// The request to the coordinator.
pub(in crate::group) type Question = ConsumerGroupHeartbeatRequest;
pub(in crate::group) type Answer = Result<ConsumerGroupHeartbeatResponse, Error>;

/// What was said to the coordinator.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Said {
    subscription: Subscription,
    owned: Owned,
}

impl Said {
    /// Whether the coordinator knows that this is what the member owns.
    pub(super) fn covers(&self, owned: &Owned) -> bool {
        self.owned == *owned
    }
}

impl Consumer {
    /// The next heartbeat. It counts as heard until it fails.
    pub(super) fn heartbeat(&mut self) -> Question {
        let (settings, before) = (&self.settings, self.said.as_ref());
        let mut request = self.addressed(self.epoch);
        if before.is_none() {
            request.rebalance_timeout_ms =
                i32::try_from(settings.max_poll_interval.as_millis()).unwrap_or(i32::MAX);
            request.rack_id = settings.rack.clone();
            request.server_assignor = settings.assignor.clone();
        }
        if before.is_none_or(|said| said.subscription != self.subscription) {
            // Null would mean "as before": who subscribes to no name any more says so.
            request.subscribed_topic_names = Some(self.subscription.topics.iter().cloned().collect());
            let had_regex = before.is_some_and(|said| said.subscription.regex.is_some());
            let none = had_regex.then(ottla_wire::primitives::Str::default);
            request.subscribed_topic_regex = self.subscription.regex.clone().or(none);
        }
        if before.is_none_or(|said| said.owned != self.owned) {
            request.topic_partitions = Some(write(&self.owned));
        }
        self.said = Some(Said { subscription: self.subscription.clone(), owned: self.owned.clone() });
        request
    }

    pub(super) fn farewell(&self, epoch: i32) -> Question {
        self.addressed(epoch)
    }

    fn addressed(&self, member_epoch: i32) -> Question {
        ConsumerGroupHeartbeatRequest {
            group_id: self.settings.group.clone(),
            member_id: self.settings.member_id.clone(),
            member_epoch,
            instance_id: self.settings.instance.clone(),
            ..ConsumerGroupHeartbeatRequest::default()
        }
    }
}

fn write(owned: &Owned) -> Vec<TopicPartitions> {
    let mut topics: BTreeMap<TopicId, Vec<i32>> = BTreeMap::new();
    for &(topic, partition) in owned {
        topics.entry(topic).or_default().push(partition);
    }
    topics.into_iter().map(|(topic_id, partitions)| TopicPartitions { topic_id, partitions }).collect()
}
