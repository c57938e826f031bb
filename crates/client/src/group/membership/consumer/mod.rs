//! A member of a group of the consumer protocol (KIP-848), as a pure core: heartbeats carry everything. The
//! broker says what the member is to have; the member gives up what is not in that, says so, and only then
//! takes what is new.
//!
//! - `reconcile`: from what it has to what it is to have.
//! - `wire`: its question and the answer.

mod reconcile;
#[cfg(test)]
mod tests;
mod wire;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use ottla_wire::TopicId;
use ottla_wire::messages::ConsumerGroupHeartbeatResponse;
use ottla_wire::primitives::Str;
use ottla_wire::protocol::ErrorCode;

use super::{Change, Core, Departure, Effect, Event, Heart, Now, Subscription, Ticket};
use crate::error::{ApiError, Error};
use crate::offsets::GroupMetadata;
use crate::seam::Instant;
pub(in crate::group) use wire::{Answer, Question};
use wire::{JOIN, LEAVE, LEAVE_FOR_A_WHILE, Said};

/// How often a member that leaves tells so when it fails.
const LEAVE_TRIES_MAX: u32 = 3;
/// The time between heartbeats until the broker has said what it is to be.
const FIRST_INTERVAL: Duration = Duration::from_secs(5);

/// What a member is configured to.
#[derive(Clone, Debug)]
pub(in crate::group) struct Settings {
    pub(in crate::group) group: Str,
    /// Made by the client: the same as long as the process lives.
    pub(in crate::group) member_id: Str,
    pub(in crate::group) instance: Option<Str>,
    pub(in crate::group) rack: Option<Str>,
    pub(in crate::group) assignor: Option<Str>,
    pub(in crate::group) max_poll_interval: Duration,
}

/// A partition as the protocol names it.
type Owned = BTreeSet<(TopicId, i32)>;

pub(in crate::group) struct Consumer {
    settings: Settings,
    subscription: Subscription,
    phase: Phase,
    /// 0 until it has joined.
    epoch: i32,
    interval: Duration,
    heart: Option<Heart>,
    /// What the coordinator knows of this member; none when that is not sure, and everything is to be said.
    said: Option<Said>,
    owned: Owned,
    /// What it is to have.
    target: Owned,
    names: BTreeMap<TopicId, Str>,
    /// Under way to learn the names of topics.
    looking: Option<Ticket>,
    looks_failed: u32,
    tickets: Ticket,
}

enum Phase {
    /// Subscribed to nothing.
    Idle,
    /// In the group, or on the way in.
    Member(Work),
    /// The consumer takes note that its partitions are lost; then the member joins anew.
    Losing {
        ticket: Ticket,
    },
    /// The owner did not poll for too long; nothing is done until it does.
    Expired {
        ticket: Ticket,
    },
    Closing {
        ticket: Ticket,
        epoch: i32,
        tries: u32,
    },
    /// Closed, or failed for good.
    Over,
}

/// What the consumer is doing about the target.
enum Work {
    /// Nothing: what it has is what it is to have, as far as that is known.
    None,
    Revoking {
        ticket: Ticket,
        told: Owned,
    },
    /// It has given up partitions, and must say so before it takes others.
    Telling,
    Taking {
        ticket: Ticket,
    },
}

impl Consumer {
    pub(in crate::group) fn new(settings: Settings) -> Consumer {
        Consumer {
            settings,
            subscription: Subscription::default(),
            phase: Phase::Idle,
            epoch: JOIN,
            interval: FIRST_INTERVAL,
            heart: None,
            said: None,
            owned: Owned::new(),
            target: Owned::new(),
            names: BTreeMap::new(),
            looking: None,
            looks_failed: 0,
            tickets: Ticket::default(),
        }
    }

    fn subscribed(&mut self, now: Now, subscription: Subscription, effects: &mut Effects) {
        let changed = subscription != self.subscription;
        self.subscription = subscription;
        match self.phase {
            Phase::Idle => self.join(now, effects),
            Phase::Member(_) if changed => self.beat_now(now, effects),
            // Those who are to join do it with the new subscription anyway.
            Phase::Member(_) | Phase::Losing { .. } | Phase::Expired { .. } => {}
            Phase::Closing { .. } | Phase::Over => {}
        }
    }

    fn unsubscribed(&mut self, effects: &mut Effects) {
        self.subscription = Subscription::default();
        match self.phase {
            Phase::Member(_) | Phase::Losing { .. } | Phase::Expired { .. } => {
                self.leave(effects);
                self.owned.clear();
                self.phase = Phase::Idle;
            }
            Phase::Idle | Phase::Closing { .. } | Phase::Over => {}
        }
    }

