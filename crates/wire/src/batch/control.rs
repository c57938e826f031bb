//! Control records: what transactions and leaders write between the records of clients.

use bytes::Bytes;

use super::builder::BatchBuilder;
use super::error::BatchError;
use crate::ids::{ProducerEpoch, ProducerId, Sequence, Timestamp};

/// The version of key and value that is written.
const VERSION: i16 = 0;

/// The type of a control record, in its key after the version.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum ControlKind {
    Abort,
    Commit,
    LeaderChange,
    SnapshotHeader,
    SnapshotFooter,
    KRaftVersion,
    KRaftVoters,
}

impl ControlKind {
    /// Every kind, in the order of the ids.
    pub const ALL: [ControlKind; 7] = [
        ControlKind::Abort,
        ControlKind::Commit,
        ControlKind::LeaderChange,
        ControlKind::SnapshotHeader,
        ControlKind::SnapshotFooter,
        ControlKind::KRaftVersion,
        ControlKind::KRaftVoters,
    ];

    pub fn id(self) -> i16 {
        self as i16
    }

    pub fn from_id(id: i16) -> Option<ControlKind> {
        Self::ALL.get(usize::try_from(id).ok()?).copied()
    }
}

/// A control record, as far as partitions need to know it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ControlRecord {
    /// The transaction of the batch's producer is void.
    Abort { coordinator_epoch: i32 },
    /// The transaction of the batch's producer is valid.
    Commit { coordinator_epoch: i32 },
    /// One of the metadata log; the value is the message of that name.
    Raft { kind: ControlKind, value: Bytes },
}

impl ControlRecord {
    /// Reads the key and value of a record of a control batch. `Ok(None)` is a type that is not known:
    /// readers MUST skip it, newer versions add types. A malformed record is [`BatchError::Control`].
    pub fn parse(key: Option<&Bytes>, value: Option<&Bytes>) -> Result<Option<ControlRecord>, BatchError> {
        // Later versions may only append, so more bytes than are known are fine.
        let Some(&[v0, v1, k0, k1]) = key.and_then(|key| key.first_chunk::<4>()) else {
            return Err(BatchError::Control("key is cut off"));
        };
        if i16::from_be_bytes([v0, v1]) < 0 {
            return Err(BatchError::Control("key has a negative version"));
        }
        let Some(kind) = ControlKind::from_id(i16::from_be_bytes([k0, k1])) else {
            return Ok(None);
        };
        let value = value.ok_or(BatchError::Control("no value"))?;
        let record = match kind {
            ControlKind::Abort => ControlRecord::Abort { coordinator_epoch: coordinator_epoch(value)? },
            ControlKind::Commit => ControlRecord::Commit { coordinator_epoch: coordinator_epoch(value)? },
            ControlKind::LeaderChange
            | ControlKind::SnapshotHeader
            | ControlKind::SnapshotFooter
            | ControlKind::KRaftVersion
            | ControlKind::KRaftVoters => ControlRecord::Raft { kind, value: value.clone() },
        };
        Ok(Some(record))
    }

    pub fn kind(&self) -> ControlKind {
        match self {
            ControlRecord::Abort { .. } => ControlKind::Abort,
            ControlRecord::Commit { .. } => ControlKind::Commit,
            ControlRecord::Raft { kind, .. } => *kind,
        }
    }

    /// The key of the record.
    pub fn key(&self) -> [u8; 4] {
        let ([v0, v1], [k0, k1]) = (VERSION.to_be_bytes(), self.kind().id().to_be_bytes());
        [v0, v1, k0, k1]
    }

    /// The value of the record.
    pub fn value(&self) -> Bytes {
        match self {
            ControlRecord::Abort { coordinator_epoch } | ControlRecord::Commit { coordinator_epoch } => {
                let ([v0, v1], [a, b, c, d]) = (VERSION.to_be_bytes(), coordinator_epoch.to_be_bytes());
                Bytes::copy_from_slice(&[v0, v1, a, b, c, d])
            }
            ControlRecord::Raft { value, .. } => value.clone(),
        }
    }
}

/// The batch that ends a transaction of a producer in one partition. `outcome` is a commit or an abort;
/// offset and leader epoch are given when it is appended.
pub fn end_txn_marker(
    producer_id: ProducerId,
    producer_epoch: ProducerEpoch,
    outcome: &ControlRecord,
    timestamp: Timestamp,
) -> Result<Bytes, BatchError> {
    let mut builder =
        BatchBuilder::new().producer(producer_id, producer_epoch, Sequence::NONE).transactional();
    builder.push_control(timestamp, outcome);
    builder.build()
}

fn coordinator_epoch(value: &[u8]) -> Result<i32, BatchError> {
    let Some(&[v0, v1, a, b, c, d]) = value.first_chunk::<6>() else {
        return Err(BatchError::Control("marker is cut off"));
    };
    match i16::from_be_bytes([v0, v1]) {
        0.. => Ok(i32::from_be_bytes([a, b, c, d])),
        _ => Err(BatchError::Control("marker has a negative version")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(key: &'static [u8], value: &'static [u8]) -> Result<Option<ControlRecord>, BatchError> {
        ControlRecord::parse(Some(&Bytes::from_static(key)), Some(&Bytes::from_static(value)))
    }

    #[test]
    fn records_of_the_metadata_log_keep_their_value() {
        let record = ControlRecord::Raft { kind: ControlKind::LeaderChange, value: Bytes::from_static(b"v") };
        assert_eq!(record.key(), [0, 0, 0, 2]);
        assert_eq!(parse(&[0, 0, 0, 2], b"v"), Ok(Some(record)));
    }

    #[test]
    fn types_and_fields_of_later_versions_are_passed_over() {
        assert_eq!(parse(&[0, 0, 0, 7], b""), Ok(None));
        assert_eq!(parse(&[0, 0, 0xff, 0xff], b""), Ok(None));
        let commit = ControlRecord::Commit { coordinator_epoch: 12 };
        assert_eq!(parse(&[0, 1, 0, 1, 9], &[0, 1, 0, 0, 0, 12, 9]), Ok(Some(commit)));
    }

    #[test]
    fn malformed_records_are_refused() {
        for (key, value) in [
            (&[0, 0, 0][..], &[0; 6][..]),
            (&[0xff, 0xff, 0, 0], &[0; 6]),
            (&[0, 0, 0, 0], &[0; 5]),
            (&[0, 0, 0, 1], &[0xff, 0xff, 0, 0, 0, 0]),
        ] {
            assert!(matches!(parse(key, value), Err(BatchError::Control(_))), "{key:?} {value:?}");
        }
        assert!(ControlRecord::parse(None, None).is_err());
    }
}
