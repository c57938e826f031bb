//! How the leader of a classic group shares partitions out, and the bytes in which members talk about it.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use ottla_wire::messages::consumer_protocol_assignment::TopicPartition;
use ottla_wire::messages::join_group_response::JoinGroupResponseMember;
use ottla_wire::messages::sync_group_request::SyncGroupRequestAssignment;
use ottla_wire::messages::{ConsumerProtocolAssignment, ConsumerProtocolSubscription};
use ottla_wire::primitives::{Reader, Str, decode_from, encode_prefixed};

use super::holdings::Partition;
use crate::group::topics::SimTopics;

/// Version of the consumer protocol that members speak.
const VERSION: i16 = 1;

pub fn subscription(topics: &[Str]) -> Bytes {
    let subscription = ConsumerProtocolSubscription { topics: topics.to_vec(), ..Default::default() };
    encode_prefixed(VERSION, &subscription, VERSION).unwrap_or_default()
}

/// The topics that members are subscribed to, with the partitions of each: what an assignment was made from.
pub type Seen = BTreeMap<Str, i32>;

/// Shares the partitions of each topic among its subscribers in turn.
pub fn assign(
    members: &[JoinGroupResponseMember],
    topics: &SimTopics,
) -> (Vec<SyncGroupRequestAssignment>, Seen) {
    let mut subscribers: BTreeMap<Str, Vec<usize>> = BTreeMap::new();
    for (index, member) in members.iter().enumerate() {
        for topic in subscribed(&member.metadata) {
            subscribers.entry(topic).or_default().push(index);
        }
    }
    let seen: Seen = subscribers.keys().map(|topic| (topic.clone(), topics.partitions(topic))).collect();
    let mut shares: Vec<BTreeMap<Str, Vec<i32>>> = vec![BTreeMap::new(); members.len()];
    for (topic, members) in &subscribers {
        for partition in 0..seen[topic] {
            let share = &mut shares[members[partition as usize % members.len()]];
            share.entry(topic.clone()).or_default().push(partition);
        }
    }
    let assignments = members.iter().zip(shares).map(|(member, share)| SyncGroupRequestAssignment {
        member_id: member.member_id.clone(),
        assignment: assignment(share),
    });
    (assignments.collect(), seen)
}

pub fn seen_now(seen: &Seen, topics: &SimTopics) -> Seen {
    seen.keys().map(|topic| (topic.clone(), topics.partitions(topic))).collect()
}

/// The partitions that an assignment names; none if there is none.
pub fn assigned(bytes: Bytes) -> BTreeSet<Partition> {
    let assignment = versioned(bytes)
        .and_then(|(version, rest)| decode_from::<ConsumerProtocolAssignment>(rest, version).ok());
    let topics = assignment.unwrap_or_default().assigned_partitions;
    topics
        .into_iter()
        .flat_map(|topic| topic.partitions.into_iter().map(move |p| (topic.topic.clone(), p)))
        .collect()
}

fn assignment(share: BTreeMap<Str, Vec<i32>>) -> Bytes {
    let partitions = share.into_iter().map(|(topic, partitions)| TopicPartition { topic, partitions });
    let assignment =
        ConsumerProtocolAssignment { assigned_partitions: partitions.collect(), ..Default::default() };
    encode_prefixed(VERSION, &assignment, VERSION).unwrap_or_default()
}

fn subscribed(bytes: &Bytes) -> Vec<Str> {
    let subscription = versioned(bytes.clone())
        .and_then(|(version, rest)| decode_from::<ConsumerProtocolSubscription>(rest, version).ok());
    subscription.unwrap_or_default().topics
}

fn versioned(bytes: Bytes) -> Option<(i16, Bytes)> {
    let mut reader = Reader::new(bytes);
    let version = reader.i16("ConsumerProtocol").ok()?;
    Some((version, reader.rest()))
}