    fn join(&mut self, now: Now, effects: &mut Effects) {
        self.phase = Phase::Member(Work::None);
        self.beat_now(now, effects);
    }

    /// Leaves if it is in the group, and forgets what it was there.
    fn leave(&mut self, effects: &mut Effects) {
        if matches!(self.phase, Phase::Member(_)) {
            let epoch = if self.settings.instance.is_some() { LEAVE_FOR_A_WHILE } else { LEAVE };
            let (ticket, question) = (self.tickets.next(), self.farewell(epoch));
            effects.push(Effect::Ask { ticket, question, failures: 0 });
            // Nothing else is said until this is answered, lest it overtakes a new join.
            let due = self.heart.map(|heart| heart.due);
            self.heart = due.map(|due| Heart { due, waiting: Some(ticket), failures: 0 });
        }
        self.forget(effects);
    }

    fn forget(&mut self, effects: &mut Effects) {
        self.epoch = JOIN;
        self.said = None;
        self.target.clear();
        self.looking = None;
        effects.push(Effect::Become(self.identity()));
    }

    fn identity(&self) -> GroupMetadata {
        let outside = GroupMetadata::outside(self.settings.group.clone());
        if self.epoch == JOIN {
            return outside;
        }
        GroupMetadata {
            generation: self.epoch,
            member_id: self.settings.member_id.clone(),
            group_instance_id: self.settings.instance.clone(),
            ..outside
        }
    }

    /// Sends a heartbeat as soon as the one under way, if any, is answered.
    fn beat_now(&mut self, now: Now, effects: &mut Effects) {
        match &mut self.heart {
            Some(heart) => heart.due = now.at,
            None => self.heart = Some(Heart::after(now.at, Duration::ZERO)),
        }
        self.beat(now, effects);
    }

    fn beat(&mut self, now: Now, effects: &mut Effects) {
        if !matches!(self.phase, Phase::Member(_)) {
            return;
        }
        let Some(heart) = self.heart.filter(|heart| heart.waiting.is_none() && heart.due <= now.at) else {
            return;
        };
        let ticket = self.tickets.next();
        // Until the answer says otherwise.
        let due = now.at + self.interval;
        self.heart = Some(Heart { waiting: Some(ticket), due, ..heart });
        let question = self.heartbeat();
        effects.push(Effect::Ask { ticket, question, failures: heart.failures });
    }

    fn answered(
        &mut self,
        now: Now,
        answered: Ticket,
        outcome: Result<ConsumerGroupHeartbeatResponse, Error>,
        effects: &mut Effects,
    ) {
        let outcome = outcome.and_then(|response| {
            ApiError::check(response.error_code, response.error_message.as_deref())?;
            Ok(response)
        });
        if let Phase::Closing { ticket, .. } = self.phase {
            if ticket == answered {
                self.said_farewell(outcome.err(), effects);
            }
            return;
        }
        let Some(heart) = self.heart.as_mut().filter(|heart| heart.waiting == Some(answered)) else { return };
        heart.waiting = None;
        match outcome {
            // The answer to a farewell, after which nothing counts as said. Whatever it is, the member may
            // join now.
            _ if self.said.is_none() => heart.due = now.at,
            Ok(response) => {
                heart.failures = 0;
                self.interval =
                    Duration::from_millis(u64::try_from(response.heartbeat_interval_ms).unwrap_or(0))
                        .max(Duration::from_millis(1));
                self.heard(now, response, effects);
            }
            Err(error) => self.refused(now, error, effects),
        }
        self.beat(now, effects);
    }

    fn refused(&mut self, now: Now, error: Error, effects: &mut Effects) {
        // What of the question has arrived is not known: everything is said again.
        self.said = None;
        match error.code() {
            // A group that is gone is made again by who joins it.
            Some(ErrorCode::FencedMemberEpoch | ErrorCode::UnknownMemberId | ErrorCode::GroupIdNotFound) => {
                self.lose(effects);
            }
            // The member stays: someone may permit it.
            Some(ErrorCode::TopicAuthorizationFailed) => {
                effects.push(Effect::Report(error));
                self.again_in(now.at + self.interval);
            }
            _ if error.is_retriable() => self.again_in(now.at),
            _ => self.fail(error, effects),
        }
    }

    /// The delay grows with the failures; whoever sends sees to that.
    fn again_in(&mut self, due: Instant) {
        if let Some(heart) = &mut self.heart {
            heart.failures += 1;
            heart.due = due;
        }
    }

    /// The coordinator has put this member out: others may own its partitions.
    fn lose(&mut self, effects: &mut Effects) {
        self.forget(effects);
        if let Some(heart) = &mut self.heart {
            heart.failures += 1;
        }
        let ticket = self.tell_lost(effects);
        self.phase = Phase::Losing { ticket };
    }

