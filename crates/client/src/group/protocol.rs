//! What the members of a classic group tell each other through their coordinator, which does not look inside:
//! what each subscribes to and owns, and what the leader assigned (Kafka's consumer protocol). Pure.

use std::collections::BTreeSet;

use bytes::Bytes;
use ottla_wire::messages::{ConsumerProtocolAssignment, ConsumerProtocolSubscription};
use ottla_wire::messages::{consumer_protocol_assignment, consumer_protocol_subscription};
use ottla_wire::primitives::{DecodeError, EncodeError, Message, Reader, Str, encode_prefixed};

use crate::cluster::{TopicPartition, by_topic};

/// The protocol type of groups of consumers, as JoinGroup names it.
pub(crate) const PROTOCOL_TYPE: &str = "consumer";

/// What a member tells the leader.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Subscribed {
    pub(super) topics: BTreeSet<Str>,
    /// What the member has not given up (KIP-429).
    pub(super) owned: BTreeSet<TopicPartition>,
    /// In which it came to own that; -1 for none (KIP-792).
    pub(super) generation: i32,
}

impl Subscribed {
    pub(super) fn encode(&self, rack: Option<&Str>) -> Result<Bytes, EncodeError> {
        let owned = by_topic(&self.owned).into_iter();
        let message = ConsumerProtocolSubscription {
            topics: self.topics.iter().cloned().collect(),
            user_data: None,
            owned_partitions: owned
                .map(|(topic, partitions)| consumer_protocol_subscription::TopicPartition {
                    topic,
                    partitions,
                })
                .collect(),
            generation_id: self.generation,
            rack_id: rack.cloned(),
        };
        let version = ConsumerProtocolSubscription::MAX_VERSION;
        encode_prefixed(version, &message, version)
    }

    pub(super) fn decode(bytes: Bytes) -> Result<Subscribed, DecodeError> {
        let message: ConsumerProtocolSubscription = decode(bytes)?;
        let owned = message.owned_partitions.iter().map(|of| (&of.topic, &of.partitions[..]));
        Ok(Subscribed {
            topics: message.topics.iter().map(Str::detached).collect(),
            owned: flatten(owned),
            generation: message.generation_id,
        })
    }
}

/// What the leader assigned to one member.
pub(super) fn encode_assignment(partitions: &BTreeSet<TopicPartition>) -> Result<Bytes, EncodeError> {
    let assigned = by_topic(partitions).into_iter();
    let message = ConsumerProtocolAssignment {
        assigned_partitions: assigned
            .map(|(topic, partitions)| consumer_protocol_assignment::TopicPartition { topic, partitions })
            .collect(),
        user_data: None,
    };
    let version = ConsumerProtocolAssignment::MAX_VERSION;
    encode_prefixed(version, &message, version)
}

/// Empty bytes are an empty assignment: a leader may leave out members that get nothing.
pub(crate) fn decode_assignment(bytes: Bytes) -> Result<BTreeSet<TopicPartition>, DecodeError> {
    if bytes.is_empty() {
        return Ok(BTreeSet::new());
    }
    let message: ConsumerProtocolAssignment = decode(bytes)?;
    Ok(flatten(message.assigned_partitions.iter().map(|of| (&of.topic, &of.partitions[..]))))
}

/// The topics of a subscription, for those who describe a group.
pub(crate) fn decode_topics(bytes: Bytes) -> Result<BTreeSet<Str>, DecodeError> {
    Ok(if bytes.is_empty() { BTreeSet::new() } else { Subscribed::decode(bytes)?.topics })
}

/// Newer versions only add fields at the end: they are read as the newest that is known, and the rest is
/// left.
fn decode<M: Message>(bytes: Bytes) -> Result<M, DecodeError> {
    let mut reader = Reader::new(bytes);
    let version = reader.i16(M::NAME)?;
    M::decode(&mut reader, version.min(M::MAX_VERSION))
}

fn flatten<'a>(topics: impl Iterator<Item = (&'a Str, &'a [i32])>) -> BTreeSet<TopicPartition> {
    let mut all = BTreeSet::new();
    for (topic, partitions) in topics {
        let topic = topic.detached();
        all.extend(partitions.iter().map(|&partition| TopicPartition { topic: topic.clone(), partition }));
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    fn partitions(of: &[(&str, i32)]) -> BTreeSet<TopicPartition> {
        of.iter().map(|&(topic, partition)| TopicPartition::new(topic, partition)).collect()
    }

    #[test]
    fn what_is_written_is_read() {
        let subscribed = Subscribed {
            topics: ["a", "b"].map(Str::from).into(),
            owned: partitions(&[("a", 0), ("a", 2), ("b", 1)]),
            generation: 7,
        };
        let bytes = subscribed.encode(Some(&"rack".into())).unwrap();
        assert_eq!(Subscribed::decode(bytes).unwrap(), subscribed);
        let assigned = partitions(&[("a", 0), ("b", 5), ("b", 6)]);
        assert_eq!(decode_assignment(encode_assignment(&assigned).unwrap()).unwrap(), assigned);
        assert_eq!(decode_assignment(Bytes::new()).unwrap(), BTreeSet::new());
    }

    /// Version 0 as old clients write it, and a version of the future with a field more.
    #[test]
    fn older_and_newer_members_are_understood() {
        let old = Bytes::from_static(b"\0\0\0\0\0\x01\0\x01a\xff\xff\xff\xff");
        let read = Subscribed::decode(old).unwrap();
        assert_eq!(read, Subscribed { topics: ["a".into()].into(), generation: -1, ..Default::default() });
        let now = Subscribed { topics: ["a".into()].into(), generation: 3, ..Default::default() };
        let mut newer = now.encode(None).unwrap().to_vec();
        newer[1] = 9;
        newer.extend_from_slice(b"more");
        assert_eq!(Subscribed::decode(newer.into()).unwrap(), now);
    }

    #[test]
    fn nonsense_of_another_member_is_an_error() {
        for bytes in [&b""[..], b"\0", b"\0\0\x7f\xff\xff\xff", b"\xff\xff\0\0\0\0"] {
            assert!(Subscribed::decode(Bytes::from_static(bytes)).is_err(), "{bytes:?}");
        }
    }
}
