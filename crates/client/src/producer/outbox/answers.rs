//! What an answer to Produce means for each of its batches.

use std::collections::BTreeMap;

use ottla_wire::messages::ProduceResponse;
use ottla_wire::messages::produce_response::PartitionProduceResponse;
use ottla_wire::primitives::Str;
use ottla_wire::protocol::{ApiKey, ErrorCode};
use ottla_wire::{BrokerId, LeaderEpoch, Offset, Timestamp};

use super::{Effect, Outbox, RequestId, Sent, World};
use crate::cluster::Broker;
use crate::error::{Advice, ApiError, Error};
use crate::producer::delivery::Outcome;
use crate::producer::record::ProduceError;
use crate::producer::sequences::Verdict;

impl Outbox {
    /// [`Effect::Send`] is done; there is no answer with `acks=0`.
    pub(in crate::producer) fn answered(
        &mut self,
        request: RequestId,
        answer: Result<Option<ProduceResponse>, Error>,
        world: &mut World<'_>,
    ) {
        let Some(batches) = self.take_request(request) else { return };
        match answer {
            Ok(Some(response)) => self.read_response(batches, response, world),
            Ok(None) => batches.iter().for_each(|sent| self.stored(sent, None, None, world)),
            Err(error) => self.lost(batches, &error, world),
        }
    }

    fn read_response(&mut self, batches: Vec<Sent>, response: ProduceResponse, world: &mut World<'_>) {
        let endpoints: BTreeMap<i32, Broker> = response
            .node_endpoints
            .iter()
            .map(|node| {
                let rack = node.rack.as_ref().map(Str::detached);
                let (id, host) = (BrokerId(node.node_id), node.host.detached());
                (node.node_id, Broker { id, host, port: node.port, rack })
            })
            .collect();
        let mut answers = BTreeMap::new();
        for topic in response.responses {
            // By name up to version 12, by id from 13 on.
            let by_id = || world.metadata.topic_name(topic.topic_id);
            let name = if topic.name.is_empty() { by_id() } else { Some(&topic.name) };
            let Some(name) = name else { continue };
            for partition in topic.partition_responses {
                answers.insert((name.detached(), partition.index), partition);
            }
        }
        let mut silent = Vec::new();
        for sent in batches {
            let of = &sent.batch.partition;
            match answers.remove(&(of.topic.clone(), of.partition)) {
                Some(answer) => self.read_partition(sent, answer, &endpoints, world),
                None => silent.push(sent),
            }
        }
        if !silent.is_empty() {
            let reason = "a partition of the request is missing".to_owned();
            self.lost(silent, &Error::malformed(ApiKey::Produce, "broker", reason), world);
        }
    }

    fn read_partition(
        &mut self,
        sent: Sent,
        answer: PartitionProduceResponse,
        endpoints: &BTreeMap<i32, Broker>,
        world: &mut World<'_>,
    ) {
        let base = (answer.base_offset >= 0).then_some(Offset(answer.base_offset));
        let time = (answer.log_append_time_ms >= 0).then_some(Timestamp(answer.log_append_time_ms));
        let Err(error) = ApiError::check(answer.error_code, answer.error_message.as_deref()) else {
            return self.stored(&sent, base, time, world);
        };
        let leader = &answer.current_leader;
        if leader.leader_id >= 0 {
            world.effects.push(Effect::Learn {
                of: sent.batch.partition.clone(),
                leader: BrokerId(leader.leader_id),
                epoch: LeaderEpoch(leader.leader_epoch),
                endpoint: endpoints.get(&leader.leader_id).cloned(),
            });
        }
        match error.code {
            // The broker has the batch, only not its offset any more.
            ErrorCode::DuplicateSequenceNumber => self.stored(&sent, None, None, world),
            // If nobody waits for it any more, it is not worth the trouble.
            ErrorCode::MessageTooLarge if sent.batch.record_count() > 1 && !sent.batch.is_told => {
                self.split(&sent, world);
            }
            _ => self.refused(sent, error, answer, world),
        }
    }

