//! OffsetCommit (key 8): stores how far a group has read.
//!
//! - 3: the throttle time.
//! - 5: the broker alone decides about retention (KIP-211).
//! - 6: the leader epoch of the last read record (KIP-320).
//! - 7: static members (KIP-345).
//! - 8: flexible.
//! - 9: member epochs (KIP-848).
//! - 10: topics by their ids (KIP-848).
//!
//! Commits for unknown partitions fail alone. The others go to the coordinator. As with Produce, all requests
//! from one read are served together, so they share a flush.

use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::Duration;

use ottla_net::{CloseReason, Frame, Permit, Response, Responses};
use ottla_wire::Instant;
use ottla_wire::messages::offset_commit_request::OffsetCommitRequestTopic;
use ottla_wire::messages::offset_commit_response::{
    OffsetCommitResponsePartition, OffsetCommitResponseTopic,
};
use ottla_wire::messages::{OffsetCommitRequest, OffsetCommitResponse};
use ottla_wire::protocol::{ApiKey, ErrorCode};

use super::frame::{decode, encode};
use super::shared::unknown_partitions;
use crate::context::Context;
use crate::coordinator::ask::{PendingAnswer, TOO_LATE};
use crate::door::{Admitted, Operation, Resource, Session, Throttled, admit};
use crate::published::Published;
use crate::shard::Letters;

const KEY: ApiKey = ApiKey::OffsetCommit;

/// From this version on, topics are named by their ids.
const BY_ID_VERSION: i16 = 10;

/// Takes a run of requests, sends them to the coordinators in order, and promises the answers.
pub async fn start(
    ctx: &Arc<Context>,
    session: &mut Session,
    frames: Vec<Frame>,
) -> Result<Responses, CloseReason> {
    let started = ctx.clock.now();
    let mut letters = Letters::default();
    let mut run = Vec::with_capacity(frames.len());
    let mut permits = Vec::with_capacity(frames.len());
    for frame in frames {
        let (bytes, permit) = frame.into_parts();
        permits.push(permit);
        let admitted = admit(ctx.served, session, bytes)?;
        run.push(take(ctx, session, &mut letters, admitted, started).await?);
    }
    letters.send().await;
    let ctx = ctx.clone();
    Ok(Responses::Later(Box::pin(async move {
        let mut late = pin!(tokio::time::sleep(ctx.coordinators.world().commit_timeout));
        let mut responses = Vec::with_capacity(run.len());
        for pending in run {
            responses.push(pending.answered(&ctx, late.as_mut()).await?);
        }
        drop::<Vec<Permit>>(permits);
        ctx.metrics.requests_served(KEY, responses.len(), ctx.clock.now().since(started));
        Ok(responses)
    })))
}

/// A request that waits for its coordinator: the known part of the answer, and the pending part.
struct Pending {
    version: i16,
    correlation_id: i32,
    response: OffsetCommitResponse,
    /// How long the client must wait.
    mute: Duration,
    /// The partitions that the coordinator was asked to commit.
    asked: Vec<OffsetCommitResponseTopic>,
    answer: Option<Result<PendingAnswer<OffsetCommitRequest>, ErrorCode>>,
}

async fn take(
    ctx: &Context,
    session: &mut Session,
    letters: &mut Letters,
    admitted: Admitted,
    started: Instant,
) -> Result<Pending, CloseReason> {
    let Admitted { key, version, correlation_id, client_id, body } = admitted;
    session.note_client(client_id);
    let mut request: OffsetCommitRequest = decode(key, version, body)?;
    let mut response = OffsetCommitResponse::default();
    let by_id = version >= BY_ID_VERSION;
    let published = ctx.published.load_full();
    let allowed = session.authorize(&ctx.door, Operation::Read, Resource::Group(&request.group_id));
    // A client that may not commit for the group learns nothing else.
    if allowed.is_ok() {
        request.topics.retain_mut(|topic| {
            let answer = take_refused(ctx, session, &published, topic, by_id);
            if !answer.partitions.is_empty() {
                response.topics.push(answer);
            }
            !topic.partitions.is_empty()
        });
    }
    let asked: Vec<OffsetCommitResponseTopic> = request.topics.iter().map(unanswered).collect();
    // If nothing is left to commit, the answer is known. A request that was empty is left to the coordinator.
    let answer = match asked.is_empty() && !response.topics.is_empty() {
        true => None,
        false => {
            let groups = ctx.coordinators.groups();
            Some(match allowed {
                Ok(()) => groups.write_to(letters, session.caller(version), request).await,
                Err(code) => Err(code),
            })
        }
    };
    let mute = session.charge(&ctx.door, KEY, ctx.clock.now().since(started), 0);
    Ok(Pending { version, correlation_id, mute, response, asked, answer })
}

