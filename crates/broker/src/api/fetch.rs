//! Fetch (key 1): records for consumers and followers.
//!
//! - 4: isolation levels and aborted transactions (KIP-98).
//! - 5: the start of the log, in both directions (KIP-107).
//! - 7: sessions (KIP-227).
//! - 9: the leader epoch that the reader knows (KIP-320).
//! - 10: zstd (KIP-110).
//! - 11: the reader's rack, and a replica to prefer (KIP-392): none is named here.
//! - 12: flexible; the epoch of the last fetched record, and the point where logs diverge (KIP-595).
//! - 13: topics by their ids (KIP-516).
//! - 14: OFFSET_MOVED_TO_TIERED_STORAGE (KIP-405): nothing is tiered here.
//! - 15: the follower with its epoch (KIP-903).
//! - 16: new leaders in the answer (KIP-951).
//! - 17: the directory of the follower's replica (KIP-853).
//! - 18: the high watermark that the follower knows (KIP-1166).
//!
//! A fetch plans what to read from each of its partitions, without touching the bytes. It answers at once if
//! that is enough, or if something has gone wrong. Otherwise it waits once for more. Large pieces go straight
//! from the page cache to the socket. A thread that may wait for the disk looks up what is not in memory.

mod answers;
mod request;

use std::sync::Arc;

use ottla_log::{Cold, ReadError, ReadPlan};
use ottla_net::{CloseReason, Part, Response};
use ottla_wire::Offset;
use ottla_wire::messages::fetch_response::{EpochEndOffset, PartitionData};
use ottla_wire::messages::{FetchRequest, FetchResponse};
use ottla_wire::primitives::{Part as WirePart, Records};
use ottla_wire::protocol::ErrorCode;

use super::call::Call;
use super::frame::encode_parts;
use crate::door::{Operation, Resource, Throttled};
use crate::fetch::{
    Content, FetchSession, Found, Opened, PartitionFetch, PartitionId, ReadFailure, Reader, SessionError,
    TopicRef, plan,
};
use crate::partition::{PartitionError, PartitionHandle};
use crate::published::Published;
use crate::shard::Mail;
use crate::waiters::Wait;
use answers::{NEW_LEADERS_VERSION, aborted_transaction, failed, gap, name_new_leaders, push};
use request::{BY_ID_VERSION, Limits, asked, forgotten, reader};

/// Serves one Fetch.
pub async fn handle(call: &mut Call<'_>, request: FetchRequest) -> Result<Response, CloseReason> {
    let mut files = Vec::new();
    let mut response = match Fetch::of(call, &request) {
        Ok(fetch) => fetch.serve(call, &request, &mut files).await,
        Err(error) => FetchResponse { error_code: ErrorCode::from(error).code(), ..Default::default() },
    };
    let bytes = records_len(&response);
    crate::metrics::add(&call.ctx.metrics.bytes_out, bytes);
    let mute = call.charge(bytes);
    response.set_throttle_time(mute);
    let encoded = encode_parts(call.key, call.version, call.correlation_id, &response)?;
    let mut parts = Vec::with_capacity(encoded.parts.len());
    for part in encoded.parts {
        parts.push(match part {
            WirePart::Bytes(bytes) => Part::Bytes(bytes),
            WirePart::Gap { id, .. } => file_part(&files, id)?,
        });
    }
    Ok(Response { parts, mute, ..Response::default() })
}

/// The bytes of records in an answer, in memory or in files.
fn records_len(response: &FetchResponse) -> usize {
    let partitions = response.responses.iter().flat_map(|topic| &topic.partitions);
    partitions.filter_map(|data| data.records.as_ref()).map(Records::len).sum()
}

fn file_part(files: &[ReadPlan], id: u32) -> Result<Part, CloseReason> {
    let plan = files.get(id as usize);
    match plan.and_then(|plan| Some((plan, plan.file()?.clone()))) {
        Some((plan, file)) => Ok(Part::File { file, position: plan.position(), len: plan.len() }),
        None => Err(CloseReason::refused("a gap that nothing fills")),
    }
}

