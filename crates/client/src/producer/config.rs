//! Settings of a producer. Names and defaults are Kafka's; the setting's name stands before each field.

use std::time::Duration;

use ottla_wire::compress::Codec;

use crate::config::ClientConfig;
use crate::error::Error;

/// `acks`: how far an acknowledgement waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Acks {
    /// 0: for nothing. The producer does not learn whether a record was stored, nor its offset.
    None,
    /// 1: for the leader.
    Leader,
    /// `all` (-1): for every in-sync replica.
    All,
}

impl Acks {
    pub(super) fn on_wire(self) -> i16 {
        match self {
            Acks::None => 0,
            Acks::Leader => 1,
            Acks::All => -1,
        }
    }
}

/// How a producer batches, sends and retries. Time and retry settings of requests are in [`ClientConfig`].
#[derive(Clone, Debug)]
pub struct ProducerConfig {
    /// `acks` (all).
    pub acks: Acks,
    /// `batch.size` (16384): a batch takes no further record beyond this size, counted before compression. A
    /// single larger record makes a batch of its own.
    pub batch_size: usize,
    /// `linger.ms` (5 ms): how long a batch that is not full waits for more records.
    pub linger: Duration,
    /// `compression.type` (none).
    pub compression: Codec,
    /// `compression.<codec>.level` (none: the codec's default).
    pub compression_level: Option<i32>,
    /// `max.in.flight.requests.per.connection` (5): with idempotence at most 5. Without it, more than 1 may
    /// reorder records when a batch is retried.
    pub max_in_flight: usize,
    /// `max.request.size` (1 MiB): the largest request, and (before compression) the largest record.
    pub max_request_size: usize,
    /// `buffer.memory` (32 MiB): bytes of records that are not settled yet. `send` waits when it is used up.
    pub buffer_memory: usize,
    /// `max.block.ms` (60 s): how long `send` waits for metadata and for buffer memory.
    pub max_block: Duration,
    /// `delivery.timeout.ms` (2 min): how long after `send` a record is settled at the latest, whatever
    /// happens. MUST be at least `linger.ms` and `request.timeout.ms` together.
    pub delivery_timeout: Duration,
    /// `retries` (2147483647): attempts after the first; the delivery timeout bounds them too.
    pub retries: u32,
    /// `enable.idempotence` (true): a retry never stores a record twice, nor out of order. Needs `acks=all`.
    pub enable_idempotence: bool,
    /// `partitioner.ignore.keys` (false): spread records with a key as those without.
    pub partitioner_ignore_keys: bool,
    /// `partitioner.adaptive.partitioning.enable` (true): records without a key go less often where more is
    /// queued.
    pub partitioner_adaptive: bool,
}

impl Default for ProducerConfig {
    fn default() -> ProducerConfig {
        ProducerConfig {
            acks: Acks::All,
            batch_size: 16_384,
            linger: Duration::from_millis(5),
            compression: Codec::None,
            compression_level: None,
            max_in_flight: 5,
            max_request_size: 1_048_576,
            buffer_memory: 33_554_432,
            max_block: Duration::from_secs(60),
            delivery_timeout: Duration::from_secs(120),
            retries: i32::MAX as u32,
            enable_idempotence: true,
            partitioner_ignore_keys: false,
            partitioner_adaptive: true,
        }
    }
}

/// Kafka keeps five batches for each producer (KIP-98): with more in flight a repeat might not be recognized.
const IDEMPOTENT_IN_FLIGHT_MAX: usize = 5;

impl ProducerConfig {
    pub(super) fn check(&self, client: &ClientConfig) -> Result<(), Error> {
        let refuse = |name, value: String, reason| Err(Error::Config { name, value, reason });
        if self.enable_idempotence && self.acks != Acks::All {
            return refuse("acks", format!("{:?}", self.acks), "enable.idempotence=true needs acks=all");
        }
        if self.enable_idempotence && self.retries == 0 {
            return refuse("retries", "0".into(), "enable.idempotence=true needs retries");
        }
        let in_flight_max = if self.enable_idempotence { IDEMPOTENT_IN_FLIGHT_MAX } else { usize::MAX };
        if self.max_in_flight == 0 || self.max_in_flight > in_flight_max {
            let reason = "must be at least 1, and at most 5 with enable.idempotence=true";
            return refuse("max.in.flight.requests.per.connection", self.max_in_flight.to_string(), reason);
        }
        if self.max_in_flight > client.requests_in_flight_max {
            let reason = "is more than a connection may have in flight";
            return refuse("max.in.flight.requests.per.connection", self.max_in_flight.to_string(), reason);
        }
        if self.delivery_timeout < self.linger + client.request_timeout {
            let reason = "must be at least linger.ms + request.timeout.ms";
            return refuse("delivery.timeout.ms", self.delivery_timeout.as_millis().to_string(), reason);
        }
        if let Some(level) = self.compression_level.filter(|&level| !self.compression.takes_level(level)) {
            return refuse("compression level", level.to_string(), "the codec does not have it");
        }
        Ok(())
    }
}
