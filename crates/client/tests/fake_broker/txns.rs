//! Transactions of the fake broker: one coordinator, both transaction versions, markers in the logs.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use ottla_wire::batch::{BatchBuilder, BatchHeader, ControlRecord};
use ottla_wire::messages::*;
use ottla_wire::primitives::Str;
use ottla_wire::protocol::{ApiKey, ErrorCode};
use ottla_wire::{Offset, ProducerEpoch, ProducerId, Sequence, Timestamp};

use super::broker::{Partition, World};
use super::groups::offsets::may_commit;
use super::groups::{Committed, code};
use super::handlers::Call;

/// The first versions of requests that belong to transactions of version 2.
const PRODUCE_V2_MIN: i16 = 12;
const COMMIT_OFFSETS_V2_MIN: i16 = 5;
const END_V2_MIN: i16 = 5;

/// What the coordinator knows of a transactional id.
#[derive(Default)]
pub struct Txn {
    pub id: i64,
    pub epoch: i16,
    pub timeout_ms: i32,
    pub partitions: BTreeSet<(String, i32)>,
    pub groups: BTreeSet<String>,
    pub offsets: BTreeMap<(String, String, i32), Committed>,
    pub open: bool,
    /// How the last one ended: true if it was committed.
    pub ended: Option<bool>,
}

impl Txn {
    pub fn state(&self) -> &'static str {
        match (self.open, self.ended) {
            (true, _) => "Ongoing",
            (false, None) => "Empty",
            (false, Some(true)) => "CompleteCommit",
            (false, Some(false)) => "CompleteAbort",
        }
    }

    fn check(&self, id: i64, epoch: i16) -> Result<(), ErrorCode> {
        if self.id != id {
            return Err(ErrorCode::InvalidProducerIdMapping);
        }
        if self.epoch != epoch { Err(ErrorCode::ProducerFenced) } else { Ok(()) }
    }
}

impl Partition {
    /// The end of what readers of committed records see.
    pub fn stable_end(&self) -> i64 {
        self.open.values().copied().min().unwrap_or(self.next_offset)
    }

    /// Writes the end of a producer's transaction.
    pub fn mark(&mut self, id: i64, epoch: i16, commit: bool) {
        let record = if commit {
            ControlRecord::Commit { coordinator_epoch: 0 }
        } else {
            ControlRecord::Abort { coordinator_epoch: 0 }
        };
        let mut builder = BatchBuilder::new()
            .base_offset(Offset(self.next_offset))
            .producer(ProducerId(id), ProducerEpoch(epoch), Sequence::NONE)
            .transactional();
        builder.push_control(Timestamp(1), &record);
        self.batches.push(builder.build().unwrap());
        if let Some(first) = self.open.remove(&id)
            && !commit
        {
            self.aborted.push((id, first, self.next_offset));
        }
        self.next_offset += 1;
    }
}

impl World {
    /// Whether a transactional batch may be stored; in version 2 its partition becomes part of the
    /// transaction.
    pub fn admit(&mut self, version: i16, header: &BatchHeader, of: (&str, i32)) -> Result<(), ErrorCode> {
        let known = self.transactions.values_mut().find(|txn| txn.id == header.producer_id.0);
        let txn = known.ok_or(ErrorCode::InvalidTxnState)?;
        if txn.epoch != header.producer_epoch.0 {
            return Err(ErrorCode::InvalidProducerEpoch);
        }
        let of = (of.0.to_owned(), of.1);
        if version >= PRODUCE_V2_MIN {
            txn.open = true;
            txn.partitions.insert(of);
            return Ok(());
        }
        if txn.open && txn.partitions.contains(&of) { Ok(()) } else { Err(ErrorCode::InvalidTxnState) }
    }

    fn txn(&mut self, id: &Str) -> Result<&mut Txn, ErrorCode> {
        self.transactions.get_mut(id.as_str()).ok_or(ErrorCode::InvalidProducerIdMapping)
    }

    /// Ends a transaction: markers in all partitions, offsets in their groups.
    fn finish(&mut self, id: &str, commit: bool) {
        let Some(txn) = self.transactions.get_mut(id) else { return };
        (txn.open, txn.ended) = (false, Some(commit));
        txn.groups.clear();
        let (producer, epoch) = (txn.id, txn.epoch);
        let (partitions, offsets) = (std::mem::take(&mut txn.partitions), std::mem::take(&mut txn.offsets));
        for (topic, index) in partitions {
            self.partition(&topic, index as usize).mark(producer, epoch, commit);
        }
        for ((group, topic, partition), committed) in offsets.into_iter().filter(|_| commit) {
            let group = self.group(&group);
            group.commits.push((topic.clone(), partition, committed.offset));
            group.offsets.insert((topic, partition), committed);
        }
    }
}

