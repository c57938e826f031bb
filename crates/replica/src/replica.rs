//! The replica: its role, and which handler takes which event.

use std::sync::Arc;

use ottla_wire::messages::ProducerSnapshot;
use ottla_wire::{
    BrokerId, Instant, LeaderEpoch, Offset, PartitionEpoch, ProducerEpoch, ProducerId, Sequence, Timestamp,
};

use crate::config::ReplicaConfig;
use crate::effect::Effect;
use crate::epochs::Epochs;
use crate::error::{AppendError, DeleteError};
use crate::event::{Event, PartitionState, RecoveryState, ReplyId};
use crate::follower::Follower;
use crate::leader::Leader;
use crate::local::{Local, Restored};
use crate::producer::{ProducerState, ProducerTable, VerificationGuard};
use crate::view::{View, ViewRole};

/// One replica of one partition. One owner; see the crate's documentation for how it is driven.
#[derive(Debug)]
pub struct Replica {
    local: Local,
    assigned: Assigned,
    role: Role,
}

/// What the metadata says, as far as it holds in every role.
#[derive(Debug)]
struct Assigned {
    leader: Option<BrokerId>,
    leader_epoch: LeaderEpoch,
    partition_epoch: PartitionEpoch,
    isr: Arc<[BrokerId]>,
    elr: Vec<BrokerId>,
    last_known_elr: Vec<BrokerId>,
    recovery: RecoveryState,
}

#[derive(Debug)]
enum Role {
    Leader(Leader),
    Follower(Follower),
    /// Nobody leads, or this broker holds no replica.
    Idle,
    /// The log directory failed. Final.
    Offline,
    /// Deleted or stopped. Final.
    Retired,
}

impl Replica {
    /// A replica that waits for its first [`Event::Assigned`].
    pub fn new(config: ReplicaConfig, restored: Restored) -> Replica {
        let assigned = Assigned {
            leader: None,
            leader_epoch: LeaderEpoch::NONE,
            partition_epoch: PartitionEpoch(-1),
            isr: Arc::from([]),
            elr: Vec::new(),
            last_known_elr: Vec::new(),
            recovery: RecoveryState::Recovered,
        };
        Replica { local: Local::new(config, restored), assigned, role: Role::Idle }
    }

    /// Takes one event and appends to `effects` what is to be done. Never fails: what a caller did wrong is
    /// an effect, too. `now` MUST NOT go back; `wall` may.
    pub fn step(&mut self, now: Instant, wall: Timestamp, event: Event, effects: &mut Vec<Effect>) {
        let Replica { local, role, .. } = self;
        match (role, event) {
            (Role::Leader(leader), Event::Append(append)) => leader.append(now, wall, local, append, effects),
            (Role::Leader(leader), Event::WriteMarker(marker)) => {
                leader.write_marker(now, wall, local, marker, effects);
            }
            (Role::Leader(leader), Event::FollowerFetched(fetch)) => {
                leader.fetched(now, local, fetch, effects)
            }
            (Role::Leader(leader), Event::IsrAnswered(answer)) => {
                leader.isr_answered(now, local, answer, effects);
            }
            (Role::Leader(leader), Event::DeleteRecords(delete)) => {
                leader.delete_records(local, delete, effects)
            }
            (Role::Follower(follower), Event::LeaderAnswered(answer)) => {
                follower.answered(now, local, answer, effects)
            }

            (_, Event::Assigned(state)) => self.assigned(now, state, effects),
            (_, Event::Configured(config)) => self.configured(now, config, effects),
            (_, Event::Flushed { epoch, end }) if epoch == self.assigned.leader_epoch => {
                self.flushed(now, end, effects);
            }
            (_, Event::Flushed { .. }) => {} // asked for by an epoch that has passed
            (_, Event::Truncated { end, producers }) => self.truncated(now, end, producers, effects),
            (_, Event::Unwritten { end, producers }) => self.unwritten(now, end, producers, effects),
            (_, Event::LogStartMoved(start)) => self.log_start_moved(start, effects),
            (_, Event::Tick) => self.tick(now, effects),
            (_, Event::StorageFailed) => self.leave(Role::Offline, effects),
            (_, Event::Retired) => self.leave(Role::Retired, effects),

            (_, Event::Append(append)) => self.refuse_append(append.reply, effects),
            (_, Event::WriteMarker(marker)) => self.refuse_append(marker.reply, effects),
            (_, Event::DeleteRecords(delete)) => self.refuse_delete(delete.reply, effects),
            // Answers to a role that has passed.
            (_, Event::FollowerFetched(_) | Event::IsrAnswered(_) | Event::LeaderAnswered(_)) => {}
        }
    }

