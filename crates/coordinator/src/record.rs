//! A record of a coordinator's log.

use bytes::Bytes;
use ottla_wire::primitives::{EncodeError, Message, encode_prefixed};
use ottla_wire::{ProducerEpoch, ProducerId};

/// Key and value in Kafka's format: the key behind its record type, the value behind its version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    pub key: Bytes,
    /// `None` is a tombstone: the key is deleted.
    pub value: Option<Bytes>,
}

/// The producer of a record's transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Producer {
    pub id: ProducerId,
    pub epoch: ProducerEpoch,
}

impl Record {
    /// A record that sets the value of `key`. Coordinator keys have one version, 0.
    pub fn set<K: Message, V: Message>(
        record_type: i16,
        key: &K,
        value: &V,
        version: i16,
    ) -> Result<Record, EncodeError> {
        let value = Some(encode_prefixed(version, value, version)?);
        Ok(Record { key: encode_prefixed(record_type, key, 0)?, value })
    }

    /// A record that deletes `key`.
    pub fn tombstone<K: Message>(record_type: i16, key: &K) -> Result<Record, EncodeError> {
        Ok(Record { key: encode_prefixed(record_type, key, 0)?, value: None })
    }

    /// Bytes of key and value.
    pub fn len(&self) -> usize {
        self.key.len() + self.value.as_ref().map_or(0, Bytes::len)
    }

    /// Whether there is neither key nor value. No coordinator writes such a record.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}
