//! The controller at work: requests from a queue, decided by the pure core, made true by the metadata log.
//!
//! Requests that wait are decided together, each on the image that the ones before it lead to, and proposed as one
//! entry: they share one flush. An answer leaves when its records are applied and published here, so that a topic can
//! be used when its creation is answered.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use ottla_controller::Image;
use ottla_controller::controller::{Call, Controller, IdSource, Request, Response};
use ottla_quorum::{MetadataLog, ProposeError, Quorum};
use ottla_settings::BrokerSettings;
use ottla_wire::Uuid;
use ottla_wire::messages::MetadataRecord;
use ottla_wire::protocol::ErrorCode;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::MissedTickBehavior;

use crate::clock::Clock;
use crate::metadata::Applied;

/// Requests that may wait for the controller. Whoever asks waits for room.
const QUEUE_LEN: usize = 256;

/// Requests that are decided together at the most.
const BATCH_LEN_MAX: usize = 64;

/// Bytes of records above which no further request joins a proposal.
const BATCH_BYTES_MAX: usize = 1 << 20;

/// How often the controller looks for brokers that have gone silent and for leaders to move.
const TICK_INTERVAL: Duration = Duration::from_millis(500);

/// The way to the controller. Cheap to clone.
#[derive(Clone)]
pub struct ControllerHandle {
    queue: mpsc::Sender<Asked>,
}

/// A request and who waits for its answer.
pub struct Asked {
    request: Request,
    answer: oneshot::Sender<Result<Response, AskError>>,
}

/// Why the controller gave no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AskError {
    #[error("this node does not lead the metadata log now; try again")]
    NotController,
    #[error("the change is too large for one entry of the metadata log; split the request")]
    TooLarge,
    #[error("it is unknown whether the change will be made: {0}")]
    Unknown(String),
    #[error("the change was not made within the timeout of the request; it may be made yet")]
    TimedOut,
    #[error("the broker is stopping")]
    Stopping,
}

impl From<AskError> for ErrorCode {
    fn from(error: AskError) -> ErrorCode {
        match error {
            AskError::NotController => ErrorCode::NotController,
            AskError::TooLarge => ErrorCode::InvalidRequest,
            AskError::Unknown(_) | AskError::TimedOut => ErrorCode::RequestTimedOut,
            AskError::Stopping => ErrorCode::BrokerNotAvailable,
        }
    }
}

impl ControllerHandle {
    pub fn new() -> (ControllerHandle, mpsc::Receiver<Asked>) {
        let (queue, asked) = mpsc::channel(QUEUE_LEN);
        (ControllerHandle { queue }, asked)
    }

    /// Asks and waits until the answer is true on this broker.
    pub async fn ask<R: TryFrom<Response>>(&self, request: impl Into<Request>) -> Result<R, AskError> {
        let (answer, answered) = oneshot::channel();
        let asked = Asked { request: request.into(), answer };
        self.queue.send(asked).await.map_err(|_| AskError::Stopping)?;
        let response = answered.await.map_err(|_| AskError::Stopping)??;
        R::try_from(response).map_err(|_| AskError::Unknown("the controller answered something else".into()))
    }

    /// Asks if there is room, and does not wait for the answer. False: there was none.
    pub fn offer(&self, request: impl Into<Request>) -> bool {
        self.queue.try_send(Asked { request: request.into(), answer: oneshot::channel().0 }).is_ok()
    }

    /// As [`ControllerHandle::ask`], but gives up after the `timeout_ms` of a request. The change may be made all the same.
    pub async fn ask_within<R: TryFrom<Response>>(
        &self,
        timeout_ms: i32,
        request: impl Into<Request>,
    ) -> Result<R, AskError> {
        let timeout = Duration::from_millis(u64::try_from(timeout_ms).unwrap_or(0));
        tokio::time::timeout(timeout, self.ask(request)).await.unwrap_or(Err(AskError::TimedOut))
    }
}

/// What the controller's task works with.
pub struct ControllerTask {
    pub quorum: Arc<Quorum>,
    pub settings: Arc<BrokerSettings>,
    pub cluster_id: String,
    pub clock: Clock,
    /// The image as the metadata log has it, and its index.
    pub applied: Arc<arc_swap::ArcSwap<Applied>>,
    /// The index of the image that is published.
    pub published: watch::Receiver<u64>,
}

/// Decisions that are to be proposed together.
#[derive(Default)]
struct Batch {
    records: Vec<Bytes>,
    bytes: usize,
    answers: Vec<(oneshot::Sender<Result<Response, AskError>>, Response)>,
}

impl ControllerTask {
    /// Serves requests until nobody can ask any more.
    pub async fn run(self, mut asked: mpsc::Receiver<Asked>) {
        let mut core = Controller::new(self.clock.now(), &self.applied.load().image);
        let mut ticks = tokio::time::interval(TICK_INTERVAL);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut waiting = Vec::with_capacity(BATCH_LEN_MAX);
        loop {
            // Requests first: the heartbeat that waits behind a pause must count before its absence does.
            let due = tokio::select! {
                biased;
                received = asked.recv_many(&mut waiting, BATCH_LEN_MAX) => {
                    if received == 0 { return }
                    false
                }
                _ = ticks.tick() => true,
            };
            if due {
                self.tick(&mut core).await;
            }
            while !waiting.is_empty() {
                self.decide(&mut core, &mut waiting).await;
            }
        }
    }