    /// Sends again or gives up, as the error says.
    fn refused(
        &mut self,
        mut sent: Sent,
        error: ApiError,
        answer: PartitionProduceResponse,
        world: &mut World<'_>,
    ) {
        if asks_for_metadata(error.code) {
            world.effects.push(Effect::Refresh);
        }
        let log_start = (answer.log_start_offset >= 0).then_some(Offset(answer.log_start_offset));
        sent.batch.maybe_stored |= error.advice() == Advice::OutcomeUnknown;
        sent.batch.last_error = Some(Box::new(Error::Api(error.clone())));
        let verdict = match (&mut self.sequences, sent.stamp) {
            (Some(sequences), Some(stamp)) => {
                sequences.judge(&sent.batch.partition, sent.batch.id, stamp, error.code, log_start)
            }
            _ if error.is_retriable() => Verdict::Retry,
            _ => Verdict::Fail,
        };
        if verdict == Verdict::Retry && self.may_retry(&sent, world) {
            return world.accumulator.put_back(sent.batch);
        }
        let maybe_stored = sent.batch.maybe_stored;
        let outcome = if maybe_stored {
            Outcome::Failed(sent.batch.given_up(ProduceError::Refused(error)))
        } else {
            let named = answer.record_errors.into_iter().filter_map(|record| {
                let message = record.batch_index_error_message.map(String::from);
                Some((usize::try_from(record.batch_index).ok()?, message))
            });
            Outcome::Refused { records: named.collect(), error }
        };
        self.fail_with(&sent.batch, outcome, maybe_stored, world);
    }

    /// No answer came for these batches.
    fn lost(&mut self, batches: Vec<Sent>, error: &Error, world: &mut World<'_>) {
        world.effects.push(Effect::Refresh);
        for mut sent in batches {
            sent.batch.maybe_stored |= error.outcome_unknown();
            sent.batch.last_error = Some(Box::new(error.clone()));
            if error.is_retriable() && self.may_retry(&sent, world) {
                world.accumulator.put_back(sent.batch);
            } else {
                let maybe_stored = sent.batch.maybe_stored;
                let failed = sent.batch.given_up(ProduceError::NotSent(error.clone()));
                self.fail(&sent.batch, failed, maybe_stored, world);
            }
        }
    }

    fn may_retry(&self, sent: &Sent, world: &World<'_>) -> bool {
        let in_time = world.now < sent.batch.created + self.rules.delivery_timeout;
        // Without an answer to wait for there is nothing that a retry could repair.
        let expects_answer = self.rules.acks.on_wire() != 0;
        let is_dropped = world.transaction.as_ref().is_some_and(|of| of.drops());
        !sent.batch.is_told
            && !is_dropped
            && in_time
            && expects_answer
            && sent.batch.attempts <= self.rules.retries
    }

    fn split(&mut self, sent: &Sent, world: &mut World<'_>) {
        let (halves, into) = match sent.batch.split(self.rules.packing) {
            Ok(split) => split,
            Err(error) => {
                let error = ProduceError::Unencodable(error.to_string());
                return self.fail(&sent.batch, error, false, world);
            }
        };
        world.effects.push(Effect::Settle(sent.batch.settlement.clone(), into));
        if let Some(sequences) = &mut self.sequences {
            let [first, second] = &halves;
            sequences.split(&sent.batch.partition, first.id, first.record_count(), second.id);
        }
        halves.into_iter().for_each(|half| world.accumulator.put_back(half));
    }
}

/// Errors that say that what the client knows of the topic is old.
fn asks_for_metadata(code: ErrorCode) -> bool {
    matches!(
        code,
        ErrorCode::NotLeaderOrFollower
            | ErrorCode::LeaderNotAvailable
            | ErrorCode::UnknownTopicOrPartition
            | ErrorCode::UnknownTopicId
            | ErrorCode::InconsistentTopicId
            | ErrorCode::ReplicaNotAvailable
            | ErrorCode::KafkaStorageError
            | ErrorCode::FencedLeaderEpoch
            | ErrorCode::UnknownLeaderEpoch
            | ErrorCode::NetworkException
    )
}
