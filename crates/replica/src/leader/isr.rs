//! The in-sync replicas as a leader sees them: what the controller has committed, and the one change that it
//! is asked for (KIP-497).

use std::sync::Arc;

use ottla_wire::{BrokerId, LeaderEpoch, PartitionEpoch};

use super::followers::Followers;
use crate::effect::IsrProposal;
use crate::event::{IsrAnswer, IsrRefusal, PartitionState};

/// The ISR of a partition that this broker leads.
#[derive(Debug)]
pub(super) struct Isr {
    me: BrokerId,
    committed: Arc<[BrokerId]>,
    partition_epoch: PartitionEpoch,
    proposed: Option<Proposed>,
}

/// A change that the controller may have made or may yet make. Until it is known, whoever is in either set
/// counts.
#[derive(Debug)]
struct Proposed {
    isr: Vec<BrokerId>,
    fate: Fate,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    /// There will be an answer.
    Asked,
    /// There was none: it is to be asked again.
    Lost,
    /// The metadata log will tell.
    Outdated,
}

impl Isr {
    /// As the metadata log says. Nothing is proposed: whatever was, its outcome is in there.
    pub fn new(me: BrokerId, state: &PartitionState) -> Isr {
        let committed = Arc::from(state.isr.as_slice());
        Isr { me, committed, partition_epoch: state.partition_epoch, proposed: None }
    }

    pub fn committed(&self) -> &Arc<[BrokerId]> {
        &self.committed
    }

    pub fn partition_epoch(&self) -> PartitionEpoch {
        self.partition_epoch
    }

    /// No change is under way.
    pub fn is_settled(&self) -> bool {
        self.proposed.is_none()
    }

    /// Whether a broker is in the ISR, or may be as soon as the controller has answered.
    pub fn may_contain(&self, broker: BrokerId) -> bool {
        let proposed = self.proposed.iter().flat_map(|proposed| &proposed.isr);
        self.committed.iter().chain(proposed).any(|&member| member == broker)
    }

    pub fn may_admit(&self, broker: BrokerId) -> bool {
        self.is_settled() && !self.may_contain(broker)
    }

    /// Asks for one more member. There MUST NOT be another change under way.
    pub fn admit(&mut self, epoch: LeaderEpoch, followers: &Followers, broker: BrokerId) -> IsrProposal {
        let isr = self.committed.iter().copied().chain([broker]).collect();
        self.propose(epoch, followers, isr)
    }

    /// Asks that those who are `slow` leave. There MUST NOT be another change under way.
    pub fn dismiss(
        &mut self,
        epoch: LeaderEpoch,
        followers: &Followers,
        slow: impl Fn(BrokerId) -> bool,
    ) -> Option<IsrProposal> {
        let stays = |broker: &BrokerId| *broker == self.me || !slow(*broker);
        let isr: Vec<BrokerId> = self.committed.iter().copied().filter(stays).collect();
        (isr.len() < self.committed.len()).then(|| self.propose(epoch, followers, isr))
    }

    /// The proposal whose answer got lost.
    pub fn propose_again(&mut self, epoch: LeaderEpoch, followers: &Followers) -> Option<IsrProposal> {
        let lost = self.proposed.take_if(|proposed| proposed.fate == Fate::Lost)?;
        Some(self.propose(epoch, followers, lost.isr))
    }

    pub fn answered(&mut self, answer: IsrAnswer) {
        if answer.partition_epoch != self.partition_epoch {
            return; // to a proposal that the metadata log has overtaken
        }
        match answer.outcome {
            Ok((isr, partition_epoch)) if partition_epoch >= self.partition_epoch => {
                self.committed = Arc::from(isr);
                self.partition_epoch = partition_epoch;
                self.proposed = None;
            }
            Ok(_) => {} // older than what is known
            Err(IsrRefusal::Refused) => self.proposed = None,
            Err(IsrRefusal::Stale) => self.meets(Fate::Outdated),
            Err(IsrRefusal::Unknown) => self.meets(Fate::Lost),
        }
    }

    fn meets(&mut self, fate: Fate) {
        if let Some(proposed) = &mut self.proposed {
            proposed.fate = fate;
        }
    }

    fn propose(&mut self, epoch: LeaderEpoch, followers: &Followers, isr: Vec<BrokerId>) -> IsrProposal {
        assert!(self.proposed.is_none(), "one ISR change at a time");
        let members = isr.iter().map(|&broker| followers.propose(broker)).collect();
        self.proposed = Some(Proposed { isr, fate: Fate::Asked });
        IsrProposal { epoch, partition_epoch: self.partition_epoch, isr: members }
    }
}
