//! The task that carries out what the [`Outbox`] wants: one for each producer, owner of everything that is on
//! its way.
//!
//! What is asked of brokers comes back as an [`Event`], which the core hears before its next turn.

use std::collections::{BTreeSet, VecDeque};
use std::future::Future;
use std::sync::Arc;

use ottla_link::{Connection, PendingResponse, Terms, Unanswered};
use ottla_wire::messages::{InitProducerIdRequest, ProduceRequest, ProduceResponse};
use ottla_wire::primitives::Request;
use ottla_wire::protocol::ErrorCode;
use ottla_wire::{BrokerId, ProducerEpoch, ProducerId};
use tokio::sync::mpsc;

use super::config::Acks;
use super::outbox::{Effect, Outbox, PRODUCE_V1_MAX, RequestId, Rules, World};
use super::shared::Shared;
use super::transaction::{TransactionVersion, Transactions, add_partitions};
use crate::cluster::TopicPartition;
use crate::error::{ApiError, Error};
use crate::seam::{self, Instant};

/// Events that wait for the sender. It always takes them, so the bound only limits how far answers run ahead
/// of it.
const EVENTS_MAX: usize = 64;

pub(super) struct Sender {
    shared: Arc<Shared>,
    outbox: Outbox,
    events: mpsc::Receiver<Event>,
    sender: mpsc::Sender<Event>,
    /// What came back while effects were carried out; bounded by their number.
    at_once: VecDeque<Event>,
}

/// What has come back.
enum Event {
    Answered { request: RequestId, answer: Result<Option<ProduceResponse>, Error> },
    Connected { broker: BrokerId, failed: bool },
    Identified(Result<(ProducerId, ProducerEpoch), Error>),
    Added { partitions: BTreeSet<TopicPartition>, outcome: Result<(), Error> },
}

impl Sender {
    pub(super) fn new(shared: Arc<Shared>) -> Sender {
        let (sender, events) = mpsc::channel(EVENTS_MAX);
        let outbox = Outbox::new(rules(&shared));
        Sender { shared, outbox, events, sender, at_once: VecDeque::new() }
    }

    /// Runs until the producer is closed and everything is settled, or it is told to give up.
    pub(super) async fn run(mut self) {
        let mut changes = self.shared.cluster.watch();
        loop {
            if self.shared.must_give_up() {
                let reason = self.shared.refusal();
                return self.step(|outbox, world| outbox.give_up(&reason, world));
            }
            let wake_at = self.turn();
            if self.shared.is_drained() {
                return;
            }
            // A step may have ended the producer.
            if self.shared.must_give_up() {
                continue;
            }
            tokio::select! {
                Some(event) = self.events.recv() => self.hear(event),
                () = self.shared.wake.notified() => {}
                Ok(()) = changes.changed() => {}
                () = tokio::time::sleep_until(wake_at) => {}
            }
            while let Ok(event) = self.events.try_recv() {
                self.hear(event);
            }
        }
    }

    /// Does what can be done now; gives the time to look again.
    fn turn(&mut self) -> Instant {
        let wake_at = self.step(Outbox::turn);
        if self.at_once.is_empty() {
            return wake_at;
        }
        while let Some(event) = self.at_once.pop_front() {
            self.hear(event);
        }
        // Look again, but let others have their turn, too.
        seam::now()
    }

    fn hear(&mut self, event: Event) {
        match event {
            Event::Answered { request, answer } => {
                self.step(|outbox, world| outbox.answered(request, answer, world));
            }
            Event::Connected { broker, failed } => self.outbox.connected(broker, failed, seam::now()),
            Event::Identified(outcome) => self.step(|outbox, world| outbox.identified(outcome, world)),
            Event::Added { partitions, outcome } => {
                self.step(|outbox, world| outbox.added(partitions, outcome, world));
                // The end of the transaction may wait for this.
                self.shared.progress.notify_waiters();
            }
        }
    }

