//! Group commit: proposals that arrive while a log entry is being flushed share the next entry.
//!
//! openraft flushes one entry after the other, so one entry for each proposal would mean one flush for each.

use std::time::Duration;

use openraft::error::{ClientWriteError, RaftError};
use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot};

use crate::raft::{Batch, Fatal, Outcome, Proposal, Raft};
use crate::types::ProposeError;

/// An entry with this many bytes takes no more proposals. (One alone may have `PROPOSAL_BYTES_MAX`.)
const ENTRY_BYTES_SOFT: usize = 1 << 20;

/// The bytes that all queued proposals may hold together. Callers beyond that wait for room.
pub(crate) const QUEUED_BYTES_MAX: usize = 64 << 20;
/// Each proposal counts as a multiple of this, which bounds their number, too.
pub(crate) const QUEUED_UNIT_BYTES: usize = 4 << 10;

/// A proposal that waits to be appended.
pub(crate) struct Queued {
    pub(crate) proposal: Proposal,
    pub(crate) reply: oneshot::Sender<Result<u64, ProposeError>>,
    /// Its share of `QUEUED_BYTES_MAX`, returned with the answer.
    pub(crate) permit: OwnedSemaphorePermit,
}

/// The units that a proposal of that size takes.
pub(crate) fn units(bytes: usize) -> u32 {
    // At most PROPOSAL_BYTES_MAX / QUEUED_UNIT_BYTES, so nothing is cut.
    bytes.div_ceil(QUEUED_UNIT_BYTES).max(1) as u32
}

/// Appends what is queued, one entry at a time, until the quorum is dropped. Gives up on an entry after
/// `timeout`: a leader that lost its majority must not keep later proposals from their answers.
pub(crate) async fn run(raft: Raft, mut queue: mpsc::Receiver<Queued>, timeout: Duration) {
    let mut next = queue.recv().await;
    while let Some(first) = next.take() {
        if first.reply.is_closed() {
            // The caller gave up, and the state it decided from may be outdated.
            next = queue.recv().await;
            continue;
        }
        let mut bytes = first.proposal.size();
        let mut waiting = vec![(first.reply, first.permit)];
        let mut proposals = vec![first.proposal];
        while let Ok(queued) = queue.try_recv() {
            if queued.reply.is_closed() {
                continue;
            }
            if bytes + queued.proposal.size() > ENTRY_BYTES_SOFT {
                next = Some(queued);
                break;
            }
            bytes += queued.proposal.size();
            waiting.push((queued.reply, queued.permit));
            proposals.push(queued.proposal);
        }
        let outcomes = tokio::time::timeout(timeout, append(&raft, Batch(proposals))).await;
        let outcomes = outcomes.unwrap_or(Err(ProposeError::Unavailable));
        for (i, (reply, permit)) in waiting.into_iter().enumerate() {
            let answer = match &outcomes {
                Ok(outcomes) => match outcomes.get(i) {
                    Some(Outcome::Applied(index)) => Ok(*index),
                    Some(Outcome::OtherEpoch) => Err(ProposeError::NotLeader { leader: None }),
                    None => unreachable!("the state machine answers every proposal of an entry"),
                },
                Err(error) => Err(error.clone()),
            };
            // An error means that the caller gave up waiting.
            let _ = reply.send(answer);
            drop(permit);
        }
        if next.is_none() {
            next = queue.recv().await;
        }
    }
}

/// Why openraft stopped, as an error for callers.
pub(crate) fn stopped(fatal: &Fatal) -> ProposeError {
    match fatal {
        Fatal::StorageError(error) => ProposeError::Storage(error.to_string()),
        Fatal::Panicked => ProposeError::Storage("the log's task panicked".into()),
        Fatal::Stopped => ProposeError::ShuttingDown,
    }
}

async fn append(raft: &Raft, batch: Batch) -> Result<Vec<Outcome>, ProposeError> {
    match raft.client_write(batch).await {
        Ok(response) => Ok(response.data),
        Err(RaftError::APIError(ClientWriteError::ForwardToLeader(forward))) => {
            Err(ProposeError::NotLeader { leader: forward.leader_id })
        }
        Err(RaftError::APIError(ClientWriteError::ChangeMembershipError(_))) => {
            unreachable!("only a change of the voters is answered so, and this was none")
        }
        Err(RaftError::Fatal(fatal)) => Err(stopped(&fatal)),
    }
}
