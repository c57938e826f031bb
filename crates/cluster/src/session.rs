//! This broker's place in its cluster: it registers, is let in, says that it lives, and leaves in good order.
//!
//! One request to the controller is under way at a time. The driver sends what
//! [`BrokerSession::next_request`] gives, brings back what came of it, says how far the image has come
//! ([`BrokerSession::published`]), and acts on what [`BrokerSession::standing`] says.
//!
//! What the image says of this broker counts, not what an answer says: an answer may be older than what is
//! known, and other brokers go by the image.

use std::time::Duration;

use ottla_wire::protocol::ErrorCode;
use ottla_wire::{BrokerEpoch, Instant, Uuid};

use crate::backoff::Backoff;

/// How often the controller is told, and for how long it is waited for.
#[derive(Clone, Copy, Debug)]
pub struct SessionConfig {
    /// `broker.heartbeat.interval.ms`.
    pub interval: Duration,
    /// `initial.broker.registration.timeout.ms`: a broker that was never let in for so long gives up.
    pub registration_max: Duration,
    /// How long leaving may take before the broker goes without being let go.
    pub leave_max: Duration,
    /// After a request that was refused or not answered.
    pub backoff: Backoff,
}

/// What is to be sent to the controller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SessionRequest {
    /// As this incarnation.
    Register,
    Heartbeat {
        epoch: BrokerEpoch,
        /// Up to where this broker acts on the metadata log.
        metadata_offset: i64,
        wants_to_leave: bool,
    },
}

/// What came of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SessionAnswer {
    Registered(BrokerEpoch),
    /// `may_leave`: nothing here is needed any more.
    Heard {
        may_leave: bool,
    },
    Refused(ErrorCode),
    /// None came.
    Lost,
}

/// What the image says of the broker with this id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Registered {
    pub incarnation: Uuid,
    pub epoch: BrokerEpoch,
    pub fenced: bool,
}

/// Where a broker stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// The image does not hold this incarnation yet: nothing is to be acted upon.
    Unknown,
    /// It is known, and fenced: it follows, and is not to be asked for anything.
    Fenced(BrokerEpoch),
    Serving(BrokerEpoch),
    /// It may go; whether the controller has let it.
    Left {
        in_order: bool,
    },
    Ended(SessionEnd),
}

/// Why a broker cannot be part of its cluster. It has to stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SessionEnd {
    #[error(
        "another process has registered with this broker's node id: give each broker a node.id of its own, or stop the other one"
    )]
    Replaced,
    #[error("the controller refuses this broker: {}", .0.name())]
    Refused(ErrorCode),
    #[error("the controller has not let this broker in within {0:?}; the last answer was: {answer}", answer = last(*.1))]
    NotLetIn(Duration, Option<ErrorCode>),
}

fn last(answer: Option<ErrorCode>) -> &'static str {
    answer.map_or("none", ErrorCode::name)
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Registering,
    /// The controller knows this incarnation.
    Member(BrokerEpoch),
    Left {
        in_order: bool,
    },
    Ended(SessionEnd),
}

/// The life of one incarnation of a broker.
#[derive(Debug)]
pub struct BrokerSession {
    config: SessionConfig,
    incarnation: Uuid,
    stage: Stage,
    began: Instant,
    /// What the image says, and how far it has come.
    known: Option<Registered>,
    metadata_offset: i64,
    /// The broker wants to go, since then.
    leaving: Option<Instant>,
    was_let_in: bool,
    under_way: bool,
    failures: u32,
    last_refusal: Option<ErrorCode>,
    not_before: Instant,
    /// When the controller last answered.
    heard: Option<Instant>,
}

impl BrokerSession {
    pub fn new(now: Instant, config: SessionConfig, incarnation: Uuid) -> BrokerSession {
        BrokerSession {
            config,
            incarnation,
            stage: Stage::Registering,
            began: now,
            known: None,
            metadata_offset: -1,
            leaving: None,
            was_let_in: false,
            under_way: false,
            failures: 0,
            last_refusal: None,
            not_before: now,
            heard: None,
        }
    }

    /// Where this broker stands, by the image.
    pub fn standing(&self) -> Standing {
        match (self.stage, self.mine()) {
            (Stage::Left { in_order }, _) => Standing::Left { in_order },
            (Stage::Ended(end), _) => Standing::Ended(end),
            (_, None) => Standing::Unknown,
            (_, Some(Registered { fenced: true, epoch, .. })) => Standing::Fenced(epoch),
            (_, Some(Registered { fenced: false, epoch, .. })) => Standing::Serving(epoch),
        }
    }

