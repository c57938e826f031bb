//! A member of a classic group, as a pure core: joins, is told its share (or, as the leader, makes
//! everybody's), keeps its place by heartbeats, and joins again when the group rebalances.
//!
//! - `rebalance`: from giving up through JoinGroup and SyncGroup to the new share.
//! - `wire`: its questions and their answers.

mod rebalance;
#[cfg(test)]
mod tests;
mod wire;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use ottla_wire::primitives::Str;
use ottla_wire::protocol::ErrorCode;

use super::{Change, Core, Departure, Effect, Event, Heart, Now, Subscription, Ticket};
use crate::cluster::{Metadata, TopicPartition};
use crate::error::{ApiError, Error};
use crate::group::assignor::{self, Assignor};
use crate::offsets::GroupMetadata;
use crate::seam::Instant;
#[cfg(test)]
pub(super) use tests::metadata as metadata_of;
pub(in crate::group) use wire::{Answer, Question};

/// How often a member that leaves tells so when it fails.
const LEAVE_TRIES_MAX: u32 = 3;

/// What a member is configured to.
#[derive(Clone, Debug)]
pub(in crate::group) struct Settings {
    pub(in crate::group) group: Str,
    pub(in crate::group) instance: Option<Str>,
    pub(in crate::group) rack: Option<Str>,
    pub(in crate::group) assignors: Vec<Assignor>,
    pub(in crate::group) session_timeout: Duration,
    pub(in crate::group) heartbeat_interval: Duration,
    pub(in crate::group) max_poll_interval: Duration,
}

pub(in crate::group) struct Classic {
    settings: Settings,
    subscription: BTreeSet<Str>,
    phase: Phase,
    /// Empty until the coordinator gave one.
    member_id: Str,
    /// -1 while it is in none.
    generation: i32,
    /// The assignor of the group in this generation.
    protocol: Str,
    /// What the consumer has, or has been told to take.
    owned: BTreeSet<TopicPartition>,
    heart: Option<Heart>,
    /// What the share of all was made from, if this member is the leader.
    led: Option<Led>,
    /// The group must rebalance once more when this rebalance is over.
    again: bool,
    /// Attempts in a row that failed to join.
    failures: u32,
    tickets: Ticket,
}

enum Phase {
    /// Subscribed to nothing.
    Idle,
    /// The consumer gives up what it must not keep while the group rebalances.
    GivingUp {
        ticket: Ticket,
        told: BTreeSet<TopicPartition>,
    },
    Joining {
        ticket: Ticket,
    },
    /// The leader looks how many partitions there are.
    Looking {
        ticket: Ticket,
        joined: Joined,
    },
    Syncing {
        ticket: Ticket,
    },
    /// The consumer gives up what is not in its new share.
    Revoking {
        ticket: Ticket,
        told: BTreeSet<TopicPartition>,
        share: BTreeSet<TopicPartition>,
    },
    /// The consumer takes what is new in it.
    Taking {
        ticket: Ticket,
    },
    Stable,
    /// The owner did not poll for too long; nothing is done until it does.
    Expired {
        ticket: Ticket,
    },
    Closing {
        ticket: Ticket,
        question: Question,
        tries: u32,
    },
    /// Closed, or failed for good.
    Over,
}

/// The group as its leader sees it.
struct Joined {
    assignor: Assignor,
    members: Vec<assignor::Member>,
    /// A static leader that came back: the coordinator keeps the shares (KIP-814).
    keep_shares: bool,
}

struct Led {
    topics: BTreeSet<Str>,
    partitions: BTreeMap<Str, i32>,
}

impl Classic {
    pub(in crate::group) fn new(settings: Settings) -> Classic {
        Classic {
            settings,
            subscription: BTreeSet::new(),
            phase: Phase::Idle,
            member_id: Str::default(),
            generation: -1,
            protocol: Str::default(),
            owned: BTreeSet::new(),
            heart: None,
            led: None,
            again: false,
            failures: 0,
            tickets: Ticket::default(),
        }
    }

    fn subscribed(&mut self, subscription: Subscription, effects: &mut Effects) {
        if subscription.topics == self.subscription && !matches!(self.phase, Phase::Idle) {
            return;
        }
        self.subscription = subscription.topics;
        match &self.phase {
            Phase::Idle | Phase::Stable => self.rebalance(effects),
            Phase::Joining { .. }
            | Phase::Looking { .. }
            | Phase::Syncing { .. }
            | Phase::Revoking { .. }
            | Phase::Taking { .. } => self.again = true,
            // Joins with the new subscription anyway.
            Phase::GivingUp { .. } | Phase::Expired { .. } => {}
            Phase::Closing { .. } | Phase::Over => {}
        }
    }

