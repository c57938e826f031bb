//! Produce (key 0): checks batches from producers and sends them to the shards of their partitions.
//!
//! - 3: record batches, idempotence and transactions (KIP-98).
//! - 5: the start of the log in the answer (KIP-107).
//! - 7: zstd (KIP-110).
//! - 8: errors of single records (KIP-467).
//! - 9: flexible.
//! - 10: new leaders in the answer (KIP-951).
//! - 11: TRANSACTION_ABORTABLE (KIP-890).
//! - 12: transaction version 2: partitions are added to transactions here (KIP-890).
//! - 13: topics by their ids (KIP-516).
//!
//! All Produce requests from one read are served together. They are decoded and validated here, go to each
//! shard in one message, and are answered in one piece after the last outcome.

mod answers;
mod transactional;

use std::cell::RefCell;
use std::sync::Arc;
use std::time::Duration;

use ottla_net::{CloseReason, Frame, Permit, Responses};
use ottla_partition::AppendRequest;
use ottla_replica::Acks;
use ottla_settings::Compression;
use ottla_wire::batch::{self, BatchError, BatchLimits, Origin, Scratch, TimestampType, ValidatedBatch};
use ottla_wire::compress::Codec;
use ottla_wire::messages::produce_request::{PartitionProduceData, TopicProduceData};
use ottla_wire::messages::produce_response::{PartitionProduceResponse, TopicProduceResponse};
use ottla_wire::messages::{ProduceRequest, ProduceResponse};
use ottla_wire::primitives::{Records, Str};
use ottla_wire::protocol::ErrorCode;
use ottla_wire::{Instant, InternalTopic, PartitionIndex, Timestamp};

use super::frame::decode;
use crate::context::Context;
use crate::door::{Admitted, Operation, Resource, Session, admit};
use crate::partition::{PartitionError, PartitionHandle};
use crate::published::{LocalTopic, Published};
use crate::shard::{AppendGroup, ShardBatches};
use answers::{BY_ID_VERSION, OutcomePlace, Pending, Refusal, answer_all};
use transactional::{NOT_VERIFIED, Refused, TransactionalWrite};

/// Before version 7 of Produce, batches cannot use zstd (KIP-110).
const ZSTD_VERSION_MIN: i16 = 7;

/// The client id that Kafka lets write to internal topics: that of tools that repair them.
const ADMIN_CLIENT_ID: &str = "__admin_client";

/// Takes a run of Produce requests, sends their batches to the shards in order, and promises the answers.
pub async fn start(
    ctx: &Arc<Context>,
    session: &mut Session,
    frames: Vec<Frame>,
) -> Result<Responses, CloseReason> {
    let started = ctx.clock.now();
    let published = ctx.published.load_full();
    let mut run = Run {
        ctx,
        published: &published,
        now: started,
        wall: ctx.clock.wall(),
        appends: Vec::with_capacity(frames.len()),
        places: Vec::with_capacity(frames.len()),
        writes: Vec::new(),
    };
    let mut requests = Vec::with_capacity(frames.len());
    let mut permits = Vec::with_capacity(frames.len());
    for frame in frames {
        let (bytes, permit) = frame.into_parts();
        permits.push(permit);
        let admitted = admit(ctx.served, session, bytes)?;
        requests.push(run.take_request(session, admitted, requests.len())?);
    }
    let Run { mut appends, places, writes, .. } = run;
    let refused = match writes.is_empty() {
        true => Refused::default(),
        false => transactional::verify(ctx, &writes, &mut appends).await,
    };
    if appends.is_empty() {
        return answer_all(ctx, &session.peer.listener, requests, &[], None, started).map(Responses::Ready);
    }
    let group = AppendGroup::new(appends.len());
    let mut batches = ShardBatches::new(&group);
    for (at, (partition, append)) in appends.into_iter().enumerate() {
        match refused.get(&at) {
            None => batches.add(partition, append),
            Some(_) => batches.refuse(NOT_VERIFIED),
        }
    }
    batches.send().await;
    session.appends = Some(group.clone());
    let (ctx, listener) = (ctx.clone(), session.peer.listener.clone());
    Ok(Responses::Later(Box::pin(async move {
        group.done().await;
        drop::<Vec<Permit>>(permits);
        answer_all(&ctx, &listener, requests, &places, Some((&group, &refused)), started)
    })))
}

/// The state that the requests of one run share.
struct Run<'a> {
    ctx: &'a Context,
    published: &'a Published,
    now: Instant,
    wall: Timestamp,
    appends: Vec<(&'a PartitionHandle, AppendRequest)>,
    /// The places for the outcomes of the appends, in order.
    places: Vec<OutcomePlace>,
    /// The appends that are part of transactions.
    writes: Vec<TransactionalWrite>,
}

