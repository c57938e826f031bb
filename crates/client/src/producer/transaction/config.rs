//! Settings of transactions. Names and defaults are Kafka's; the setting's name stands before each field.

use std::time::Duration;

use super::super::config::ProducerConfig;
use crate::error::Error;

/// Who a transactional producer is.
#[derive(Clone, Debug)]
pub struct TransactionConfig {
    /// `transactional.id` (required): the same over restarts. A producer with the id of another one fences
    /// that one.
    pub transactional_id: String,
    /// `transaction.timeout.ms` (60 s): the coordinator aborts a transaction that is open for longer. MUST
    /// NOT be more than the broker's `transaction.max.timeout.ms`.
    pub transaction_timeout: Duration,
}

impl TransactionConfig {
    /// The defaults with this id.
    pub fn new(transactional_id: impl Into<String>) -> TransactionConfig {
        TransactionConfig {
            transactional_id: transactional_id.into(),
            transaction_timeout: Duration::from_secs(60),
        }
    }

    pub(super) fn check(&self, producer: &ProducerConfig) -> Result<(), Error> {
        let refuse = |name, value: String, reason| Err(Error::Config { name, value, reason });
        if self.transactional_id.is_empty() {
            return refuse("transactional.id", "empty".into(), "the coordinator knows the producer by it");
        }
        if !producer.enable_idempotence {
            return refuse("enable.idempotence", "false".into(), "transactions need it");
        }
        if self.transaction_timeout.as_millis() == 0
            || i32::try_from(self.transaction_timeout.as_millis()).is_err()
        {
            let value = self.transaction_timeout.as_millis().to_string();
            return refuse("transaction.timeout.ms", value, "must be from 1 to 2147483647 ms");
        }
        Ok(())
    }
}
