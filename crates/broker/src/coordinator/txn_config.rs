//! Settings of transactions, as the core and the verification of transactional writes want them.

use std::time::Duration;

use ottla_controller::Image;
use ottla_settings::BrokerSettings;
use ottla_txn::{Limits, TransactionVersion, TxnConfig};

/// What holds for transactional ids: the broker's settings (dynamic ones included) and the level of `transaction.version`.
pub fn txn_config(settings: &BrokerSettings, image: &Image) -> TxnConfig {
    TxnConfig {
        // Levels above those known here are refused when the feature is updated.
        transaction_version: TransactionVersion::from_level(image.features.transaction_version())
            .unwrap_or_default(),
        timeout_max: millis(settings, "transaction.max.timeout.ms"),
        id_expiration: millis(settings, "transactional.id.expiration.ms"),
        expiry_interval: millis(settings, "transaction.remove.expired.transaction.cleanup.interval.ms"),
        two_phase_commit: settings.boolean("transaction.two.phase.commit.enable"),
        limits: Limits::default(),
    }
}

/// How transactional writes are verified (KIP-890).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Verification {
    /// `transaction.partition.verification.enable`
    pub enabled: bool,
    /// `add.partitions.to.txn.retry.backoff.ms`
    pub retry_backoff: Duration,
    /// `add.partitions.to.txn.retry.backoff.max.ms`: how long it is tried again while the transaction before is being ended.
    pub retry_max: Duration,
}

impl Verification {
    pub fn new(settings: &BrokerSettings) -> Verification {
        Verification {
            enabled: settings.boolean("transaction.partition.verification.enable"),
            retry_backoff: millis(settings, "add.partitions.to.txn.retry.backoff.ms"),
            retry_max: millis(settings, "add.partitions.to.txn.retry.backoff.max.ms"),
        }
    }
}

fn millis(settings: &BrokerSettings, name: &'static str) -> Duration {
    Duration::from_millis(u64::try_from(settings.integer(name)).unwrap_or(0))
}
