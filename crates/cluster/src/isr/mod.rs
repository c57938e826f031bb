//! What the leaders of this broker ask of the controller: other in-sync replicas (AlterPartition, KIP-497).
//!
//! One request is under way at a time; what leaders ask for meanwhile goes together in the next. So thousands
//! of partitions that lose the same follower are a handful of requests.
//!
//! A leader is told [`IsrRefusal::Unknown`] wherever the request may have been applied: it then counts who is
//! in either set, and asks again at its next tick.

mod wire;

use std::collections::BTreeMap;
use std::time::Duration;

use ottla_replica::{IsrAnswer, IsrProposal, IsrRefusal};
use ottla_wire::{BrokerId, Instant, LeaderEpoch, PartitionEpoch};

use crate::backoff::Backoff;
use crate::id::PartitionId;
pub use wire::{Altered, read_answer, write_request};

/// Partitions in one request: some 64 KiB of it.
pub const PARTITIONS_MAX: usize = 1_000;

/// After a request that was not answered, or was refused as a whole.
const BACKOFF: Backoff = Backoff { first: Duration::from_millis(50), most: Duration::from_secs(1) };

/// The ISR and partition epoch that now hold, or why not.
pub type IsrOutcome = Result<(Vec<BrokerId>, PartitionEpoch), IsrRefusal>;

/// Counts the requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ProposalNumber(pub u64);

/// One AlterPartition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProposalRequest {
    /// Comes back with the answer.
    pub number: ProposalNumber,
    pub proposals: Vec<(PartitionId, IsrProposal)>,
}

/// Proposals of this broker's leaders.
#[derive(Debug, Default)]
pub struct IsrProposals {
    waiting: BTreeMap<PartitionId, IsrProposal>,
    under_way: Option<(ProposalNumber, Asked)>,
    last_number: u64,
    failures: u32,
    not_before: Instant,
}

/// What each partition of a request was asked under.
type Asked = BTreeMap<PartitionId, (LeaderEpoch, PartitionEpoch)>;

impl IsrProposals {
    /// A leader asks; it replaces what the partition has asked before and was not sent.
    pub fn propose(&mut self, partition: PartitionId, proposal: IsrProposal) {
        self.waiting.insert(partition, proposal);
    }

    /// The partition is not led here any more. What is under way may still change its ISR.
    pub fn stop(&mut self, partition: PartitionId) {
        self.waiting.remove(&partition);
    }

    /// What is to be sent now, if anything.
    pub fn next_request(&mut self, now: Instant) -> Option<ProposalRequest> {
        if self.under_way.is_some() || self.waiting.is_empty() || now < self.not_before {
            return None;
        }
        self.last_number += 1;
        let number = ProposalNumber(self.last_number);
        let mut proposals = Vec::new();
        while proposals.len() < PARTITIONS_MAX
            && let Some(first) = self.waiting.pop_first()
        {
            proposals.push(first);
        }
        let asked = proposals.iter().map(|(id, one)| (*id, (one.epoch, one.partition_epoch)));
        self.under_way = Some((number, asked.collect()));
        Some(ProposalRequest { number, proposals })
    }

    /// When time alone makes something to do.
    pub fn wake_at(&self, now: Instant) -> Option<Instant> {
        let waits = self.under_way.is_none() && !self.waiting.is_empty();
        (waits && self.not_before > now).then_some(self.not_before)
    }

    /// The controller has answered. Partitions that it says nothing of may have been changed.
    pub fn answered(
        &mut self,
        now: Instant,
        number: ProposalNumber,
        altered: Altered,
    ) -> Vec<(PartitionId, IsrAnswer)> {
        match altered {
            Altered::Partitions(mut outcomes) => {
                let answers = self.end(number, |id| outcomes.remove(id));
                if !answers.is_empty() {
                    (self.failures, self.not_before) = (0, now);
                }
                answers
            }
            Altered::Failed(refusal) => self.failed(now, number, refusal),
        }
    }

    /// There was no answer: it may have been applied.
    pub fn lost(&mut self, now: Instant, number: ProposalNumber) -> Vec<(PartitionId, IsrAnswer)> {
        self.failed(now, number, IsrRefusal::Unknown)
    }

    fn failed(
        &mut self,
        now: Instant,
        number: ProposalNumber,
        refusal: IsrRefusal,
    ) -> Vec<(PartitionId, IsrAnswer)> {
        let answers = self.end(number, |_| Some(Err(refusal)));
        if !answers.is_empty() {
            self.failures = self.failures.saturating_add(1);
            self.not_before = now + BACKOFF.after(self.failures);
        }
        answers
    }

