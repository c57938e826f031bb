//! The assignment that a group moves to.

use std::collections::BTreeMap;
use std::time::Duration;

use ottla_wire::primitives::Str;

use crate::assignor::{Assignor, MemberSpec, Partitions, Spec};
use crate::config::GroupConfig;
use crate::consumer::group::ConsumerGroup;
use crate::consumer::lasting::Lasting;
use crate::consumer::member::Member;
use crate::context::Context;
use crate::group::Group;
use crate::history::Phase;
use crate::timers::Timer;
use crate::topics::{TopicFacts, Topics};

impl ConsumerGroup {
    /// Makes a new assignment if one is wanted. Sets the timer instead if the last one is too young.
    pub(super) fn assign_if_due(&mut self, ctx: &mut Context<'_>) {
        if self.lasting.epoch <= self.lasting.target.epoch || self.is_empty() {
            return;
        }
        if self.assignment_due_in(ctx).is_zero() {
            self.assign(ctx);
            ctx.timers.cancel(&Timer::Assignment { group: self.id.clone() });
        } else {
            self.wait_for_assignment(ctx);
        }
    }

    /// Sets the timer for the next assignment, if one is wanted.
    pub(super) fn wait_for_assignment(&self, ctx: &mut Context<'_>) {
        let timer = Timer::Assignment { group: self.id.clone() };
        if self.lasting.epoch > self.lasting.target.epoch && !ctx.timers.is_set(&timer) {
            let due = ctx.at.now + self.assignment_due_in(ctx);
            ctx.timers.set(timer, due);
        }
    }

    /// How long to wait before the next assignment. The first one does not wait, and neither does one after
    /// the clock was set back.
    fn assignment_due_in(&self, ctx: &Context<'_>) -> Duration {
        let target = &self.lasting.target;
        let interval = ctx.config.assignment_interval(&self.id);
        match u64::try_from(ctx.at.wall.0.saturating_sub(target.assigned_at)) {
            Ok(since) if target.assigned_at > 0 => interval.saturating_sub(Duration::from_millis(since)),
            Ok(_) | Err(_) => Duration::ZERO,
        }
    }

    fn assign(&mut self, ctx: &mut Context<'_>) {
        for (member, partitions) in changes(&self.lasting, ctx.config, ctx.topics) {
            self.put_target(ctx, &member, &partitions);
        }
        let epoch = self.lasting.epoch;
        self.put_target_epoch(ctx, epoch);
        let (at, members) = (ctx.at, self.lasting.members().len());
        let history = self.history(ctx);
        history.leads_to(epoch, members);
        history.enter(at, Phase::Reconcile);
    }
}

/// The assignor that most members want, among equals the one that the settings name first.
pub fn assignor(lasting: &Lasting, config: &GroupConfig) -> Assignor {
    let known = config.assignors.iter().filter_map(|name| Assignor::named(name));
    let votes = |assignor: Assignor| lasting.assignors().get(assignor.name()).copied().unwrap_or(0);
    known
        .reduce(|best, other| if votes(other) > votes(best) { other } else { best })
        .unwrap_or(Assignor::Uniform)
}

/// The new targets of the members whose target changes.
fn changes(lasting: &Lasting, config: &GroupConfig, topics: &dyn Topics) -> Vec<(Str, Partitions)> {
    let spec = spec(lasting, topics);
    let assigned = assignor(lasting, config).assign(&spec);
    let members = lasting.members().keys().zip(assigned);
    members
        .filter(|(member, partitions)| lasting.target.by_member.get(*member) != Some(partitions))
        .map(|(member, partitions)| (member.clone(), partitions))
        .collect()
}

fn spec<'a>(lasting: &'a Lasting, facts: &'a dyn Topics) -> Spec<'a> {
    let topics: Vec<TopicFacts> = lasting.topics().filter_map(|name| facts.by_name(name)).collect();
    let mut subscriptions = Vec::new();
    let mut seen: BTreeMap<(&[Str], Option<&Str>), usize> = BTreeMap::new();
    let members = lasting.members().iter().map(|(id, member)| {
        let key = (member.metadata.subscribed_topic_names.as_slice(), member.regex());
        let subscription = *seen.entry(key).or_insert_with(|| {
            subscriptions.push(positions(lasting, member, &topics));
            subscriptions.len() - 1
        });
        MemberSpec {
            id: id.clone(),
            instance_id: member.metadata.instance_id.clone(),
            rack: member.metadata.rack_id.clone(),
            subscription,
            before: lasting.target.by_member.get(id),
        }
    });
    let members = members.collect();
    Spec { topics, subscriptions, members, facts }
}

/// Positions of the topics that a member is subscribed to.
fn positions(lasting: &Lasting, member: &Member, topics: &[TopicFacts]) -> Vec<usize> {
    (0..topics.len()).filter(|topic| lasting.is_subscribed(member, &topics[*topic].name)).collect()
}
