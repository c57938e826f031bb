//! The leader: takes records, follows the followers, moves the high watermark, keeps its promises to those
//! who wait.
//!
//! - [`append`]: batches and markers.
//! - [`followers`]: what each follower holds.
//! - [`isr`]: the in-sync replicas, committed and proposed.
//! - [`waiters`]: acknowledgements; [`deletions`]: DeleteRecords.

mod append;
mod deletions;
mod followers;
mod isr;
mod waiters;

use std::sync::Arc;
use std::time::Duration;

use ottla_wire::{BrokerId, Instant, LeaderEpoch, Offset, PartitionEpoch};

use crate::effect::Effect;
use crate::error::{AppendError, DeleteError};
use crate::event::{FollowerFetch, IsrAnswer, PartitionState, Standing};
use crate::local::Local;

use deletions::Deletions;
use followers::{Follower, Followers};
use isr::Isr;
use waiters::Waiters;

/// A replica that leads.
#[derive(Debug)]
pub(crate) struct Leader {
    epoch: LeaderEpoch,
    /// The log end when this epoch began: a follower that has not come so far may hold what this leader never
    /// had.
    epoch_start: Offset,
    followers: Followers,
    isr: Isr,
    waiters: Waiters,
    deletions: Deletions,
}

impl Leader {
    pub fn begin(
        now: Instant,
        local: &mut Local,
        state: &PartitionState,
        effects: &mut Vec<Effect>,
    ) -> Leader {
        local.begin_epoch(state.leader_epoch, local.log_end, effects);
        let me = local.config.broker;
        let mut leader = Leader {
            epoch: state.leader_epoch,
            epoch_start: local.log_end,
            followers: Followers::new(now, me, state),
            isr: Isr::new(me, state),
            waiters: Waiters::default(),
            deletions: Deletions::default(),
        };
        leader.settle(now, local, effects);
        leader
    }

    /// The metadata log says something new, and this broker still leads. What followers hold is kept; with a
    /// new epoch they must show again that they keep up. The log goes on, so whoever waits goes on waiting.
    pub fn assigned(
        &mut self,
        now: Instant,
        local: &mut Local,
        state: &PartitionState,
        effects: &mut Vec<Effect>,
    ) {
        self.followers.assigned(local.config.broker, state);
        if state.partition_epoch > self.isr.partition_epoch() || state.leader_epoch > self.epoch {
            self.isr = Isr::new(local.config.broker, state);
        }
        if state.leader_epoch > self.epoch {
            self.epoch = state.leader_epoch;
            self.epoch_start = local.log_end;
            self.followers.new_epoch(now, local.log_end, self.isr.committed());
            local.begin_epoch(self.epoch, local.log_end, effects);
        }
        self.settle(now, local, effects);
    }

    /// A follower holds everything before the offset it asks from.
    pub fn fetched(
        &mut self,
        now: Instant,
        local: &mut Local,
        fetch: FollowerFetch,
        effects: &mut Vec<Effect>,
    ) {
        if fetch.epoch != self.epoch || fetch.offset > local.log_end {
            return;
        }
        let Some(follower) = self.followers.get_mut(fetch.broker) else { return };
        if !follower.fetched(now, local.log_end, &fetch) {
            return;
        }
        let joins = follower.may_join()
            && follower.log_end() >= self.epoch_start
            && follower.log_end() >= local.high_watermark
            && self.isr.may_admit(fetch.broker);
        if joins {
            let proposal = self.isr.admit(self.epoch, &self.followers, fetch.broker);
            effects.push(Effect::ProposeIsr(proposal));
        }
        self.settle(now, local, effects);
        self.release_deletions(local, effects);
    }

    pub fn isr_answered(
        &mut self,
        now: Instant,
        local: &mut Local,
        answer: IsrAnswer,
        effects: &mut Vec<Effect>,
    ) {
        if answer.epoch == self.epoch {
            self.isr.answered(answer);
            self.settle(now, local, effects);
        }
    }

    /// What was appended last did not get into the log: whoever waits for it is told.
    pub fn unwritten(&mut self, local: &mut Local, effects: &mut Vec<Effect>) {
        self.epoch_start = self.epoch_start.min(local.log_end);
        local.begin_epoch(self.epoch, local.log_end, effects);
        self.waiters.fail_from(local.log_end, AppendError::NoRoom, effects);
        self.deletions.fail_above(local.log_end, effects);
    }

