//! The answers to a run of Produce requests: why batches were not taken, what became of the others, and who
//! leads instead.

use std::ops::Range;
use std::time::Duration;

use bytes::Bytes;
use ottla_net::{CloseReason, Response};
use ottla_replica::Appended;
use ottla_wire::batch::BatchError;
use ottla_wire::messages::ProduceResponse;
use ottla_wire::messages::produce_response::{
    BatchIndexAndErrorMessage, LeaderIdAndEpoch, NodeEndpoint, PartitionProduceResponse,
};
use ottla_wire::primitives::{Size, Str, Writer};
use ottla_wire::protocol::{ApiKey, ErrorCode};
use ottla_wire::{Instant, PartitionIndex};

use super::transactional::Refused;
use crate::api::frame::encode_behind;
use crate::api::shared::new_leaders::{NewLeaders, is_elsewhere};
use crate::context::Context;
use crate::door::Throttled;
use crate::fetch::TopicRef;
use crate::partition::PartitionError;
use crate::shard::{AppendGroup, Outcome};

/// From this version on, answers name new leaders (KIP-951).
const NEW_LEADERS_VERSION: i16 = 10;

/// From this version on, topics are named by their ids.
pub const BY_ID_VERSION: i16 = 13;

/// A request that waits for its appends: the known part of the answer, and the places of pending outcomes.
pub struct Pending {
    pub version: i16,
    pub correlation_id: i32,
    pub acks: i16,
    pub response: ProduceResponse,
    /// How long the client must wait.
    pub mute: Duration,
    /// The numbers of its appends in the run.
    pub appends: Range<usize>,
    /// The number of the request in the run.
    pub number: usize,
}

/// The place of an outcome in the response, by topic and partition, and the size of the append.
pub struct OutcomePlace {
    pub topic: usize,
    pub partition: usize,
    pub bytes: usize,
}

/// The responses to a run of requests, in order. Requests with acks=0 have none.
pub fn answer_all(
    ctx: &Context,
    listener: &str,
    requests: Vec<Pending>,
    places: &[OutcomePlace],
    appended: Option<(&AppendGroup, &Refused)>,
    started: Instant,
) -> Result<Vec<Response>, CloseReason> {
    let mut frames = Writer::new(Size::default());
    let (mut count, mut mute) = (0, Duration::ZERO);
    for mut pending in requests {
        mute = mute.max(pending.mute);
        pending.response.set_throttle_time(pending.mute);
        for (at, place) in pending.appends.clone().zip(&places[pending.appends.clone()]) {
            let answer = &mut pending.response.responses[place.topic].partition_responses[place.partition];
            let outcome = appended.and_then(|(group, _)| group.outcome(at));
            match outcome {
                Some(Ok(_)) => crate::metrics::add(&ctx.metrics.bytes_in, place.bytes),
                _ => crate::metrics::add(&ctx.metrics.batches_refused, 1),
            }
            match appended.and_then(|(_, refused)| refused.get(&at)) {
                None => put_outcome(answer, outcome),
                Some(&(code, message)) => Refusal::new(code, message).write_to(answer),
            }
        }
        if pending.acks == 0 {
            refuse_acks_0(&pending.response)?;
            continue;
        }
        if pending.version >= NEW_LEADERS_VERSION {
            name_new_leaders(ctx, listener, pending.version, &mut pending.response);
        }
        let api = (ApiKey::Produce, pending.version);
        encode_behind(&mut frames, api, pending.correlation_id, &pending.response)?;
        count += 1;
    }
    let latency = ctx.clock.now().since(started);
    ctx.metrics.requests_served(ApiKey::Produce, count as usize, latency);
    match count {
        0 if mute.is_zero() => Ok(Vec::new()),
        count => Ok(vec![Response { mute, ..Response::framed(in_one_piece(frames)?, count) }]),
    }
}