    /// What readers may know, after the turn's effects are carried out.
    pub fn view(&self) -> View {
        let isr = match &self.role {
            Role::Leader(leader) => leader.isr().clone(),
            Role::Follower(_) | Role::Idle | Role::Offline | Role::Retired => self.assigned.isr.clone(),
        };
        View {
            role: self.view_role(),
            leader: self.assigned.leader,
            leader_epoch: self.assigned.leader_epoch,
            partition_epoch: self.partition_epoch(),
            log_start: self.local.log_start,
            high_watermark: self.local.high_watermark,
            last_stable: self.local.last_stable(),
            log_end: self.local.log_end,
            durable_end: self.local.durable_end,
            isr,
            under_min_isr: matches!(&self.role, Role::Leader(leader) if leader.is_under_min_isr(&self.local)),
            epochs: self.local.epochs.clone(),
        }
    }

    /// Takes appends.
    pub fn leads(&self) -> bool {
        matches!(self.role, Role::Leader(_))
    }

    /// The settings that it goes by now.
    pub fn config(&self) -> &ReplicaConfig {
        &self.local.config
    }

    /// For the leader epoch checkpoint.
    pub fn epochs(&self) -> &Epochs {
        &self.local.epochs
    }

    /// For a `.snapshot` file at the log end as it is now.
    pub fn snapshot_producers(&self) -> ProducerSnapshot {
        self.local.producers.snapshot()
    }

    /// For DescribeProducers, by producer id.
    pub fn producers(&self) -> Vec<ProducerState> {
        self.local.producers.list()
    }

    /// Eligible leader replicas, as the controller keeps them (KIP-966).
    pub fn elr(&self) -> &[BrokerId] {
        &self.assigned.elr
    }

    /// Members of an ELR that was given up (KIP-966).
    pub fn last_known_elr(&self) -> &[BrokerId] {
        &self.assigned.last_known_elr
    }

    /// Whether the leader came from an unclean election.
    pub fn recovery(&self) -> RecoveryState {
        self.assigned.recovery
    }

    /// A client's transactional batch is to be confirmed with the transaction coordinator before it is
    /// appended: the guard to put into [`crate::Append::verified`] once the coordinator has agreed. A marker
    /// that comes in between makes it void. `None` when a transaction of this producer and epoch is open
    /// here: append without asking. `bumps_epochs`: the client speaks transaction version 2.
    pub fn begin_verification(
        &mut self,
        now: Instant,
        producer: ProducerId,
        epoch: ProducerEpoch,
        sequence: Sequence,
        bumps_epochs: bool,
    ) -> Option<VerificationGuard> {
        self.local.producers.begin_verification(now, producer, epoch, sequence, bumps_epochs)
    }

    /// Whether a coordinator's batch of this producer would be appended now, as far as the producer is
    /// concerned: it is not fenced, and with `verify` its transaction is open here or was confirmed under the
    /// guard that is shown, with no marker since. Clients' batches are checked when they are appended.
    pub fn check_claim(
        &self,
        producer: ProducerId,
        epoch: ProducerEpoch,
        shown: Option<VerificationGuard>,
        verify: bool,
    ) -> Result<(), AppendError> {
        self.local.producers.check_claim(producer, epoch, shown, verify)
    }

    fn assigned(&mut self, now: Instant, state: PartitionState, effects: &mut Vec<Effect>) {
        let older =
            state.partition_epoch < self.partition_epoch() || state.leader_epoch < self.assigned.leader_epoch;
        if older || matches!(self.role, Role::Offline | Role::Retired) {
            return;
        }
        let new_epoch = state.leader_epoch > self.assigned.leader_epoch;
        self.assigned.take(&state);
        if new_epoch {
            self.local.forget_flush();
        }
        let me = self.local.config.broker;
        let holds_replica = state.replicas.iter().any(|replica| replica.broker == me);
        match (&mut self.role, state.leader) {
            (Role::Leader(leader), Some(id)) if id == me => {
                leader.assigned(now, &mut self.local, &state, effects);
            }
            (_, Some(id)) if id == me => self.lead(now, &state, effects),
            (Role::Follower(follower), Some(id)) if !new_epoch && follower.follows(id) => {}
            (_, Some(id)) if holds_replica => self.follow(id, effects),
            (_, Some(_) | None) => self.leave(Role::Idle, effects),
        }
    }

    fn lead(&mut self, now: Instant, state: &PartitionState, effects: &mut Vec<Effect>) {
        self.leave(Role::Idle, effects);
        let leader = Leader::begin(now, &mut self.local, state, effects);
        self.role = Role::Leader(leader);
    }

    fn follow(&mut self, leader: BrokerId, effects: &mut Vec<Effect>) {
        self.leave(Role::Idle, effects);
        let follower = Follower::begin(leader, self.assigned.leader_epoch, &mut self.local, effects);
        self.role = Role::Follower(follower);
    }

