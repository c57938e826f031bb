//! The task that sends what has accumulated: one for each producer, owner of everything that is on its way.
//!
//! Each turn settles what is too old, sees to the producer id, and sends to every broker that may take another request
//! one batch of each partition that it leads. Answers come back as [`Event`]s.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use ottla_link::{Connection, PendingResponse, Terms, Unanswered};
use ottla_wire::messages::produce_request::{PartitionProduceData, TopicProduceData};
use ottla_wire::messages::{ProduceRequest, ProduceResponse};
use ottla_wire::protocol::ErrorCode;
use ottla_wire::{BrokerId, Offset, ProducerEpoch, ProducerId, Timestamp};
use tokio::sync::mpsc;

use super::Shared;
use super::accumulator::Front;
use super::batch::{Attempt, Batch};
use super::config::Acks;
use super::delivery::Outcome;
use super::identity::Asking;
use super::record::ProduceError;
use super::sequences::{Sequences, Stamp};
use super::transaction::Transactions;
use crate::cluster::{Metadata, TopicPartition};
use crate::error::{ApiError, Error};
use crate::seam::{self, Instant};

/// Events that wait for the sender. It always takes them, so the bound only limits how far answers run ahead of it.
const EVENTS_MAX: usize = 64;
/// How long the sender sleeps at most; only a bound for what no event announces.
pub(super) const SLEEP_MAX: Duration = Duration::from_secs(1);
/// The last version of Produce that names topics rather than their ids.
const PRODUCE_BY_NAME_MAX: i16 = 12;

pub(super) struct Sender {
    pub(super) shared: Arc<Shared>,
    /// None without idempotence.
    pub(super) sequences: Option<Sequences>,
    nodes: BTreeMap<BrokerId, NodeState>,
    requests: BTreeMap<u64, InFlight>,
    next_request: u64,
    pub(super) asking: Asking,
    events: mpsc::Receiver<Event>,
    pub(super) sender: mpsc::Sender<Event>,
}

#[derive(Default)]
struct NodeState {
    in_flight: usize,
    connecting: bool,
    not_before: Option<Instant>,
    /// The partition that was served last, so that the next request begins behind it.
    last_served: Option<TopicPartition>,
}

/// A request that is not answered.
pub(super) struct InFlight {
    node: BrokerId,
    pub(super) batches: Vec<Sent>,
}

/// A batch in a request, with what it carried there.
pub(super) struct Sent {
    pub(super) batch: Batch,
    pub(super) stamp: Option<Stamp>,
}

/// What came of serving a broker.
enum Served {
    Sent,
    /// Nothing can be sent until something comes back.
    Busy,
    NotBefore(Instant),
}

pub(super) enum Event {
    /// None with `acks=0`.
    Answered {
        request: u64,
        answer: Result<Option<ProduceResponse>, Error>,
    },
    Connected {
        broker: BrokerId,
        failed: bool,
    },
    GotId(Result<(ProducerId, ProducerEpoch), Error>),
    Added(AddedPartitions),
}

/// What came of telling the coordinator of a transaction's partitions.
pub(super) struct AddedPartitions {
    pub(super) partitions: BTreeSet<TopicPartition>,
    pub(super) outcome: Result<(), Error>,
}

impl Sender {
    pub(super) fn new(shared: Arc<Shared>) -> Sender {
        let (sender, events) = mpsc::channel(EVENTS_MAX);
        Sender {
            sequences: shared
                .config
                .enable_idempotence
                .then(|| Sequences::new(shared.transactions.is_some())),
            shared,
            nodes: BTreeMap::new(),
            requests: BTreeMap::new(),
            next_request: 0,
            asking: Asking::default(),
            events,
            sender,
        }
    }