    /// Lets the core do something, and carries out what it wants.
    fn step<T>(&mut self, act: impl FnOnce(&mut Outbox, &mut World<'_>) -> T) -> T {
        let shared = self.shared.clone();
        let mut effects = Vec::new();
        let done = {
            let (metadata, urgent) = (shared.cluster.metadata(), shared.is_urgent());
            // In this order, as whoever adds a record.
            let mut accumulator = shared.accumulator();
            let mut transaction = shared.transactions.as_ref().map(Transactions::core);
            let mut world = World {
                now: seam::now(),
                accumulator: &mut accumulator,
                transaction: transaction.as_deref_mut(),
                metadata: &metadata,
                urgent,
                is_connected: &|broker| shared.cluster.ready(broker, shared.lane).is_some(),
                pause: &|failures| shared.cluster.retry_delay(failures),
                effects: &mut effects,
            };
            act(&mut self.outbox, &mut world)
        };
        let mut is_progress = false;
        for effect in effects {
            is_progress |= matches!(effect, Effect::Release(_));
            self.carry_out(effect);
        }
        if is_progress {
            shared.progress.notify_waiters();
        }
        done
    }

    fn carry_out(&mut self, effect: Effect) {
        let cluster = &self.shared.cluster;
        match effect {
            Effect::Send { request, broker } => self.send(request, broker),
            Effect::Connect(broker) => {
                let (cluster, lane) = (cluster.clone(), self.shared.lane);
                self.spawn(async move {
                    Event::Connected { broker, failed: cluster.connection(broker, lane).await.is_err() }
                });
            }
            Effect::AskIdentity => {
                let cluster = cluster.clone();
                self.spawn(async move { Event::Identified(ask_identity(&cluster).await) });
            }
            Effect::AddPartitions { identity, partitions } => {
                let shared = self.shared.clone();
                self.spawn(async move {
                    let outcome = match &shared.transactions {
                        Some(transactions) => add_partitions(transactions, identity, &partitions).await,
                        None => unreachable!("only a transactional producer adds partitions"),
                    };
                    Event::Added { partitions, outcome }
                });
            }
            Effect::Refresh => cluster.refresh_soon(),
            Effect::Want(topic) => drop(cluster.want(&topic)),
            Effect::Learn { of, leader, epoch, endpoint } => {
                cluster.learn_leader(&of, leader, epoch, endpoint);
            }
            Effect::Settle(settlement, outcome) => settlement.settle(outcome),
            Effect::Release(bytes) => self.shared.memory.add_permits(bytes),
            Effect::Fail(error) => self.shared.fail_all(error),
        }
    }

    /// Queues a request at its connection, in order; only the waiting is done elsewhere.
    fn send(&mut self, request: RequestId, broker: BrokerId) {
        let version = self.shared.transactions.as_ref().map(|of| of.core().version());
        let metadata = self.shared.cluster.metadata();
        let encoded = self.outbox.request(request, &metadata, version);
        if !encoded.unencodable.is_empty()
            && self.step(|outbox, world| outbox.unencodable(request, encoded.unencodable, world))
        {
            return;
        }
        match self.submit(broker, &encoded.request, encoded.version_max, version) {
            Ok(on_its_way) => {
                self.spawn(async move { Event::Answered { request, answer: on_its_way.wait().await } });
            }
            Err(error) => self.at_once.push_back(Event::Answered { request, answer: Err(error) }),
        }
    }

    fn submit(
        &self,
        broker: BrokerId,
        request: &ProduceRequest,
        version_max: i16,
        version: Option<TransactionVersion>,
    ) -> Result<OnItsWay, Error> {
        let Some(connection) = self.shared.cluster.ready(broker, self.shared.lane) else {
            let message = Some(format!("connection to broker {broker} has ended"));
            return Err(Error::Api(ApiError { code: ErrorCode::NetworkException, message }));
        };
        may_be_asked(&connection, version)?;
        let on_its_way = if self.shared.config.acks == Acks::None {
            connection.submit_unanswered(request, version_max)?.map(OnItsWay::Unanswered)
        } else {
            connection.submit(request, Terms::up_to(version_max))?.map(OnItsWay::Answer)
        };
        // The connection is shared with others who fill it: look again after the backoff.
        on_its_way.ok_or_else(|| busy(&connection))
    }

    fn spawn(&self, asked: impl Future<Output = Event> + Send + 'static) {
        let events = self.sender.clone();
        tokio::spawn(async move {
            // Refused only when the producer is gone.
            let _ = events.send(asked.await).await;
        });
    }
}

fn rules(shared: &Shared) -> Rules {
    let (config, client) = (&shared.config, shared.cluster.config());
    Rules {
        acks: config.acks,
        idempotent: config.enable_idempotence,
        transactional_id: shared.transactions.as_ref().map(|of| of.coordinator.key().clone()),
        max_in_flight: config.max_in_flight,
        max_request_size: config.max_request_size,
        retries: config.retries,
        delivery_timeout: config.delivery_timeout,
        request_timeout: client.request_timeout,
        retry_backoff: client.retry_backoff,
        reconnect_backoff: client.reconnect_backoff,
        packing: shared.packing(),
    }
}

enum OnItsWay {
    Answer(PendingResponse<ProduceRequest>),
    Unanswered(Unanswered<ProduceRequest>),
}

impl OnItsWay {
    async fn wait(self) -> Result<Option<ProduceResponse>, Error> {
        match self {
            OnItsWay::Answer(pending) => Ok(Some(pending.wait().await?)),
            OnItsWay::Unanswered(written) => {
                written.wait().await?;
                Ok(None)
            }
        }
    }
}

/// Whether a broker can add to the transaction what it stores, as it must in version 2.
fn may_be_asked(connection: &Connection, version: Option<TransactionVersion>) -> Result<(), Error> {
    let served = connection.version_of::<ProduceRequest>()?;
    match version {
        Some(TransactionVersion::V2) if served <= PRODUCE_V1_MAX => {
            Err(Error::unsupported(ProduceRequest::KEY, connection.address()))
        }
        Some(TransactionVersion::V1 | TransactionVersion::V2) | None => Ok(()),
    }
}

async fn ask_identity(cluster: &crate::cluster::Cluster) -> Result<(ProducerId, ProducerEpoch), Error> {
    let request = InitProducerIdRequest {
        // Empty would be an invalid id of a transactional producer.
        transactional_id: None,
        transaction_timeout_ms: i32::MAX,
        producer_epoch: -1,
        ..InitProducerIdRequest::default()
    };
    let answer = cluster.any().await?.call(&request).await?;
    ApiError::check(answer.error_code, None)?;
    Ok((ProducerId(answer.producer_id), ProducerEpoch(answer.producer_epoch)))
}

fn busy(connection: &Connection) -> Error {
    let message =
        format!("connection to {} has all the requests in flight it may have", connection.address());
    Error::Api(ApiError { code: ErrorCode::NetworkException, message: Some(message) })
}
