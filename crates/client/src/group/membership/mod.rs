//! How a member lives in its group: pure cores, one for each protocol, that decide; what they have in common
//! is here.
//!
//! - `classic`: JoinGroup, SyncGroup, Heartbeat; the leader assigns.
//! - `consumer`: ConsumerGroupHeartbeat; the broker assigns (KIP-848).
//!
//! A core takes events and gives effects. It reads no clock and sends nothing. An effect that asks for
//! something carries a ticket, its answer comes back with that, and an answer that is no longer waited for is
//! ignored.

pub(super) mod classic;
pub(super) mod consumer;
#[cfg(test)]
mod laws;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use ottla_wire::TopicId;
use ottla_wire::primitives::Str;

use crate::cluster::{Metadata, TopicPartition};
use crate::error::Error;
use crate::offsets::GroupMetadata;
use crate::seam::Instant;

/// Names a question, so that its answer is known as such.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(super) struct Ticket(u64);

impl Ticket {
    fn next(&mut self) -> Ticket {
        self.0 += 1;
        *self
    }
}

/// When something happens, and when the owner of the consumer last polled (now, while it polls).
#[derive(Clone, Copy, Debug)]
pub(super) struct Now {
    pub(super) at: Instant,
    pub(super) polled_at: Instant,
}

/// What is subscribed to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Subscription {
    /// By name; for the classic protocol also those that a pattern matches.
    pub(super) topics: BTreeSet<Str>,
    /// For the broker to match; with the consumer protocol only.
    pub(super) regex: Option<Str>,
}

/// How a member goes (Kafka's `CloseOptions`, KIP-1092).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Departure {
    /// A dynamic member leaves the group, a static one keeps its place for the session timeout.
    #[default]
    Default,
    /// It leaves, static or not: the group rebalances at once.
    Leave,
    /// It says nothing, and keeps its place for the session timeout.
    Remain,
}

/// What happens to a core; `A` are the answers of its protocol.
#[derive(Debug)]
pub(super) enum Event<A> {
    /// What is subscribed to from now on, even if that is no topic yet.
    Subscribed(Subscription),
    /// Leave the group; the consumer has given up its partitions already.
    Unsubscribed,
    /// The answer to [`Effect::Ask`].
    Answered {
        ticket: Ticket,
        answer: A,
    },
    /// The consumer has carried out [`Effect::Tell`].
    Done {
        ticket: Ticket,
    },
    /// What is known of the cluster has changed.
    Metadata(Arc<Metadata>),
    /// The answer to [`Effect::Look`]: what is known of the cluster now.
    Looked {
        ticket: Ticket,
        metadata: Arc<Metadata>,
    },
    /// Time has passed.
    Tick,
    Close(Departure),
}

/// What a core wants done; `Q` are the questions of its protocol.
#[derive(Debug)]
pub(super) enum Effect<Q> {
    /// To be sent to the coordinator, after a delay if it failed so many times before.
    Ask { ticket: Ticket, question: Q, failures: u32 },
    /// Fresh metadata of topics.
    Look { ticket: Ticket, what: Look, failures: u32 },
    /// To be carried out by the consumer, in order.
    Tell { ticket: Ticket, change: Change },
    /// Who the member is now.
    Become(GroupMetadata),
    /// The owner is to know of it; the member goes on.
    Report(Error),
    /// The member cannot go on.
    Fail(Error),
    /// [`Event::Close`] is done.
    Closed,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Look {
    Names(BTreeSet<Str>),
    Ids(BTreeSet<TopicId>),
}

/// How the partitions of the consumer change. It MUST ignore those to be given up that it does not have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Change {
    /// To be given up in peace: what was read may still be committed.
    Revoke(BTreeSet<TopicPartition>),
    Assign(BTreeSet<TopicPartition>),
    /// Others may own them already: nothing may be committed.
    Lose(BTreeSet<TopicPartition>),
}

/// A pure core of a membership.
pub(super) trait Core: Send + 'static {
    type Question: Send + 'static;
    type Answer: Send + 'static;

    fn step(&mut self, now: Now, event: Event<Self::Answer>, effects: &mut Vec<Effect<Self::Question>>);

    /// When time alone makes a difference: [`Event::Tick`] is due then.
    fn deadline(&self, polled_at: Instant) -> Option<Instant>;
}

/// When the next heartbeat is due, and whether one is on its way.
#[derive(Clone, Copy, Debug)]
struct Heart {
    due: Instant,
    waiting: Option<Ticket>,
    failures: u32,
}

impl Heart {
    fn after(now: Instant, interval: Duration) -> Heart {
        Heart { due: now + interval, waiting: None, failures: 0 }
    }

    fn deadline(&self) -> Option<Instant> {
        self.waiting.is_none().then_some(self.due)
    }
}
