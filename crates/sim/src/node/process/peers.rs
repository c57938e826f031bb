//! What a broker says to others for its partition: fetches, answers to those of followers, proposals to the
//! controller.

use ottla_replica::{Event, FollowerFetch, IsrAnswer, IsrProposal, IsrRefusal, LeaderAnswer, LeaderReply};
use ottla_wire::messages::AlterPartitionResponse;
use ottla_wire::{BrokerEpoch, BrokerId};

use super::super::lifecycle::{alter_partition, isr_outcome};
use super::super::serve::Parked;
use super::super::{Outbox, TOPIC, Timer, Turn, broker_id, index_of};
use super::{ANSWER_WAIT, FETCH_WAIT, Process};
use crate::message::{Message, RequestId};
use crate::mutation::Mutation;
use crate::network::Party;

impl Process {
    pub(super) fn propose(&mut self, proposal: &IsrProposal, out: &mut Outbox) {
        let (Some(topic), Some(epoch)) = (self.image.topic(TOPIC), self.epoch) else { return };
        let request = alter_partition(broker_id(self.index), epoch, topic.id, proposal);
        let id = self.request();
        self.proposal = Some((id, proposal.epoch, proposal.partition_epoch));
        out.sends.push((Party::Controller, Message::AlterPartition(id, Box::new(request))));
        out.timers.push((ANSWER_WAIT, Timer::GiveUp(id.0)));
    }

    pub(super) fn altered(
        &mut self,
        turn: Turn,
        id: RequestId,
        response: &AlterPartitionResponse,
        out: &mut Outbox,
    ) {
        let Some((_, epoch, partition_epoch)) = self.proposal.take_if(|(asked, ..)| *asked == id) else {
            return;
        };
        let outcome = isr_outcome(response);
        let answer = IsrAnswer { epoch, partition_epoch, outcome };
        self.act_on(turn, out, |machine| machine.step(turn, Event::IsrAnswered(answer)));
    }

    pub(super) fn give_up(&mut self, turn: Turn, request: RequestId, out: &mut Outbox) {
        if let Some((_, epoch, partition_epoch)) = self.proposal.take_if(|(asked, ..)| *asked == request) {
            let answer = IsrAnswer { epoch, partition_epoch, outcome: Err(IsrRefusal::Unknown) };
            self.act_on(turn, out, |machine| machine.step(turn, Event::IsrAnswered(answer)));
        }
        self.answered(turn, request, LeaderReply::Failed, out);
    }

    pub(super) fn send_fetch(&mut self, id: RequestId, out: &mut Outbox) {
        let Some((_, fetch)) = self.fetch.filter(|(current, _)| *current == id) else { return };
        // Only a broker that breaks the rules fetches before it is registered.
        let (broker, broker_epoch) = (broker_id(self.index), self.epoch.unwrap_or(BrokerEpoch(-1)));
        let to = Party::Broker(index_of(fetch.leader));
        out.sends.push((to, Message::FollowerFetch { id, broker, broker_epoch, fetch }));
        out.timers.push((ANSWER_WAIT, Timer::GiveUp(id.0)));
    }

    pub(super) fn answered(&mut self, turn: Turn, id: RequestId, reply: LeaderReply, out: &mut Outbox) {
        let Some((_, fetch)) = self.fetch.take_if(|(current, _)| *current == id) else { return };
        let answer = LeaderAnswer { epoch: fetch.epoch, offset: fetch.offset, reply };
        self.drive(turn, out, |partition| partition.leader_answered(turn, answer));
    }

    /// A follower asks: what it holds is noted, and it is given what comes next, or waits for it.
    pub(super) fn follower_fetch(
        &mut self,
        turn: Turn,
        parked: Parked,
        broker: BrokerId,
        broker_epoch: BrokerEpoch,
        out: &mut Outbox,
    ) {
        let Some(partition) = &self.partition else { return };
        if let Some(refused) = parked.refused(partition) {
            out.sends.push(parked.answer(refused));
            return;
        }
        let (epoch, offset, log_start) = (parked.fetch.epoch, parked.fetch.offset, parked.fetch.log_start);
        let trusted = self.setup.mutation == Some(Mutation::TrustFollowers);
        let offset = if trusted { partition.view().log_end } else { offset };
        let fetched = FollowerFetch { broker, broker_epoch, epoch, offset, log_start };
        self.act_on(turn, out, |machine| machine.step(turn, Event::FollowerFetched(fetched)));
        self.parked.push(parked);
        out.timers.push((FETCH_WAIT, Timer::Unpark(parked.id.0)));
        self.unpark(None, out);
    }

    /// Answers the fetches that have waited long enough: for something new, or for `overdue`'s time.
    pub(super) fn unpark(&mut self, overdue: Option<RequestId>, out: &mut Outbox) {
        let Some(partition) = &self.partition else { return };
        let told_followers = &mut self.told_followers;
        self.parked.retain(|parked| {
            let reply =
                parked.refused(partition).or_else(|| parked.read(partition, overdue == Some(parked.id)));
            let Some(reply) = reply else { return true };
            if let LeaderReply::Records { high_watermark, log_start, .. } = &reply {
                told_followers.insert(parked.from, (*high_watermark, *log_start));
            }
            out.sends.push(parked.answer(reply));
            false
        });
    }
}