    fn unsubscribed(&mut self, effects: &mut Effects) {
        self.subscription.clear();
        match self.phase {
            Phase::Idle | Phase::Closing { .. } | Phase::Over => {}
            Phase::GivingUp { .. }
            | Phase::Joining { .. }
            | Phase::Looking { .. }
            | Phase::Syncing { .. }
            | Phase::Revoking { .. }
            | Phase::Taking { .. }
            | Phase::Stable
            | Phase::Expired { .. } => {
                self.leave("the consumer unsubscribed from all topics", effects);
                self.owned.clear();
                self.phase = Phase::Idle;
            }
        }
    }

    /// Tells the coordinator, if this is a dynamic member, and forgets who it was.
    fn leave(&mut self, reason: &'static str, effects: &mut Effects) {
        if self.settings.instance.is_none() && !self.member_id.is_empty() {
            let question = self.leave_question(reason);
            effects.push(Effect::Ask { ticket: self.tickets.next(), question, failures: 0 });
        }
        self.forget(true, effects);
    }

    fn leave_question(&self, reason: &'static str) -> Question {
        Question::Leave {
            member_id: self.member_id.clone(),
            instance: self.settings.instance.clone(),
            reason,
        }
    }

    /// Is in no generation any more; and if the coordinator does not know it, has no id any more.
    fn forget(&mut self, id_too: bool, effects: &mut Effects) {
        if id_too {
            self.member_id = Str::default();
        }
        (self.generation, self.heart, self.led) = (-1, None, None);
        effects.push(Effect::Become(self.identity()));
    }

    fn identity(&self) -> GroupMetadata {
        let outside = GroupMetadata::outside(self.settings.group.clone());
        if self.generation < 0 {
            return outside;
        }
        GroupMetadata {
            generation: self.generation,
            member_id: self.member_id.clone(),
            group_instance_id: self.settings.instance.clone(),
            ..outside
        }
    }

    fn done(&mut self, ticket: Ticket, effects: &mut Effects) {
        match &mut self.phase {
            Phase::GivingUp { ticket: waiting, told } if *waiting == ticket => {
                for partition in std::mem::take(told) {
                    self.owned.remove(&partition);
                }
                self.join(effects);
            }
            Phase::Revoking { ticket: waiting, told, share } if *waiting == ticket => {
                let share = std::mem::take(share);
                for partition in std::mem::take(told) {
                    self.owned.remove(&partition);
                }
                self.take(share, effects);
            }
            Phase::Taking { ticket: waiting } if *waiting == ticket => self.settled(effects),
            Phase::Expired { ticket: waiting } if *waiting == ticket => {
                self.owned.clear();
                self.rebalance(effects);
            }
            // Overtaken by something worse.
            Phase::GivingUp { .. }
            | Phase::Revoking { .. }
            | Phase::Taking { .. }
            | Phase::Expired { .. } => {}
            Phase::Idle
            | Phase::Joining { .. }
            | Phase::Looking { .. }
            | Phase::Syncing { .. }
            | Phase::Stable
            | Phase::Closing { .. }
            | Phase::Over => {}
        }
    }

    fn tick(&mut self, now: Now, effects: &mut Effects) {
        if self.must_poll() && now.at >= now.polled_at + self.settings.max_poll_interval {
            return self.expire(effects);
        }
        let Some(heart) = self.heart.as_mut().filter(|heart| heart.waiting.is_none() && heart.due <= now.at)
        else {
            return;
        };
        let ticket = self.tickets.next();
        heart.waiting = Some(ticket);
        let failures = heart.failures;
        effects.push(Effect::Ask { ticket, question: self.heartbeat(), failures });
    }

    /// The owner does not poll: others are to have its partitions. A static member says nothing, and loses
    /// its place when the session times out.
    fn expire(&mut self, effects: &mut Effects) {
        self.leave("the consumer did not poll within max.poll.interval.ms", effects);
        // Told even if there is nothing to lose: that it was carried out shows that the owner polls again.
        let change = Change::Lose(self.owned.clone());
        let ticket = self.tell(change, effects);
        self.phase = Phase::Expired { ticket };
    }

    fn must_poll(&self) -> bool {
        match self.phase {
            // Who has lost its place already waits for its owner anyway, and costs nobody anything.
            Phase::GivingUp { .. } => self.generation >= 0,
            Phase::Joining { .. }
            | Phase::Looking { .. }
            | Phase::Syncing { .. }
            | Phase::Revoking { .. }
            | Phase::Taking { .. }
            | Phase::Stable => true,
            Phase::Idle | Phase::Expired { .. } | Phase::Closing { .. } | Phase::Over => false,
        }
    }

    fn beat(&mut self, now: Now, ticket: Ticket, outcome: Result<(), Error>, effects: &mut Effects) {
        let Some(heart) = self.heart.as_mut().filter(|heart| heart.waiting == Some(ticket)) else { return };
        heart.waiting = None;
        heart.due = now.at + self.settings.heartbeat_interval;
        let Err(error) = outcome else {
            heart.failures = 0;
            return;
        };
        match error.code() {
            // While it rebalances already, that is no news.
            Some(ErrorCode::RebalanceInProgress) if matches!(self.phase, Phase::Stable) => {
                self.rebalance(effects)
            }
            Some(ErrorCode::RebalanceInProgress) => {}
            Some(ErrorCode::UnknownMemberId) => self.lose(true, effects),
            Some(ErrorCode::IllegalGeneration) => self.lose(false, effects),
            _ if error.is_retriable() => {
                heart.failures += 1;
                heart.due = now.at;
            }
            _ => self.fail(error, effects),
        }
    }

