//! The task that lives a member's life: feeds the core of its protocol, sends what the core asks for, and
//! tells the consumer what is to change. It ends with the consumer.

use std::collections::BTreeSet;
use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use ottla_wire::primitives::Str;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

use super::look;
use super::membership::{Change, Core, Departure, Effect, Event, Now, Subscription, Ticket};
use super::pattern::Pattern;
use crate::coordinator::Coordinator;
use crate::error::Error;
use crate::offsets::GroupMetadata;
use crate::seam::{self, Instant};

/// Messages that wait for the consumer. A core tells of one change after another, and of a loss in between:
/// two at most; the rest is for reports, which are left out when there is no room.
const TOLD_MAX: usize = 16;
/// Answers to those, and the wish to close.
const COMMANDS_MAX: usize = TOLD_MAX + 1;
/// How often topics of interest are named again, as a part of the time after which they are forgotten.
const WANT_AGAIN_PART: u32 = 4;

/// How a protocol's questions are sent.
pub(super) trait Protocol: Core {
    /// A member that matches patterns itself, because its coordinator does not.
    const MATCHES_PATTERNS: bool;

    /// Whether this is the last word of a member: what is still to be said must not follow it.
    fn is_farewell(question: &Self::Question) -> bool;

    fn send(
        coordinator: Arc<Coordinator>,
        question: Self::Question,
    ) -> impl Future<Output = Self::Answer> + Send + 'static;
}

/// What the consumer wants of its member.
#[derive(Clone, Debug, Default)]
pub(super) struct Wanted {
    /// Counts how often the consumer unsubscribed: what was told before that is void.
    pub(super) incarnation: u64,
    pub(super) what: What,
}

#[derive(Clone, Debug, Default)]
pub(super) enum What {
    #[default]
    Nothing,
    Topics(BTreeSet<Str>),
    Pattern(Pattern),
}

pub(super) enum Command {
    Done(Ticket),
    Close(Departure),
}

/// What the consumer is told.
pub(super) enum Told {
    Change {
        incarnation: u64,
        ticket: Ticket,
        change: Change,
    },
    /// Something went wrong; the member goes on.
    Report(Error),
    /// The member cannot go on.
    Failed(Error),
    Closed,
}

/// When the owner polled; written by the consumer, read by the member.
#[derive(Default)]
pub(super) struct Liveness(Mutex<Polled>);

#[derive(Clone, Copy, Default)]
enum Polled {
    #[default]
    Now,
    At(Instant),
}

impl Liveness {
    /// The owner polls until the guard is dropped.
    pub(super) fn polling(self: &Arc<Self>) -> Polling {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Polled::Now;
        Polling(self.clone())
    }

    fn at(&self, now: Instant) -> Instant {
        match *self.0.lock().unwrap_or_else(PoisonError::into_inner) {
            Polled::Now => now,
            Polled::At(then) => then,
        }
    }
}

pub(super) struct Polling(Arc<Liveness>);

impl Drop for Polling {
    fn drop(&mut self) {
        *self.0.0.lock().unwrap_or_else(PoisonError::into_inner) = Polled::At(seam::now());
    }
}

/// The consumer's end.
pub(super) struct Member {
    pub(super) wanted: watch::Sender<Wanted>,
    pub(super) commands: mpsc::Sender<Command>,
    pub(super) told: mpsc::Receiver<Told>,
    pub(super) identity: watch::Receiver<GroupMetadata>,
    pub(super) liveness: Arc<Liveness>,
}

/// Starts the task. MUST be called in a tokio runtime.
pub(super) fn start<C: Protocol>(core: C, coordinator: Arc<Coordinator>) -> Member {
    let (wanted, wants) = watch::channel(Wanted::default());
    let (commands, orders) = mpsc::channel(COMMANDS_MAX);
    let (tell, told) = mpsc::channel(TOLD_MAX);
    let (become_, identity) = watch::channel(GroupMetadata::outside(coordinator.key().clone()));
    let liveness = Arc::new(Liveness::default());
    // Until the first poll nobody can say that it is late.
    *liveness.0.lock().unwrap_or_else(PoisonError::into_inner) = Polled::At(seam::now());
    let driver = Driver {
        core,
        coordinator,
        wants,
        orders,
        tell,
        become_,
        liveness: liveness.clone(),
        incarnation: 0,
        asks: JoinSet::new(),
        looks: JoinSet::new(),
        farewell: false,
        matcher: None,
        interest: BTreeSet::new(),
        want_again: seam::now(),
        life: Life::Open,
    };
    tokio::spawn(driver.run());
    Member { wanted, commands, told, identity, liveness }
}

