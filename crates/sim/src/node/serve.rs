//! What a broker reads for others: for followers up to its log's end, for consumers up to what is committed.

use bytes::Bytes;
use ottla_log::{Bound, Cold, ReadError};
use ottla_partition::ReadLimit;
use ottla_replica::{FetchRequest, LeaderReply, ViewRole};
use ottla_wire::Offset;

use super::partition::Partition;
use crate::message::{ConsumeError, Found, Message, RequestId};
use crate::mutation::Mutation;
use crate::network::Party;

/// What a consumer is given at once, at most.
const CONSUME_BYTES_MAX: usize = 4_000;

/// A follower's fetch, and what the follower has been told so far.
#[derive(Clone, Copy, Debug)]
pub struct Parked {
    pub from: Party,
    pub id: RequestId,
    pub fetch: FetchRequest,
    pub bytes_max: usize,
    /// High watermark and log start as the follower was told them last.
    told: Option<(Offset, Offset)>,
}

impl Parked {
    pub fn new(
        from: Party,
        id: RequestId,
        fetch: FetchRequest,
        bytes_max: usize,
        told: Option<(Offset, Offset)>,
    ) -> Parked {
        Parked { from, id, fetch, bytes_max, told }
    }

    pub fn answer(&self, reply: LeaderReply) -> (Party, Message) {
        (self.from, Message::FollowerAnswered { id: self.id, reply })
    }

    /// Why the fetch is not served, if it is not.
    pub fn refused(&self, partition: &Partition) -> Option<LeaderReply> {
        let view = partition.view();
        let fetch = &self.fetch;
        if view.role != ViewRole::Leader || view.leader_epoch != fetch.epoch {
            return Some(LeaderReply::Failed);
        }
        let last = fetch.last_fetched_epoch;
        if let Some(parted) = last.and_then(|last| view.epochs.divergence(last, fetch.offset, view.log_end)) {
            return Some(LeaderReply::Diverged { epoch: parted.epoch, end: parted.end });
        }
        let within = fetch.offset >= view.log_start && fetch.offset <= view.log_end;
        (!within).then_some(LeaderReply::OutOfRange { start: view.log_start, end: view.log_end })
    }

    /// The answer, if there is something to say: records, a bound that has moved, or that it is `overdue`.
    pub fn read(&self, partition: &Partition, overdue: bool) -> Option<LeaderReply> {
        let view = partition.view();
        let news = self.told != Some((view.high_watermark, view.log_start));
        if self.fetch.offset == view.log_end && !news && !overdue {
            return None;
        }
        let bound = partition.published().bound(ReadLimit::LogEnd);
        let records = read(partition, self.fetch.offset, bound, self.bytes_max);
        let Ok(records) = records else { return Some(LeaderReply::Failed) };
        Some(LeaderReply::Records { records, high_watermark: view.high_watermark, log_start: view.log_start })
    }
}

/// What a consumer finds from `offset` on.
pub fn consume(
    partition: &Partition,
    offset: Offset,
    committed: bool,
    mutation: Option<Mutation>,
) -> Result<Found, ConsumeError> {
    let view = partition.view();
    if view.role != ViewRole::Leader {
        return Err(ConsumeError::NotLeader);
    }
    if offset < view.log_start || offset > view.log_end {
        return Err(ConsumeError::OutOfRange { start: view.log_start, end: view.log_end });
    }
    let bound = partition.published().bound(limit(committed, mutation));
    let end = bound.offset;
    let out_of_range = |_| ConsumeError::OutOfRange { start: view.log_start, end: view.log_end };
    let records = read(partition, offset, bound, CONSUME_BYTES_MAX).map_err(out_of_range)?;
    let hides = !committed || mutation == Some(Mutation::HideAborts);
    let aborted = if hides { Vec::new() } else { aborted(partition, offset, end)? };
    Ok(Found { records, end, aborted })
}

/// All bytes of whole batches from `offset` up to `end`.
pub fn read_all(partition: &Partition, offset: Offset, end: Offset) -> Result<Vec<Bytes>, String> {
    let (mut from, mut runs) = (offset, Vec::new());
    while from < end {
        let run = read(partition, from, partition.log().bound(end), usize::MAX)
            .map_err(|error| error.to_string())?;
        let last = ottla_wire::batch::batches(run.clone()).flatten().last();
        let Some(last) = last else { break };
        from = last.header().next_offset();
        runs.push(run);
    }
    Ok(runs)
}

fn limit(committed: bool, mutation: Option<Mutation>) -> ReadLimit {
    match (committed, mutation) {
        (_, Some(Mutation::ServeUncommitted)) => ReadLimit::LogEnd,
        (true, Some(Mutation::ServeUnstable)) => ReadLimit::HighWatermark,
        (true, _) => ReadLimit::LastStable,
        (false, _) => ReadLimit::HighWatermark,
    }
}

fn aborted(
    partition: &Partition,
    from: Offset,
    to: Offset,
) -> Result<Vec<ottla_wire::AbortedTxn>, ConsumeError> {
    partition.log().reader().aborted_transactions(from, to, Cold::Wait).map_err(|_| ConsumeError::NotLeader)
}

fn read(partition: &Partition, offset: Offset, bound: Bound, bytes_max: usize) -> Result<Bytes, ReadError> {
    let plan = partition.log().reader().read(offset, bytes_max, bound, true, Cold::Wait)?;
    Ok(plan.read(Cold::Wait)?)
}
