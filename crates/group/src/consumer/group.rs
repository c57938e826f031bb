//! A consumer group: who is in it, and what becomes of it.

use std::time::Duration;

use ottla_wire::Instant;
use ottla_wire::primitives::Str;

use crate::consumer::lasting::Lasting;
use crate::consumer::member::{LEAVE_STATIC_EPOCH, Member, State};
use crate::consumer::topic_regex::Compiled;
use crate::context::Context;
use crate::group::{Group, Next};
use crate::history::{Begin, Cause, History, Phase, Who};
use crate::timers::{GroupTimers, Timer};

/// A consumer group.
pub struct ConsumerGroup {
    pub(super) id: Str,
    pub(super) lasting: Lasting,
    pub(super) soft: Soft,
}

/// Facts about topics. Lost with the broker, and looked up again.
#[derive(Default)]
pub(super) struct Soft {
    /// The hash of the topics and the version of the wish for them that it is of; `None` if topics have
    /// changed since.
    pub hashed: Option<(u64, i64)>,
    /// When all expressions were resolved last.
    pub resolved_at: Option<Instant>,
    /// Topics have changed since.
    pub topics_changed: bool,
    pub compiled: Compiled,
}

impl ConsumerGroup {
    pub(super) fn new(id: Str) -> ConsumerGroup {
        ConsumerGroup { id, lasting: Lasting::default(), soft: Soft::default() }
    }

    /// One of the group's timers is due. It may be one that a classic group of this id has left behind.
    pub fn on_timer(&mut self, ctx: &mut Context<'_>, timer: Timer) -> Next {
        match timer {
            Timer::ConsumerSession { member, .. } => self.fence(ctx, &member, Cause::SessionExpired),
            Timer::ConsumerRevocation { member, .. } => match self.lasting.member(&member) {
                Some(late) if late.current.state == State::UnrevokedPartitions && !late.is_classic() => {
                    self.fence(ctx, &member, Cause::RebalanceTimedOut)
                }
                Some(_) | None => Next::Stays,
            },
            Timer::ConsumerJoin { member, .. } | Timer::ConsumerSync { member, .. } => {
                self.fence(ctx, &member, Cause::RebalanceTimedOut)
            }
            Timer::Assignment { .. } => {
                self.assign_if_due(ctx);
                Next::Stays
            }
            Timer::Join { .. } | Timer::Sync { .. } | Timer::Session { .. } | Timer::Expiry => Next::Stays,
        }
    }

    /// Restarts sessions, after loading and after a pause.
    pub fn start(&mut self, ctx: &mut Context<'_>) -> Next {
        self.soft = Soft::default();
        ctx.timers.cancel_group(&self.id);
        for (id, member) in self.lasting.members() {
            let timer = Timer::ConsumerSession { group: self.id.clone(), member: id.clone() };
            ctx.timers.set(timer, ctx.at.now + self.session_timeout(ctx, member));
            let away = member.current.epoch == LEAVE_STATIC_EPOCH;
            if member.current.state == State::UnrevokedPartitions && !member.is_classic() && !away {
                let timer = Timer::ConsumerRevocation { group: self.id.clone(), member: id.clone() };
                ctx.timers.set(timer, ctx.at.now + rebalance_timeout(member));
            }
        }
        if !self.is_empty() {
            self.wait_for_assignment(ctx);
        }
        Next::Stays
    }

    pub(super) fn session_timeout(&self, ctx: &Context<'_>, member: &Member) -> Duration {
        match member.classic() {
            Some(classic) => millis(classic.session_timeout_ms),
            None => ctx.config.session_timeout(&self.id),
        }
    }

    /// A member has shown that it is alive.
    pub(super) fn touch(&self, ctx: &mut Context<'_>, member: &Str) {
        if let Some((id, member)) = self.lasting.members().get_key_value(member) {
            let timer = Timer::ConsumerSession { group: self.id.clone(), member: id.clone() };
            let timeout = self.session_timeout(ctx, member);
            ctx.timers.set(timer, ctx.at.now + timeout);
        }
    }

    pub(super) fn cancel_timers(&self, ctx: &mut Context<'_>, member: &Str) {
        let (group, member) = (self.id.clone(), member.clone());
        ctx.timers.cancel(&Timer::ConsumerSession { group: group.clone(), member: member.clone() });
        ctx.timers.cancel(&Timer::ConsumerRevocation { group: group.clone(), member: member.clone() });
        self.cancel_classic_timers(ctx, &member);
    }

    pub(super) fn cancel_classic_timers(&self, ctx: &mut Context<'_>, member: &Str) {
        let (group, member) = (self.id.clone(), member.clone());
        ctx.timers.cancel(&Timer::ConsumerJoin { group: group.clone(), member: member.clone() });
        ctx.timers.cancel(&Timer::ConsumerSync { group, member });
    }

    pub(super) fn history<'a>(&self, ctx: &'a mut Context<'_>) -> &'a mut History {
        ctx.histories.of(&self.id)
    }

    /// The start of a rebalance that a member has caused.
    pub(super) fn begin(&self, cause: Cause, by: Option<Who>, reason: Option<Str>) -> Begin {
        Begin { cause, by, reason, generation: self.lasting.epoch, members: self.lasting.members().len() }
    }

    /// Another group epoch, by which everybody moves to another assignment.
    pub(super) fn bump(&mut self, ctx: &mut Context<'_>, begin: Begin) {
        let epoch = self.lasting.epoch.saturating_add(1);
        let hash = self.metadata_hash(ctx);
        self.put_epoch(ctx, epoch, hash);
        let at = ctx.at;
        self.history(ctx).begin(at, begin, Phase::Assign);
    }

    pub(super) fn who(&self, member: &str) -> Who {
        let Some(found) = self.lasting.member(member) else { return Who::default() };
        Who {
            member: member.into(),
            instance: found.metadata.instance_id.clone(),
            client_id: found.metadata.client_id.clone(),
            client_host: found.metadata.client_host.clone(),
        }
    }
}

/// Time that a member has for its part of a rebalance.
pub(super) fn rebalance_timeout(member: &Member) -> Duration {
    millis(member.metadata.rebalance_timeout_ms)
}

/// Milliseconds of the wire; what is negative there is no time.
pub(super) fn millis(ms: i32) -> Duration {
    Duration::from_millis(u64::try_from(ms).unwrap_or(0))
}