    /// Runs until the producer is closed and everything is settled, or it is told to give up.
    pub(super) async fn run(mut self) {
        let mut changes = self.shared.cluster.watch();
        loop {
            let now = seam::now();
            if self.shared.must_give_up() {
                self.give_up();
                return;
            }
            let wake_at = self.turn(now);
            if self.shared.is_drained() {
                return;
            }
            tokio::select! {
                Some(event) = self.events.recv() => self.handle(event),
                () = self.shared.wake.notified() => {}
                Ok(()) = changes.changed() => {}
                () = tokio::time::sleep_until(wake_at) => {}
            }
            while let Ok(event) = self.events.try_recv() {
                self.handle(event);
            }
        }
    }

    /// Does what can be done now; gives the time to look again.
    fn turn(&mut self, now: Instant) -> Instant {
        let mut wake_at = now + SLEEP_MAX;
        wake_at = wake_at.min(self.expire(now));
        wake_at = wake_at.min(self.see_to_transaction(now));
        if let Some(sequences) = &mut self.sequences {
            sequences.settle();
            if sequences.needs_id() {
                // That of a transactional producer comes from its coordinator, when its owner asks.
                if self.shared.transactions.is_some() {
                    return wake_at;
                }
                return wake_at.min(self.ask_id(now));
            }
        }
        loop {
            let (nodes, next_look) = self.ready_nodes(now);
            wake_at = wake_at.min(next_look);
            let mut any_sent = false;
            for node in nodes {
                match self.serve(node, now) {
                    Served::Sent => any_sent = true,
                    Served::NotBefore(at) => wake_at = wake_at.min(at),
                    Served::Busy => {}
                }
            }
            // One batch a partition goes into a request; what lingers is not sent for the sake of filling the next.
            if !any_sent {
                return wake_at;
            }
        }
    }

    /// Gives up batches that are older than the delivery timeout, queued or on their way. Gives the time of the next.
    fn expire(&mut self, now: Instant) -> Instant {
        let timeout = self.shared.config.delivery_timeout;
        let expired = |batch: &Batch| batch.created + timeout <= now;
        let mut oldest = None;
        if let Some(limit) = now.checked_sub(timeout) {
            let late = self.shared.accumulator().take_older(limit);
            for batch in late {
                let expired = ProduceError::Expired { after: timeout, last: batch.last_error.clone() };
                let error = batch.given_up(expired);
                let maybe_stored = batch.maybe_stored;
                self.fail(&batch, error, maybe_stored);
            }
        }
        for sent in self.requests.values().flat_map(|request| &request.batches) {
            // What is on its way may be stored. Its numbers stay in flight until the answer comes.
            if expired(&sent.batch) {
                sent.batch.settlement.settle(Outcome::Failed(unknown(&sent.batch)));
            } else {
                oldest = oldest.into_iter().chain([sent.batch.created]).min();
            }
        }
        let oldest = oldest.into_iter().chain(self.shared.accumulator().oldest()).min();
        oldest.map_or(now + SLEEP_MAX, |oldest| oldest + timeout)
    }

    /// The leaders of partitions that have a batch ready, and when to look at the others.
    fn ready_nodes(&self, now: Instant) -> (BTreeSet<BrokerId>, Instant) {
        let metadata = self.shared.cluster.metadata();
        let urgent = self.shared.is_urgent();
        let mut next_look = now + SLEEP_MAX;
        let mut nodes = BTreeSet::new();
        let mut leaderless = false;
        let accumulator = self.shared.accumulator();
        for front in accumulator.fronts(urgent, |batch| backoff(batch, &metadata)) {
            match front {
                Front::NotBefore(due, _) if due > now => next_look = next_look.min(due),
                Front::Ready(batch) | Front::NotBefore(_, batch) => match metadata.leader(&batch.partition) {
                    Some((leader, _)) => drop(nodes.insert(leader)),
                    None => {
                        self.shared.cluster.want(&batch.partition.topic);
                        leaderless = true;
                    }
                },
            }
        }
        if leaderless {
            self.shared.cluster.refresh_soon();
            next_look = next_look.min(now + self.shared.cluster.config().retry_backoff);
        }
        (nodes, next_look)
    }