impl<'a> Run<'a> {
    fn take_request(
        &mut self,
        session: &mut Session,
        admitted: Admitted,
        number: usize,
    ) -> Result<Pending, CloseReason> {
        let Admitted { key, version, correlation_id, client_id, body } = admitted;
        session.note_client(client_id);
        // Nearly all of a body is records.
        let bytes = body.remaining();
        let request: ProduceRequest = decode(key, version, body)?;
        let mut pending = Pending {
            version,
            correlation_id,
            acks: request.acks,
            response: ProduceResponse::default(),
            mute: Duration::ZERO,
            appends: self.appends.len()..self.appends.len(),
            number,
        };
        let terms = Terms::of(self, &request, version, session);
        pending.response.responses.reserve_exact(request.topic_data.len());
        for topic in request.topic_data {
            self.take_topic(session, &mut pending, topic, &terms);
        }
        pending.mute = session.charge(&self.ctx.door, key, self.ctx.clock.now().since(self.now), bytes);
        pending.appends.end = self.appends.len();
        Ok(pending)
    }

    fn take_topic(
        &mut self,
        session: &Session,
        pending: &mut Pending,
        topic: TopicProduceData,
        terms: &Result<Terms, ErrorCode>,
    ) {
        let by_id = pending.version >= BY_ID_VERSION;
        let local = match by_id {
            true => self.published.topic_by_id(topic.topic_id),
            false => self.published.topic(&topic.name),
        };
        let allowed =
            self.authorize(session, local.map_or(&topic.name, |local| &local.name), by_id && local.is_none());
        let topic_at = pending.response.responses.len();
        let mut answers = Vec::with_capacity(topic.partition_data.len());
        for data in topic.partition_data {
            let index = data.index;
            let terms = terms.as_ref().map_err(|code| *code).and_then(|terms| allowed.map(|()| terms));
            let taken = terms.map_err(Refusal::from).and_then(|terms| {
                let already = answers.iter().any(|a: &PartitionProduceResponse| a.index == index);
                let partition = self.find(local, &topic.name, topic.topic_id, by_id, index)?;
                self.take_batch(local, data, terms, already).map(|batch| (partition, batch, terms))
            });
            let mut answer = PartitionProduceResponse { index, base_offset: -1, ..Default::default() };
            match taken {
                Ok((partition, batch, terms)) => {
                    let bytes = batch.total_len();
                    self.places.push(OutcomePlace { topic: topic_at, partition: answers.len(), bytes });
                    if let Some(id) = terms.transactional_id.as_ref().filter(|_| is_transactional(&batch)) {
                        let (request, append) = (pending.number, self.appends.len());
                        let write = TransactionalWrite::new(id, pending.version, request, append, &batch);
                        self.writes.push(write);
                    }
                    let (acks, deadline) = (terms.acks, terms.deadline);
                    self.appends.push((partition, AppendRequest { batch, acks, deadline, verified: None }));
                }
                Err(refusal) => {
                    crate::metrics::add(&self.ctx.metrics.batches_refused, 1);
                    refusal.write_to(&mut answer);
                }
            }
            answers.push(answer);
        }
        pending.response.responses.push(TopicProduceResponse {
            name: topic.name,
            topic_id: topic.topic_id,
            partition_responses: answers,
        });
    }

    /// Whether the client may write to a topic. A topic with an unknown id has no name to check.
    fn authorize(&self, session: &Session, name: &str, unknown: bool) -> Result<(), ErrorCode> {
        match unknown {
            true => Ok(()),
            false => session.authorize(&self.ctx.door, Operation::Write, Resource::Topic(name)),
        }
    }

    fn find(
        &self,
        local: Option<&'a Arc<LocalTopic>>,
        name: &Str,
        id: ottla_wire::TopicId,
        by_id: bool,
        index: i32,
    ) -> Result<&'a PartitionHandle, Refusal> {
        let index = PartitionIndex(index);
        if let Some(found) = local.and_then(|topic| topic.partition(index)) {
            return Ok(found);
        }
        let found = match by_id {
            true => self.published.partition_by_id(id, index),
            false => self.published.partition(name, index),
        };
        found.map(|found| &**found).map_err(Refusal::from)
    }

    fn take_batch(
        &self,
        local: Option<&Arc<LocalTopic>>,
        data: PartitionProduceData,
        terms: &Terms,
        already: bool,
    ) -> Result<ValidatedBatch, Refusal> {
        if !terms.internal && local.is_some_and(|topic| InternalTopic::is_internal(&topic.name)) {
            return Err(Refusal::new(
                ErrorCode::InvalidTopicException,
                "clients do not write to internal topics",
            ));
        }
        if already {
            return Err(Refusal::new(ErrorCode::InvalidRecord, "one batch for a partition in a request"));
        }
        let Some(topic) = local else { return Err(PartitionError::Unknown.into()) };
        let bytes = match data.records {
            Some(Records::Bytes(bytes)) if !bytes.is_empty() => bytes,
            _ => return Err(Refusal::new(ErrorCode::InvalidRecord, "a partition without a batch")),
        };
        let limits = batch_limits(topic, self.ctx, self.wall);
        SCRATCH.with_borrow_mut(|scratch| {
            let batch =
                batch::validate(bytes, &limits, scratch).map_err(|error| Refusal::of_batch(&error))?;
            terms.check(&batch)?;
            repack(batch, topic, &limits, scratch)
        })
    }
}

