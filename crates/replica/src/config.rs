//! What a replica is told about its topic and its broker, and the limits it keeps.

use std::time::Duration;

use ottla_wire::BrokerId;
use ottla_wire::batch::TimestampType;

/// Settings of one replica. A change comes as [`crate::Event::Configured`] and counts from then on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReplicaConfig {
    /// This broker.
    pub broker: BrokerId,
    /// `min.insync.replicas`. What counts is the smaller of this and the number of replicas (as in Kafka 4).
    pub min_isr: u32,
    /// Whether a record counts once it is flushed or once it is written.
    pub durability: Durability,
    /// `message.timestamp.type`. With `LogAppendTime` the leader stamps each batch with the wall time of its
    /// append.
    pub timestamp_type: TimestampType,
    /// `replica.lag.time.max.ms`: a follower that has not caught up for this long leaves the in-sync
    /// replicas.
    pub lag_max: Duration,
    /// `producer.id.expiration.ms`: a producer that has been silent for this long is forgotten.
    pub producer_expiry: Duration,
    /// `producer.id.expiration.check.interval.ms`: how often silent producers are looked for.
    pub producer_expiry_check: Duration,
    /// `transaction.partition.verification.enable`: a transactional write from a client needs either an
    /// ongoing transaction here or a [`crate::VerificationGuard`] (KIP-890).
    pub verify_transactions: bool,
    /// Whether DeleteRecords is allowed (`cleanup.policy` contains `delete`).
    pub records_deletable: bool,
    /// How many acknowledgements may wait at once; what comes above is refused before it is appended.
    pub waiters_max: usize,
    /// How many DeleteRecords requests may wait at once.
    pub deletions_max: usize,
    /// How many producers are remembered. Above it, those that have been silent longest and have no
    /// transaction open are forgotten early.
    pub producers_max: usize,
    /// Seed of the producer table's hash: random in production (clients choose producer ids), fixed in a
    /// simulation. Read only when the table is made.
    pub hash_seed: u64,
}

impl ReplicaConfig {
    /// Kafka's defaults for a replica on `broker`, except that records count once they are flushed.
    pub fn new(broker: BrokerId) -> ReplicaConfig {
        ReplicaConfig {
            broker,
            min_isr: 1,
            durability: Durability::Flushed,
            timestamp_type: TimestampType::CreateTime,
            lag_max: Duration::from_secs(30),
            producer_expiry: Duration::from_secs(24 * 60 * 60),
            producer_expiry_check: Duration::from_secs(600),
            verify_transactions: true,
            records_deletable: true,
            waiters_max: 65_536,
            deletions_max: 1_024,
            producers_max: 100_000,
            hash_seed: 0,
        }
    }
}

/// When a record on this replica counts for acknowledgements and the high watermark.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// Once it is on stable storage (`flush.messages=1`, the default).
    Flushed,
    /// Once it is written to the page cache (Kafka's rule; `flush.messages` at its largest).
    PageCache,
}