    /// Sends one request to a broker if it may take another.
    fn serve(&mut self, node: BrokerId, now: Instant) -> Served {
        let state = self.nodes.entry(node).or_default();
        if let Some(not_before) = state.not_before.filter(|&at| at > now) {
            return Served::NotBefore(not_before);
        }
        if state.in_flight >= self.shared.config.max_in_flight || state.connecting {
            return Served::Busy;
        }
        let Some(connection) = self.shared.cluster.ready(node, self.shared.lane) else {
            state.connecting = true;
            self.connect(node);
            return Served::Busy;
        };
        let batches = self.drain(node, now);
        if batches.is_empty() {
            return Served::Busy;
        }
        self.send(node, &connection, batches);
        Served::Sent
    }

    fn connect(&self, broker: BrokerId) {
        let (cluster, lane, events) = (self.shared.cluster.clone(), self.shared.lane, self.sender.clone());
        tokio::spawn(async move {
            let failed = cluster.connection(broker, lane).await.is_err();
            // Refused only when the producer is gone.
            let _ = events.send(Event::Connected { broker, failed }).await;
        });
    }

    /// Takes the first batch of each partition that `node` leads, up to the size of a request, beginning behind the
    /// partition that was served last.
    fn drain(&mut self, node: BrokerId, now: Instant) -> Vec<Sent> {
        let metadata = self.shared.cluster.metadata();
        let shared = self.shared.clone();
        let mut accumulator = shared.accumulator();
        let mut candidates: Vec<TopicPartition> = accumulator
            .fronts(true, |batch| backoff(batch, &metadata))
            .filter_map(|front| match front {
                Front::NotBefore(due, _) if due > now => None,
                Front::Ready(batch) | Front::NotBefore(_, batch) => Some(batch.partition.clone()),
            })
            .filter(|partition| metadata.leader(partition).is_some_and(|(leader, _)| leader == node))
            .collect();
        if let Some(last) = self.nodes.get(&node).and_then(|state| state.last_served.as_ref()) {
            let behind = candidates.partition_point(|partition| partition <= last);
            candidates.rotate_left(behind);
        }
        let (mut batches, mut size) = (Vec::new(), 0);
        for partition in candidates {
            let Some(front) = accumulator.front(&partition) else { continue };
            if !batches.is_empty() && size + front.len() > shared.config.max_request_size {
                break;
            }
            if !self.may_send(front) {
                continue;
            }
            let Some(mut batch) = accumulator.take(&partition) else { continue };
            size += batch.len();
            batch.attempts += 1;
            let leader_epoch = metadata.leader(&partition).map(|(_, epoch)| epoch).unwrap_or_default();
            let pause = shared.cluster.retry_delay(batch.attempts);
            batch.last_attempt = Some(Attempt { at: now, pause, leader_epoch });
            let stamp = self.stamp(&batch);
            batches.push(Sent { batch, stamp });
        }
        if let (Some(state), Some(last)) = (self.nodes.get_mut(&node), batches.last()) {
            state.last_served = Some(last.batch.partition.clone());
        }
        batches
    }

    fn may_send(&self, batch: &Batch) -> bool {
        match &self.sequences {
            Some(sequences)
                if batch.attempts > 0 || sequences.stamp(&batch.partition, batch.id).is_some() =>
            {
                sequences.may_resend(&batch.partition, batch.id)
            }
            Some(sequences) => {
                let may_leave =
                    |of: &Transactions| of.core().may_leave(&batch.partition, sequences.identity());
                self.shared.transactions.as_ref().is_none_or(may_leave)
                    && sequences.may_start(&batch.partition)
            }
            // One in flight promises order: also when the partition has moved to another broker meanwhile.
            None if self.shared.config.max_in_flight == 1 => !self.is_in_flight(&batch.partition),
            None => true,
        }
    }

