//! AddPartitionsToTxn and AddOffsetsToTxn: the partitions that a transaction writes to. KIP-98, KIP-890
//! (verification by brokers; partitions added by a Produce request).

use ottla_coordinator::{Moment, Producer, Record};
use ottla_wire::messages::add_partitions_to_txn_request::AddPartitionsToTxnTransaction;
use ottla_wire::messages::add_partitions_to_txn_response::{
    AddPartitionsToTxnPartitionResult, AddPartitionsToTxnResult, AddPartitionsToTxnTopicResult,
};
use ottla_wire::messages::{AddOffsetsToTxnRequest, AddOffsetsToTxnResponse};
use ottla_wire::primitives::Str;
use ottla_wire::{InternalTopic, PartitionIndex, ProducerEpoch, ProducerId};

use crate::config::ID_BYTES_MAX;
use crate::coordinator::{Out, TxnCoordinator, check_id};
use crate::error::{TxnError, code_of};
use crate::record;
use crate::state::TxnState;
use crate::transaction::{Partitions, Transaction};
use crate::version::TransactionVersion;

/// The first version of either API whose clients know PRODUCER_FENCED.
const FENCED_SINCE: i16 = 2;

/// The topic that keeps the offsets of groups.
const OFFSETS_TOPIC: Str = Str::from_static(InternalTopic::Offsets.topic());

impl TxnCoordinator {
    /// Adds partitions, all or none, or tells for each whether it is part of the transaction.
    pub(crate) fn add_partitions_to_txn(
        &mut self,
        at: &Moment,
        version: i16,
        request: &AddPartitionsToTxnTransaction,
        out: &mut Out,
    ) -> AddPartitionsToTxnResult {
        let id = &request.transactional_id;
        let producer =
            Producer { id: ProducerId(request.producer_id), epoch: ProducerEpoch(request.producer_epoch) };
        if request.verify_only {
            let found = self.find_to_verify(id, producer);
            return results(request, |topic, partition| {
                let verified = found.and_then(|transaction| verify(transaction, topic, partition));
                code_of(&verified, version, FENCED_SINCE)
            });
        }
        let mut added = Partitions::default();
        for topic in &request.topics {
            for &partition in &topic.partitions {
                added.add(&topic.name, partition);
            }
        }
        let client = TransactionVersion::of_add_partitions(version);
        let code = code_of(&self.add(at, id, producer, &added, client, out), version, FENCED_SINCE);
        results(request, |_, _| code)
    }

    /// Adds the partition that keeps the offsets of a group.
    pub(crate) fn add_offsets_to_txn(
        &mut self,
        at: &Moment,
        request: &AddOffsetsToTxnRequest,
        partition: PartitionIndex,
        out: &mut Out,
    ) -> Result<(), TxnError> {
        let producer =
            Producer { id: ProducerId(request.producer_id), epoch: ProducerEpoch(request.producer_epoch) };
        let mut added = Partitions::default();
        added.add(&OFFSETS_TOPIC, partition.0);
        // Clients of version 2 do not send it: TxnOffsetCommit adds the partition.
        self.add(at, &request.transactional_id, producer, &added, TransactionVersion::V0, out)
    }

    fn add(
        &mut self,
        at: &Moment,
        id: &Str,
        producer: Producer,
        added: &Partitions,
        client: TransactionVersion,
        out: &mut Out,
    ) -> Result<(), TxnError> {
        check_id(id)?;
        let transaction = self.table.get(id).ok_or(TxnError::ProducerIdMapping)?;
        // Checked first: the producer may be about to change, and the caller may be the next one
        // (KAFKA-18660).
        if let TxnState::Prepare(_) = transaction.state {
            return Err(TxnError::Concurrent);
        }
        check_producer(transaction, producer)?;
        if transaction.state == TxnState::Ongoing && transaction.partitions.contains_all(added) {
            return Ok(());
        }
        if client.bumps_epochs() && !self.config.transaction_version.serves_v2() {
            return Err(TxnError::UnservedVersion);
        }
        let grown = transaction.with(added, client, at.wall);
        let record = self.bounded_record(id, &grown)?;
        self.change_as(at, id, grown, record, out);
        Ok(())
    }

    fn bounded_record(&self, id: &Str, transaction: &Transaction) -> Result<Record, TxnError> {
        let limits = &self.config.limits;
        let partitions = &transaction.partitions;
        let writable = partitions.len() <= limits.partitions_max
            && partitions.by_topic().all(|(topic, _)| topic.len() <= ID_BYTES_MAX);
        if !writable {
            return Err(TxnError::TooManyPartitions);
        }
        let record = record::set(id, transaction, self.config.transaction_version);
        if record.len() > limits.record_bytes_max {
            return Err(TxnError::TooManyPartitions);
        }
        Ok(record)
    }

    fn find_to_verify(&self, id: &str, producer: Producer) -> Result<&Transaction, TxnError> {
        check_id(id)?;
        let transaction = self.table.get(id).ok_or(TxnError::ProducerIdMapping)?;
        check_producer(transaction, producer)?;
        match transaction.state {
            TxnState::Prepare(_) => Err(TxnError::Concurrent),
            TxnState::Empty | TxnState::Ongoing | TxnState::Complete(_) => Ok(transaction),
        }
    }
}

fn check_producer(transaction: &Transaction, producer: Producer) -> Result<(), TxnError> {
    if producer.id != transaction.producer_id {
        return Err(TxnError::ProducerIdMapping);
    }
    if producer.epoch != transaction.epoch {
        return Err(TxnError::Fenced);
    }
    Ok(())
}

fn verify(transaction: &Transaction, topic: &str, partition: i32) -> Result<(), TxnError> {
    if transaction.partitions.contains(topic, partition) { Ok(()) } else { Err(TxnError::NotInTransaction) }
}

/// The partitions of a request with a code each.
fn results(
    request: &AddPartitionsToTxnTransaction,
    code: impl Fn(&str, i32) -> i16,
) -> AddPartitionsToTxnResult {
    let topics = request.topics.iter().map(|topic| AddPartitionsToTxnTopicResult {
        name: topic.name.clone(),
        results_by_partition: topic
            .partitions
            .iter()
            .map(|&partition_index| AddPartitionsToTxnPartitionResult {
                partition_index,
                partition_error_code: code(&topic.name, partition_index),
            })
            .collect(),
    });
    AddPartitionsToTxnResult {
        transactional_id: request.transactional_id.clone(),
        topic_results: topics.collect(),
    }
}

pub(crate) fn offsets_response(version: i16, outcome: Result<(), TxnError>) -> AddOffsetsToTxnResponse {
    AddOffsetsToTxnResponse {
        error_code: code_of(&outcome, version, FENCED_SINCE),
        ..AddOffsetsToTxnResponse::default()
    }
}
