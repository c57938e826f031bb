//! Settings of transactions, as the core and the verification of transactional writes want them.

use std::time::Duration;

use ottla_controller::Image;
use ottla_settings::{BrokerSettings, key};
use ottla_txn::{Limits, TransactionVersion, TxnConfig};

/// What holds for transactional ids: the broker's settings (dynamic ones included) and the level of `transaction.version`.
pub fn txn_config(settings: &BrokerSettings, image: &Image) -> TxnConfig {
    TxnConfig {
        // Levels above those known here are refused when the feature is updated.
        transaction_version: TransactionVersion::from_level(image.features.transaction_version())
            .unwrap_or_default(),
        timeout_max: settings.read(key::TRANSACTION_MAX_TIMEOUT_MS),
        id_expiration: settings.read(key::TRANSACTIONAL_ID_EXPIRATION_MS),
        expiry_interval: settings.read(key::TRANSACTION_REMOVE_EXPIRED_TRANSACTION_CLEANUP_INTERVAL_MS),
        // Its setting is refused: no version of InitProducerId that is served can ask for it.
        two_phase_commit: false,
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
            enabled: settings.read(key::TRANSACTION_PARTITION_VERIFICATION_ENABLE),
            retry_backoff: settings.read(key::ADD_PARTITIONS_TO_TXN_RETRY_BACKOFF_MS),
            retry_max: settings.read(key::ADD_PARTITIONS_TO_TXN_RETRY_BACKOFF_MAX_MS),
        }
    }
}