impl Pending {
    async fn answered(
        mut self,
        ctx: &Context,
        late: Pin<&mut tokio::time::Sleep>,
    ) -> Result<Response, CloseReason> {
        let answered = match self.answer.take() {
            None => Vec::new(),
            Some(Err(code)) => refuse(self.asked, code),
            Some(Ok(answer)) => {
                let answer = tokio::select! {
                    biased;
                    answer = answer.come() => answer,
                    () = late => Err(TOO_LATE),
                };
                match answer {
                    Ok(answered) => answered.topics,
                    Err(code) => refuse(self.asked, code),
                }
            }
        };
        count(ctx, &answered);
        let by_id = self.version >= BY_ID_VERSION;
        for topic in answered {
            match self.response.topics.iter_mut().find(|known| is_same(known, &topic, by_id)) {
                Some(known) => known.partitions.extend(topic.partitions),
                None => self.response.topics.push(topic),
            }
        }
        self.response.set_throttle_time(self.mute);
        let encoded = encode(KEY, self.version, self.correlation_id, &self.response)?;
        Ok(Response { mute: self.mute, ..encoded })
    }
}

/// Names the topic, removes partitions that do not exist or may not be read, and answers for those.
fn take_refused(
    ctx: &Context,
    session: &Session,
    published: &Published,
    topic: &mut OffsetCommitRequestTopic,
    by_id: bool,
) -> OffsetCommitResponseTopic {
    let (known, code) = match by_id {
        true => (published.image.topic_by_id(topic.topic_id), ErrorCode::UnknownTopicId),
        false => (published.image.topic(&topic.name), ErrorCode::UnknownTopicOrPartition),
    };
    if let Some(known) = known {
        topic.name = known.name.clone();
    }
    if (known.is_some() || !by_id)
        && let Err(code) = session.authorize(&ctx.door, Operation::Read, Resource::Topic(&topic.name))
    {
        let partitions = std::mem::take(&mut topic.partitions);
        return OffsetCommitResponseTopic {
            name: topic.name.clone(),
            topic_id: topic.topic_id,
            partitions: partitions.into_iter().map(|one| answer_for(one.partition_index, code)).collect(),
        };
    }
    let code = if known.is_some() { ErrorCode::UnknownTopicOrPartition } else { code };
    let unknown = unknown_partitions::take_unknown(known, &mut topic.partitions, |one| one.partition_index);
    OffsetCommitResponseTopic {
        name: topic.name.clone(),
        topic_id: topic.topic_id,
        partitions: unknown.into_iter().map(|index| answer_for(index, code)).collect(),
    }
}

fn unanswered(topic: &OffsetCommitRequestTopic) -> OffsetCommitResponseTopic {
    let partitions = topic.partitions.iter();
    OffsetCommitResponseTopic {
        name: topic.name.clone(),
        topic_id: topic.topic_id,
        partitions: partitions.map(|one| answer_for(one.partition_index, ErrorCode::None)).collect(),
    }
}

/// Without an answer from the coordinator, no partition is known to be committed.
fn refuse(mut topics: Vec<OffsetCommitResponseTopic>, code: ErrorCode) -> Vec<OffsetCommitResponseTopic> {
    let partitions = topics.iter_mut().flat_map(|topic| &mut topic.partitions);
    partitions.for_each(|partition| partition.error_code = code.code());
    topics
}

fn answer_for(partition_index: i32, code: ErrorCode) -> OffsetCommitResponsePartition {
    OffsetCommitResponsePartition { partition_index, error_code: code.code() }
}

fn is_same(one: &OffsetCommitResponseTopic, other: &OffsetCommitResponseTopic, by_id: bool) -> bool {
    if by_id { one.topic_id == other.topic_id } else { one.name == other.name }
}

fn count(ctx: &Context, topics: &[OffsetCommitResponseTopic]) {
    let partitions = topics.iter().flat_map(|topic| &topic.partitions);
    let committed = partitions.filter(|partition| partition.error_code == 0).count();
    crate::metrics::add(&ctx.metrics.offsets_committed, committed);
}
