//! Decisions that are logged together, and who waits for them.
//!
//! Waiting requests are decided in one round, each on the image that results from the previous ones. Small
//! changes share an entry of the metadata log, and so a flush. A large decision ends its round. Its entries
//! are logged one after the other, so none is sent unless the one before was applied.

use std::collections::VecDeque;
use std::sync::Arc;

use ottla_controller::Image;
use ottla_controller::controller::{Entries, Entry, Outcome, Request, Response};
use ottla_tasks::Tasks;
use tokio::sync::watch;

use super::error::AskError;
use super::handle::Waiter;
use crate::metadata::Applied;

/// The decisions of one round.
pub(super) struct Round {
    start: Arc<Applied>,
    /// The image after all decisions so far.
    image: Image,
    entries: Entries,
    replies: Vec<Reply>,
}

/// How far this broker has made the metadata log true.
#[derive(Clone)]
pub struct Reached {
    /// The index of the image that is published.
    pub published: watch::Receiver<u64>,
    /// The index up to which the files of partitions are opened, or removed.
    pub open: watch::Receiver<u64>,
}

/// The answer to a request, sent once this number of entries is applied.
pub(super) struct Reply {
    after_entries: usize,
    /// It says that partitions can be used, or are gone.
    after_files: bool,
    result: Result<Response, AskError>,
}

impl Round {
    pub(super) fn new(start: Arc<Applied>) -> Round {
        Round { image: start.image.clone(), start, entries: Entries::default(), replies: Vec::new() }
    }

    /// The image for the next decision.
    pub(super) fn image(&self) -> &Image {
        &self.image
    }

    /// The metadata-log offset of the entry that is next or being filled.
    pub(super) fn next_offset(&self) -> i64 {
        offset(self.start.index).saturating_add(1)
    }

    /// The offset of the newest record in the image.
    pub(super) fn image_offset(&self) -> i64 {
        offset(self.start.index).saturating_add(i64::from(!self.entries.is_empty()))
    }

    /// Whether `request` may be decided in this round. A registration must be the first of its entry, because
    /// its epoch is the offset of the last record.
    pub(super) fn takes(&self, request: &Request) -> bool {
        let first = matches!(request, Request::BrokerRegistration(_));
        self.entries.has_room() && (self.entries.is_empty() || !first)
    }

    /// Adds the records of a decision. Adds nothing if they cannot be logged.
    pub(super) fn add<R>(&mut self, outcome: &Outcome<R>) -> Result<(), AskError> {
        if outcome.records.is_empty() {
            return Ok(());
        }
        let next = self.image.apply_all(&outcome.records);
        let (image, _delta) = next.map_err(|error| AskError::Contradiction(error.to_string()))?;
        self.entries.add(&outcome.records, &outcome.cuts)?;
        self.image = image;
        Ok(())
    }

    /// Adds the answer to the next request. It is sent when everything decided so far is applied.
    pub(super) fn reply(&mut self, request: &Request, result: Result<Response, AskError>) {
        let after_files = matches!(
            request,
            Request::CreateTopics(_) | Request::CreatePartitions(_) | Request::DeleteTopics(_)
        );
        self.replies.push(Reply { after_entries: self.entries.count(), after_files, result });
    }

    pub(super) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The entries to log, and the replies to `waiters`, in the order of the requests.
    pub(super) fn finish(self, waiters: impl Iterator<Item = Waiter>) -> (Vec<Entry>, Replies) {
        let index = self.start.index;
        let waiting = waiters.zip(self.replies).collect();
        (self.entries.into_entries(), Replies { entries: 0, index, waiting })
    }
}

/// Replies that wait for entries.
pub(super) struct Replies {
    /// The number of applied entries, and the index of the last.
    entries: usize,
    index: u64,
    waiting: VecDeque<(Waiter, Reply)>,
}

impl Replies {
    /// Notes that the next entry was applied, with this index.
    pub(super) fn applied(&mut self, index: u64) {
        self.index = index;
        self.entries += 1;
    }

    /// Sends the replies whose entries are applied, once those are published.
    pub(super) fn send(&mut self, reached: &Reached, tasks: &Tasks) {
        let due = self.waiting.partition_point(|(_, reply)| reply.after_entries <= self.entries);
        if due == 0 {
            return;
        }
        let due = self.waiting.drain(..due);
        let (after_files, at_once): (Vec<_>, Vec<_>) = due.partition(|(_, reply)| reply.after_files);
        for (replies, reached) in [(at_once, &reached.published), (after_files, &reached.open)] {
            if !replies.is_empty() {
                tasks.errand("answers of the controller", send_at(replies, self.index, reached.clone()));
            }
        }
    }

    /// Refuses all requests that still wait. If a part of the round is logged, none of them may be told that
    /// nothing has changed.
    pub(super) fn refuse(self, error: &AskError) {
        let error = match self.entries {
            0 => error.clone(),
            _ => AskError::Unknown(format!("a part of it is made: {error}")),
        };
        for (waiter, _) in self.waiting {
            let _gone = waiter.send(Err(error.clone()));
        }
    }
}

/// Sends replies once `reached` is at `index`.
async fn send_at(replies: Vec<(Waiter, Reply)>, index: u64, mut reached: watch::Receiver<u64>) {
    let there = reached.wait_for(|at| *at >= index).await.is_ok();
    for (waiter, reply) in replies {
        // Nobody to hear it has stopped waiting.
        let _gone = waiter.send(if there { reply.result } else { Err(AskError::Stopping) });
    }
}

fn offset(index: u64) -> i64 {
    i64::try_from(index).unwrap_or(i64::MAX)
}