/// One fetch: its partitions, its reader, and its session.
struct Fetch {
    reader: Reader,
    kind: FetchKind,
    wanted: Vec<(PartitionId, PartitionFetch)>,
}

/// How a fetch relates to sessions.
enum FetchKind {
    /// The answer has all partitions.
    Full { session: Option<Opened> },
    /// The answer has only partitions with news.
    Incremental(Opened),
}

/// The result of one pass over the partitions.
struct Pass {
    looked: Vec<Looked>,
    bytes: usize,
    /// There is something to answer at once: an error, or a log that diverges from the reader's.
    urgent: bool,
}

/// The result for one partition.
struct Looked {
    partition: Option<Arc<PartitionHandle>>,
    found: Result<Found, ReadFailure>,
}

impl Pass {
    fn push(&mut self, partition: Option<Arc<PartitionHandle>>, found: Result<Found, ReadFailure>) {
        match &found {
            Ok(found) => {
                self.bytes += found.plan.len();
                self.urgent |= found.diverging.is_some();
            }
            Err(_) => self.urgent = true,
        }
        self.looked.push(Looked { partition, found });
    }

    /// There is enough to answer, or no time to wait for more.
    fn is_enough(&self, limits: &Limits) -> bool {
        self.urgent || self.bytes >= limits.min_bytes || limits.wait.is_zero()
    }
}

/// A partition whose plan must wait for the disk.
struct ColdPlan {
    partition: Arc<PartitionHandle>,
    asked: PartitionFetch,
    max_bytes: usize,
    whole_batch: bool,
}

impl Fetch {
    fn of(call: &Call<'_>, request: &FetchRequest) -> Result<Fetch, SessionError> {
        let by_id = call.version >= BY_ID_VERSION;
        let now = call.ctx.clock.now();
        let sessions = &call.ctx.fetch_sessions;
        let reader = reader(request);
        // Sessions of followers take precedence, so nobody gets one by just claiming to be a follower.
        let follower = matches!(reader, Reader::Follower { .. })
            && check_incarnation(&call.ctx.published.load(), reader).is_ok();
        let mut fetch = Fetch { reader, kind: FetchKind::Full { session: None }, wanted: Vec::new() };
        match request.session_epoch {
            // The client ends its session, or has none.
            ..=-1 => {
                sessions.close(request.session_id);
                fetch.wanted = asked(request, by_id);
            }
            0 => {
                sessions.close(request.session_id);
                fetch.wanted = asked(request, by_id);
                let mut session = FetchSession::default();
                fetch.wanted.iter().for_each(|(id, asked)| session.want(id.clone().detached(), *asked));
                fetch.kind = FetchKind::Full { session: sessions.open(now, session, follower, by_id) };
            }
            next => {
                let opened = sessions.resume(now, request.session_id, next, by_id)?;
                {
                    let mut session = lock(&opened);
                    asked(request, by_id)
                        .into_iter()
                        .for_each(|(id, asked)| session.want(id.detached(), asked));
                    forgotten(request, by_id).iter().for_each(|id| session.forget(id));
                    fetch.wanted = session.wanted().map(|(id, asked)| (id.clone(), asked)).collect();
                    sessions.resized(opened.id, session.len());
                }
                fetch.kind = FetchKind::Incremental(opened);
            }
        }
        Ok(fetch)
    }

    async fn serve(
        self,
        call: &Call<'_>,
        request: &FetchRequest,
        files: &mut Vec<ReadPlan>,
    ) -> FetchResponse {
        let limits = Limits::of(call, request);
        let mut pass = self.look(call, &limits).await;
        self.follow(&pass).await;
        if !pass.is_enough(&limits) && !self.wanted.is_empty() {
            self.wait(&mut pass, call, &limits).await;
        }
        self.answer(call, pass, files).await
    }

    /// Looks at the partitions in order, until the response is full.
    async fn look(&self, call: &Call<'_>, limits: &Limits) -> Pass {
        let mut pass = Pass { looked: Vec::with_capacity(self.wanted.len()), bytes: 0, urgent: false };
        while let Some(cold) = self.look_on(call, limits, &mut pass) {
            let ColdPlan { partition, asked, max_bytes, whole_batch } = cold;
            let (handle, reader) = (partition.clone(), self.reader);
            let wait = move || plan(&handle, &asked, reader, max_bytes, whole_batch, Cold::Wait);
            let found = call.ctx.cold_reads.run(wait).await;
            pass.push(Some(partition), found);
        }
        pass
    }

