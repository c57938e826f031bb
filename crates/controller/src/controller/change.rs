//! One change of one partition: what the ISR, the eligible leader replicas, the leader and a reassignment
//! become together.
//!
//! The rules are Kafka's: an ISR of the minimal size empties the ELR; who leaves a smaller one joins it
//! (KIP-966); a reassignment is complete when all replicas that it leads to are in sync (KIP-455); a leader
//! is taken from the ISR, from the ELR if the ISR is empty, and from elsewhere only where that is allowed. A
//! replica in a directory that is not online does not lead (KIP-858).

use ottla_wire::messages::{MetadataRecord, PartitionChangeRecord};
use ottla_wire::{BrokerId, PartitionIndex, TopicId, Uuid};

use crate::image::{Image, LeaderRecovery, Partition, Topic, moved_directories, numbers};
use ottla_settings::TopicConfig;

/// How hard to look for a leader.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Election {
    /// The first replica if it can, else as it is or as it must.
    Preferred,
    /// As it is; if the leader cannot, another that lacks nothing.
    Online,
    /// Any replica that is alive, if no other can: acknowledged records may be lost.
    Unclean,
}

/// What a partition is to become. Made from how it is now; say what is different, then [`Change::record`].
pub(super) struct Change<'a> {
    image: &'a Image,
    topic: TopicId,
    index: PartitionIndex,
    now: &'a Partition,
    next: Partition,
    may_lead: &'a dyn Fn(BrokerId) -> bool,
    min_isr: usize,
    elr_enabled: bool,
    election: Election,
    /// Replicas that may lack what they acknowledged.
    unclean_shutdown: Option<BrokerId>,
}

