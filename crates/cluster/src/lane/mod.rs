//! A follower's fetches from one leading broker: one fetch session (KIP-227) for all partitions of the lane,
//! with two requests in flight.
//!
//! The first request waits at the leader for records. When a replica has made safe what it was given, that
//! must reach the leader at once, because producers wait for it: a second request carries it, and the leader
//! answers the first as soon as the second arrives. So no proof waits behind a long poll, and no partition
//! waits for the disk of another.
//!
//! What both sides hold to, beyond KIP-227:
//!
//! - A partition that was answered with records, with an error or with a divergence is not answered again
//!   until a request names it anew. The replica says when that is: once the records are safe.
//! - Requests are answered in order, and an answer is decided before the next request is read. So an answer
//!   to request N speaks of what was named up to request N.
//! - The session ends with its connection.
//!
//! The driver of a lane
//!
//! 1. calls [`Lane::want`] and [`Lane::stop`] as replicas ask for it, [`Lane::connected`], [`Lane::lost`] and
//!    [`Lane::answered`] as the network does;
//! 2. then sends what [`Lane::next_request`] gives, until it gives nothing;
//! 3. and comes back at [`Lane::wake_at`].
//!
//! A step costs what it names, not what the lane holds, but for a session that is lost.

mod entry;
mod message;
mod wire;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use ottla_replica::{FetchRequest, LeaderAnswer, LeaderReply};
use ottla_wire::protocol::ErrorCode;
use ottla_wire::{Instant, LeaderEpoch, Offset};

use crate::backoff::Backoff;
use crate::id::PartitionId;
use entry::{Entry, Standing};
pub use message::{LaneAnswer, LaneRequest, PartitionAnswer, PartitionOutcome, RequestNumber};
pub use wire::{FetchTerms, Unreadable, read_answer, write_request};

/// Requests that the leader may have unanswered.
const IN_FLIGHT_MAX: usize = 2;

/// How patient a lane is.
#[derive(Clone, Copy, Debug)]
pub struct LaneConfig {
    /// Before a partition is asked for again that could not be read, and before a lane comes back that could
    /// not be served.
    pub backoff: Backoff,
}

impl Default for LaneConfig {
    fn default() -> LaneConfig {
        LaneConfig { backoff: Backoff { first: Duration::from_millis(50), most: Duration::from_secs(1) } }
    }
}

/// What a lane wants done besides its requests.
#[derive(Debug)]
pub enum LaneEffect {
    /// For the replica: `Event::LeaderAnswered`.
    Answer(PartitionId, LeaderAnswer),
    /// The offset that was asked for is not in the leader's log: ask it where its log starts and ends
    /// (ListOffsets), and bring that to [`Lane::bounds`].
    AskBounds { partition: PartitionId, epoch: LeaderEpoch, offset: Offset },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Session {
    /// The next request opens one, and names every partition.
    None,
    /// That request is under way.
    Opening,
    Open {
        id: i32,
        next_epoch: i32,
    },
}

#[derive(Clone, Copy, Debug)]
struct InFlight {
    number: RequestNumber,
    /// The session that it is part of has been given up.
    is_stale: bool,
}

/// All that this broker fetches over one connection from one other.
#[derive(Debug)]
pub struct Lane {
    config: LaneConfig,
    entries: BTreeMap<PartitionId, Entry>,
    /// To be named in the next request.
    due: BTreeSet<PartitionId>,
    /// Until when partitions wait before they are due.
    paused: BTreeSet<(Instant, PartitionId)>,
    /// How many partitions the leader is to answer.
    asked: usize,
    /// In the leader's session, and not wanted any more.
    forgotten: BTreeSet<PartitionId>,
    session: Session,
    in_flight: VecDeque<InFlight>,
    last_number: RequestNumber,
    is_connected: bool,
    /// Connections and requests that failed, in a row.
    failures: u32,
    /// Nothing is sent before.
    rests_until: Instant,
}

impl Lane {
    pub fn new(config: LaneConfig) -> Lane {
        Lane {
            config,
            entries: BTreeMap::new(),
            due: BTreeSet::new(),
            paused: BTreeSet::new(),
            asked: 0,
            forgotten: BTreeSet::new(),
            session: Session::None,
            in_flight: VecDeque::new(),
            last_number: RequestNumber(0),
            is_connected: false,
            failures: 0,
            rests_until: Instant(0),
        }
    }

    /// Nothing is fetched: the lane can be closed.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Whether a connection is to be made now.
    pub fn wants_connection(&self, now: Instant) -> bool {
        !self.is_connected && !self.entries.is_empty() && now >= self.rests_until
    }