    /// Gives up the role: whoever waits is told why.
    fn leave(&mut self, next: Role, effects: &mut Vec<Effect>) {
        match std::mem::replace(&mut self.role, next) {
            Role::Leader(leader) => {
                let (append, delete) = self.refusals();
                leader.end(append, delete, effects);
            }
            Role::Follower(_) => effects.push(Effect::StopFetching),
            Role::Idle => {}
            // Nothing comes after these two, except that a failed replica may be deleted.
            Role::Offline => {
                if !matches!(self.role, Role::Retired) {
                    self.role = Role::Offline;
                }
            }
            Role::Retired => self.role = Role::Retired,
        }
    }

    fn configured(&mut self, now: Instant, config: ReplicaConfig, effects: &mut Vec<Effect>) {
        self.local.producers.limit_to(config.producers_max);
        self.local.config = config;
        self.go_on(now, effects);
    }

    fn flushed(&mut self, now: Instant, end: Offset, effects: &mut Vec<Effect>) {
        self.local.flushed(end);
        self.go_on(now, effects);
    }

    fn truncated(&mut self, now: Instant, end: Offset, producers: ProducerTable, effects: &mut Vec<Effect>) {
        if self.local.truncating {
            self.local.truncated(end, producers, effects);
            self.go_on(now, effects);
        }
    }

    fn unwritten(&mut self, now: Instant, end: Offset, producers: ProducerTable, effects: &mut Vec<Effect>) {
        self.local.unwritten(end, producers, effects);
        match &mut self.role {
            Role::Leader(leader) => leader.unwritten(&mut self.local, effects),
            Role::Follower(follower) => follower.unwritten(),
            Role::Idle | Role::Offline | Role::Retired => {}
        }
        self.go_on(now, effects);
    }

    /// The log may count for more than it did: asks for the next flush, and whoever waited for the last one
    /// goes on.
    fn go_on(&mut self, now: Instant, effects: &mut Vec<Effect>) {
        match &mut self.role {
            Role::Leader(leader) => leader.settle(now, &mut self.local, effects),
            Role::Follower(follower) => follower.go_on(&mut self.local, effects),
            Role::Idle | Role::Offline | Role::Retired => {}
        }
    }

    fn log_start_moved(&mut self, start: Offset, effects: &mut Vec<Effect>) {
        self.local.start_moved(start, effects);
        if let Role::Leader(leader) = &mut self.role {
            leader.release_deletions(&self.local, effects);
        }
    }

    fn tick(&mut self, now: Instant, effects: &mut Vec<Effect>) {
        if let Role::Leader(leader) = &mut self.role {
            leader.tick(now, &mut self.local, effects);
        }
        self.local.expire_producers(now);
    }

    fn refuse_append(&self, reply: ReplyId, effects: &mut Vec<Effect>) {
        effects.push(Effect::Reply { to: reply, outcome: Err(self.refusals().0) });
    }

    fn refuse_delete(&self, reply: ReplyId, effects: &mut Vec<Effect>) {
        effects.push(Effect::DeleteReplied { to: reply, outcome: Err(self.refusals().1) });
    }

    /// What one who does not lead says to those who want a leader.
    fn refusals(&self) -> (AppendError, DeleteError) {
        match self.role {
            Role::Offline => (AppendError::Storage, DeleteError::Storage),
            Role::Leader(_) | Role::Follower(_) | Role::Idle | Role::Retired => {
                (AppendError::NotLeader, DeleteError::NotLeader)
            }
        }
    }

    fn view_role(&self) -> ViewRole {
        match self.role {
            Role::Leader(_) => ViewRole::Leader,
            Role::Follower(_) => ViewRole::Follower,
            Role::Idle => ViewRole::Idle,
            Role::Offline => ViewRole::Offline,
            Role::Retired => ViewRole::Retired,
        }
    }

    /// A leader hears of its own ISR changes before the metadata log brings them.
    fn partition_epoch(&self) -> PartitionEpoch {
        match &self.role {
            Role::Leader(leader) => leader.partition_epoch().max(self.assigned.partition_epoch),
            Role::Follower(_) | Role::Idle | Role::Offline | Role::Retired => self.assigned.partition_epoch,
        }
    }
}

impl Assigned {
    fn take(&mut self, state: &PartitionState) {
        self.leader = state.leader;
        self.leader_epoch = state.leader_epoch;
        self.partition_epoch = state.partition_epoch;
        if *self.isr != *state.isr {
            self.isr = Arc::from(state.isr.as_slice());
        }
        self.elr.clone_from(&state.elr);
        self.last_known_elr.clone_from(&state.last_known_elr);
        self.recovery = state.recovery;
    }
}