    fn end(
        &mut self,
        number: ProposalNumber,
        mut outcome: impl FnMut(&PartitionId) -> Option<IsrOutcome>,
    ) -> Vec<(PartitionId, IsrAnswer)> {
        let Some((_, asked)) = self.under_way.take_if(|(current, _)| *current == number) else {
            return Vec::new();
        };
        let answer = |(id, (epoch, partition_epoch))| {
            let outcome = outcome(&id).unwrap_or(Err(IsrRefusal::Unknown));
            (id, IsrAnswer { epoch, partition_epoch, outcome })
        };
        asked.into_iter().map(answer).collect()
    }
}

#[cfg(test)]
mod tests {
    use ottla_wire::{PartitionIndex, Uuid};

    use super::*;

    fn id(index: i32) -> PartitionId {
        PartitionId { topic: Uuid([1; 16]), index: PartitionIndex(index) }
    }

    fn proposal(partition_epoch: i32) -> IsrProposal {
        IsrProposal {
            epoch: LeaderEpoch(3),
            partition_epoch: PartitionEpoch(partition_epoch),
            isr: Vec::new(),
        }
    }

    fn after(ms: u64) -> Instant {
        Instant(0) + Duration::from_millis(ms)
    }

    fn asked(request: &ProposalRequest) -> Vec<(i32, i32)> {
        request.proposals.iter().map(|(id, one)| (id.index.0, one.partition_epoch.0)).collect()
    }

    #[test]
    fn what_comes_while_one_is_under_way_goes_together() {
        let mut isr = IsrProposals::default();
        isr.propose(id(0), proposal(1));
        let first = isr.next_request(after(0)).unwrap();
        isr.propose(id(1), proposal(1));
        isr.propose(id(2), proposal(1));
        isr.propose(id(2), proposal(2));
        isr.propose(id(3), proposal(1));
        isr.stop(id(3));
        assert_eq!(isr.next_request(after(0)), None);
        let done: IsrOutcome = Ok((vec![BrokerId(1)], PartitionEpoch(2)));
        let altered = Altered::Partitions([(id(0), done.clone())].into());
        let answers = isr.answered(after(1), first.number, altered);
        let (epoch, partition_epoch) = (LeaderEpoch(3), PartitionEpoch(1));
        assert_eq!(answers, [(id(0), IsrAnswer { epoch, partition_epoch, outcome: done })]);
        assert_eq!(asked(&isr.next_request(after(1)).unwrap()), [(1, 1), (2, 2)]);
    }

    #[test]
    fn whoever_hears_nothing_must_think_that_it_may_have_been_applied() {
        let mut isr = IsrProposals::default();
        let refusals = |answers: Vec<(PartitionId, IsrAnswer)>| -> Vec<IsrOutcome> {
            answers.into_iter().map(|(_, answer)| answer.outcome).collect()
        };
        isr.propose(id(0), proposal(1));
        isr.propose(id(1), proposal(1));
        let request = isr.next_request(after(0)).unwrap();
        let altered = Altered::Partitions([(id(1), Err(IsrRefusal::Stale))].into());
        let answers = refusals(isr.answered(after(0), request.number, altered));
        assert_eq!(answers, [Err(IsrRefusal::Unknown), Err(IsrRefusal::Stale)]);

        isr.propose(id(0), proposal(1));
        let request = isr.next_request(after(0)).unwrap();
        assert_eq!(refusals(isr.lost(after(0), request.number)), [Err(IsrRefusal::Unknown)]);
        assert!(isr.lost(after(0), request.number).is_empty(), "once");
    }

    #[test]
    fn a_controller_that_does_not_serve_is_asked_later_and_later() {
        let mut isr = IsrProposals::default();
        let mut now = after(0);
        for ms in [50, 100, 200] {
            isr.propose(id(0), proposal(1));
            let request = isr.next_request(now).unwrap();
            isr.answered(now, request.number, Altered::Failed(IsrRefusal::Unknown));
            isr.propose(id(0), proposal(1));
            assert_eq!(isr.next_request(now), None);
            assert_eq!(isr.wake_at(now), Some(now + Duration::from_millis(ms)));
            now = now + Duration::from_millis(ms);
        }
        assert_eq!(isr.wake_at(now), None);
        assert!(isr.next_request(now).is_some());
    }

    #[test]
    fn a_request_has_a_limit() {
        let mut isr = IsrProposals::default();
        for index in 0..1_500 {
            isr.propose(id(index), proposal(1));
        }
        let first = isr.next_request(after(0)).unwrap();
        assert_eq!(first.proposals.len(), PARTITIONS_MAX);
        isr.lost(after(0), first.number);
        assert_eq!(isr.next_request(after(1_000)).unwrap().proposals.len(), 500);
    }
}