struct Driver<C: Protocol> {
    core: C,
    coordinator: Arc<Coordinator>,
    wants: watch::Receiver<Wanted>,
    orders: mpsc::Receiver<Command>,
    tell: mpsc::Sender<Told>,
    become_: watch::Sender<GroupMetadata>,
    liveness: Arc<Liveness>,
    incarnation: u64,
    /// Questions under way. Each gives one event.
    asks: JoinSet<Event<C::Answer>>,
    looks: JoinSet<Looked<C::Answer>>,
    /// The last question was a farewell.
    farewell: bool,
    /// A pattern that this side matches, and when next.
    matcher: Option<Matcher>,
    /// Topics whose metadata is to stay fresh.
    interest: BTreeSet<Str>,
    want_again: Instant,
    life: Life,
}

struct Matcher {
    pattern: Pattern,
    failures: u32,
    /// None while it is under way.
    due: Option<Instant>,
}

enum Looked<A> {
    Event(Event<A>),
    Matched { incarnation: u64, pattern: Pattern, topics: Result<BTreeSet<Str>, Error> },
}

enum Life {
    Open,
    /// Saying farewell, up to a time.
    Closing(Instant),
    Over,
}

impl<C: Protocol> Driver<C> {
    async fn run(mut self) {
        let mut changes = self.coordinator.cluster().watch();
        loop {
            let closing = match self.life {
                Life::Open => None,
                Life::Closing(until) => Some(until),
                Life::Over => break,
            };
            let open = closing.is_none();
            let wake = self.wake().min(closing.unwrap_or_else(|| self.wake()));
            tokio::select! {
                Some(answered) = self.asks.join_next() => {
                    // Those that were taken back have no answer.
                    if let Ok(event) = answered {
                        self.step(event);
                    }
                }
                Some(looked) = self.looks.join_next() => {
                    if let Ok(looked) = looked {
                        self.looked(looked);
                    }
                }
                changed = self.wants.changed(), if open => match changed {
                    Ok(()) => self.want(),
                    Err(_) => self.close(Departure::Default),
                },
                order = self.orders.recv(), if open => match order {
                    Some(Command::Done(ticket)) => self.step(Event::Done { ticket }),
                    Some(Command::Close(departure)) => self.close(departure),
                    None => self.close(Departure::Default),
                },
                Ok(()) = changes.changed(), if open => {
                    let metadata = changes.borrow_and_update().clone();
                    self.step(Event::Metadata(metadata));
                }
                () = tokio::time::sleep_until(wake) => self.tick(closing),
            }
        }
        self.finish().await;
    }

    fn wake(&self) -> Instant {
        let now = seam::now();
        let core = self.core.deadline(self.liveness.at(now));
        let pattern = self.matcher.as_ref().and_then(|matcher| matcher.due);
        core.into_iter().chain(pattern).fold(self.want_again, Instant::min)
    }

    fn tick(&mut self, closing: Option<Instant>) {
        let now = seam::now();
        if closing.is_some_and(|until| until <= now) {
            self.life = Life::Over;
            return;
        }
        if self.want_again <= now {
            let cluster = self.coordinator.cluster();
            for topic in &self.interest {
                cluster.want(topic);
            }
            self.want_again = now + cluster.config().metadata_max_idle / WANT_AGAIN_PART;
        }
        self.match_pattern(now);
        self.step(Event::Tick);
    }

    fn step(&mut self, event: Event<C::Answer>) {
        let at = seam::now();
        let mut effects = Vec::new();
        self.core.step(Now { at, polled_at: self.liveness.at(at) }, event, &mut effects);
        for effect in effects {
            self.carry_out(effect);
        }
    }

    fn carry_out(&mut self, effect: Effect<C::Question>) {
        match effect {
            Effect::Ask { ticket, question, failures } => self.ask(ticket, question, failures),
            Effect::Look { ticket, what, failures } => {
                if let super::membership::Look::Names(names) = &what {
                    self.interest.extend(names.iter().cloned());
                }
                let (cluster, delay) = (self.coordinator.cluster().clone(), self.delay(failures));
                self.looks.spawn(async move {
                    tokio::time::sleep(delay).await;
                    let metadata = look::look(&cluster, &what).await;
                    Looked::Event(Event::Looked { ticket, metadata })
                });
            }
            Effect::Tell { ticket, change } => {
                let told = Told::Change { incarnation: self.incarnation, ticket, change };
                if self.tell.try_send(told).is_err() {
                    // The consumer is gone, or this is a bug: it would wait for ever.
                    tracing::debug!("a change of the assignment was not taken");
                }
            }
            Effect::Become(identity) => drop(self.become_.send_replace(identity)),
            Effect::Report(error) => self.report(error),
            Effect::Fail(error) => {
                tracing::warn!(group = %self.coordinator.key(), %error, "the member has failed for good");
                // Refused only when the consumer is gone.
                let _ = self.tell.try_send(Told::Failed(error));
            }
            Effect::Closed => self.life = Life::Over,
        }
    }

