//! The protocols (assignment strategies) that members bring along, and what can be read in them.

use std::collections::BTreeSet;

use bytes::Bytes;
use ottla_wire::messages::ConsumerProtocolSubscription;
use ottla_wire::messages::join_group_request::JoinGroupRequestProtocol;
use ottla_wire::primitives::{DecodeError, Message, Reader, Str};

/// The protocol type of consumers. The metadata of others means nothing to the broker.
pub const CONSUMER_PROTOCOL_TYPE: &str = "consumer";

/// A protocol that a member knows, with its metadata for the leader.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Protocol {
    pub name: Str,
    pub metadata: Bytes,
}

impl Protocol {
    /// Bytes that it takes in memory.
    pub fn size(&self) -> usize {
        self.name.len() + self.metadata.len()
    }
}

/// The protocols of a request, the preferred one first, each name once. They are copies: the frame is not
/// kept alive.
pub fn kept(asked: &[JoinGroupRequestProtocol]) -> Vec<Protocol> {
    let mut names = BTreeSet::new();
    let first_of_its_name = asked.iter().filter(|protocol| names.insert(&protocol.name));
    first_of_its_name
        .map(|protocol| Protocol {
            name: protocol.name.detached(),
            metadata: Bytes::copy_from_slice(&protocol.metadata),
        })
        .collect()
}

/// The topics of a consumer's subscription. It is read as version 0, as Kafka does: every later version
/// begins with it.
pub fn subscribed_topics(metadata: &Bytes) -> Result<Vec<Str>, DecodeError> {
    let mut reader = Reader::new(metadata.clone());
    reader.i16("ConsumerProtocolSubscription.Version")?;
    let subscription = ConsumerProtocolSubscription::decode(&mut reader, 0)?;
    Ok(subscription.topics)
}

#[cfg(test)]
mod tests {
    use ottla_wire::primitives::encode_prefixed;

    use super::*;

    #[test]
    fn a_subscription_of_any_version_is_read() {
        let subscription =
            ConsumerProtocolSubscription { topics: vec!["a".into(), "b".into()], ..Default::default() };
        for version in [0, 1, 2, 3] {
            let metadata = encode_prefixed(version, &subscription, version).unwrap();
            assert_eq!(subscribed_topics(&metadata).unwrap(), ["a", "b"], "version {version}");
        }
        let mut newer = encode_prefixed(9, &subscription, 3).unwrap().to_vec();
        newer.extend(b"more");
        assert_eq!(subscribed_topics(&newer.into()).unwrap(), ["a", "b"]);
    }

    #[test]
    fn what_is_no_subscription_is_refused() {
        for metadata in [&b""[..], b"\0", b"\0\0", b"\0\0\x7f\xff\xff\xff", b"\0\0\0\0\0\x01\0\x09abc"] {
            assert!(subscribed_topics(&Bytes::copy_from_slice(metadata)).is_err(), "{metadata:?}");
        }
    }

    #[test]
    fn a_name_given_twice_counts_once() {
        let named = |name: &str, metadata: &'static [u8]| JoinGroupRequestProtocol {
            name: name.into(),
            metadata: Bytes::from_static(metadata),
        };
        let kept = kept(&[named("range", b"1"), named("sticky", b"2"), named("range", b"3")]);
        let names: Vec<_> =
            kept.iter().map(|protocol| (protocol.name.as_str(), &protocol.metadata[..])).collect();
        assert_eq!(names, [("range", &b"1"[..]), ("sticky", b"2")]);
    }
}
