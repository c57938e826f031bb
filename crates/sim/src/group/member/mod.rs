//! A member: a client that joins its group, reads what it is assigned, and commits how far it has come.
//!
//! - [`Member`]: requests in flight, time, and the parts below.
//! - [`turn`]: what goes into a turn of a member, and what comes of it.
//! - [`classic`], [`consumer`]: how it belongs to its group, in each protocol.
//! - [`holdings`]: what it takes for its own.
//! - [`progress`]: how it fetches and commits offsets.
//! - [`assign`]: how the leader of a classic group shares partitions out.

mod assign;
mod classic;
mod consumer;
mod holdings;
mod progress;
mod turn;

use std::time::Duration;

use ottla_coordinator::Producer;
use ottla_group::{Request, Response};
use ottla_wire::Instant;

use super::settings::{MemberSettings, Protocol, REBALANCE};
use classic::Classic;
use consumer::Consumer;
pub use holdings::{Holdings, Partition};
use progress::Progress;
pub use turn::{Action, Heard, Identity, RequestId, Sent, Turn};

/// How long an answer is waited for; that to JoinGroup as long as a rebalance may take besides.
const ANSWER: Duration = Duration::from_secs(2);

/// One process of a client.
pub struct Member {
    pub settings: MemberSettings,
    /// Unlike that of every other process.
    pub process: u64,
    session: Session,
    holdings: Holdings,
    progress: Progress,
    /// One request of the session and one about offsets may be under way.
    session_flight: Option<Flight>,
    progress_flight: Option<Flight>,
    connection: u64,
    requests: u64,
    stalled_until: Instant,
}

enum Session {
    Classic(Classic),
    Consumer(Consumer),
}

#[derive(Clone, Copy, Debug)]
struct Flight {
    id: RequestId,
    deadline: Instant,
}

impl Member {
    pub fn new(
        settings: MemberSettings,
        process: u64,
        producer: Option<Producer>,
        turn: &mut Turn,
    ) -> Member {
        let session = match settings.protocol {
            Protocol::Classic => Session::Classic(Classic::default()),
            Protocol::Consumer => Session::Consumer(Consumer::new(process)),
        };
        Member {
            settings,
            process,
            session,
            holdings: Holdings::default(),
            progress: Progress::new(producer, turn),
            session_flight: None,
            progress_flight: None,
            connection: 0,
            requests: 0,
            stalled_until: turn.now,
        }
    }

    pub fn identity(&self) -> Identity<'_> {
        let (member, generation_or_epoch) = match &self.session {
            Session::Classic(session) => (&session.id, session.generation),
            Session::Consumer(session) => (&session.id, session.epoch),
        };
        Identity { member, instance: self.settings.instance.as_ref(), generation_or_epoch }
    }

    pub fn holdings(&self) -> &Holdings {
        &self.holdings
    }

    /// It was told that another has its place, and has given up.
    pub fn is_fenced(&self) -> bool {
        match &self.session {
            Session::Classic(session) => session.is_fenced(),
            Session::Consumer(session) => session.is_fenced(),
        }
    }

    /// Does nothing until then.
    pub fn stall(&mut self, until: Instant) {
        self.stalled_until = until;
    }

    pub fn is_stalled(&self, now: Instant) -> bool {
        now < self.stalled_until
    }

    /// Its last words, if it goes in peace.
    pub fn leave(&mut self, turn: &Turn<'_>) -> Option<Action> {
        let request = match &self.session {
            Session::Classic(session) => session.leave(&self.settings),
            Session::Consumer(session) => session.leave(&self.settings),
        }?;
        self.holdings.clear();
        Some(self.send(turn.now, true, request))
    }

    /// What it does now.
    pub fn turn(&mut self, turn: &mut Turn) -> Vec<Action> {
        if self.is_stalled(turn.now) {
            return Vec::new();
        }
        self.give_up_waiting(turn.now);
        let mut actions = Vec::new();
        if self.session_flight.is_none()
            && let Some(request) = self.session_request(turn)
        {
            actions.push(self.send(turn.now, true, request));
        }
        if self.progress_flight.is_none() {
            let identity = Identity {
                member: &self.identity().member.clone(),
                instance: self.settings.instance.as_ref(),
                generation_or_epoch: self.identity().generation_or_epoch,
            };
            let request = self.progress.request(turn, &self.settings, &identity, &mut self.holdings);
            if let Some(request) = request {
                actions.push(self.send(turn.now, false, request));
            }
        }
        actions
            .extend(self.progress.take_ending().map(|(producer, commit)| Action::End { producer, commit }));
        actions
    }

    /// The answer to a request, if it is still waited for.
    pub fn answered(&mut self, id: RequestId, response: Response, turn: &mut Turn) -> Option<Heard> {
        if self.session_flight.is_some_and(|flight| flight.id == id) {
            self.session_flight = None;
            match &mut self.session {
                Session::Classic(session) => {
                    session.answered(turn, &self.settings, response, &mut self.holdings);
                }
                Session::Consumer(session) => session.answered(turn, response, &mut self.holdings),
            }
            return None;
        }
        if self.progress_flight.is_some_and(|flight| flight.id == id) {
            self.progress_flight = None;
            return self.progress.answered(response, &mut self.holdings);
        }
        None
    }

    /// A transaction has ended; the next has another epoch.
    pub fn transaction_ended(&mut self, ended: Producer, next: Producer, commit: bool) -> Option<Heard> {
        self.progress.ended(ended, next, commit)
    }

    fn session_request(&mut self, turn: &mut Turn) -> Option<Request> {
        // What it is about to give up must not be committed behind its back.
        let may_let_go = self.progress_flight.is_none();
        match &mut self.session {
            Session::Classic(session) => {
                session.request(turn, &self.settings, &mut self.holdings, may_let_go)
            }
            Session::Consumer(session) => {
                session.request(turn, &self.settings, &mut self.holdings, may_let_go)
            }
        }
    }

    fn send(&mut self, now: Instant, of_session: bool, request: Request) -> Action {
        self.requests += 1;
        let id = RequestId(self.requests);
        let (version, wait) = match &request {
            Request::JoinGroup(_) => (9, ANSWER + REBALANCE),
            Request::SyncGroup(_) => (5, ANSWER + REBALANCE),
            Request::TxnOffsetCommit(_) => (5, ANSWER),
            Request::Heartbeat(_) => (4, ANSWER),
            Request::ConsumerGroupHeartbeat(_) => (1, ANSWER),
            _ => (9, ANSWER),
        };
        let flight = Some(Flight { id, deadline: now + wait });
        *(if of_session { &mut self.session_flight } else { &mut self.progress_flight }) = flight;
        Action::Send(Box::new(Sent { id, request, version, connection: self.connection }))
    }

    fn give_up_waiting(&mut self, now: Instant) {
        let is_late = |flight: &Flight| flight.deadline <= now;
        if self.session_flight.as_ref().is_some_and(is_late) {
            self.session_flight = None;
            self.connection += 1;
            match &mut self.session {
                Session::Classic(session) => session.lost(),
                Session::Consumer(session) => session.lost(),
            }
        }
        if self.progress_flight.as_ref().is_some_and(is_late) {
            self.progress_flight = None;
            self.connection += 1;
            self.progress.lost();
        }
    }
}