    /// When time alone makes something to do.
    pub fn wake_at(&self, now: Instant) -> Option<Instant> {
        let rest = (!self.entries.is_empty()).then_some(self.rests_until);
        let pause = self.paused.first().map(|(until, _)| (*until).max(self.rests_until));
        rest.into_iter().chain(pause).filter(|at| *at > now).min()
    }

    /// A replica wants this; it replaces whatever the partition wanted before.
    pub fn want(&mut self, now: Instant, partition: PartitionId, fetch: FetchRequest) {
        let before = self.entries.get(&partition).copied();
        let failures = match (fetch.after_pause, before) {
            (true, before) => before.map_or(0, |entry| entry.failures).saturating_add(1),
            (false, _) => 0,
        };
        let standing = match before {
            _ if fetch.after_pause => Standing::Paused { until: now + self.config.backoff.after(failures) },
            // The leader still waits for it.
            Some(Entry { standing: Standing::Kept { since }, want, .. }) if same(&want, &fetch) => {
                Standing::Asked { since }
            }
            _ => Standing::Due,
        };
        let entry = self.entries.entry(partition).or_insert(Entry::new(fetch));
        entry.want = fetch;
        entry.failures = failures;
        self.put(partition, standing);
    }

    /// A replica does not follow this leader any more.
    pub fn stop(&mut self, partition: PartitionId) {
        self.put(partition, Standing::Answered);
        if let Some(entry) = self.entries.remove(&partition)
            && entry.in_session
        {
            self.forgotten.insert(partition);
        }
    }

    pub fn connected(&mut self) {
        self.is_connected = true;
    }

    /// There is no connection: it could not be made, or it has ended. Nothing that was under way will be
    /// answered.
    pub fn lost(&mut self, now: Instant) {
        self.is_connected = false;
        self.in_flight.clear();
        self.give_up_session();
        self.rest(now);
    }

    /// The leader has answered a request. What that means for replicas is appended to `effects`.
    pub fn answered(
        &mut self,
        now: Instant,
        number: RequestNumber,
        answer: LaneAnswer,
        effects: &mut Vec<LaneEffect>,
    ) {
        let Some(at) = self.in_flight.iter().position(|one| one.number == number) else { return };
        let is_stale = self.in_flight.remove(at).is_some_and(|one| one.is_stale);
        if is_stale {
            return;
        }
        match answer.outcome {
            Ok(session) => {
                for PartitionAnswer { partition, outcome } in answer.partitions {
                    self.partition_answered(number, partition, outcome, effects);
                }
                self.served(session);
            }
            Err(code) => {
                self.give_up_session();
                if !is_of_session(code) {
                    self.rest(now);
                }
            }
        }
    }

    /// Where the leader's log starts and ends, or that it did not say.
    pub fn bounds(
        &mut self,
        partition: PartitionId,
        (epoch, offset): (LeaderEpoch, Offset),
        bounds: Option<(Offset, Offset)>,
        effects: &mut Vec<LaneEffect>,
    ) {
        let Some(entry) = self.entries.get(&partition) else { return };
        if entry.standing != Standing::OutOfRange || entry.want.epoch != epoch || entry.want.offset != offset
        {
            return;
        }
        let reply = bounds.map_or(LeaderReply::Failed, |(start, end)| LeaderReply::OutOfRange { start, end });
        self.put(partition, Standing::Answered);
        effects.push(LaneEffect::Answer(partition, LeaderAnswer { epoch, offset, reply }));
    }

    /// What is to be sent now, if anything. Ask again until there is nothing.
    pub fn next_request(&mut self, now: Instant) -> Option<LaneRequest> {
        self.end_pauses(now);
        if !self.is_connected || now < self.rests_until || self.in_flight.len() >= IN_FLIGHT_MAX {
            return None;
        }
        match self.session {
            Session::None if !self.due.is_empty() => {
                self.session = Session::Opening;
                Some(self.request(0, 0))
            }
            Session::Open { id, next_epoch } if self.is_worth_a_request() => {
                self.session = Session::Open { id, next_epoch: next_epoch.checked_add(1).unwrap_or(1) };
                Some(self.request(id, next_epoch))
            }
            Session::None | Session::Opening | Session::Open { .. } => None,
        }
    }

    /// Something new is to be said, or the leader would have no request to answer.
    fn is_worth_a_request(&self) -> bool {
        !self.due.is_empty() || (self.in_flight.is_empty() && self.asked > 0)
    }

