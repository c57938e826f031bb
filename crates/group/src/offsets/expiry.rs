//! Offsets that have outlived their use: those past their retention (KIP-211, KIP-496), and those of deleted
//! topics.
//!
//! There may be millions of offsets, so one step never looks at all of them. It does some work and leaves the
//! rest to the next step, a little later.

use std::ops::Bound;

use ottla_wire::Timestamp;
use ottla_wire::primitives::Str;

use super::committed::Offsets;
use super::store::{CommittedOffset, Entry, GroupTopicPartition};
use super::sweep::{Deleted, Position, SWEEP_PAUSE, Work};
use crate::context::Context;
use crate::group::{Group, Next, OffsetExpiry};
use crate::groups::{Groups, HasOffsets};
use crate::timers::Timer;

impl Offsets {
    /// Sets the timer for the first check.
    pub fn start(&mut self, ctx: &mut Context<'_>) {
        self.sweep.check_due = ctx.at.now + ctx.config.offsets_check_interval;
        self.wait_for_work(ctx);
    }

    /// Time for a step. Groups that have nothing left go with their offsets.
    pub fn expire(&mut self, ctx: &mut Context<'_>, groups: &mut Groups) {
        if self.sweep.check.is_none() && ctx.at.now >= self.sweep.check_due {
            self.sweep.check = Some(Position::default());
            self.sweep.check_due = ctx.at.now + ctx.config.offsets_check_interval;
        }
        self.work(ctx, groups);
    }

    /// Topics of these names were deleted. Offsets that were committed since, for topics that have their
    /// names now, stay.
    pub fn remove_topics(&mut self, ctx: &mut Context<'_>, groups: &mut Groups, deleted: &[Str]) {
        if deleted.is_empty() {
            return;
        }
        for topic in deleted {
            self.sweep.deleted.topics.insert(topic.detached(), self.rank);
        }
        self.sweep.deleted.done = None;
        self.work(ctx, groups);
    }

    fn work(&mut self, ctx: &mut Context<'_>, groups: &mut Groups) {
        let mut work = Work::default();
        self.sweep_deleted(ctx, groups, &mut work);
        self.sweep_expired(ctx, groups, &mut work);
        self.wait_for_work(ctx);
    }

    fn wait_for_work(&self, ctx: &mut Context<'_>) {
        let is_idle = self.sweep.deleted.topics.is_empty() && self.sweep.check.is_none();
        let due = if is_idle { self.sweep.check_due } else { ctx.at.now + SWEEP_PAUSE };
        ctx.timers.set(Timer::Expiry, due);
    }

    fn sweep_deleted(&mut self, ctx: &mut Context<'_>, groups: &mut Groups, work: &mut Work) {
        while !self.sweep.deleted.topics.is_empty() && !work.is_done() {
            let Some(group) = groups.next_after(self.sweep.deleted.done.as_ref()).cloned() else {
                self.sweep.deleted = Deleted::default();
                return;
            };
            work.spend(self.sweep.deleted.topics.len());
            let mut places = Vec::new();
            for (topic, rank) in &self.sweep.deleted.topics {
                self.collect_stale(ctx, &group, topic, *rank, &mut places);
            }
            work.spend(places.len());
            self.remove(ctx, places);
            groups.settle(ctx, self, &group, Next::Stays);
            self.sweep.deleted.done = Some(group);
        }
    }

    /// Adds the places of a deleted topic whose offsets say nothing of a topic that there is now.
    fn collect_stale(
        &self,
        ctx: &Context<'_>,
        group: &Str,
        topic: &Str,
        rank: u64,
        places: &mut Vec<GroupTopicPartition>,
    ) {
        let now = ctx.topics.by_name(topic).map(|facts| facts.id);
        let is_stale = |entry: &Entry| {
            let id = entry.committed.topic_id;
            entry.rank <= rank && (id.is_zero() || Some(id) != now)
        };
        let committed = self.store.group(group).and_then(|topics| topics.get(topic));
        for (partition, entry) in committed.into_iter().flatten() {
            if is_stale(entry) {
                let (group, topic) = (group.clone(), topic.clone());
                places.push(GroupTopicPartition { group, topic, partition: *partition });
            }
        }
        // Beside a committed offset that stays, what is pending from before it loses by its rank anyway.
        let pending = self.pending.places_in(group, topic);
        let alone = pending.filter(|(place, _)| self.get(place).is_none());
        places.extend(
            alone
                .filter(|(_, entries)| entries.iter().all(|entry| is_stale(entry)))
                .map(|(place, _)| place.clone()),
        );
    }

