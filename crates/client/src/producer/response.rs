//! What an answer to Produce means for each of its batches.

use std::collections::BTreeMap;

use ottla_wire::messages::ProduceResponse;
use ottla_wire::messages::produce_response::PartitionProduceResponse;
use ottla_wire::protocol::{ApiKey, ErrorCode};
use ottla_wire::{BrokerId, LeaderEpoch, Offset, Timestamp};

use super::delivery::Outcome;
use super::record::ProduceError;
use super::sender::{Sender, Sent};
use super::sequences::Verdict;
use crate::cluster::Broker;
use crate::error::{Advice, ApiError, Error};
use crate::seam;

impl Sender {
    pub(super) fn read_response(&mut self, batches: Vec<Sent>, response: ProduceResponse) {
        let metadata = self.shared.cluster.metadata();
        let endpoints: BTreeMap<i32, Broker> = response
            .node_endpoints
            .iter()
            .map(|node| {
                let rack = node.rack.as_ref().map(|rack| rack.detached());
                let (id, host) = (BrokerId(node.node_id), node.host.detached());
                (node.node_id, Broker { id, host, port: node.port, rack })
            })
            .collect();
        let mut answers = BTreeMap::new();
        for topic in response.responses {
            // By name up to version 12, by id from 13 on.
            let name =
                if topic.name.is_empty() { metadata.topic_name(topic.topic_id) } else { Some(&topic.name) };
            let Some(name) = name else { continue };
            for partition in topic.partition_responses {
                answers.insert((name.detached(), partition.index), partition);
            }
        }
        let mut silent = Vec::new();
        for sent in batches {
            let of = &sent.batch.partition;
            match answers.remove(&(of.topic.clone(), of.partition)) {
                Some(answer) => self.read_partition(sent, answer, &endpoints),
                None => silent.push(sent),
            }
        }
        if !silent.is_empty() {
            let reason = "a partition of the request is missing".to_owned();
            self.lost(silent, &Error::malformed(ApiKey::Produce, "broker", reason));
        }
    }

    fn read_partition(
        &mut self,
        sent: Sent,
        answer: PartitionProduceResponse,
        endpoints: &BTreeMap<i32, Broker>,
    ) {
        let base = (answer.base_offset >= 0).then_some(Offset(answer.base_offset));
        let time = (answer.log_append_time_ms >= 0).then_some(Timestamp(answer.log_append_time_ms));
        let Err(error) = ApiError::check(answer.error_code, answer.error_message.as_deref()) else {
            return self.stored(&sent, base, time);
        };
        let leader = &answer.current_leader;
        if leader.leader_id >= 0 {
            let (id, epoch) = (BrokerId(leader.leader_id), LeaderEpoch(leader.leader_epoch));
            let endpoint = endpoints.get(&leader.leader_id).cloned();
            self.shared.cluster.learn_leader(&sent.batch.partition, id, epoch, endpoint);
        }
        match error.code {
            // The broker has the batch, only not its offset any more.
            ErrorCode::DuplicateSequenceNumber => self.stored(&sent, None, None),
            ErrorCode::MessageTooLarge if sent.batch.record_count() > 1 => self.split(sent),
            _ => self.refused(sent, error, answer),
        }
    }

    /// Sends again or gives up, as the error says.
    fn refused(&mut self, mut sent: Sent, error: ApiError, answer: PartitionProduceResponse) {
        if asks_for_metadata(error.code) {
            self.shared.cluster.refresh_soon();
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
        if verdict == Verdict::Retry && self.may_retry(&sent) {
            return self.shared.accumulator().put_back(sent.batch);
        }
        let maybe_stored = sent.batch.maybe_stored;
        let outcome = if maybe_stored {
            Outcome::Failed(sent.batch.given_up(ProduceError::Refused(error)))
        } else {
            let message = |text: Option<ottla_wire::primitives::Str>| text.map(String::from);
            let named = answer.record_errors.into_iter().filter_map(|record| {
                Some((usize::try_from(record.batch_index).ok()?, message(record.batch_index_error_message)))
            });
            Outcome::Refused { records: named.collect(), error }
        };
        self.fail_with(&sent.batch, outcome, maybe_stored);
    }

    /// No answer came for these batches.
    pub(super) fn lost(&mut self, batches: Vec<Sent>, error: &Error) {
        self.shared.cluster.refresh_soon();
        for mut sent in batches {
            sent.batch.maybe_stored |= error.outcome_unknown();
            sent.batch.last_error = Some(Box::new(error.clone()));
            if error.is_retriable() && self.may_retry(&sent) {
                self.shared.accumulator().put_back(sent.batch);
            } else {
                let maybe_stored = sent.batch.maybe_stored;
                let failed = sent.batch.given_up(ProduceError::NotSent(error.clone()));
                self.fail(&sent.batch, failed, maybe_stored);
            }
        }
    }

    fn may_retry(&self, sent: &Sent) -> bool {
        let config = &self.shared.config;
        let in_time = seam::now() < sent.batch.created + config.delivery_timeout;
        // Without an answer to wait for there is nothing that a retry could repair.
        let expects_answer = config.acks.on_wire() != 0;
        let is_dropped = self.shared.transactions.as_ref().is_some_and(|of| of.core().drops());
        !sent.batch.settlement.is_settled()
            && !is_dropped
            && in_time
            && expects_answer
            && sent.batch.attempts <= config.retries
    }

    fn split(&mut self, sent: Sent) {
        let halves = match sent.batch.split(self.shared.packing()) {
            Ok(halves) => halves,
            Err(error) => {
                return self.fail(&sent.batch, ProduceError::Unencodable(error.to_string()), false);
            }
        };
        if let Some(sequences) = &mut self.sequences {
            let [first, second] = &halves;
            sequences.split(&sent.batch.partition, first.id, first.record_count(), second.id);
        }
        let mut accumulator = self.shared.accumulator();
        halves.into_iter().for_each(|half| accumulator.put_back(half));
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
