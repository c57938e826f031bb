//! The records of `__transaction_state`: one key for each transactional id.

use ottla_coordinator::{Record, ReplayError};
use ottla_wire::messages::transaction_log_value::PartitionsSchema;
use ottla_wire::messages::{TransactionLogKey, TransactionLogValue};
use ottla_wire::primitives::{Reader, Str, decode_from};
use ottla_wire::{ProducerEpoch, ProducerId, Timestamp};

use crate::state::TxnState;
use crate::transaction::{NO_EPOCH, Partitions, Transaction};
use crate::version::TransactionVersion;

/// A record with its types.
#[derive(Clone, Debug, PartialEq)]
pub struct TxnRecord {
    pub transactional_id: Str,
    /// `None` if the id has expired.
    pub transaction: Option<Transaction>,
}

impl TxnRecord {
    /// Reads a record of a coordinator's log. Hostile bytes are errors.
    pub fn decode(record: Record) -> Result<TxnRecord, ReplayError> {
        let mut key = Reader::new(record.key);
        let record_type = key.i16("CoordinatorKey")?;
        if record_type != TransactionLogKey::RECORD_TYPE {
            return Err(ReplayError::UnknownType(record_type));
        }
        let key = decode_from::<TransactionLogKey>(key.rest(), 0)?;
        let transaction = match record.value {
            Some(value) => {
                let mut value = Reader::new(value);
                let version = value.i16("CoordinatorValue")?;
                Some(transaction(decode_from(value.rest(), version)?)?)
            }
            None => None,
        };
        Ok(TxnRecord { transactional_id: key.transactional_id.detached(), transaction })
    }
}

/// The current state of a transactional id. The id and every topic MUST be within
/// [`crate::config::ID_BYTES_MAX`].
pub fn set(transactional_id: &Str, transaction: &Transaction, server: TransactionVersion) -> Record {
    let version = server.value_version();
    let record = Record::set(
        TransactionLogKey::RECORD_TYPE,
        &key(transactional_id),
        &value(transaction, version),
        version,
    );
    // Requests bound the strings, and `value` leaves out fields that the version lacks.
    record.unwrap_or_else(|error| unreachable!("a record that cannot be written: {error}"))
}

/// Deletes a transactional id.
pub fn tombstone(transactional_id: &Str) -> Record {
    Record::tombstone(TransactionLogKey::RECORD_TYPE, &key(transactional_id))
        .unwrap_or_else(|error| unreachable!("a record that cannot be written: {error}"))
}

fn key(transactional_id: &Str) -> TransactionLogKey {
    TransactionLogKey { transactional_id: transactional_id.clone() }
}

fn value(transaction: &Transaction, version: i16) -> TransactionLogValue {
    let partitions = (transaction.state != TxnState::Empty).then(|| {
        let by_topic = transaction.partitions.by_topic();
        by_topic
            .map(|(topic, partition_ids)| PartitionsSchema { topic: topic.clone(), partition_ids })
            .collect()
    });
    let plain = TransactionLogValue {
        producer_id: transaction.producer_id.0,
        producer_epoch: transaction.epoch.0,
        transaction_timeout_ms: transaction.timeout_ms,
        transaction_status: transaction.state.id(),
        transaction_partitions: partitions,
        transaction_last_update_timestamp_ms: transaction.updated.0,
        transaction_start_timestamp_ms: transaction.started.0,
        ..TransactionLogValue::default()
    };
    if version == 0 {
        return plain;
    }
    TransactionLogValue {
        previous_producer_id: transaction.previous_producer_id.0,
        next_producer_id: transaction.next_producer_id.0,
        client_transaction_version: transaction.client.level(),
        ..plain
    }
}

fn transaction(value: TransactionLogValue) -> Result<Transaction, ReplayError> {
    let status = value.transaction_status;
    let state = TxnState::from_id(status)
        .ok_or_else(|| ReplayError::Contradiction(format!("a transaction in state {status}")))?;
    let level = value.client_transaction_version;
    let client = TransactionVersion::from_level(level)
        .ok_or_else(|| ReplayError::Contradiction(format!("a client of transaction version {level}")))?;
    let mut partitions = Partitions::default();
    let kept = value.transaction_partitions.filter(|_| state != TxnState::Empty);
    for topic in kept.into_iter().flatten() {
        for partition in topic.partition_ids {
            partitions.add(&topic.topic, partition);
        }
    }
    Ok(Transaction {
        producer_id: ProducerId(value.producer_id),
        previous_producer_id: ProducerId(value.previous_producer_id),
        next_producer_id: ProducerId(value.next_producer_id),
        epoch: ProducerEpoch(value.producer_epoch),
        last_epoch: NO_EPOCH,
        timeout_ms: value.transaction_timeout_ms,
        state,
        partitions,
        started: Timestamp(value.transaction_start_timestamp_ms),
        updated: Timestamp(value.transaction_last_update_timestamp_ms),
        client,
    })
}