    /// Looks at the partitions that the pass has not reached, as far as it can without waiting for the disk.
    fn look_on(&self, call: &Call<'_>, limits: &Limits, pass: &mut Pass) -> Option<ColdPlan> {
        let published = call.ctx.published.load();
        for (id, asked) in self.wanted.iter().skip(pass.looked.len()) {
            let left = limits.max_bytes.saturating_sub(pass.bytes);
            let max_bytes = usize::try_from(asked.max_bytes).unwrap_or(0).min(left);
            let whole_batch = pass.bytes == 0;
            match find(&published, id) {
                Err(error) => {
                    let allowed = name(&published, id).is_none_or(|name| self.may_read(call, name));
                    let failure = if allowed { error.into() } else { ReadFailure::NotAuthorized };
                    pass.push(None, Err(failure));
                }
                Ok(partition) if !self.may_read(call, &partition.topic) => {
                    pass.push(None, Err(ReadFailure::NotAuthorized));
                }
                Ok(partition) => match self.plan(&published, &partition, asked, max_bytes, whole_batch) {
                    Err(ReadFailure::Storage(ReadError::WouldBlock)) => {
                        return Some(ColdPlan { partition, asked: *asked, max_bytes, whole_batch });
                    }
                    found => pass.push(Some(partition), found),
                },
            }
        }
        None
    }

    fn plan(
        &self,
        published: &Published,
        partition: &PartitionHandle,
        asked: &PartitionFetch,
        max_bytes: usize,
        whole_batch: bool,
    ) -> Result<Found, ReadFailure> {
        check_incarnation(published, self.reader)?;
        if let Reader::Follower { broker, .. } = self.reader
            && !published
                .image
                .partition(partition.topic_id, partition.index)
                .is_some_and(|known| known.is_replica(broker))
        {
            return Err(ReadFailure::NotAReplica(broker));
        }
        plan(partition, asked, self.reader, max_bytes, whole_batch, Cold::Refuse)
    }

    fn may_read(&self, call: &Call<'_>, topic: &str) -> bool {
        match self.reader {
            Reader::Consumer { .. } => call.may(Operation::Read, Resource::Topic(topic)),
            Reader::Follower { .. } => call.may(Operation::ClusterAction, Resource::Cluster),
        }
    }

    /// Informs the leaders' cores of this follower's progress.
    async fn follow(&self, pass: &Pass) {
        let Reader::Follower { broker, epoch: broker_epoch } = self.reader else { return };
        for (looked, (_, asked)) in pass.looked.iter().zip(&self.wanted) {
            let Looked { partition: Some(partition), found: Ok(Found { view, diverging: None, .. }) } =
                looked
            else {
                continue;
            };
            let fetch = ottla_replica::FollowerFetch {
                broker,
                broker_epoch,
                epoch: view.replica.leader_epoch,
                offset: asked.offset,
                log_start: asked.log_start,
            };
            let _stopping = partition.shard.send(Mail::FollowerFetched(partition.key, fetch)).await;
        }
    }

    /// Waits until there is enough, something happens, or time is up. Then looks again.
    async fn wait(&self, pass: &mut Pass, call: &Call<'_>, limits: &Limits) {
        let lacking = limits.min_bytes.saturating_sub(pass.bytes).max(1);
        let wait = Wait::new(i64::try_from(lacking).unwrap_or(i64::MAX));
        for partition in pass.looked.iter().filter_map(|looked| looked.partition.as_ref()) {
            partition.waiters.register(&wait, self.reader.limit());
        }
        // Data that arrived between the look and the registration would wake nobody.
        *pass = self.look(call, limits).await;
        if pass.is_enough(limits) {
            return;
        }
        let _time_is_up = tokio::time::timeout(limits.wait, wait.woken()).await;
        *pass = self.look(call, limits).await;
    }