    fn sweep_expired(&mut self, ctx: &mut Context<'_>, groups: &mut Groups, work: &mut Work) {
        while let Some(position) = &self.sweep.check
            && !work.is_done()
        {
            let next = match (&position.group, &position.topic) {
                (Some(group), Some(topic)) => Some((group.clone(), Bound::Excluded(topic.clone()))),
                (group, _) => {
                    let next = groups.next_after(group.as_ref());
                    next.map(|group| (group.clone(), Bound::Unbounded))
                }
            };
            self.sweep.check = next.map(|(group, behind)| {
                work.spend(1);
                let topic = self.topic_behind(&group, behind);
                match &topic {
                    Some(topic) => self.expire_topic(ctx, groups.get(&group), &group, topic, work),
                    None => self.finish_group(ctx, groups, &group),
                }
                Position { group: Some(group), topic }
            });
        }
    }

    fn topic_behind(&self, group: &Str, topic: Bound<Str>) -> Option<Str> {
        let mut topics = self.store.group(group)?.range((topic, Bound::Unbounded));
        topics.next().map(|(topic, _)| topic.clone())
    }

    fn expire_topic(
        &mut self,
        ctx: &mut Context<'_>,
        group: Option<&dyn Group>,
        id: &Str,
        topic: &Str,
        work: &mut Work,
    ) {
        let Some(group) = group.filter(|group| !group.is_subscribed_to(topic)) else { return };
        let expiry = group.offset_expiry();
        let Some(partitions) = self.store.group(id).and_then(|topics| topics.get(topic)) else { return };
        work.spend(partitions.len());
        let expired = partitions
            .iter()
            .filter(|(_, entry)| is_expired(ctx, expiry, &entry.committed))
            .map(|(partition, _)| GroupTopicPartition {
                group: id.clone(),
                topic: topic.clone(),
                partition: *partition,
            })
            .filter(|place| !self.pending.contains(place));
        let expired = expired.collect();
        self.remove(ctx, expired);
    }

    /// All topics of the group have been looked at: it goes if it has nothing left.
    fn finish_group(&mut self, ctx: &mut Context<'_>, groups: &mut Groups, id: &Str) {
        groups.settle(ctx, self, id, Next::Stays);
        let is_idle = |group: &dyn Group| group.is_empty() && !group.is_expecting();
        if groups.get(id).is_some_and(is_idle) && !self.has_offsets(id) {
            groups.delete(ctx, id);
        }
    }

    fn remove(&mut self, ctx: &mut Context<'_>, places: Vec<GroupTopicPartition>) {
        for place in places {
            self.write_tombstone(ctx, place);
        }
    }
}

fn is_expired(ctx: &Context<'_>, expiry: OffsetExpiry, committed: &CommittedOffset) -> bool {
    let retention = i64::try_from(ctx.config.offsets_retention.as_millis()).unwrap_or(i64::MAX);
    let is_over = |since: Timestamp| ctx.at.wall.0.saturating_sub(since.0) >= retention;
    match expiry {
        OffsetExpiry::Never => false,
        // Old clients say when; then nothing else counts.
        OffsetExpiry::FromCommit | OffsetExpiry::FromEmpty(_) if committed.expires_at != Timestamp::NONE => {
            ctx.at.wall >= committed.expires_at
        }
        OffsetExpiry::FromCommit => is_over(committed.committed_at),
        OffsetExpiry::FromEmpty(since) => is_over(since),
    }
}
