//! What a leader knows of its followers.

use std::time::Duration;

use ottla_wire::{BrokerEpoch, BrokerId, Instant, Offset};

use crate::effect::ProposedReplica;
use crate::event::{FollowerFetch, PartitionState, ReplicaBroker, Standing};

/// No offset is known.
const UNKNOWN: Offset = Offset(-1);

/// All replicas but the leader's own.
#[derive(Debug)]
pub(super) struct Followers {
    /// Few: looked through in order.
    all: Vec<Follower>,
    /// The incarnation of this broker, for proposals.
    me: ProposedReplica,
}

/// One follower.
#[derive(Debug)]
pub(super) struct Follower {
    /// Its broker as the metadata knows it.
    registered: ReplicaBroker,
    /// The incarnation that has fetched; `None` before its first fetch.
    fetched_as: Option<BrokerEpoch>,
    log_start: Offset,
    log_end: Offset,
    /// The last time at which it held all that the leader had.
    caught_up_at: Option<Instant>,
    last_fetch_at: Option<Instant>,
    /// The leader's log end at the last fetch: a follower that reaches it was caught up then.
    leader_end_then: Offset,
}

impl Followers {
    /// At the beginning of leadership nothing is known; those in the ISR count as caught up, and have
    /// `replica.lag.time.max.ms` to show it.
    pub fn new(now: Instant, me: BrokerId, state: &PartitionState) -> Followers {
        let others = state.replicas.iter().filter(|replica| replica.broker != me);
        let all = others.map(|&replica| {
            let caught_up_at = state.isr.contains(&replica.broker).then_some(now);
            Follower { caught_up_at, ..Follower::unknown(replica) }
        });
        Followers { all: all.collect(), me: incarnation(me, state) }
    }

    /// Replicas come and go; what is known of those that stay is kept.
    pub fn assigned(&mut self, me: BrokerId, state: &PartitionState) {
        self.me = incarnation(me, state);
        let others = state.replicas.iter().filter(|replica| replica.broker != me);
        let all =
            others.map(|&replica| match self.all.iter().position(|known| known.broker() == replica.broker) {
                Some(known) => Follower { registered: replica, ..self.all.swap_remove(known) },
                None => Follower::unknown(replica),
            });
        self.all = all.collect();
    }

    /// The same leader goes on under a new epoch.
    pub fn new_epoch(&mut self, now: Instant, log_end: Offset, isr: &[BrokerId]) {
        for follower in &mut self.all {
            let then = isr.contains(&follower.broker()).then_some(now);
            follower.caught_up_at = then;
            follower.last_fetch_at = then;
            follower.leader_end_then = log_end;
        }
    }

    /// The leader has appended at `end`: a follower that stood there held all that there was until now.
    /// Without this rule every follower of an idle partition would have to fetch, only to show that it is
    /// still there.
    pub fn stood_at(&mut self, end: Offset, now: Instant) {
        for follower in self.all.iter_mut().filter(|follower| follower.log_end == end) {
            follower.caught_up_at = Some(now);
        }
    }

    pub fn len(&self) -> usize {
        self.all.len()
    }

    pub fn iter(&self) -> impl Iterator<Item = &Follower> {
        self.all.iter()
    }

    pub fn get(&self, broker: BrokerId) -> Option<&Follower> {
        self.all.iter().find(|follower| follower.broker() == broker)
    }

    pub fn get_mut(&mut self, broker: BrokerId) -> Option<&mut Follower> {
        self.all.iter_mut().find(|follower| follower.broker() == broker)
    }

    /// A member of a proposed ISR, with the incarnation that the leader has seen of it.
    pub fn propose(&self, broker: BrokerId) -> ProposedReplica {
        if broker == self.me.broker {
            return self.me;
        }
        let epoch = self.get(broker).and_then(|follower| follower.fetched_as);
        ProposedReplica { broker, epoch }
    }
}

impl Follower {
    fn unknown(registered: ReplicaBroker) -> Follower {
        Follower {
            registered,
            fetched_as: None,
            log_start: UNKNOWN,
            log_end: UNKNOWN,
            caught_up_at: None,
            last_fetch_at: None,
            leader_end_then: UNKNOWN,
        }
    }

    pub fn broker(&self) -> BrokerId {
        self.registered.broker
    }

    pub fn standing(&self) -> Standing {
        self.registered.standing
    }

    /// Below every offset as long as it is not known.
    pub fn log_start(&self) -> Offset {
        self.log_start
    }

    /// Below every offset as long as it is not known.
    pub fn log_end(&self) -> Offset {
        self.log_end
    }

    /// Takes in a fetch. Returns whether it counts: only one of the incarnation that is registered does
    /// (KIP-903). An older one may have held what this one has lost, and a newer one is not known here yet.
    pub fn fetched(&mut self, now: Instant, leader_end: Offset, fetch: &FollowerFetch) -> bool {
        if self.registered.epoch != Some(fetch.broker_epoch) {
            return false;
        }
        if fetch.offset >= leader_end {
            self.caught_up_at = Some(now);
        } else if fetch.offset >= self.leader_end_then {
            self.caught_up_at = self.caught_up_at.max(self.last_fetch_at);
        }
        self.fetched_as = Some(fetch.broker_epoch);
        self.log_start = fetch.log_start;
        self.log_end = fetch.offset;
        self.leader_end_then = leader_end.max(self.leader_end_then);
        self.last_fetch_at = Some(now);
        true
    }

    /// Whether it holds all that the leader has, or did not long ago.
    pub fn is_caught_up(&self, now: Instant, leader_end: Offset, lag_max: Duration) -> bool {
        self.log_end == leader_end || self.caught_up_at.is_some_and(|then| now.since(then) <= lag_max)
    }

    /// Whether the controller would take it into the ISR: an active broker, and the incarnation that has
    /// fetched is the one that is registered (KIP-903).
    pub fn may_join(&self) -> bool {
        let same = self.fetched_as.is_some() && self.fetched_as == self.registered.epoch;
        same && self.registered.standing == Standing::Active
    }
}

fn incarnation(me: BrokerId, state: &PartitionState) -> ProposedReplica {
    let epoch = state.replicas.iter().find(|replica| replica.broker == me).and_then(|replica| replica.epoch);
    ProposedReplica { broker: me, epoch }
}
