//! From what a member has to what it is to have: give up, say so, take, say so.

use std::collections::BTreeSet;

use ottla_wire::TopicId;
use ottla_wire::messages::ConsumerGroupHeartbeatResponse;

use super::{Consumer, Effects, Owned, Phase, Work};
use crate::cluster::{Metadata, TopicPartition};
use crate::group::membership::{Change, Effect, Look, Now, Ticket};

impl Consumer {
    /// A heartbeat was answered: perhaps with another epoch, perhaps with another target.
    pub(super) fn heard(
        &mut self,
        now: Now,
        response: ConsumerGroupHeartbeatResponse,
        effects: &mut Effects,
    ) {
        if let Some(heart) = self.heart.as_mut().filter(|heart| heart.due > now.at) {
            heart.due = now.at + self.interval;
        }
        if response.member_epoch != self.epoch {
            self.epoch = response.member_epoch;
            effects.push(Effect::Become(self.identity()));
        }
        if let Some(assignment) = response.assignment {
            let of = |topic: ottla_wire::messages::consumer_group_heartbeat_response::TopicPartitions| {
                let id = topic.topic_id;
                topic.partitions.into_iter().map(move |partition| (id, partition))
            };
            self.target = assignment.topic_partitions.into_iter().flat_map(of).collect();
        }
        if let Phase::Member(work @ Work::Telling) = &mut self.phase
            && self.said.as_ref().is_some_and(|said| said.covers(&self.owned))
        {
            *work = Work::None;
        }
        self.reconcile(effects);
    }

    /// The next step towards the target, unless the consumer is still at the last.
    pub(super) fn reconcile(&mut self, effects: &mut Effects) {
        if !matches!(self.phase, Phase::Member(Work::None)) {
            return;
        }
        let surplus: Owned = self.owned.difference(&self.target).copied().collect();
        if !surplus.is_empty() {
            let change = Change::Revoke(self.named(&surplus));
            let ticket = self.tell(change, effects);
            self.phase = Phase::Member(Work::Revoking { ticket, told: surplus });
            return;
        }
        let missing = self.target.difference(&self.owned);
        let (new, unnamed): (Owned, Owned) = missing.partition(|(topic, _)| self.names.contains_key(topic));
        if !unnamed.is_empty() && self.looking.is_none() {
            self.look(unnamed, effects);
        }
        if !new.is_empty() {
            let change = Change::Assign(self.named(&new));
            let ticket = self.tell(change, effects);
            self.owned.extend(new);
            self.phase = Phase::Member(Work::Taking { ticket });
        }
    }

    fn look(&mut self, unnamed: Owned, effects: &mut Effects) {
        let ticket = self.tickets.next();
        self.looking = Some(ticket);
        let ids: BTreeSet<TopicId> = unnamed.into_iter().map(|(topic, _)| topic).collect();
        effects.push(Effect::Look { ticket, what: Look::Ids(ids), failures: self.looks_failed });
    }

    pub(super) fn looked(&mut self, ticket: Ticket, metadata: &Metadata, effects: &mut Effects) {
        if self.looking != Some(ticket) {
            return;
        }
        self.looking = None;
        // Those that have no name yet are asked for again, after a while.
        self.looks_failed += 1;
        self.learn_names(metadata, effects);
    }

    pub(super) fn learn_names(&mut self, metadata: &Metadata, effects: &mut Effects) {
        for &(topic, _) in &self.target {
            if !self.names.contains_key(&topic)
                && let Some(name) = metadata.topic_name(topic)
            {
                self.names.insert(topic, name.clone());
                self.looks_failed = 0;
            }
        }
        let (owned, target) = (&self.owned, &self.target);
        self.names.retain(|topic, _| owned.iter().chain(target).any(|(of, _)| of == topic));
        self.reconcile(effects);
    }

    pub(super) fn named(&self, partitions: &Owned) -> BTreeSet<TopicPartition> {
        let named = partitions.iter().filter_map(|(topic, partition)| {
            Some(TopicPartition { topic: self.names.get(topic)?.clone(), partition: *partition })
        });
        named.collect()
    }
}
