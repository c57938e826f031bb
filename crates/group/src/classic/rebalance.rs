//! From one generation of a classic group to the next; sessions and who runs out of them.

use std::time::Duration;

use ottla_coordinator::Moment;
use ottla_wire::ErrorCode;
use ottla_wire::primitives::Str;

use super::group::{ClassicGroup, Initial, State};
use super::roster::Roster;
use crate::context::Context;
use crate::history::{Begin, Cause, Phase, Who};
use crate::timers::Timer;

/// The longest wait of a member's first JoinGroup. The member cannot send heartbeats yet, so its client may
/// have gone unnoticed. A live client asks again.
const NEW_MEMBER_JOIN_TIMEOUT: Duration = Duration::from_secs(5 * 60);

/// How long a group waits at least for a member that could lead. Members may allow no time at all.
const LEADER_WAIT_MIN: Duration = Duration::from_secs(1);

/// Why a group rebalances.
pub(super) struct Why {
    pub cause: Cause,
    pub by: Option<Who>,
    /// The client's own words.
    pub reason: Option<Str>,
}

impl ClassicGroup {
    /// One of the group's timers is due. It may be one that another group of this id has left behind.
    pub fn on_timer(&mut self, ctx: &mut Context<'_>, timer: Timer) {
        match timer {
            Timer::Join { .. } => self.join_phase_ends(ctx),
            Timer::Sync { .. } => self.sync_phase_ends(ctx),
            Timer::Session { member, .. } => self.session_ends(ctx, &member),
            Timer::ConsumerSession { .. }
            | Timer::ConsumerRevocation { .. }
            | Timer::ConsumerJoin { .. }
            | Timer::ConsumerSync { .. }
            | Timer::Assignment { .. }
            | Timer::Expiry => {}
        }
    }

    /// Restarts sessions and the phases of a rebalance, after loading and after a pause in which no heartbeat
    /// could arrive.
    pub fn start(&mut self, ctx: &mut Context<'_>) {
        self.renew_all(ctx);
        for (id, session) in self.roster.pending() {
            let timer = Timer::Session { group: self.id.clone(), member: id.clone() };
            ctx.timers.set(timer, ctx.at.now + session);
        }
        match self.state {
            State::PreparingRebalance { initial: Some(initial) } => self.set_join_timer(ctx, initial.delay),
            State::PreparingRebalance { initial: None } => {
                self.set_join_timer(ctx, self.roster.rebalance_timeout());
            }
            State::CompletingRebalance | State::Stable if !self.unsynced.is_empty() => {
                self.set_sync_timer(ctx);
            }
            State::Empty | State::CompletingRebalance | State::Stable => {}
        }
        if self.state == State::Stable && self.roster.len() > ctx.config.classic_size_max {
            self.prepare_rebalance(ctx, Why { cause: Cause::TooLarge, by: None, reason: None });
        } else if self.state == State::Stable && self.roster.leader().is_none() {
            self.prepare_rebalance(ctx, Why { cause: Cause::ProtocolChanged, by: None, reason: None });
        }
    }

    /// Restarts a member's session. Cheap: the timer stays unless it would be too late.
    pub(super) fn renew(&mut self, ctx: &mut Context<'_>, id: &Str) {
        let Some(member) = self.roster.get_mut(id) else { return };
        let waits_for_its_first_answer = member.is_new && member.joining.is_some();
        let session =
            if waits_for_its_first_answer { NEW_MEMBER_JOIN_TIMEOUT } else { member.session_timeout };
        member.deadline = ctx.at.now + session;
        if member.timer.is_none_or(|at| at > member.deadline) {
            member.timer = Some(member.deadline);
            let timer = Timer::Session { group: self.id.clone(), member: id.detached() };
            ctx.timers.set(timer, member.deadline);
        }
    }

    pub(super) fn renew_all(&mut self, ctx: &mut Context<'_>) {
        for id in self.roster.ids() {
            self.renew(ctx, &id);
        }
    }

    /// A member has joined. The group begins a rebalance, or comes nearer to the end of the join phase.
    pub(super) fn has_joined(&mut self, ctx: &mut Context<'_>, why: Why) {
        match self.state {
            State::PreparingRebalance { .. } => {
                if let Some(by) = why.by {
                    ctx.histories.of(&self.id).arrived(ctx.at, || by);
                }
                self.complete_join_if_ready(ctx);
            }
            State::Empty | State::CompletingRebalance | State::Stable => self.prepare_rebalance(ctx, why),
        }
    }