fn is_transactional(batch: &ValidatedBatch) -> bool {
    let header = batch.header();
    header.is_transactional() && header.has_producer()
}

thread_local! {
    /// Room to unpack batches into, one for each thread of the runtime.
    static SCRATCH: RefCell<Scratch> = RefCell::new(Scratch::default());
}

/// The current limits on a topic's batches.
fn batch_limits(topic: &LocalTopic, ctx: &Context, now: Timestamp) -> BatchLimits {
    let config = &topic.config;
    BatchLimits {
        origin: Origin::Client,
        max_bytes: usize::try_from(config.max_message_bytes).unwrap_or(0),
        max_decompressed_bytes: ctx.limits.decompressed_bytes_max,
        require_key: config.cleanup_compact,
        timestamp_type: match config.log_append_time {
            true => TimestampType::LogAppendTime,
            false => TimestampType::CreateTime,
        },
        now,
        before_max_ms: config.timestamp_before_max_ms,
        after_max_ms: config.timestamp_after_max_ms,
    }
}

/// Compresses a batch as the topic requires, and checks the size limit again.
fn repack(
    batch: ValidatedBatch,
    topic: &LocalTopic,
    limits: &BatchLimits,
    scratch: &mut Scratch,
) -> Result<ValidatedBatch, Refusal> {
    let Some((codec, level)) = stored_as(topic.config.compression) else { return Ok(batch) };
    let packed = batch::recompress(batch, codec, level, limits.max_decompressed_bytes, scratch)
        .map_err(|error| Refusal::of_batch(&error))?;
    match packed.total_len() {
        len if len > limits.max_bytes => {
            Err(Refusal::of_batch(&BatchError::TooLarge { len, max: limits.max_bytes }))
        }
        _ => Ok(packed),
    }
}

/// The codec and level that a topic requires, or `None` if batches stay as they are.
fn stored_as(compression: Compression) -> Option<(Codec, Option<i32>)> {
    match compression {
        Compression::Producer => None,
        Compression::Uncompressed => Some((Codec::None, None)),
        // -1 is the codec's own default.
        Compression::Gzip { level } => Some((Codec::Gzip, (level >= 0).then_some(level))),
        Compression::Snappy => Some((Codec::Snappy, None)),
        Compression::Lz4 { level } => Some((Codec::Lz4, Some(level))),
        Compression::Zstd { level } => Some((Codec::Zstd, Some(level))),
    }
}

/// The properties of a request that hold for all its batches.
struct Terms {
    acks: Acks,
    deadline: Instant,
    transactional_id: Option<Str>,
    zstd: bool,
    /// The client may write to internal topics.
    internal: bool,
}

impl Terms {
    fn of(
        run: &Run<'_>,
        request: &ProduceRequest,
        version: i16,
        session: &Session,
    ) -> Result<Terms, ErrorCode> {
        let acks = match request.acks {
            0 => Acks::None,
            1 => Acks::Leader,
            -1 => Acks::InSync,
            _ => return Err(ErrorCode::InvalidRequiredAcks),
        };
        if let Some(id) = &request.transactional_id {
            session.authorize(&run.ctx.door, Operation::Write, Resource::TransactionalId(id))?;
        }
        let timeout = Duration::from_millis(u64::try_from(request.timeout_ms).unwrap_or(0));
        Ok(Terms {
            acks,
            deadline: run.now + timeout,
            transactional_id: request.transactional_id.clone(),
            zstd: version >= ZSTD_VERSION_MIN,
            internal: session.client_id.as_deref() == Some(ADMIN_CLIENT_ID),
        })
    }

    fn check(&self, batch: &ValidatedBatch) -> Result<(), Refusal> {
        let header = batch.header();
        if header.is_transactional() && self.transactional_id.is_none() {
            return Err(Refusal::new(
                ErrorCode::InvalidRecord,
                "a transactional batch in a request without a transactional id",
            ));
        }
        if !self.zstd && header.codec() == Ok(Codec::Zstd) {
            return Err(Refusal::new(
                ErrorCode::UnsupportedCompressionType,
                "zstd needs version 7 of Produce (KIP-110)",
            ));
        }
        Ok(())
    }
}