    fn is_in_flight(&self, partition: &TopicPartition) -> bool {
        self.requests.values().flat_map(|r| &r.batches).any(|sent| sent.batch.partition == *partition)
    }

    fn stamp(&mut self, batch: &Batch) -> Option<Stamp> {
        let sequences = self.sequences.as_mut()?;
        if sequences.stamp(&batch.partition, batch.id).is_none() {
            sequences.assign(&batch.partition, batch.id, batch.record_count());
            if let Some(transactions) = &self.shared.transactions {
                transactions.core().leaves();
            }
        }
        sequences.stamp(&batch.partition, batch.id)
    }

    fn send(&mut self, node: BrokerId, connection: &Connection, batches: Vec<Sent>) {
        let (request, batches, version_max) = self.request(batches);
        if batches.is_empty() {
            return;
        }
        let id = self.next_request;
        self.next_request += 1;
        self.nodes.entry(node).or_default().in_flight += 1;
        self.requests.insert(id, InFlight { node, batches });
        // Queued here, in order; only the waiting is done elsewhere.
        let waiting = if let Err(error) = self.may_be_asked(connection) {
            Err(error)
        } else if self.shared.config.acks == Acks::None {
            connection
                .submit_unanswered(&request, version_max)
                .map(|w| w.map(Waiting::Written))
                .map_err(Error::from)
        } else {
            connection
                .submit(&request, Terms::up_to(version_max))
                .map(|w| w.map(Waiting::Answer))
                .map_err(Error::from)
        };
        match waiting {
            Ok(Some(waiting)) => {
                let events = self.sender.clone();
                tokio::spawn(async move {
                    let answer = waiting.wait().await;
                    let _ = events.send(Event::Answered { request: id, answer }).await;
                });
            }
            // The connection is shared with others who fill it: look again after the backoff.
            Ok(None) => self.answered(id, Err(busy(connection))),
            Err(error) => self.answered(id, Err(error)),
        }
    }

    /// The request for some batches, those batches that could be encoded, and the highest version to use.
    fn request(&mut self, batches: Vec<Sent>) -> (ProduceRequest, Vec<Sent>, i16) {
        let metadata = self.shared.cluster.metadata();
        let mut request = ProduceRequest {
            acks: self.shared.config.acks.on_wire(),
            timeout_ms: i32::try_from(self.shared.cluster.config().request_timeout.as_millis())
                .unwrap_or(i32::MAX),
            ..ProduceRequest::default()
        };
        let (mut sent, mut version_max) = (Vec::with_capacity(batches.len()), i16::MAX);
        if let Some(transactions) = &self.shared.transactions {
            request.transactional_id = Some(transactions.coordinator.key().clone());
            version_max = transactions.produce_version_max();
        }
        for mut one in batches {
            let records = match one.batch.records(one.stamp) {
                Ok(records) => records,
                Err(error) => {
                    self.fail(&one.batch, ProduceError::Unencodable(error.to_string()), false);
                    continue;
                }
            };
            let data = PartitionProduceData { index: one.batch.partition.partition, records: Some(records) };
            let name = &one.batch.partition.topic;
            match request.topic_data.iter_mut().find(|topic| topic.name == *name) {
                Some(topic) => topic.partition_data.push(data),
                None => {
                    let topic_id = metadata.topic(name).map(|topic| topic.id).unwrap_or_default();
                    if topic_id.is_zero() {
                        version_max = version_max.min(PRODUCE_BY_NAME_MAX);
                    }
                    request.topic_data.push(TopicProduceData {
                        name: name.clone(),
                        topic_id,
                        partition_data: vec![data],
                    });
                }
            }
            sent.push(one);
        }
        (request, sent, version_max)
    }