    async fn answer(self, call: &Call<'_>, pass: Pass, files: &mut Vec<ReadPlan>) -> FetchResponse {
        let mut response = FetchResponse::default();
        let session = match &self.kind {
            FetchKind::Full { session } => session.as_ref(),
            FetchKind::Incremental(session) => Some(session),
        };
        response.session_id = session.map_or(0, |session| session.id);
        for ((id, asked), looked) in self.wanted.iter().zip(pass.looked) {
            let data = self.partition_data(call, id, asked, looked, files).await;
            let news = session.is_none_or(|session| lock(session).tell(id, &data));
            if news || matches!(self.kind, FetchKind::Full { .. }) {
                push(&mut response, id, data);
            }
        }
        if call.version >= NEW_LEADERS_VERSION {
            name_new_leaders(call, &mut response);
        }
        response
    }

    async fn partition_data(
        &self,
        call: &Call<'_>,
        id: &PartitionId,
        asked: &PartitionFetch,
        looked: Looked,
        files: &mut Vec<ReadPlan>,
    ) -> PartitionData {
        let found = match looked.found {
            Ok(found) => found,
            Err(failure) => return failed(id.index, &failure),
        };
        let replica = &found.view.replica;
        let mut data = PartitionData {
            partition_index: id.index.0,
            high_watermark: replica.high_watermark.0,
            last_stable_offset: replica.last_stable.0,
            log_start_offset: replica.log_start.0,
            records: Some(Records::default()),
            aborted_transactions: None,
            ..Default::default()
        };
        if let Some(end) = found.diverging {
            data.diverging_epoch = EpochEndOffset { epoch: end.epoch.0, end_offset: end.end.0 };
        }
        if self.reader == (Reader::Consumer { committed_only: true }) {
            data.aborted_transactions = Some(Vec::new());
        }
        let Some(partition) = looked.partition.filter(|_| !found.plan.is_empty()) else { return data };
        let content = match self.content(call, &partition, asked.offset, &found).await {
            Ok(content) => content,
            Err(error) => return failed(id.index, &ReadFailure::Storage(error)),
        };
        if let Some(aborted) = &mut data.aborted_transactions {
            aborted.extend(content.aborted.iter().map(aborted_transaction));
        }
        data.records = Some(match content.bytes {
            Some(bytes) => Records::Bytes(bytes),
            None => gap(found.plan, files),
        });
        data
    }

    async fn content(
        &self,
        call: &Call<'_>,
        partition: &Arc<PartitionHandle>,
        from: Offset,
        found: &Found,
    ) -> Result<Content, ReadError> {
        let reader = self.reader;
        match found.content(partition, from, reader, Cold::Refuse) {
            Err(ReadError::WouldBlock) => {
                let (partition, found) = (partition.clone(), found.clone());
                call.ctx.cold_reads.run(move || found.content(&partition, from, reader, Cold::Wait)).await
            }
            content => content,
        }
    }
}

/// Serves a follower only in its registered incarnation (KIP-903), because its fetches count for the ISR.
fn check_incarnation(published: &Published, reader: Reader) -> Result<(), ReadFailure> {
    match reader {
        Reader::Follower { broker, epoch } if published.image.broker_epoch(broker) != Some(epoch) => {
            Err(ReadFailure::NotRegistered { broker, epoch })
        }
        Reader::Follower { .. } | Reader::Consumer { .. } => Ok(()),
    }
}

/// The name of a topic, or `None` if its id is unknown.
fn name<'a>(published: &'a Published, id: &'a PartitionId) -> Option<&'a str> {
    match &id.topic {
        TopicRef::Name(name) => Some(name),
        TopicRef::Id(topic) => published.image.topic_by_id(*topic).map(|topic| topic.name.as_str()),
    }
}

fn find(published: &Published, id: &PartitionId) -> Result<Arc<PartitionHandle>, PartitionError> {
    match &id.topic {
        TopicRef::Name(name) => published.partition(name, id.index).cloned(),
        TopicRef::Id(topic) => published.partition_by_id(*topic, id.index).cloned(),
    }
}

fn lock(session: &Opened) -> std::sync::MutexGuard<'_, FetchSession> {
    session.session.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}