    /// Time since the controller last answered; none if it never has.
    pub fn unheard(&self, now: Instant) -> Option<Duration> {
        self.heard.map(|heard| now.since(heard))
    }

    /// The image has come so far, and says this of the broker with this id.
    pub fn published(&mut self, metadata_offset: i64, known: Option<Registered>) {
        self.metadata_offset = metadata_offset;
        self.known = known;
        if let Some(mine) = self.mine() {
            self.was_let_in |= !mine.fenced;
            // A broker that is let in the sooner the controller hears how far it has come.
            if mine.fenced && self.failures == 0 {
                self.not_before = Instant(0);
            }
        }
        if let (Stage::Member(epoch), Some(known)) = (self.stage, known)
            && known.incarnation != self.incarnation
            && known.epoch > epoch
        {
            self.stage = Stage::Ended(SessionEnd::Replaced);
        }
    }

    /// SIGTERM: the broker wants to go. It does not wait to be let in first.
    pub fn leave(&mut self, now: Instant) {
        if self.leaving.is_none() {
            self.leaving = Some(now);
            self.not_before = now;
        }
    }

    /// What is to be sent now, if anything.
    pub fn next_request(&mut self, now: Instant) -> Option<SessionRequest> {
        self.give_up_in_time(now);
        if self.under_way || now < self.not_before {
            return None;
        }
        let request = match self.stage {
            Stage::Registering => SessionRequest::Register,
            Stage::Member(epoch) => SessionRequest::Heartbeat {
                epoch,
                metadata_offset: self.metadata_offset,
                wants_to_leave: self.leaving.is_some(),
            },
            Stage::Left { .. } | Stage::Ended(_) => return None,
        };
        self.under_way = true;
        Some(request)
    }

    /// What came of it.
    pub fn answered(&mut self, now: Instant, answer: SessionAnswer) {
        self.under_way = false;
        if answer != SessionAnswer::Lost {
            self.heard = Some(now);
        }
        match answer {
            SessionAnswer::Registered(epoch) => {
                self.served(now, Duration::ZERO);
                self.stage = Stage::Member(epoch);
            }
            SessionAnswer::Heard { may_leave: true } if self.leaving.is_some() => {
                self.stage = Stage::Left { in_order: true };
            }
            SessionAnswer::Heard { .. } => {
                let pause =
                    if self.leaving.is_some() { self.config.backoff.first } else { self.config.interval };
                self.served(now, pause);
            }
            SessionAnswer::Refused(code) => self.refused(now, code),
            SessionAnswer::Lost => self.failed(now),
        }
    }

    /// When time alone makes something to do.
    pub fn wake_at(&self, now: Instant) -> Option<Instant> {
        if matches!(self.stage, Stage::Left { .. } | Stage::Ended(_)) {
            return None;
        }
        let next = (!self.under_way).then_some(self.not_before);
        let leave = self.leaving.map(|since| since + self.config.leave_max);
        let give_up = (!self.was_let_in).then(|| self.began + self.config.registration_max);
        next.into_iter().chain(leave).chain(give_up).filter(|at| *at > now).min()
    }

    /// What the image says, if it means this incarnation.
    fn mine(&self) -> Option<Registered> {
        self.known.filter(|known| known.incarnation == self.incarnation)
    }

    fn refused(&mut self, now: Instant, code: ErrorCode) {
        self.last_refusal = Some(code);
        match (self.stage, code) {
            // The controller does not know this incarnation, or not any more. If another has taken its place,
            // the image will say so.
            (Stage::Member(_), ErrorCode::StaleBrokerEpoch | ErrorCode::BrokerIdNotRegistered) => {
                self.stage = Stage::Registering;
                self.failed(now);
            }
            // The last process with this id is still thought to live, or there is no controller right now.
            (_, ErrorCode::DuplicateBrokerRegistration) => self.failed(now),
            (_, code) if code.is_retriable() || code == ErrorCode::NotController => self.failed(now),
            (Stage::Registering, code) => self.stage = Stage::Ended(SessionEnd::Refused(code)),
            (_, _) => self.failed(now),
        }
    }