    /// Deadlines, followers that lag, proposals that got lost.
    pub fn tick(&mut self, now: Instant, local: &mut Local, effects: &mut Vec<Effect>) {
        self.waiters.expire(now, effects);
        self.deletions.expire(now, effects);
        if let Some(again) = self.isr.propose_again(self.epoch, &self.followers) {
            effects.push(Effect::ProposeIsr(again));
        } else if self.isr.is_settled() {
            let lag_max = local.config.lag_max;
            let slow = |id: BrokerId| {
                self.followers
                    .get(id)
                    .is_some_and(|follower| !follower.is_caught_up(now, local.log_end, lag_max))
            };
            if let Some(proposal) = self.isr.dismiss(self.epoch, &self.followers, slow) {
                effects.push(Effect::ProposeIsr(proposal));
            }
        }
        // A follower that was waited for, although out of the ISR, may have fallen too far behind.
        self.settle(now, local, effects);
    }

    /// Something counts for more than before: asks for the next flush, moves the high watermark, releases who
    /// waited.
    pub fn settle(&mut self, now: Instant, local: &mut Local, effects: &mut Vec<Effect>) {
        local.want_flush(self.epoch, effects);
        self.move_high_watermark(now, local);
        self.waiters.release_local(local.counted_end(), effects);
        self.waiters.release_in_sync(local.high_watermark, effects);
        if self.is_under_min_isr(local) {
            // The high watermark stands still until replicas are back (KIP-966). To wait for that would only
            // hide why.
            let (in_sync, required) = self.in_sync_and_required(local);
            self.waiters
                .fail_in_sync(AppendError::NotEnoughReplicasAfterAppend { in_sync, required }, effects);
        }
    }

    /// Fewer replicas in sync than acks=all needs.
    pub fn is_under_min_isr(&self, local: &Local) -> bool {
        let (in_sync, required) = self.in_sync_and_required(local);
        in_sync < required
    }

    pub fn isr(&self) -> &Arc<[BrokerId]> {
        self.isr.committed()
    }

    pub fn partition_epoch(&self) -> PartitionEpoch {
        self.isr.partition_epoch()
    }

    /// Leadership is over: whoever waits is told why.
    pub fn end(self, why: AppendError, why_not_deleted: DeleteError, effects: &mut Vec<Effect>) {
        self.waiters.fail(why, effects);
        self.deletions.fail(why_not_deleted, effects);
    }

    /// How many replicas are in sync, and how many acks=all needs: `min.insync.replicas`, but never more than
    /// there are.
    fn in_sync_and_required(&self, local: &Local) -> (u32, u32) {
        let count = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
        let replicas = count(self.followers.len() + 1);
        (count(self.isr.committed().len()), local.config.min_isr.min(replicas))
    }

    /// What every replica holds that is in the ISR, may be in it soon (KIP-497), or is about to join is
    /// committed. Below `min.insync.replicas` nothing is (KIP-966).
    fn move_high_watermark(&self, now: Instant, local: &mut Local) {
        if self.is_under_min_isr(local) || local.truncating {
            return;
        }
        let (log_end, lag_max) = (local.log_end, local.config.lag_max);
        let mut committed = local.counted_end();
        for follower in self.followers.iter() {
            let holds_back =
                follower.log_end() < committed && self.is_waited_for(follower, now, log_end, lag_max);
            if holds_back {
                committed = follower.log_end();
            }
        }
        local.raise_high_watermark(committed);
    }

    /// A follower that keeps up and may join is waited for before it is in the ISR: else the high watermark
    /// would run away from it.
    fn is_waited_for(&self, follower: &Follower, now: Instant, log_end: Offset, lag_max: Duration) -> bool {
        self.isr.may_contain(follower.broker())
            || (follower.is_caught_up(now, log_end, lag_max) && follower.may_join())
    }

    /// The lowest log start of this replica and those followers that are alive.
    fn low_watermark(&self, local: &Local) -> Offset {
        let alive = self.followers.iter().filter(|follower| follower.standing() != Standing::Fenced);
        alive.map(Follower::log_start).fold(local.log_start, Offset::min)
    }
}
