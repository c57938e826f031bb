//! Settings of the coordinator, and the limits that are not settings of Kafka's.

use std::time::Duration;

use crate::version::TransactionVersion;

/// Bytes of a transactional id: what the key of its record can hold.
pub const ID_BYTES_MAX: usize = i16::MAX as usize;

/// What the broker's settings say of transactions. Names are Kafka's; defaults are those of `configs.txt`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TxnConfig {
    /// The finalized feature `transaction.version`.
    pub transaction_version: TransactionVersion,
    /// `transaction.max.timeout.ms`
    pub timeout_max: Duration,
    /// `transactional.id.expiration.ms`
    pub id_expiration: Duration,
    /// `transaction.remove.expired.transaction.cleanup.interval.ms`
    pub expiry_interval: Duration,
    /// `transaction.two.phase.commit.enable`
    pub two_phase_commit: bool,
    pub limits: Limits,
}

/// Limits that Kafka lacks. Each is far above what a sound client needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Transactional ids of one partition of `__transaction_state`.
    pub transactional_ids_max: usize,
    /// Partitions of one transaction.
    pub partitions_max: usize,
    /// Bytes of the record of one transaction. It must fit a batch: below `max.message.bytes` of
    /// `__transaction_state`.
    pub record_bytes_max: usize,
}

impl Default for TxnConfig {
    fn default() -> TxnConfig {
        TxnConfig {
            transaction_version: TransactionVersion::V2,
            timeout_max: Duration::from_secs(15 * 60),
            id_expiration: Duration::from_secs(7 * 24 * 3600),
            expiry_interval: Duration::from_secs(3600),
            two_phase_commit: false,
            limits: Limits::default(),
        }
    }
}

impl Default for Limits {
    fn default() -> Limits {
        Limits { transactional_ids_max: 1_000_000, partitions_max: 100_000, record_bytes_max: 900_000 }
    }
}