    fn served(&mut self, now: Instant, pause: Duration) {
        self.failures = 0;
        self.not_before = now + pause;
    }

    fn failed(&mut self, now: Instant) {
        self.failures = self.failures.saturating_add(1);
        self.not_before = now + self.config.backoff.after(self.failures);
    }

    fn give_up_in_time(&mut self, now: Instant) {
        let is_over = matches!(self.stage, Stage::Left { .. } | Stage::Ended(_));
        if is_over {
            return;
        }
        if self.leaving.is_some_and(|since| now.since(since) >= self.config.leave_max) {
            self.stage = Stage::Left { in_order: false };
        } else if !self.was_let_in && now.since(self.began) >= self.config.registration_max {
            let waited = self.config.registration_max;
            self.stage = Stage::Ended(SessionEnd::NotLetIn(waited, self.last_refusal));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CONFIG: SessionConfig = SessionConfig {
        interval: Duration::from_millis(100),
        registration_max: Duration::from_secs(60),
        leave_max: Duration::from_secs(5),
        backoff: Backoff { first: Duration::from_millis(20), most: Duration::from_millis(500) },
    };
    const ME: Uuid = Uuid([1; 16]);
    const OTHER: Uuid = Uuid([2; 16]);
    const EPOCH: BrokerEpoch = BrokerEpoch(7);

    struct Stage {
        session: BrokerSession,
        now: Instant,
    }

    impl Stage {
        fn new() -> Stage {
            let now = Instant(0) + Duration::from_secs(100);
            Stage { session: BrokerSession::new(now, CONFIG, ME), now }
        }

        /// Registered, let in, and the last heartbeat is answered.
        fn serving() -> Stage {
            let mut stage = Stage::new();
            stage.expect(SessionRequest::Register);
            stage.answer(SessionAnswer::Registered(EPOCH));
            stage.published(ME, 7, true);
            stage.expect(heartbeat(7, false));
            stage.answer(SessionAnswer::Heard { may_leave: false });
            stage.published(ME, 7, false);
            assert_eq!(stage.session.standing(), Standing::Serving(EPOCH));
            stage.after(100);
            stage
        }

        fn after(&mut self, ms: u64) {
            self.now = self.now + Duration::from_millis(ms);
        }

        fn published(&mut self, incarnation: Uuid, epoch: i64, fenced: bool) {
            let known = Registered { incarnation, epoch: BrokerEpoch(epoch), fenced };
            self.session.published(7, Some(known));
        }

        fn answer(&mut self, answer: SessionAnswer) {
            self.session.answered(self.now, answer);
        }

        #[track_caller]
        fn expect(&mut self, request: SessionRequest) {
            assert_eq!(self.session.next_request(self.now), Some(request));
            assert_eq!(self.session.next_request(self.now), None, "one at a time");
        }

        #[track_caller]
        fn expect_nothing_before(&mut self, ms: u64) {
            assert_eq!(self.session.next_request(self.now), None);
            assert_eq!(self.session.wake_at(self.now), Some(self.now + Duration::from_millis(ms)));
            self.after(ms);
        }
    }

    fn heartbeat(metadata_offset: i64, wants_to_leave: bool) -> SessionRequest {
        SessionRequest::Heartbeat { epoch: EPOCH, metadata_offset, wants_to_leave }
    }

    #[test]
    fn a_broker_registers_catches_up_and_is_let_in() {
        let mut stage = Stage::new();
        stage.expect(SessionRequest::Register);
        assert_eq!(stage.session.standing(), Standing::Unknown);
        stage.answer(SessionAnswer::Registered(EPOCH));
        stage.published(OTHER, 3, false);
        assert_eq!(stage.session.standing(), Standing::Unknown, "the image holds the last incarnation");
        stage.expect(heartbeat(7, false));
        stage.answer(SessionAnswer::Heard { may_leave: false });
        // It is said at once that the registration is known here.
        stage.published(ME, 7, true);
        assert_eq!(stage.session.standing(), Standing::Fenced(EPOCH));
        stage.expect(heartbeat(7, false));
        stage.answer(SessionAnswer::Heard { may_leave: false });
        stage.published(ME, 7, false);
        assert_eq!(stage.session.standing(), Standing::Serving(EPOCH));
        stage.expect_nothing_before(100);
        stage.expect(heartbeat(7, false));
    }

    #[test]
    fn a_predecessor_that_is_thought_to_live_is_waited_for() {
        let mut stage = Stage::new();
        for ms in [20, 40, 80, 160, 320, 500, 500] {
            stage.expect(SessionRequest::Register);
            stage.answer(SessionAnswer::Refused(ErrorCode::DuplicateBrokerRegistration));
            stage.expect_nothing_before(ms);
        }
        stage.expect(SessionRequest::Register);
        stage.after(60_000);
        assert_eq!(stage.session.next_request(stage.now), None);
        let Standing::Ended(end) = stage.session.standing() else { panic!("it gives up") };
        let text = "the controller has not let this broker in within 60s; the last answer was: \
                    DUPLICATE_BROKER_REGISTRATION";
        assert_eq!(end.to_string(), text);
    }

    #[test]
    fn what_will_not_pass_ends_the_broker_at_once() {
        let mut stage = Stage::new();
        stage.expect(SessionRequest::Register);
        stage.answer(SessionAnswer::Refused(ErrorCode::InconsistentClusterId));
        let end = SessionEnd::Refused(ErrorCode::InconsistentClusterId);
        assert_eq!(stage.session.standing(), Standing::Ended(end));
        assert_eq!(stage.session.wake_at(stage.now), None);
    }

    #[test]
    fn who_is_fenced_by_silence_goes_on_and_is_let_in_again() {
        let mut stage = Stage::serving();
        stage.expect(heartbeat(7, false));
        stage.answer(SessionAnswer::Lost);
        stage.published(ME, 7, true);
        assert_eq!(stage.session.standing(), Standing::Fenced(EPOCH));
        stage.expect_nothing_before(20);
        stage.expect(heartbeat(7, false));
        stage.answer(SessionAnswer::Heard { may_leave: false });
        stage.published(ME, 7, false);
        assert_eq!(stage.session.standing(), Standing::Serving(EPOCH));
        assert_eq!(stage.session.unheard(stage.now), Some(Duration::ZERO));
    }

    #[test]
    fn who_is_not_known_any_more_registers_anew() {
        for code in [ErrorCode::StaleBrokerEpoch, ErrorCode::BrokerIdNotRegistered] {
            let mut stage = Stage::serving();
            stage.expect(heartbeat(7, false));
            stage.answer(SessionAnswer::Refused(code));
            stage.session.published(8, None);
            assert_eq!(stage.session.standing(), Standing::Unknown);
            stage.expect_nothing_before(20);
            stage.expect(SessionRequest::Register);
        }
    }

    #[test]
    fn two_processes_with_one_id_do_not_take_turns() {
        let mut stage = Stage::serving();
        stage.published(OTHER, 9, false);
        assert_eq!(stage.session.standing(), Standing::Ended(SessionEnd::Replaced));
        assert_eq!(stage.session.next_request(stage.now), None);
    }

    #[test]
    fn leaving_is_asked_for_until_it_is_granted_or_takes_too_long() {
        let mut stage = Stage::serving();
        stage.session.leave(stage.now);
        stage.expect(heartbeat(7, true));
        stage.answer(SessionAnswer::Heard { may_leave: false });
        stage.expect_nothing_before(20);
        stage.expect(heartbeat(7, true));
        stage.answer(SessionAnswer::Heard { may_leave: true });
        assert_eq!(stage.session.standing(), Standing::Left { in_order: true });

        let mut stage = Stage::serving();
        stage.session.leave(stage.now);
        stage.expect(heartbeat(7, true));
        assert_eq!(stage.session.wake_at(stage.now), Some(stage.now + CONFIG.leave_max));
        stage.after(5_000);
        assert_eq!(stage.session.next_request(stage.now), None);
        assert_eq!(stage.session.standing(), Standing::Left { in_order: false });
    }

    #[test]
    fn without_a_controller_a_broker_waits() {
        let mut stage = Stage::serving();
        for ms in [20, 40, 80] {
            stage.expect(heartbeat(7, false));
            stage.answer(SessionAnswer::Refused(ErrorCode::NotController));
            stage.expect_nothing_before(ms);
        }
        stage.after(3_600_000);
        stage.expect(heartbeat(7, false));
        assert_eq!(stage.session.standing(), Standing::Serving(EPOCH), "nobody has said otherwise");
    }
}