fn in_one_piece(frames: Writer) -> Result<Bytes, CloseReason> {
    // Answers to Produce have no records.
    frames.finish().into_bytes().map_err(|error| CloseReason::refused(error.to_string()))
}

fn put_outcome(answer: &mut PartitionProduceResponse, outcome: Option<&Outcome>) {
    match outcome {
        Some(Ok(Appended { base_offset, log_append_time, log_start, .. })) => {
            answer.base_offset = base_offset.0;
            answer.log_append_time_ms = log_append_time.0;
            answer.log_start_offset = log_start.0;
        }
        Some(Err(error)) => {
            let code = ErrorCode::from(*error);
            Refusal { message: Some(error.to_string().into()), ..Refusal::from(code) }.write_to(answer);
        }
        // `AppendGroup::done` has returned, so every outcome is set.
        None => Refusal::from(ErrorCode::UnknownServerError).write_to(answer),
    }
}

/// A producer with acks=0 learns of an error when the connection closes. It then refreshes its metadata.
fn refuse_acks_0(response: &ProduceResponse) -> Result<(), CloseReason> {
    let mut answers = response.responses.iter().flat_map(|topic| &topic.partition_responses);
    match answers.find(|answer| answer.error_code != 0) {
        None => Ok(()),
        Some(failed) => {
            let name = ErrorCode::from_code(failed.error_code).map_or("an unknown error", ErrorCode::name);
            Err(CloseReason::refused(format!("produce with acks=0 to partition {}: {name}", failed.index)))
        }
    }
}

fn name_new_leaders(ctx: &Context, listener: &str, version: i16, response: &mut ProduceResponse) {
    let mut answers = response.responses.iter().flat_map(|topic| &topic.partition_responses);
    if !answers.any(|answer| is_elsewhere(answer.error_code)) {
        return;
    }
    let published = ctx.published.load();
    let mut leaders = NewLeaders::new(&published);
    for topic in &mut response.responses {
        let named = match version >= BY_ID_VERSION {
            true => TopicRef::Id(topic.topic_id),
            false => TopicRef::Name(topic.name.clone()),
        };
        for answer in &mut topic.partition_responses {
            let index = PartitionIndex(answer.index);
            if let Some((leader, epoch)) = leaders.name(answer.error_code, &named, index) {
                answer.current_leader = LeaderIdAndEpoch { leader_id: leader.0, leader_epoch: epoch.0 };
            }
        }
    }
    let endpoint = |node_id, host, port, rack| NodeEndpoint { node_id, host, port, rack };
    response.node_endpoints = leaders.endpoints(listener, endpoint);
}

/// Why a batch was refused, in the form of the response.
pub struct Refusal {
    code: ErrorCode,
    message: Option<Str>,
    records: Vec<BatchIndexAndErrorMessage>,
}

impl Refusal {
    pub fn new(code: ErrorCode, message: &'static str) -> Refusal {
        Refusal { message: Some(Str::from_static(message)), ..Refusal::from(code) }
    }

    pub fn of_batch(error: &BatchError) -> Refusal {
        let records = error.record_errors().iter().map(|record| BatchIndexAndErrorMessage {
            batch_index: record.index,
            batch_index_error_message: Some(record.to_string().into()),
        });
        Refusal {
            message: Some(error.to_string().into()),
            records: records.collect(),
            ..Refusal::from(error.code())
        }
    }

    pub fn write_to(self, answer: &mut PartitionProduceResponse) {
        answer.error_code = self.code.code();
        answer.error_message = self.message;
        answer.record_errors = self.records;
        answer.base_offset = -1;
    }
}

impl From<ErrorCode> for Refusal {
    fn from(code: ErrorCode) -> Refusal {
        Refusal { code, message: None, records: Vec::new() }
    }
}

impl From<PartitionError> for Refusal {
    fn from(error: PartitionError) -> Refusal {
        Refusal::from(ErrorCode::from(error))
    }
}