impl Call<'_> {
    pub fn about_transactions(&self, key: ApiKey, body: Bytes) -> Option<Bytes> {
        let answer = match key {
            ApiKey::InitProducerId => self.respond(body, |world, request| self.init(world, request)),
            ApiKey::AddPartitionsToTxn => {
                self.respond(body, |world, request| self.add_partitions(world, request))
            }
            ApiKey::AddOffsetsToTxn => self.respond(body, |world, request: AddOffsetsToTxnRequest| {
                let outcome = self.fault(world, key).map_or_else(|| add_offsets(world, &request), Err);
                AddOffsetsToTxnResponse { error_code: code(outcome), ..Default::default() }
            }),
            ApiKey::TxnOffsetCommit => {
                self.respond(body, |world, request| self.commit_offsets(world, request))
            }
            ApiKey::EndTxn => self.respond(body, |world, request: EndTxnRequest| {
                let outcome =
                    self.fault(world, key).map_or_else(|| end(world, self.asked.version, &request), Err);
                let (producer_id, producer_epoch) = outcome.unwrap_or((-1, -1));
                let error_code = code(outcome.map(drop));
                EndTxnResponse { error_code, producer_id, producer_epoch, ..Default::default() }
            }),
            ApiKey::DescribeTransactions => {
                self.respond(body, |world, request| self.describe_transactions(world, request))
            }
            ApiKey::ListTransactions => {
                self.respond(body, |world, request| self.list_transactions(world, request))
            }
            ApiKey::DescribeProducers => {
                self.respond(body, |world, request| self.describe_producers(world, request))
            }
            ApiKey::WriteTxnMarkers => {
                self.respond(body, |world, request| self.write_markers(world, request))
            }
            other => panic!("{other} is not served"),
        };
        let mut world = self.brokers.world();
        match world.deaf.get_mut(&key) {
            Some(left @ 1..) => {
                *left -= 1;
                None
            }
            _ => answer,
        }
    }

    fn init(&self, world: &mut World, request: InitProducerIdRequest) -> InitProducerIdResponse {
        let Some(id) = &request.transactional_id else {
            assert_eq!((request.producer_id, request.producer_epoch), (-1, -1));
            let error_code = world.init_faults.pop_front().unwrap_or(ErrorCode::None).code();
            world.next_producer_id += 1;
            let producer_id = world.next_producer_id;
            return InitProducerIdResponse { error_code, producer_id, ..Default::default() };
        };
        if let Some(fault) = self.fault(world, ApiKey::InitProducerId) {
            return InitProducerIdResponse { error_code: fault.code(), ..Default::default() };
        }
        if let Some(txn) = world.transactions.get(id.as_str()) {
            let stale = (request.producer_id, request.producer_epoch) != (txn.id, txn.epoch);
            if request.producer_id >= 0 && stale {
                let error_code = ErrorCode::ProducerFenced.code();
                return InitProducerIdResponse { error_code, ..Default::default() };
            }
            if txn.open {
                world.finish(id, false);
            }
            let txn = world.transactions.get_mut(id.as_str()).unwrap();
            txn.epoch += 1;
            (txn.ended, txn.timeout_ms) = (None, request.transaction_timeout_ms);
        } else {
            world.next_producer_id += 1;
            let txn = Txn {
                id: world.next_producer_id,
                timeout_ms: request.transaction_timeout_ms,
                ..Txn::default()
            };
            world.transactions.insert(id.to_string(), txn);
        }
        let txn = &world.transactions[id.as_str()];
        InitProducerIdResponse { producer_id: txn.id, producer_epoch: txn.epoch, ..Default::default() }
    }

    fn add_partitions(
        &self,
        world: &mut World,
        request: AddPartitionsToTxnRequest,
    ) -> AddPartitionsToTxnResponse {
        let fault = self.fault(world, ApiKey::AddPartitionsToTxn);
        let (id, epoch) = (request.v3_and_below_producer_id, request.v3_and_below_producer_epoch);
        let outcome = fault.map_or_else(
            || world.txn(&request.v3_and_below_transactional_id).and_then(|txn| txn.check(id, epoch)),
            Err,
        );
        let mut results = Vec::new();
        for topic in request.v3_and_below_topics {
            for &partition in topic.partitions.iter().filter(|_| outcome.is_ok()) {
                let txn = world.txn(&request.v3_and_below_transactional_id).unwrap();
                txn.open = true;
                txn.partitions.insert((topic.name.to_string(), partition));
            }
            let of = |&partition_index| add_partitions_to_txn_response::AddPartitionsToTxnPartitionResult {
                partition_index,
                partition_error_code: code(outcome),
            };
            let results_by_partition = topic.partitions.iter().map(of).collect();
            results.push(add_partitions_to_txn_response::AddPartitionsToTxnTopicResult {
                name: topic.name,
                results_by_partition,
            });
        }
        AddPartitionsToTxnResponse { results_by_topic_v3_and_below: results, ..Default::default() }
    }

    fn commit_offsets(&self, world: &mut World, request: TxnOffsetCommitRequest) -> TxnOffsetCommitResponse {
        let fault = self.fault(world, ApiKey::TxnOffsetCommit);
        let outcome = fault.map_or_else(|| take_offsets(world, self.asked.version, &request), Err);
        let topics = request.topics.into_iter().map(|topic| {
            let of = |of: &txn_offset_commit_request::TxnOffsetCommitRequestPartition| {
                txn_offset_commit_response::TxnOffsetCommitResponsePartition {
                    partition_index: of.partition_index,
                    error_code: code(outcome),
                }
            };
            let partitions = topic.partitions.iter().map(of).collect();
            txn_offset_commit_response::TxnOffsetCommitResponseTopic { name: topic.name, partitions }
        });
        TxnOffsetCommitResponse { topics: topics.collect(), ..Default::default() }
    }

    fn describe_transactions(
        &self,
        world: &mut World,
        request: DescribeTransactionsRequest,
    ) -> DescribeTransactionsResponse {
        let fault = self.fault(world, ApiKey::DescribeTransactions);
        let describe = |id: &Str| {
            let mut state = describe_transactions_response::TransactionState {
                transactional_id: id.clone(),
                ..Default::default()
            };
            let known = world.transactions.get(id.as_str()).ok_or(ErrorCode::TransactionalIdNotFound);
            match fault.map_or(known, Err) {
                Err(error) => state.error_code = error.code(),
                Ok(txn) => {
                    state.transaction_state = txn.state().into();
                    (state.producer_id, state.producer_epoch) = (txn.id, txn.epoch);
                    state.transaction_timeout_ms = txn.timeout_ms;
                    state.transaction_start_time_ms = if txn.open { 1000 } else { -1 };
                    let topic =
                        |(topic, partition): &(String, i32)| describe_transactions_response::TopicData {
                            topic: Str::from(topic),
                            partitions: vec![*partition],
                        };
                    state.topics = txn.partitions.iter().map(topic).collect();
                }
            }
            state
        };
        let transaction_states = request.transactional_ids.iter().map(describe).collect();
        DescribeTransactionsResponse { transaction_states, ..Default::default() }
    }

    fn list_transactions(
        &self,
        world: &mut World,
        request: ListTransactionsRequest,
    ) -> ListTransactionsResponse {
        if self.broker != world.coordinator {
            return ListTransactionsResponse::default();
        }
        let error_code = self.fault(world, ApiKey::ListTransactions).map_or(0, ErrorCode::code);
        let wanted = |(_, txn): &(&String, &Txn)| {
            let states = &request.state_filters;
            (states.is_empty() || states.iter().any(|state| *state == txn.state()))
                && (request.producer_id_filters.is_empty() || request.producer_id_filters.contains(&txn.id))
        };
        let state = |(id, txn): (&String, &Txn)| list_transactions_response::TransactionState {
            transactional_id: Str::from(id),
            producer_id: txn.id,
            transaction_state: txn.state().into(),
        };
        let transaction_states = world.transactions.iter().filter(wanted).map(state).collect();
        ListTransactionsResponse { error_code, transaction_states, ..Default::default() }
    }

    fn describe_producers(
        &self,
        world: &mut World,
        request: DescribeProducersRequest,
    ) -> DescribeProducersResponse {
        let topics = request.topics.into_iter().map(|topic| {
            let describe = |&partition_index: &i32| {
                let partition = world.partition(&topic.name, partition_index as usize);
                if partition.leader != self.broker {
                    return describe_producers_response::PartitionResponse {
                        partition_index,
                        error_code: ErrorCode::NotLeaderOrFollower.code(),
                        ..Default::default()
                    };
                }
                let state = |(&producer_id, producer): (&i64, &super::broker::Producer)| {
                    describe_producers_response::ProducerState {
                        producer_id,
                        producer_epoch: producer.epoch.into(),
                        last_sequence: producer.batches.back().map_or(-1, |batch| batch.1),
                        last_timestamp: 5000,
                        coordinator_epoch: 0,
                        current_txn_start_offset: partition.open.get(&producer_id).copied().unwrap_or(-1),
                    }
                };
                let active_producers = partition.producers.iter().map(state).collect();
                describe_producers_response::PartitionResponse {
                    partition_index,
                    active_producers,
                    ..Default::default()
                }
            };
            let partitions = topic.partition_indexes.iter().map(describe).collect();
            describe_producers_response::TopicResponse { name: topic.name.clone(), partitions }
        });
        DescribeProducersResponse { topics: topics.collect(), ..Default::default() }
    }

    fn write_markers(&self, world: &mut World, request: WriteTxnMarkersRequest) -> WriteTxnMarkersResponse {
        let markers = request.markers.into_iter().map(|marker| {
            let topics = marker.topics.into_iter().map(|topic| {
                let mark = |&partition_index: &i32| {
                    let partition = world.partition(&topic.name, partition_index as usize);
                    let error = if partition.leader != self.broker {
                        ErrorCode::NotLeaderOrFollower
                    } else if partition
                        .producers
                        .get(&marker.producer_id)
                        .is_some_and(|p| p.epoch > marker.producer_epoch)
                    {
                        ErrorCode::InvalidProducerEpoch
                    } else {
                        partition.mark(marker.producer_id, marker.producer_epoch, marker.transaction_result);
                        ErrorCode::None
                    };
                    let error_code = error.code();
                    write_txn_markers_response::WritableTxnMarkerPartitionResult {
                        partition_index,
                        error_code,
                    }
                };
                let partitions = topic.partition_indexes.iter().map(mark).collect();
                write_txn_markers_response::WritableTxnMarkerTopicResult {
                    name: topic.name.clone(),
                    partitions,
                }
            });
            let topics = topics.collect();
            write_txn_markers_response::WritableTxnMarkerResult { producer_id: marker.producer_id, topics }
        });
        WriteTxnMarkersResponse { markers: markers.collect() }
    }
}