    fn request(&mut self, session_id: i32, session_epoch: i32) -> LaneRequest {
        self.last_number = RequestNumber(self.last_number.0 + 1);
        let number = self.last_number;
        self.in_flight.push_back(InFlight { number, is_stale: false });
        let mut wanted = Vec::with_capacity(self.due.len());
        for partition in std::mem::take(&mut self.due) {
            self.forgotten.remove(&partition);
            if let Some(entry) = self.entries.get_mut(&partition) {
                entry.standing = Standing::Asked { since: number };
                entry.in_session = true;
                self.asked += 1;
                wanted.push((partition, entry.want));
            }
        }
        let forgotten = std::mem::take(&mut self.forgotten).into_iter().collect();
        LaneRequest { number, session_id, session_epoch, wanted, forgotten }
    }

    fn partition_answered(
        &mut self,
        number: RequestNumber,
        partition: PartitionId,
        outcome: PartitionOutcome,
        effects: &mut Vec<LaneEffect>,
    ) {
        let Some(&Entry { want, standing: Standing::Asked { since }, .. }) = self.entries.get(&partition)
        else {
            return;
        };
        if since > number {
            return; // to what it wanted before
        }
        let FetchRequest { epoch, offset, .. } = want;
        let (standing, reply) = match outcome {
            PartitionOutcome::Records { records, high_watermark, log_start } => {
                let standing = if records.is_empty() { Standing::Kept { since } } else { Standing::Answered };
                (standing, LeaderReply::Records { records, high_watermark, log_start })
            }
            PartitionOutcome::Diverged { epoch, end } => {
                (Standing::Answered, LeaderReply::Diverged { epoch, end })
            }
            PartitionOutcome::Failed(ErrorCode::OffsetOutOfRange) => {
                self.put(partition, Standing::OutOfRange);
                effects.push(LaneEffect::AskBounds { partition, epoch, offset });
                return;
            }
            PartitionOutcome::Failed(_) => (Standing::Answered, LeaderReply::Failed),
        };
        self.put(partition, standing);
        effects.push(LaneEffect::Answer(partition, LeaderAnswer { epoch, offset, reply }));
    }

    /// The leader has served a request. One that gives no session is asked in full each time.
    fn served(&mut self, session: i32) {
        self.failures = 0;
        if self.session == Session::Opening {
            match session {
                0 => self.give_up_session(),
                id => self.session = Session::Open { id, next_epoch: 1 },
            }
        }
    }

    /// The next request opens a new session: whatever waits for an answer is asked for again.
    fn give_up_session(&mut self) {
        self.session = Session::None;
        self.in_flight.iter_mut().for_each(|one| one.is_stale = true);
        self.forgotten.clear();
        self.asked = 0;
        for (partition, entry) in &mut self.entries {
            entry.in_session = false;
            match entry.standing {
                Standing::Asked { .. } => {
                    entry.standing = Standing::Due;
                    self.due.insert(*partition);
                }
                Standing::Kept { .. } => entry.standing = Standing::Answered,
                Standing::Due | Standing::Paused { .. } | Standing::OutOfRange | Standing::Answered => {}
            }
        }
    }

    fn rest(&mut self, now: Instant) {
        self.failures = self.failures.saturating_add(1);
        self.rests_until = now + self.config.backoff.after(self.failures);
    }

    fn end_pauses(&mut self, now: Instant) {
        while let Some(&(until, partition)) = self.paused.first()
            && until <= now
        {
            self.put(partition, Standing::Due);
        }
    }

    /// Moves a partition from one standing to another, with all that is kept by standing.
    fn put(&mut self, partition: PartitionId, standing: Standing) {
        let Some(entry) = self.entries.get_mut(&partition) else { return };
        match std::mem::replace(&mut entry.standing, standing) {
            Standing::Due => {
                self.due.remove(&partition);
            }
            Standing::Paused { until } => {
                self.paused.remove(&(until, partition));
            }
            Standing::Asked { .. } => self.asked -= 1,
            Standing::Kept { .. } | Standing::OutOfRange | Standing::Answered => {}
        }
        match standing {
            Standing::Due => {
                self.due.insert(partition);
            }
            Standing::Paused { until } => {
                self.paused.insert((until, partition));
            }
            Standing::Asked { .. } => self.asked += 1,
            Standing::Kept { .. } | Standing::OutOfRange | Standing::Answered => {}
        }
    }
}

/// The leader would be told nothing new.
fn same(one: &FetchRequest, other: &FetchRequest) -> bool {
    FetchRequest { after_pause: false, ..*one } == FetchRequest { after_pause: false, ..*other }
}

/// A new session is all it takes.
fn is_of_session(code: ErrorCode) -> bool {
    matches!(
        code,
        ErrorCode::FetchSessionIdNotFound
            | ErrorCode::InvalidFetchSessionEpoch
            | ErrorCode::FetchSessionTopicIdError
    )
}

#[cfg(test)]
mod tests;