    /// Members were removed. The group begins a rebalance, or stops waiting for them. `why` is missing if
    /// none of them was a full member.
    pub(super) fn somebody_left(&mut self, ctx: &mut Context<'_>, why: Option<Why>) {
        match (self.state, why) {
            (State::CompletingRebalance | State::Stable, Some(why)) => self.prepare_rebalance(ctx, why),
            (State::PreparingRebalance { .. }, _) => self.complete_join_if_ready(ctx),
            (State::CompletingRebalance | State::Stable, None) | (State::Empty, _) => {}
        }
    }

    /// Takes a member out. Its requests that wait are refused, so a client that is still there asks again.
    pub(super) fn remove_member(&mut self, ctx: &mut Context<'_>, id: &Str) -> Option<Who> {
        self.refuse_waiting(ctx, id, ErrorCode::UnknownMemberId);
        let member = self.roster.remove(id)?;
        self.unsynced.remove(id);
        ctx.timers.cancel(&Timer::Session { group: self.id.clone(), member: id.clone() });
        Some(member.who(id))
    }

    /// Forgets a member id that was issued but not used. False if it is not such an id.
    pub(super) fn stop_expecting(&mut self, ctx: &mut Context<'_>, id: &Str) -> bool {
        let was_expected = self.roster.remove_pending(id);
        if was_expected {
            ctx.timers.cancel(&Timer::Session { group: self.id.clone(), member: id.clone() });
        }
        was_expected
    }

    /// Everybody has to join again.
    pub(super) fn prepare_rebalance(&mut self, ctx: &mut Context<'_>, why: Why) {
        if self.state == State::CompletingRebalance {
            self.reset_assignments(ctx, ErrorCode::RebalanceInProgress);
        }
        self.unsynced.clear();
        ctx.timers.cancel(&Timer::Sync { group: self.id.clone() });
        let was_empty = self.state == State::Empty;
        self.begin_history(ctx, why);
        if was_empty {
            let delay = ctx.config.initial_rebalance_delay;
            let remaining = self.roster.rebalance_timeout().saturating_sub(delay);
            let initial = Initial { delay, remaining, has_newcomer: false };
            self.enter(ctx.at, State::PreparingRebalance { initial: Some(initial) });
            return self.set_join_timer(ctx, delay);
        }
        self.enter(ctx.at, State::PreparingRebalance { initial: None });
        if self.roster.have_all_joined() {
            self.complete_join(ctx);
        } else {
            self.set_join_timer(ctx, self.roster.rebalance_timeout());
        }
    }

    pub(super) fn enter(&mut self, at: &Moment, state: State) {
        self.state = state;
        self.since = Some(at.wall);
    }

    /// Ends the join phase if everybody has joined. A group that waits for its first members waits to the
    /// end.
    fn complete_join_if_ready(&mut self, ctx: &mut Context<'_>) {
        if self.state == (State::PreparingRebalance { initial: None }) && self.roster.have_all_joined() {
            self.complete_join(ctx);
        }
    }

    fn join_phase_ends(&mut self, ctx: &mut Context<'_>) {
        let State::PreparingRebalance { initial } = &mut self.state else { return };
        match initial {
            Some(initial) if initial.has_newcomer && !initial.remaining.is_zero() => {
                let delay = ctx.config.initial_rebalance_delay.min(initial.remaining);
                initial.remaining = initial.remaining.saturating_sub(initial.delay);
                initial.delay = delay;
                initial.has_newcomer = false;
                self.set_join_timer(ctx, delay);
            }
            Some(_) | None => self.complete_join(ctx),
        }
    }