    /// The coordinator has put this member out: others may own its partitions.
    fn lose(&mut self, id_too: bool, effects: &mut Effects) {
        self.failures += 1;
        self.forget(id_too, effects);
        self.rebalance(effects);
    }

    fn fail(&mut self, error: Error, effects: &mut Effects) {
        self.forget(true, effects);
        self.tell(Change::Lose(self.owned.clone()), effects);
        self.phase = Phase::Over;
        effects.push(Effect::Fail(error));
    }

    fn close(&mut self, departure: Departure, effects: &mut Effects) {
        let leaves = match departure {
            Departure::Default => self.settings.instance.is_none(),
            Departure::Leave => true,
            Departure::Remain => false,
        };
        let known = !self.member_id.is_empty();
        match self.phase {
            Phase::Closing { .. } => {}
            Phase::Over => effects.push(Effect::Closed),
            Phase::Idle
            | Phase::GivingUp { .. }
            | Phase::Joining { .. }
            | Phase::Looking { .. }
            | Phase::Syncing { .. }
            | Phase::Revoking { .. }
            | Phase::Taking { .. }
            | Phase::Stable
            | Phase::Expired { .. } => {
                let question = self.leave_question("the consumer is closed");
                self.forget(true, effects);
                if leaves && known {
                    let ticket = self.tickets.next();
                    effects.push(Effect::Ask { ticket, question: question.clone(), failures: 0 });
                    self.phase = Phase::Closing { ticket, question, tries: 1 };
                } else {
                    self.phase = Phase::Over;
                    effects.push(Effect::Closed);
                }
            }
        }
    }

    fn left(&mut self, answered: Ticket, outcome: Result<(), Error>, effects: &mut Effects) {
        let Phase::Closing { ticket, question, tries } = &mut self.phase else { return };
        if *ticket != answered {
            return;
        }
        if outcome.is_err_and(|error| error.is_retriable()) && *tries < LEAVE_TRIES_MAX {
            *ticket = self.tickets.next();
            let (ticket, question, failures) = (*ticket, question.clone(), *tries);
            *tries += 1;
            return effects.push(Effect::Ask { ticket, question, failures });
        }
        self.phase = Phase::Over;
        effects.push(Effect::Closed);
    }

    /// A leader that sees other partitions than it has shared has the group rebalance.
    fn metadata_changed(&mut self, metadata: &Metadata, effects: &mut Effects) {
        let Some(led) = &self.led else { return };
        let changed = rebalance::count_partitions(metadata, &led.topics) != led.partitions;
        if changed && matches!(self.phase, Phase::Stable) {
            self.rebalance(effects);
        } else if changed {
            self.again = true;
        }
    }

    fn tell(&mut self, change: Change, effects: &mut Effects) -> Ticket {
        let ticket = self.tickets.next();
        effects.push(Effect::Tell { ticket, change });
        ticket
    }
}

type Effects = Vec<Effect<Question>>;

impl Core for Classic {
    type Question = Question;
    type Answer = Answer;

    fn step(&mut self, now: Now, event: Event<Answer>, effects: &mut Effects) {
        match event {
            Event::Subscribed(subscription) => self.subscribed(subscription, effects),
            Event::Unsubscribed => self.unsubscribed(effects),
            Event::Answered { ticket, answer } => match answer {
                Answer::Join(outcome) => self.joined(now, ticket, outcome, effects),
                Answer::Sync(outcome) => self.synced(ticket, outcome, effects),
                Answer::Heartbeat(outcome) => {
                    let outcome = outcome.and_then(|answer| check(answer.error_code));
                    self.beat(now, ticket, outcome, effects);
                }
                Answer::Leave(outcome) => {
                    let outcome = outcome.and_then(|answer| check(answer.error_code));
                    self.left(ticket, outcome, effects);
                }
            },
            Event::Done { ticket } => self.done(ticket, effects),
            Event::Metadata(metadata) => self.metadata_changed(&metadata, effects),
            Event::Looked { ticket, metadata } => self.looked(ticket, &metadata, effects),
            Event::Tick => self.tick(now, effects),
            Event::Close(departure) => self.close(departure, effects),
        }
    }

    fn deadline(&self, polled_at: Instant) -> Option<Instant> {
        let heart = self.heart.as_ref().and_then(Heart::deadline);
        let poll = self.must_poll().then(|| polled_at + self.settings.max_poll_interval);
        heart.into_iter().chain(poll).min()
    }
}

fn check(code: i16) -> Result<(), Error> {
    ApiError::check(code, None).map_err(Error::Api)
}