fn add_offsets(world: &mut World, request: &AddOffsetsToTxnRequest) -> Result<(), ErrorCode> {
    let txn = world.txn(&request.transactional_id)?;
    txn.check(request.producer_id, request.producer_epoch)?;
    txn.open = true;
    txn.groups.insert(request.group_id.to_string());
    Ok(())
}

fn take_offsets(world: &mut World, version: i16, request: &TxnOffsetCommitRequest) -> Result<(), ErrorCode> {
    may_commit(
        world,
        &request.group_id,
        &request.member_id,
        request.group_instance_id.as_ref(),
        request.generation_id,
    )?;
    let txn = world.txn(&request.transactional_id)?;
    txn.check(request.producer_id, request.producer_epoch)?;
    if version >= COMMIT_OFFSETS_V2_MIN {
        txn.open = true;
    } else if !txn.groups.contains(request.group_id.as_str()) {
        return Err(ErrorCode::InvalidTxnState);
    }
    for topic in &request.topics {
        for of in &topic.partitions {
            let committed = Committed {
                offset: of.committed_offset,
                leader_epoch: of.committed_leader_epoch,
                metadata: of.committed_metadata.as_ref().map_or_else(String::new, Str::to_string),
            };
            let key = (request.group_id.to_string(), topic.name.to_string(), of.partition_index);
            txn.offsets.insert(key, committed);
        }
    }
    Ok(())
}

/// Gives the identity of the next transaction, where that is told.
fn end(world: &mut World, version: i16, request: &EndTxnRequest) -> Result<(i64, i16), ErrorCode> {
    let bumps = version >= END_V2_MIN;
    let txn = world.txn(&request.transactional_id)?;
    let repeated = !txn.open && txn.ended == Some(request.committed);
    if bumps && repeated && request.producer_epoch == txn.epoch - 1 {
        return Ok((txn.id, txn.epoch));
    }
    txn.check(request.producer_id, request.producer_epoch)?;
    let may_be_idle = if bumps { !request.committed } else { repeated };
    if !txn.open && !may_be_idle {
        return Err(ErrorCode::InvalidTxnState);
    }
    if txn.open {
        world.finish(&request.transactional_id, request.committed);
    }
    let txn = world.txn(&request.transactional_id)?;
    txn.epoch += i16::from(bumps);
    Ok(if bumps { (txn.id, txn.epoch) } else { (-1, -1) })
}