    fn tell_lost(&mut self, effects: &mut Effects) -> Ticket {
        let lost = self.named(&self.owned);
        self.tell(Change::Lose(lost), effects)
    }

    fn fail(&mut self, error: Error, effects: &mut Effects) {
        self.forget(effects);
        self.tell_lost(effects);
        self.phase = Phase::Over;
        effects.push(Effect::Fail(error));
    }

    fn done(&mut self, now: Now, done: Ticket, effects: &mut Effects) {
        match &mut self.phase {
            Phase::Losing { ticket } | Phase::Expired { ticket } if *ticket == done => {
                self.owned.clear();
                self.join(now, effects);
            }
            Phase::Member(Work::Revoking { ticket, told }) if *ticket == done => {
                let told = std::mem::take(told);
                self.owned.retain(|of| !told.contains(of));
                self.phase = Phase::Member(Work::Telling);
                self.beat_now(now, effects);
            }
            Phase::Member(Work::Taking { ticket }) if *ticket == done => {
                self.phase = Phase::Member(Work::None);
                self.beat_now(now, effects);
                self.reconcile(effects);
            }
            // Overtaken by something worse.
            Phase::Losing { .. } | Phase::Expired { .. } | Phase::Member(_) => {}
            Phase::Idle | Phase::Closing { .. } | Phase::Over => {}
        }
    }

    fn tick(&mut self, now: Now, effects: &mut Effects) {
        let member = matches!(self.phase, Phase::Member(_));
        if member && now.at >= now.polled_at + self.settings.max_poll_interval {
            self.leave(effects);
            // Told even if there is nothing to lose: that it was carried out shows that the owner polls
            // again.
            let ticket = self.tell_lost(effects);
            self.phase = Phase::Expired { ticket };
            return;
        }
        self.beat(now, effects);
    }

    fn close(&mut self, departure: Departure, effects: &mut Effects) {
        let epoch = match (departure, &self.settings.instance) {
            (Departure::Remain, _) => None,
            (Departure::Default, Some(_)) => Some(LEAVE_FOR_A_WHILE),
            (Departure::Default | Departure::Leave, _) => Some(LEAVE),
        };
        match (&self.phase, epoch) {
            (Phase::Closing { .. }, _) => return,
            (Phase::Member(_), Some(epoch)) => {
                let ticket = self.tickets.next();
                self.phase = Phase::Closing { ticket, epoch, tries: 1 };
                effects.push(Effect::Ask { ticket, question: self.farewell(epoch), failures: 0 });
            }
            (Phase::Member(_), None)
            | (Phase::Idle | Phase::Losing { .. } | Phase::Expired { .. } | Phase::Over, _) => {
                self.phase = Phase::Over;
                effects.push(Effect::Closed);
            }
        }
        self.forget(effects);
    }

    fn said_farewell(&mut self, error: Option<Error>, effects: &mut Effects) {
        let Phase::Closing { epoch, tries, .. } = self.phase else { return };
        if error.is_some_and(|error| error.is_retriable()) && tries < LEAVE_TRIES_MAX {
            let ticket = self.tickets.next();
            self.phase = Phase::Closing { ticket, epoch, tries: tries + 1 };
            return effects.push(Effect::Ask { ticket, question: self.farewell(epoch), failures: tries });
        }
        self.phase = Phase::Over;
        effects.push(Effect::Closed);
    }

    fn tell(&mut self, change: Change, effects: &mut Effects) -> Ticket {
        let ticket = self.tickets.next();
        effects.push(Effect::Tell { ticket, change });
        ticket
    }
}

type Effects = Vec<Effect<Question>>;

impl Core for Consumer {
    type Question = Question;
    type Answer = Answer;

    fn step(&mut self, now: Now, event: Event<Answer>, effects: &mut Effects) {
        match event {
            Event::Subscribed(subscription) => self.subscribed(now, subscription, effects),
            Event::Unsubscribed => self.unsubscribed(effects),
            Event::Answered { ticket, answer } => self.answered(now, ticket, answer, effects),
            Event::Done { ticket } => self.done(now, ticket, effects),
            Event::Metadata(metadata) => self.learn_names(&metadata, effects),
            Event::Looked { ticket, metadata } => self.looked(ticket, &metadata, effects),
            Event::Tick => self.tick(now, effects),
            Event::Close(departure) => self.close(departure, effects),
        }
    }

    fn deadline(&self, polled_at: Instant) -> Option<Instant> {
        if !matches!(self.phase, Phase::Member(_)) {
            return None;
        }
        let heart = self.heart.as_ref().and_then(Heart::deadline);
        heart.into_iter().chain([polled_at + self.settings.max_poll_interval]).min()
    }
}