    fn ask(&mut self, ticket: Ticket, question: C::Question, failures: u32) {
        self.farewell = C::is_farewell(&question);
        if self.farewell {
            self.asks.abort_all();
        }
        let (coordinator, delay) = (self.coordinator.clone(), self.delay(failures));
        self.asks.spawn(async move {
            tokio::time::sleep(delay).await;
            Event::Answered { ticket, answer: C::send(coordinator, question).await }
        });
    }

    fn delay(&self, failures: u32) -> Duration {
        self.coordinator.cluster().retry_delay(failures)
    }

    fn report(&self, error: Error) {
        if self.tell.capacity() > TOLD_MAX / 2 {
            // Refused only when the consumer is gone.
            let _ = self.tell.try_send(Told::Report(error));
        } else {
            tracing::warn!(group = %self.coordinator.key(), %error, "the owner does not poll");
        }
    }

    fn want(&mut self) {
        let wanted = self.wants.borrow_and_update().clone();
        if wanted.incarnation != self.incarnation {
            self.incarnation = wanted.incarnation;
            self.step(Event::Unsubscribed);
        }
        self.matcher = None;
        self.interest.clear();
        match wanted.what {
            What::Nothing => self.step(Event::Unsubscribed),
            What::Topics(topics) => self.subscribe(topics),
            What::Pattern(pattern) if C::MATCHES_PATTERNS => {
                self.matcher = Some(Matcher { pattern, failures: 0, due: Some(seam::now()) });
            }
            What::Pattern(pattern) => {
                let (topics, regex) = (BTreeSet::new(), Some(pattern.text().clone()));
                self.step(Event::Subscribed(Subscription { topics, regex }));
            }
        }
    }

    fn subscribe(&mut self, topics: BTreeSet<Str>) {
        self.interest.extend(topics.iter().cloned());
        self.want_again = seam::now();
        self.step(Event::Subscribed(Subscription { topics, regex: None }));
    }

    fn match_pattern(&mut self, now: Instant) {
        let Some(matcher) = self.matcher.as_mut().filter(|matcher| matcher.due.is_some_and(|due| due <= now))
        else {
            return;
        };
        matcher.due = None;
        let (cluster, incarnation) = (self.coordinator.cluster().clone(), self.incarnation);
        let pattern = matcher.pattern.clone();
        self.looks.spawn(async move {
            let topics = look::matching(&cluster, &pattern).await;
            Looked::Matched { incarnation, pattern, topics }
        });
    }

    fn looked(&mut self, looked: Looked<C::Answer>) {
        let (incarnation, pattern, topics) = match looked {
            Looked::Event(event) => return self.step(event),
            Looked::Matched { incarnation, pattern, topics } => (incarnation, pattern, topics),
        };
        let max_age = self.coordinator.cluster().config().metadata_max_age;
        let Some(matcher) = self.matcher.as_mut() else { return };
        // The answer about a pattern that has been left.
        if incarnation != self.incarnation || matcher.pattern != pattern {
            return;
        }
        match topics {
            Ok(topics) => {
                matcher.failures = 0;
                matcher.due = Some(seam::now() + max_age);
                self.subscribe(topics);
            }
            Err(error) => {
                matcher.failures += 1;
                let delay = self.coordinator.cluster().retry_delay(matcher.failures);
                matcher.due = Some(seam::now() + delay);
                if !error.is_retriable() {
                    self.report(error);
                }
            }
        }
    }

    fn close(&mut self, departure: Departure) {
        self.life = Life::Closing(seam::now() + self.coordinator.cluster().config().request_timeout);
        self.matcher = None;
        self.step(Event::Close(departure));
    }

    /// A farewell that was said before the end is still brought out.
    async fn finish(mut self) {
        if self.farewell {
            let patience = self.coordinator.cluster().config().request_timeout;
            // Out of patience: the coordinator finds out by itself.
            let _ = tokio::time::timeout(patience, async { while self.asks.join_next().await.is_some() {} })
                .await;
        }
        // Refused only when the consumer is gone.
        let _ = self.tell.try_send(Told::Closed);
    }
}