impl<'a> Change<'a> {
    /// `may_lead` says which brokers are alive and staying. An unclean election is made if the topic allows
    /// it.
    pub(super) fn new(
        image: &'a Image,
        topic: &Topic,
        index: PartitionIndex,
        now: &'a Partition,
        config: &TopicConfig,
        may_lead: &'a dyn Fn(BrokerId) -> bool,
    ) -> Change<'a> {
        Change {
            image,
            topic: topic.id,
            index,
            now,
            next: now.clone(),
            may_lead,
            min_isr: usize::try_from(config.min_insync_replicas).unwrap_or(1),
            elr_enabled: image.features.eligible_leader_replicas(),
            election: if config.unclean_leader_election { Election::Unclean } else { Election::Online },
            unclean_shutdown: None,
        }
    }

    pub(super) fn election(mut self, election: Election) -> Self {
        self.election = election;
        self
    }

    pub(super) fn isr(mut self, isr: Vec<BrokerId>) -> Self {
        self.next.isr = isr;
        self
    }

    pub(super) fn recovery(mut self, recovery: LeaderRecovery) -> Self {
        self.next.recovery = recovery;
        self
    }

    /// `broker` came back without having shut down cleanly: it is in neither ISR nor ELR until it has caught
    /// up.
    pub(super) fn unclean_shutdown(mut self, broker: BrokerId) -> Self {
        self.next.isr.retain(|one| *one != broker);
        self.unclean_shutdown = Some(broker);
        self
    }

    pub(super) fn assignment(
        mut self,
        replicas: Vec<BrokerId>,
        adding: Vec<BrokerId>,
        removing: Vec<BrokerId>,
    ) -> Self {
        self.set_replicas(replicas);
        self.next.adding = adding;
        self.next.removing = removing;
        self
    }

    /// The replica of `broker` is in `directory` now.
    pub(super) fn directory(mut self, broker: BrokerId, directory: Uuid) -> Self {
        if let Some(at) = self.next.replicas.iter().position(|replica| *replica == broker) {
            self.next.directories[at] = directory;
        }
        self
    }

    /// The record of the change; none if nothing changes.
    pub(super) fn record(mut self) -> Option<MetadataRecord> {
        self.complete_reassignment();
        self.maintain_elr();
        self.elect();
        if self.next.isr.is_empty() && !self.elr_enabled {
            // Without an ELR the last one in sync stays in the ISR: only it may lead when it returns.
            self.next.isr = self.now.isr.clone();
        }
        self.remember_leader();
        self.difference().map(MetadataRecord::PartitionChange)
    }

    fn complete_reassignment(&mut self) {
        if !self.next.is_reassigning() {
            return;
        }
        let stays = |broker: &BrokerId| !self.next.removing.contains(broker);
        let isr: Vec<BrokerId> = self.next.isr.iter().copied().filter(stays).collect();
        let replicas: Vec<BrokerId> = self.next.replicas.iter().copied().filter(stays).collect();
        // Whoever goes may hold what a replica that stays still lacks: all that stay must be in sync first.
        if isr.is_empty() || !replicas.iter().all(|broker| isr.contains(broker)) {
            return;
        }
        self.next.elr.retain(|broker| replicas.contains(broker));
        self.next.isr = isr;
        self.set_replicas(replicas);
        self.next.adding.clear();
        self.next.removing.clear();
    }

    /// Replicas that stay keep their directory.
    fn set_replicas(&mut self, replicas: Vec<BrokerId>) {
        self.next.directories = moved_directories(&self.next, &replicas);
        self.next.replicas = replicas;
    }

    fn maintain_elr(&mut self) {
        if !self.elr_enabled {
            return;
        }
        if self.next.isr.len() >= self.min_isr.min(self.next.replicas.len()) {
            self.next.elr.clear();
            return;
        }
        let mut elr = Vec::new();
        for broker in self.next.elr.iter().chain(&self.now.isr) {
            let counts = self.next.replicas.contains(broker) && !self.next.isr.contains(broker);
            if counts && self.unclean_shutdown != Some(*broker) && !elr.contains(broker) {
                elr.push(*broker);
            }
        }
        self.next.elr = elr;
    }

    fn elect(&mut self) {
        let in_sync = |broker: &BrokerId| self.next.isr.contains(broker);
        let eligible = |broker: &BrokerId| self.next.elr.contains(broker);
        let from_elr = self.elr_enabled && self.next.isr.is_empty();
        let clean = self.first(in_sync).or_else(|| self.first(eligible).filter(|_| from_elr));
        let leader = clean.or_else(|| self.unclean_candidate());
        if let Some(broker) = leader.filter(|broker| !self.next.isr.contains(broker)) {
            self.next.isr = vec![broker];
            self.next.elr.retain(|one| *one != broker);
        }
        if clean.is_none() && leader.is_some() {
            self.next.recovery = LeaderRecovery::Recovering;
            // What the others hold is measured by the new leader's log from now on.
            self.next.elr.clear();
        }
        self.next.leader = leader;
    }

    /// The first replica that can lead and passes: by preference if that is asked for, else the leader of
    /// now.
    fn first(&self, pass: impl Fn(&BrokerId) -> bool) -> Option<BrokerId> {
        let preferred = self.next.preferred_leader().filter(|_| self.election == Election::Preferred);
        let candidates =
            preferred.into_iter().chain(self.now.leader).chain(self.next.replicas.iter().copied());
        candidates.into_iter().find(|broker| pass(broker) && self.can_lead(broker))
    }

    /// A replica whose broker may lead and whose directory is online.
    fn can_lead(&self, broker: &BrokerId) -> bool {
        (self.may_lead)(*broker) && self.image.has_online_replica(&self.next, *broker)
    }

    fn unclean_candidate(&self) -> Option<BrokerId> {
        // Nobody is known to be better than the last leader once ISR and ELR are both empty.
        if self.elr_enabled
            && self.next.isr.is_empty()
            && self.next.elr.is_empty()
            && let [last] = self.next.last_known_elr[..]
            && self.can_lead(&last)
        {
            return Some(last);
        }
        if self.election != Election::Unclean {
            return None;
        }
        self.next.replicas.iter().copied().find(|broker| self.can_lead(broker))
    }

    /// The first time a partition has nobody in sync, its last leader is kept in mind, until there is a
    /// leader; or who was in sync to the end, if there was none any more.
    fn remember_leader(&mut self) {
        if self.next.leader.is_some() {
            self.next.last_known_elr.clear();
        } else if self.elr_enabled
            && self.next.isr.is_empty()
            && let Some(last) = self.now.leader.or(self.now.isr.first().copied())
        {
            self.next.last_known_elr = vec![last];
        }
    }

    fn difference(&self) -> Option<PartitionChangeRecord> {
        const NO_LEADER: i32 = -1;
        let (now, next) = (self.now, &self.next);
        let list = |now: &[BrokerId], next: &[BrokerId]| (now != next).then(|| numbers(next));
        let mut record = PartitionChangeRecord {
            isr: list(&now.isr, &next.isr),
            replicas: list(&now.replicas, &next.replicas),
            adding_replicas: list(&now.adding, &next.adding),
            removing_replicas: list(&now.removing, &next.removing),
            eligible_leader_replicas: list(&now.elr, &next.elr),
            last_known_elr: list(&now.last_known_elr, &next.last_known_elr),
            directories: (next.directories != moved_directories(now, &next.replicas))
                .then(|| next.directories.clone()),
            ..PartitionChangeRecord::default()
        };
        if next.recovery != now.recovery {
            record.leader_recovery_state = next.recovery.code();
        }
        // A replica that is gone must not be fetched from or counted any more: a new epoch tells everyone.
        let shrinks = !now.replicas.iter().all(|broker| next.replicas.contains(broker));
        if next.leader != now.leader || shrinks {
            record.leader = next.leader.map_or(NO_LEADER, |leader| leader.0);
        }
        if record == PartitionChangeRecord::default() {
            return None;
        }
        record.topic_id = self.topic;
        record.partition_id = self.index.0;
        Some(record)
    }
}
