//! Transactions that hang: open in a partition, although no coordinator would ever end them. What was written
//! after them is never seen by readers of committed records.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use ottla_wire::protocol::ErrorCode;
use ottla_wire::{ProducerId, Timestamp};

use super::super::Admin;
use super::{ActiveProducer, TransactionDescription, TransactionFilter};
use crate::cluster::TopicPartition;
use crate::error::Error;
use crate::seam;

/// A transaction that is open in a partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpenTransaction {
    pub partition: TopicPartition,
    pub producer: ActiveProducer,
}

/// The transactions that hang, and the partitions of which that could not be found out.
#[derive(Clone, Debug, Default)]
pub struct Hanging {
    pub transactions: Vec<OpenTransaction>,
    pub errors: BTreeMap<TopicPartition, Error>,
}

impl Admin {
    /// Finds transactions in these partitions of which their coordinator does not know. Only those without a
    /// record for `idle_for` are looked at, which MUST be at least the brokers' `transaction.max.timeout.ms`:
    /// one that is open for less may be ended at any moment.
    ///
    /// Fails when not every coordinator answers: what one knows would seem to hang.
    pub async fn find_hanging(
        &self,
        partitions: &BTreeSet<TopicPartition>,
        idle_for: Duration,
    ) -> Result<Hanging, Error> {
        let mut hanging = Hanging::default();
        let mut suspects = Vec::new();
        let idle_since = seam::wall_clock().0 - i64::try_from(idle_for.as_millis()).unwrap_or(i64::MAX);
        for (partition, outcome) in self.describe_producers(partitions).await {
            match outcome {
                Ok(producers) => {
                    let idle = producers.into_iter().filter(|of| is_suspect(of, Timestamp(idle_since)));
                    suspects.extend(
                        idle.map(|producer| OpenTransaction { partition: partition.clone(), producer }),
                    );
                }
                Err(error) => drop(hanging.errors.insert(partition, error)),
            }
        }
        if !suspects.is_empty() {
            let known = self.known_to_coordinators(&suspects).await?;
            suspects.retain(|suspect| !is_known(suspect, &known));
        }
        hanging.transactions = suspects;
        Ok(hanging)
    }

    /// What coordinators know of the producers of these transactions.
    async fn known_to_coordinators(
        &self,
        suspects: &[OpenTransaction],
    ) -> Result<Vec<TransactionDescription>, Error> {
        let producers: BTreeSet<ProducerId> =
            suspects.iter().map(|suspect| suspect.producer.producer_id).collect();
        let filter = TransactionFilter {
            producer_ids: producers.into_iter().collect(),
            ..TransactionFilter::default()
        };
        let listed = self.list_transactions(&filter).await?;
        if let Some(error) = listed.errors.into_values().next() {
            return Err(error);
        }
        let ids: Vec<String> = listed.transactions.into_iter().map(|of| of.transactional_id).collect();
        let mut known = Vec::new();
        for outcome in self.describe_transactions(&ids).await.into_values() {
            match outcome {
                Ok(description) => known.push(description),
                // Forgotten since it was listed.
                Err(error) if error.code() == Some(ErrorCode::TransactionalIdNotFound) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(known)
    }
}

fn is_suspect(producer: &ActiveProducer, idle_since: Timestamp) -> bool {
    producer.transaction_start.is_some() && producer.last_timestamp.is_none_or(|last| last < idle_since)
}

/// Whether a coordinator has a transaction of this producer with this partition, which it will end.
fn is_known(open: &OpenTransaction, known: &[TransactionDescription]) -> bool {
    known.iter().any(|description| {
        description.producer_id == open.producer.producer_id
            && description.partitions.contains(&open.partition)
    })
}

#[cfg(test)]
mod tests {
    use ottla_wire::{BrokerId, Offset, ProducerEpoch};

    use super::*;
    use crate::admin::TransactionState;

    fn producer(start: Option<i64>, last: Option<i64>) -> ActiveProducer {
        ActiveProducer {
            producer_id: ProducerId(7),
            producer_epoch: 0,
            last_sequence: Some(1),
            last_timestamp: last.map(Timestamp),
            coordinator_epoch: None,
            transaction_start: start.map(Offset),
        }
    }

    #[test]
    fn what_is_not_open_or_was_written_to_lately_is_no_suspect() {
        let cases = [
            (Some(5), Some(99), true),
            (Some(5), None, true),
            (Some(5), Some(100), false),
            (None, Some(1), false),
        ];
        for (start, last, suspect) in cases {
            assert_eq!(is_suspect(&producer(start, last), Timestamp(100)), suspect, "{start:?} {last:?}");
        }
    }

    #[test]
    fn a_coordinator_that_knows_producer_and_partition_will_end_it() {
        let open =
            OpenTransaction { partition: TopicPartition::new("t", 0), producer: producer(Some(5), None) };
        let description = |id, partition| TransactionDescription {
            coordinator: BrokerId(1),
            state: Some(TransactionState::Ongoing),
            producer_id: ProducerId(id),
            producer_epoch: ProducerEpoch(0),
            timeout: Duration::from_secs(60),
            started: None,
            partitions: BTreeSet::from([TopicPartition::new("t", partition)]),
        };
        let cases = [
            (vec![], false),
            (vec![description(7, 1)], false),
            (vec![description(8, 0)], false),
            (vec![description(8, 0), description(7, 0)], true),
        ];
        for (known, expected) in cases {
            assert_eq!(is_known(&open, &known), expected, "{known:?}");
        }
    }
}