    /// Decides on requests from the front of `waiting`, as many as fit in one proposal, and makes them true.
    async fn decide(&self, core: &mut Controller, waiting: &mut Vec<Asked>) {
        let epoch = self.quorum.leadership().borrow().epoch;
        let applied = self.applied.load_full();
        let mut image = applied.image.clone();
        let mut batch = Batch::default();
        let mut taken = 0;
        for asked in waiting.iter() {
            if batch.bytes > BATCH_BYTES_MAX {
                break;
            }
            taken += 1;
            let outcome = core.handle(&mut self.call(&image, applied.index, &mut Random), &asked.request);
            match batch.add(&image, &outcome.records) {
                Ok(next) => image = next,
                Err(why) => return refuse(waiting, &why),
            }
            batch.answers.push((oneshot::channel().0, outcome.response));
        }
        for (asked, slot) in waiting.drain(..taken).zip(&mut batch.answers) {
            slot.0 = asked.answer;
        }
        self.make_true(epoch, batch).await;
    }

    async fn tick(&self, core: &mut Controller) {
        let epoch = self.quorum.leadership().borrow().epoch;
        let applied = self.applied.load_full();
        let outcome = core.tick(&mut self.call(&applied.image, applied.index, &mut Random));
        let mut batch = Batch::default();
        match batch.add(&applied.image, &outcome.records) {
            Ok(_) => self.make_true(epoch, batch).await,
            Err(why) => refuse(&mut Vec::new(), &why),
        }
    }

    /// Proposes a batch and sends its answers once they are true.
    async fn make_true(&self, epoch: u64, batch: Batch) {
        let index = if batch.records.is_empty() {
            Ok(self.applied.load().index)
        } else {
            self.quorum.propose_in(epoch, batch.records).await
        };
        match index {
            Ok(index) => self.answer_when_published(index, batch.answers),
            Err(error) => {
                tracing::warn!(%error, "a change of the metadata was not logged");
                let error = AskError::from(error);
                for (answer, _) in batch.answers {
                    let _gone = answer.send(Err(error.clone()));
                }
            }
        }
    }

    fn answer_when_published(
        &self,
        index: u64,
        answers: Vec<(oneshot::Sender<Result<Response, AskError>>, Response)>,
    ) {
        let mut published = self.published.clone();
        tokio::spawn(async move {
            let there = published.wait_for(|at| *at >= index).await.is_ok();
            for (answer, response) in answers {
                let _gone = answer.send(if there { Ok(response) } else { Err(AskError::Stopping) });
            }
        });
    }

    fn call<'a>(&'a self, image: &'a Image, index: u64, ids: &'a mut Random) -> Call<'a> {
        Call {
            now: self.clock.now(),
            wall: self.clock.wall(),
            image,
            settings: &self.settings,
            cluster_id: &self.cluster_id,
            next_offset: i64::try_from(index).unwrap_or(i64::MAX).saturating_add(1),
            ids,
        }
    }
}

impl Batch {
    /// Adds the records of a decision; gives the image that they lead to.
    fn add(&mut self, image: &Image, records: &[MetadataRecord]) -> Result<Image, String> {
        if records.is_empty() {
            return Ok(image.clone());
        }
        for record in records {
            let frame = record.to_frame().map_err(|error| error.to_string())?;
            self.bytes += frame.len();
            self.records.push(frame);
        }
        image.apply_all(records).map(|(next, _delta)| next).map_err(|error| error.to_string())
    }
}

/// Turns away everybody: the core has decided something that its own image does not bear, and nothing of it is kept.
fn refuse(waiting: &mut Vec<Asked>, why: &str) {
    tracing::error!(why, "a decision of the controller contradicts the metadata image");
    for asked in waiting.drain(..) {
        let _gone = asked.answer.send(Err(AskError::Unknown(why.to_owned())));
    }
}

impl From<ProposeError> for AskError {
    fn from(error: ProposeError) -> AskError {
        match error {
            ProposeError::NotLeader { .. } => AskError::NotController,
            ProposeError::TooLarge { .. } => AskError::TooLarge,
            ProposeError::Unavailable | ProposeError::Storage(_) => AskError::Unknown(error.to_string()),
            ProposeError::ShuttingDown => AskError::Stopping,
        }
    }
}

/// Randomness for the controller's decisions.
pub struct Random;

impl IdSource for Random {
    fn uuid(&mut self) -> Uuid {
        loop {
            let id = Uuid(rand::random());
            // Kafka keeps the ids near zero for itself, and a leading dash is a nuisance on command lines.
            if !id.is_zero() && id.0[0] >> 2 != 62 {
                return id;
            }
        }
    }

    fn random(&mut self) -> u64 {
        rand::random()
    }
}
