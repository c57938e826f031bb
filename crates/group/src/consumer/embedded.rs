//! The subscriptions and assignments in JoinGroup and SyncGroup of consumers. They have a format of their
//! own: a version and a body.

use bytes::Bytes;
use ottla_wire::messages::{
    ConsumerProtocolAssignment, ConsumerProtocolSubscription, consumer_protocol_assignment,
};
use ottla_wire::primitives::{DecodeError, DecodeProblem, Message, Reader, encode_prefixed};

use crate::assignor::Partitions;
use crate::topics::Topics;

/// Newest version that is known here. Newer ones begin as it does.
const VERSION_MAX: i16 = 3;

/// A subscription and the version that it came in.
pub fn subscription(bytes: &Bytes) -> Result<(i16, ConsumerProtocolSubscription), DecodeError> {
    decode(bytes, "ConsumerProtocolSubscription")
}

/// A member's assignment from a leader.
#[derive(Default)]
pub struct Assigned {
    /// Those whose topics there are.
    pub partitions: Partitions,
    /// The leader's assignor has added data of its own.
    pub has_user_data: bool,
}

/// Reads an assignment. Empty bytes are that of a member that was given nothing.
pub fn assignment(bytes: &Bytes, topics: &dyn Topics) -> Result<Assigned, DecodeError> {
    if bytes.is_empty() {
        return Ok(Assigned::default());
    }
    let (_, assignment): (i16, ConsumerProtocolAssignment) = decode(bytes, "ConsumerProtocolAssignment")?;
    let named = assignment.assigned_partitions.into_iter().map(|topic| (topic.topic, topic.partitions));
    let has_user_data = assignment.user_data.is_some_and(|data| !data.is_empty());
    Ok(Assigned { partitions: partitions(named, topics), has_user_data })
}

/// The partitions that a subscription reports as its member's own.
pub fn owned(subscription: &ConsumerProtocolSubscription, topics: &dyn Topics) -> Partitions {
    let owned = subscription.owned_partitions.iter();
    partitions(owned.map(|topic| (topic.topic.clone(), topic.partitions.clone())), topics)
}

/// Partitions as an assignment, in the version that the member's subscription has.
pub fn encode_assignment(
    partitions: impl Iterator<Item = (ottla_wire::TopicId, i32)>,
    version: i16,
    topics: &dyn Topics,
) -> Bytes {
    let mut assigned: Vec<consumer_protocol_assignment::TopicPartition> = Vec::new();
    let mut last = None;
    for (id, partition) in partitions {
        let Some(facts) = topics.by_id(id) else { continue };
        if last != Some(id) {
            last = Some(id);
            assigned
                .push(consumer_protocol_assignment::TopicPartition { topic: facts.name, partitions: vec![] });
        }
        if let Some(topic) = assigned.last_mut() {
            topic.partitions.push(partition);
        }
    }
    let version = version.clamp(0, VERSION_MAX);
    let assignment = ConsumerProtocolAssignment { assigned_partitions: assigned, user_data: None };
    encode_prefixed(version, &assignment, version)
        .unwrap_or_else(|error| unreachable!("names of topics fit into an assignment: {error}"))
}

fn decode<M: Message>(bytes: &Bytes, what: &'static str) -> Result<(i16, M), DecodeError> {
    let mut reader = Reader::new(bytes.clone());
    let version = reader.i16(what)?;
    if version < 0 {
        return Err(DecodeError::new(what, DecodeProblem::UnsupportedVersion(version)));
    }
    let message = M::decode(&mut reader, version.min(VERSION_MAX))?;
    Ok((version, message))
}

fn partitions(
    named: impl Iterator<Item = (ottla_wire::primitives::Str, Vec<i32>)>,
    topics: &dyn Topics,
) -> Partitions {
    let known = named.filter_map(|(name, partitions)| Some((topics.by_name(&name)?.id, partitions)));
    known.flat_map(|(id, partitions)| partitions.into_iter().map(move |index| (id, index))).collect()
}
