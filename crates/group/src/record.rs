//! The records of `__consumer_offsets`.

use bytes::Bytes;
use ottla_coordinator::{Record, ReplayError};
use ottla_wire::messages::*;
use ottla_wire::primitives::{Reader, Str, decode_from};

/// Declares the record types, each a key with a value that a tombstone lacks, and the versions that values
/// are written at.
macro_rules! records {
    ($($name:ident: $key:ident => $value:ident @ $version:expr),+ $(,)?) => {
        /// A record with its types.
        #[derive(Clone, Debug, PartialEq)]
        pub enum GroupRecord {
            $($name { key: $key, value: Option<$value> }),+
        }

        impl GroupRecord {
            /// Reads a record. MUST be given what a coordinator's log holds: hostile bytes are errors.
            pub fn decode(record: Record) -> Result<GroupRecord, ReplayError> {
                let mut key = Reader::new(record.key);
                let record_type = key.i16("CoordinatorKey")?;
                match record_type {
                    LegacyOffsetCommitKey::RECORD_TYPE => decode_legacy_offset(key, record.value),
                    $($key::RECORD_TYPE => {
                        let key = decode_from::<$key>(key.rest(), 0)?;
                        let value = record.value.map(|value| {
                            let mut value = Reader::new(value);
                            let version = value.i16("CoordinatorValue")?;
                            decode_from::<$value>(value.rest(), version)
                        });
                        Ok(GroupRecord::$name { key, value: value.transpose()? })
                    })+
                    other => Err(ReplayError::UnknownType(other)),
                }
            }

            /// The record as it is kept. Every string in it MUST be within [`crate::config::ID_BYTES_MAX`].
            pub fn encode(&self) -> Record {
                let encoded = match self {
                    $(GroupRecord::$name { key, value: Some(value) } => {
                        let version: fn(&$value) -> i16 = $version;
                        Record::set($key::RECORD_TYPE, key, value, version(value))
                    }
                    GroupRecord::$name { key, value: None } => {
                        Record::tombstone($key::RECORD_TYPE, key)
                    })+
                };
                // Strings are bounded where requests come in, and each version is chosen so that it holds the
                // value.
                encoded.unwrap_or_else(|error| unreachable!("a record that cannot be written: {error}"))
            }
        }
    };
}

impl GroupRecord {
    /// The group that the record is about.
    pub fn group(&self) -> &Str {
        match self {
            GroupRecord::Offset { key, .. } => &key.group,
            GroupRecord::Group { key, .. } => &key.group,
            GroupRecord::ConsumerGroup { key, .. } => &key.group_id,
            GroupRecord::ConsumerGroupPartitions { key, .. } => &key.group_id,
            GroupRecord::ConsumerGroupMember { key, .. } => &key.group_id,
            GroupRecord::TargetAssignment { key, .. } => &key.group_id,
            GroupRecord::TargetAssignmentMember { key, .. } => &key.group_id,
            GroupRecord::CurrentAssignment { key, .. } => &key.group_id,
            GroupRecord::RegularExpression { key, .. } => &key.group_id,
        }
    }
}

records! {
    Offset: OffsetCommitKey => OffsetCommitValue @ offset_version,
    Group: GroupMetadataKey => GroupMetadataValue @ |_| 3,
    ConsumerGroup: ConsumerGroupMetadataKey => ConsumerGroupMetadataValue @ |_| 0,
    ConsumerGroupPartitions: ConsumerGroupPartitionMetadataKey => ConsumerGroupPartitionMetadataValue @ |_| 0,
    ConsumerGroupMember: ConsumerGroupMemberMetadataKey => ConsumerGroupMemberMetadataValue @ |_| 0,
    TargetAssignment: ConsumerGroupTargetAssignmentMetadataKey => ConsumerGroupTargetAssignmentMetadataValue @ |_| 0,
    TargetAssignmentMember: ConsumerGroupTargetAssignmentMemberKey => ConsumerGroupTargetAssignmentMemberValue @ |_| 0,
    CurrentAssignment: ConsumerGroupCurrentMemberAssignmentKey => ConsumerGroupCurrentMemberAssignmentValue @ |_| 0,
    RegularExpression: ConsumerGroupRegularExpressionKey => ConsumerGroupRegularExpressionValue @ |_| 0,
}

/// Offsets as the oldest Kafka wrote them. They are read as they would be written now.
fn decode_legacy_offset(key: Reader, value: Option<Bytes>) -> Result<GroupRecord, ReplayError> {
    let key = decode_from::<LegacyOffsetCommitKey>(key.rest(), 0)?;
    let value = value.map(|value| {
        let mut value = Reader::new(value);
        let version = value.i16("CoordinatorValue")?;
        decode_from::<LegacyOffsetCommitValue>(value.rest(), version)
    });
    let value = value.transpose()?.map(|value| OffsetCommitValue {
        offset: value.offset,
        metadata: value.metadata,
        commit_timestamp: value.commit_timestamp,
        ..Default::default()
    });
    let key = OffsetCommitKey { group: key.group, topic: key.topic, partition: key.partition };
    Ok(GroupRecord::Offset { key, value })
}

/// As Kafka chooses it: 1 if the commit says when it expires, 4 if the topic's id is known, 3 otherwise.
fn offset_version(value: &OffsetCommitValue) -> i16 {
    if value.expire_timestamp != -1 {
        1
    } else if value.topic_id.is_zero() {
        3
    } else {
        4
    }
}