    /// The next generation is made of those who have joined, and of static members, who may come back.
    fn complete_join(&mut self, ctx: &mut Context<'_>) {
        ctx.timers.cancel(&Timer::Join { group: self.id.clone() });
        self.note_absent(ctx);
        for id in self.roster.absent_dynamic() {
            self.remove_member(ctx, &id);
        }
        if !self.roster.elect() && !self.roster.is_empty() {
            // No member can lead. Either sessions expire and empty the group, or a new member joins.
            return self.set_join_timer(ctx, self.roster.rebalance_timeout().max(LEADER_WAIT_MIN));
        }
        self.generation = self.generation.checked_add(1).unwrap_or(0);
        self.generation_len = self.roster.len();
        self.unsynced.clear();
        ctx.histories.of(&self.id).leads_to(self.generation, self.generation_len);
        self.protocol = self.roster.select_protocol();
        self.topics = self.compute_topics();
        if self.roster.is_empty() {
            self.enter(ctx.at, State::Empty);
            self.write(ctx);
            return ctx.histories.of(&self.id).complete(ctx.at);
        }
        self.enter(ctx.at, State::CompletingRebalance);
        ctx.histories.of(&self.id).enter(ctx.at, Phase::Assign);
        for id in self.roster.ids() {
            let response = self.joined(&id);
            self.answer_joining(ctx, &id, response);
            if let Some(member) = self.roster.get_mut(&id) {
                member.is_new = false;
            }
            self.renew(ctx, &id);
            self.unsynced.insert(id);
        }
        self.set_sync_timer(ctx);
    }

    /// Members that have not sent SyncGroup in time are removed, and the others rebalance.
    fn sync_phase_ends(&mut self, ctx: &mut Context<'_>) {
        if self.unsynced.is_empty() {
            return;
        }
        let mut first = None;
        for id in std::mem::take(&mut self.unsynced) {
            if let Some(who) = self.remove_member(ctx, &id) {
                ctx.histories.of(&self.id).absent(|| who.clone());
                first.get_or_insert(who);
            }
        }
        self.prepare_rebalance(ctx, Why { cause: Cause::RebalanceTimedOut, by: first, reason: None });
    }

    fn session_ends(&mut self, ctx: &mut Context<'_>, id: &Str) {
        if self.stop_expecting(ctx, id) {
            return self.complete_if_all_joined(ctx);
        }
        let Some(member) = self.roster.get_mut(id) else { return };
        member.timer = None;
        if member.deadline > ctx.at.now {
            member.timer = Some(member.deadline);
            let timer = Timer::Session { group: self.id.clone(), member: id.clone() };
            return ctx.timers.set(timer, member.deadline);
        }
        let waits = member.joining.is_some() || member.syncing.is_some();
        if waits && !member.is_new {
            // The coordinator makes it wait. Its session restarts with the answer.
            return;
        }
        let by = self.remove_member(ctx, id);
        match self.state {
            State::CompletingRebalance | State::Stable => {
                self.prepare_rebalance(ctx, Why { cause: Cause::SessionExpired, by, reason: None });
            }
            State::PreparingRebalance { .. } => self.complete_if_all_joined(ctx),
            State::Empty => {}
        }
    }

    /// A member that the group waited for has left. As in Kafka, this can end the wait of a new group, too.
    fn complete_if_all_joined(&mut self, ctx: &mut Context<'_>) {
        if matches!(self.state, State::PreparingRebalance { .. }) && self.roster.have_all_joined() {
            self.complete_join(ctx);
        }
    }

    fn set_join_timer(&self, ctx: &mut Context<'_>, after: Duration) {
        ctx.timers.set(Timer::Join { group: self.id.clone() }, ctx.at.now + after);
    }

    fn set_sync_timer(&self, ctx: &mut Context<'_>) {
        let after = self.roster.rebalance_timeout();
        ctx.timers.set(Timer::Sync { group: self.id.clone() }, ctx.at.now + after);
    }

    fn begin_history(&self, ctx: &mut Context<'_>, why: Why) {
        let history = ctx.histories.of(&self.id);
        let begin = Begin {
            cause: why.cause,
            by: why.by.clone(),
            reason: why.reason,
            generation: self.generation,
            members: self.generation_len,
        };
        history.begin(ctx.at, begin, Phase::Join);
        if let Some(by) = why.by
            && has_joined(&self.roster, &by.member)
        {
            history.arrived(ctx.at, || by);
        }
    }

    fn note_absent(&self, ctx: &mut Context<'_>) {
        let history = ctx.histories.of(&self.id);
        for (id, member) in self.roster.iter().filter(|(_, member)| member.joining.is_none()) {
            history.absent(|| member.who(id));
        }
    }
}

fn has_joined(roster: &Roster, id: &Str) -> bool {
    roster.get(id).is_some_and(|member| member.joining.is_some())
}
