//! Commits offsets, one request after another in the order they were asked for, so that an older one never
//! replaces a newer. Those that wait together are committed together.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use ottla_link::{Connection, Office, Terms};
use ottla_wire::protocol::ErrorCode;
use tokio::sync::{mpsc, oneshot, watch};

use super::commit::commit;
use super::committed::{GroupMetadata, Offsets};
use crate::cluster::TopicPartition;
use crate::coordinator::Coordinator;
use crate::error::{ApiError, Error};
use crate::seam::{self, Instant};

/// Commits that wait for their turn.
const COMMITS_MAX: usize = 256;
/// How often a commit is tried that fails because of its topic. A coordinator may learn late that a topic was
/// made; one that was deleted must not hold up the commits behind it.
const TOPIC_TRIES_MAX: u32 = 5;

type Outcome = Result<(), Error>;

/// A commit on its way. It goes on when this is dropped; awaiting it gives its outcome.
#[derive(Debug)]
pub struct Commit(oneshot::Receiver<Outcome>);

impl Future for Commit {
    type Output = Result<(), Error>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Outcome> {
        // Dropped without a word when the runtime ends.
        Pin::new(&mut self.0).poll(context).map(|outcome| outcome.unwrap_or_else(|_| Err(ended())))
    }
}

impl Commit {
    /// The outcome, if there is one already.
    pub(crate) fn try_outcome(&mut self) -> Option<Outcome> {
        match self.0.try_recv() {
            Ok(outcome) => Some(outcome),
            Err(oneshot::error::TryRecvError::Empty) => None,
            Err(oneshot::error::TryRecvError::Closed) => Some(Err(ended())),
        }
    }

    pub(crate) fn settled(outcome: Outcome) -> Commit {
        let (sender, commit) = oneshot::channel();
        // The receiver is right here.
        let _ = sender.send(outcome);
        Commit(commit)
    }
}

fn ended() -> Error {
    Error::Waited { what: "a commit", after: Duration::ZERO }
}

struct QueuedCommit {
    who: GroupMetadata,
    offsets: Offsets,
    deadline: Instant,
    done: oneshot::Sender<Outcome>,
}

/// Takes commits; a task carries them out until this is dropped and all are done.
pub(crate) struct Committer {
    queue: mpsc::Sender<QueuedCommit>,
    patience: Duration,
}

impl Committer {
    /// `identity` is followed when a member's epoch goes up while a commit is under way. MUST be called in a
    /// tokio runtime.
    pub(crate) fn start(
        coordinator: Arc<Coordinator>,
        identity: watch::Receiver<GroupMetadata>,
    ) -> Committer {
        let (queue, asked) = mpsc::channel(COMMITS_MAX);
        let patience = coordinator.cluster().config().default_api_timeout;
        tokio::spawn(run(coordinator, identity, asked));
        Committer { queue, patience }
    }

    /// Commits in the name of `who`; tries again for up to `default.api.timeout.ms`.
    pub(crate) fn commit(&self, who: GroupMetadata, offsets: Offsets) -> Commit {
        let (done, commit) = oneshot::channel();
        let deadline = seam::now() + self.patience;
        match self.queue.try_send(QueuedCommit { who, offsets, deadline, done }) {
            Ok(()) => Commit(commit),
            Err(_) => {
                Commit::settled(Err(Error::Waited { what: "room for a commit", after: Duration::ZERO }))
            }
        }
    }
}

async fn run(
    coordinator: Arc<Coordinator>,
    identity: watch::Receiver<GroupMetadata>,
    mut queue: mpsc::Receiver<QueuedCommit>,
) {
    let mut next = None;
    loop {
        let asked = match next.take() {
            Some(asked) => asked,
            None => match queue.recv().await {
                Some(asked) => asked,
                None => return,
            },
        };
        let QueuedCommit { who, mut offsets, mut deadline, done } = asked;
        let mut waiting = vec![done];
        while let Ok(another) = queue.try_recv() {
            // Another generation is another question: partitions may have changed hands in between.
            if another.who != who {
                next = Some(another);
                break;
            }
            offsets.extend(another.offsets);
            deadline = deadline.max(another.deadline);
            waiting.push(another.done);
        }
        let outcome = persist(&coordinator, &identity, who, offsets, deadline).await;
        for done in waiting {
            // Nobody may want to know.
            let _ = done.send(outcome.clone());
        }
    }
}

async fn persist(
    coordinator: &Coordinator,
    identity: &watch::Receiver<GroupMetadata>,
    who: GroupMetadata,
    offsets: Offsets,
    deadline: Instant,
) -> Outcome {
    if offsets.is_empty() {
        return Ok(());
    }
    let trial =
        Trial { coordinator, identity, deadline, left: Mutex::new(Left { who, offsets, topic_tries: 0 }) };
    coordinator.ask(deadline, |error| trial.may_repeat(error), |connection| trial.attempt(connection)).await
}

/// A commit that is tried until it succeeds or there is no hope.
struct Trial<'a> {
    coordinator: &'a Coordinator,
    identity: &'a watch::Receiver<GroupMetadata>,
    deadline: Instant,
    left: Mutex<Left>,
}

/// What the next request brings.
struct Left {
    /// In whose name.
    who: GroupMetadata,
    /// What is not committed yet.
    offsets: Offsets,
    /// How often it has failed because of its topics.
    topic_tries: u32,
}

impl Trial<'_> {
    /// One request.
    async fn attempt(&self, connection: Connection) -> Outcome {
        let (who, offsets) = {
            let left = self.left();
            (left.who.clone(), left.offsets.clone())
        };
        let metadata = self.coordinator.cluster().metadata();
        let committed = commit(&connection, &metadata, &who, &offsets, Terms::by(self.deadline)).await?;
        worst_of(committed, &mut self.left().offsets)
    }

    /// Whether to try again after an error, and in whose name.
    fn may_repeat(&self, error: &Error) -> bool {
        let mut left = self.left();
        let now = self.identity.borrow().clone();
        // The member's epoch went up (KIP-848), perhaps in an answer that is still on its way: it owns what
        // it commits all the same, unless it was put out, and then it is somebody else.
        let catching_up = error.code() == Some(ErrorCode::StaleMemberEpoch)
            && now.member_id == left.who.member_id
            && now.generation >= left.who.generation;
        if catching_up {
            left.who = now;
        }
        if matches!(error.code(), Some(ErrorCode::UnknownTopicOrPartition | ErrorCode::UnknownTopicId)) {
            self.coordinator.cluster().refresh_soon();
            left.topic_tries += 1;
        }
        (error.is_retriable() || catching_up) && left.topic_tries < TOPIC_TRIES_MAX
    }

    fn left(&self) -> MutexGuard<'_, Left> {
        // Nothing in here panics half-way.
        self.left.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The error that decides what happens next: one for good before one that may pass.
fn worst_of(committed: BTreeMap<TopicPartition, Result<(), ApiError>>, offsets: &mut Offsets) -> Outcome {
    let mut worst: Option<ApiError> = None;
    for (of, outcome) in committed {
        match outcome {
            Ok(()) => drop(offsets.remove(&of)),
            Err(error) => {
                if worst.as_ref().is_none_or(|worst| worst.is_retriable() && !error.is_retriable()) {
                    worst = Some(ApiError { message: Some(format!("committing {of}")), ..error });
                }
            }
        }
    }
    worst.map_or(Ok(()), |error| Err(Error::Api(error)))
}