    fn handle(&mut self, event: Event) {
        match event {
            Event::Answered { request, answer } => self.answered(request, answer),
            Event::Connected { broker, failed } => {
                let pause = self.shared.cluster.config().reconnect_backoff;
                let state = self.nodes.entry(broker).or_default();
                state.connecting = false;
                state.not_before = failed.then(|| seam::now() + pause);
            }
            Event::GotId(outcome) => self.got_id(outcome),
            Event::Added(added) => self.got_added(added),
        }
    }

    fn answered(&mut self, request: u64, answer: Result<Option<ProduceResponse>, Error>) {
        let Some(request) = self.requests.remove(&request) else { return };
        if let Some(state) = self.nodes.get_mut(&request.node) {
            state.in_flight = state.in_flight.saturating_sub(1);
        }
        match answer {
            Ok(Some(response)) => self.read_response(request.batches, response),
            Ok(None) => {
                request.batches.iter().for_each(|sent| self.stored(sent, None, None));
            }
            Err(error) => self.lost(request.batches, &error),
        }
    }

    /// Settles everything at once: the producer was closed in a hurry, or has failed.
    fn give_up(&mut self) {
        let queued = self.shared.accumulator().take_all();
        let sent = std::mem::take(&mut self.requests).into_values();
        for sent in sent.flat_map(|request| request.batches) {
            let error = unknown(&sent.batch);
            self.fail(&sent.batch, error, true);
        }
        for batch in queued {
            let error = batch.given_up(self.shared.refusal());
            self.fail(&batch, error, true);
        }
    }

    /// Settles a batch as stored.
    pub(super) fn stored(&mut self, sent: &Sent, base: Option<Offset>, log_append_time: Option<Timestamp>) {
        let batch = &sent.batch;
        if let (Some(sequences), Some(stamp)) = (&mut self.sequences, sent.stamp) {
            sequences.acked(&batch.partition, batch.id, stamp);
        }
        batch.settlement.settle(Outcome::Stored { base, log_append_time });
        self.shared.release(batch);
    }

    /// Settles a batch as failed. `maybe_stored`: the broker may have its numbers.
    pub(super) fn fail(&mut self, batch: &Batch, error: ProduceError, maybe_stored: bool) {
        self.fail_with(batch, Outcome::Failed(error), maybe_stored);
    }

    pub(super) fn fail_with(&mut self, batch: &Batch, outcome: Outcome, maybe_stored: bool) {
        self.fail_transaction(batch, &outcome);
        if let Some(sequences) = &mut self.sequences {
            sequences.failed(&batch.partition, batch.id, maybe_stored);
        }
        batch.settlement.settle(outcome);
        self.shared.release(batch);
    }
}

enum Waiting {
    Answer(PendingResponse<ProduceRequest>),
    Written(Unanswered<ProduceRequest>),
}

impl Waiting {
    async fn wait(self) -> Result<Option<ProduceResponse>, Error> {
        match self {
            Waiting::Answer(answer) => Ok(Some(answer.wait().await?)),
            Waiting::Written(written) => {
                written.wait().await?;
                Ok(None)
            }
        }
    }
}

/// How long after its last attempt a batch waits; not at all when a new leader has been found since (KIP-951).
fn backoff(batch: &Batch, metadata: &Metadata) -> Duration {
    let Some(attempt) = batch.last_attempt else { return Duration::ZERO };
    let known = metadata.leader(&batch.partition).map(|(_, epoch)| epoch);
    if known.is_some_and(|epoch| epoch > attempt.leader_epoch) { Duration::ZERO } else { attempt.pause }
}

fn unknown(batch: &Batch) -> ProduceError {
    ProduceError::OutcomeUnknown { last: batch.last_error.clone() }
}

fn busy(connection: &Connection) -> Error {
    let message =
        format!("connection to {} has all the requests in flight it may have", connection.address());
    Error::Api(ApiError { code: ErrorCode::NetworkException, message: Some(message) })
}
