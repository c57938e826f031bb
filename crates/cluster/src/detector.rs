//! Which brokers are dead: the judgement of the active controller.
//!
//! | what is known of a broker | verdict |
//! |---|---|
//! | somebody reports that a connection to it ended | probe it over a new connection |
//! | silent for [`DetectorConfig::probe_after`] | probe it |
//! | it refuses the probe, or answers as another incarnation | it is dead: fence it now |
//! | silent for a session, by every path | fence it |
//! | it answers probes and is silent otherwise | fence it after [`PATIENCE`] sessions |
//!
//! A wrong fence costs a change of leaders and no data, but one that is avoidable is a fault. So:
//!
//! - A judge that was late itself takes that time off everybody's silence ([`Detector::judge`]).
//! - A judge whom no majority of the voters has heard lately judges nobody.
//! - When more than half of the others are silent at once, it may be the judge that is cut off: they have
//!   [`PATIENCE`] sessions, and the judge is told to ask whether it still leads.
//! - A report alone never fences: it makes the judge look.
//! - A broker that was fenced and came back within [`RELAPSE`] has [`PATIENCE`] sessions for as long again.

use std::collections::BTreeMap;
use std::time::Duration;

use ottla_wire::{BrokerEpoch, BrokerId, Instant};

/// How many sessions a broker is given when there is reason to doubt that it is dead.
pub const PATIENCE: u32 = 3;
/// A broker that is silent again within this time of its last fence is one that comes and goes.
pub const RELAPSE: Duration = Duration::from_secs(60);

/// How patient the judge is.
#[derive(Clone, Copy, Debug)]
pub struct DetectorConfig {
    /// `broker.session.timeout.ms`.
    pub session: Duration,
    /// How long a broker is silent before the judge goes and looks.
    pub probe_after: Duration,
    /// How long a probe may take.
    pub probe_wait: Duration,
    /// How often [`Detector::judge`] is called when all is well.
    pub interval: Duration,
}

/// What a probe has found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Probed {
    /// This incarnation answered.
    Answered(BrokerEpoch),
    /// The broker's host says that nobody listens there.
    Refused,
    /// Nothing came back in time.
    Silent,
}

/// What is to be done about a broker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Connect to it and ask who it is; [`Detector::probed`] brings what came of it.
    Probe(BrokerId),
    Fence(BrokerId, BrokerEpoch, Cause),
    /// Most of the others are silent: make sure that this node leads before anything else is decided.
    DoubtYourself,
}

/// Why a broker is fenced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// Its process is gone.
    Gone,
    /// Another process has taken its place.
    Replaced,
    /// Nothing was heard of it for so long.
    Silent(Duration),
}

#[derive(Clone, Copy, Debug)]
struct Watched {
    epoch: BrokerEpoch,
    /// Its last heartbeat.
    heard: Instant,
    /// It last showed that it lives, be it only to a probe.
    alive: Instant,
    /// A probe is under way since then.
    probing: Option<Instant>,
    /// Somebody has lost a connection to it since it last showed that it lives.
    suspected: bool,
}

/// What the judge knows.
#[derive(Debug)]
pub struct Detector {
    config: DetectorConfig,
    brokers: BTreeMap<BrokerId, Watched>,
    /// When brokers were last fenced.
    fenced: BTreeMap<BrokerId, Instant>,
    judged: Instant,
    doubting: bool,
}

impl Detector {
    /// A new judge has heard of nobody: everybody has a session from now on.
    pub fn new(now: Instant, config: DetectorConfig, others: &[(BrokerId, BrokerEpoch)]) -> Detector {
        let mut detector = Detector {
            config,
            brokers: BTreeMap::new(),
            fenced: BTreeMap::new(),
            judged: now,
            doubting: false,
        };
        for (id, epoch) in others {
            detector.watch(now, *id, *epoch);
        }
        detector
    }

    /// A broker has been let in, and is to be heard of from now on.
    pub fn watch(&mut self, now: Instant, id: BrokerId, epoch: BrokerEpoch) {
        let watched = Watched { epoch, heard: now, alive: now, probing: None, suspected: false };
        self.brokers.insert(id, watched);
    }

    /// A broker is fenced, has left or is not registered any more.
    pub fn forget(&mut self, id: BrokerId) {
        self.brokers.remove(&id);
    }

    /// A heartbeat.
    pub fn heard(&mut self, now: Instant, id: BrokerId, epoch: BrokerEpoch) {
        if let Some(broker) = self.brokers.get_mut(&id).filter(|broker| broker.epoch == epoch) {
            (broker.heard, broker.alive, broker.suspected) = (now, now, false);
        }
    }

    /// Somebody's connection to a broker has ended, or was refused.
    pub fn reported(&mut self, id: BrokerId) {
        if let Some(broker) = self.brokers.get_mut(&id) {
            broker.suspected = true;
        }
    }

    /// What came of a probe.
    pub fn probed(&mut self, now: Instant, id: BrokerId, found: Probed) -> Option<Verdict> {
        let broker = self.brokers.get_mut(&id)?;
        broker.probing.take()?;
        let cause = match found {
            Probed::Answered(epoch) if epoch == broker.epoch => {
                (broker.alive, broker.suspected) = (now, false);
                return None;
            }
            Probed::Silent => return None,
            Probed::Answered(_) => Cause::Replaced,
            Probed::Refused => Cause::Gone,
        };
        // Its process is gone, whatever the judge's own state: the host itself says so.
        let epoch = broker.epoch;
        self.fence(now, id);
        Some(Verdict::Fence(id, epoch, cause))
    }

    /// Looks at everybody. `is_followed`: a majority of the voters has acknowledged this leader within its
    /// lease.
    pub fn judge(&mut self, now: Instant, is_followed: bool) -> Vec<Verdict> {
        self.forgive_own_delay(now);
        let mut verdicts = self.probes(now);
        if is_followed {
            verdicts.extend(self.fences(now));
        }
        verdicts
    }

    /// When there is something to judge if nothing is heard.
    pub fn wake_at(&self, now: Instant) -> Instant {
        now + self.config.interval
    }

    /// While the judge was away, heartbeats lay unread.
    fn forgive_own_delay(&mut self, now: Instant) {
        let late = now.since(self.judged).saturating_sub(self.config.interval * 2);
        self.judged = now;
        if late > Duration::ZERO {
            for broker in self.brokers.values_mut() {
                broker.heard = (broker.heard + late).min(now);
                broker.alive = (broker.alive + late).min(now);
                broker.probing = broker.probing.map(|since| (since + late).min(now));
            }
        }
    }

    fn probes(&mut self, now: Instant) -> Vec<Verdict> {
        let DetectorConfig { probe_after, probe_wait, .. } = self.config;
        let mut verdicts = Vec::new();
        for (id, broker) in &mut self.brokers {
            // A driver that does not bring an answer has found none.
            if broker.probing.is_some_and(|since| now.since(since) >= probe_wait * 2) {
                broker.probing = None;
            }
            let is_due = broker.suspected || now.since(broker.alive) >= probe_after;
            if is_due && broker.probing.is_none() {
                broker.probing = Some(now);
                verdicts.push(Verdict::Probe(*id));
            }
        }
        verdicts
    }

    fn fences(&mut self, now: Instant) -> Vec<Verdict> {
        let session = self.config.session;
        let silent = self.brokers.values().filter(|broker| now.since(broker.alive) >= session).count();
        let is_crowd = silent >= 2 && silent * 2 > self.brokers.len();
        let mut verdicts = Vec::new();
        if is_crowd && !std::mem::replace(&mut self.doubting, is_crowd) {
            verdicts.push(Verdict::DoubtYourself);
        }
        self.doubting = is_crowd;
        let overdue: Vec<_> = self
            .brokers
            .iter()
            .filter_map(|(id, broker)| {
                let (silence, unheard) = (now.since(broker.alive), now.since(broker.heard));
                let is_unsteady = self.fenced.get(id).is_some_and(|at| now.since(*at) < RELAPSE);
                let sessions = if is_crowd || is_unsteady { PATIENCE } else { 1 };
                let is_over = silence >= session * sessions || unheard >= session * PATIENCE;
                is_over.then_some((*id, broker.epoch, unheard))
            })
            .collect();
        for (id, epoch, unheard) in overdue {
            self.fence(now, id);
            verdicts.push(Verdict::Fence(id, epoch, Cause::Silent(unheard)));
        }
        verdicts
    }

    fn fence(&mut self, now: Instant, id: BrokerId) {
        self.brokers.remove(&id);
        self.fenced.retain(|_, at| now.since(*at) < RELAPSE);
        self.fenced.insert(id, now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CONFIG: DetectorConfig = DetectorConfig {
        session: Duration::from_millis(600),
        probe_after: Duration::from_millis(300),
        probe_wait: Duration::from_millis(100),
        interval: Duration::from_millis(50),
    };

    /// A judge of some brokers, with the time beside it. Brokers that are not named are heard all the time.
    struct Stage {
        detector: Detector,
        now: Instant,
        brokers: i32,
        is_followed: bool,
    }

    impl Stage {
        fn of(brokers: i32) -> Stage {
            let others: Vec<_> = (1..=brokers).map(|id| (BrokerId(id), epoch(id))).collect();
            let now = Instant(0) + Duration::from_secs(1_000);
            let detector = Detector::new(now, CONFIG, &others);
            Stage { detector, now, brokers, is_followed: true }
        }

        /// So much time passes in which these are silent and probes bring `found`. What was decided, and
        /// after how many milliseconds.
        fn silence(&mut self, silent: &[i32], ms: u64, found: Probed) -> Vec<(u64, Verdict)> {
            let mut decided = Vec::new();
            for passed in (0..=ms).step_by(50) {
                for id in (1..=self.brokers).filter(|id| !silent.contains(id)) {
                    self.detector.heard(self.now, BrokerId(id), epoch(id));
                }
                for verdict in self.detector.judge(self.now, self.is_followed) {
                    match verdict {
                        Verdict::Probe(id) => {
                            let fence = self.detector.probed(self.now, id, found);
                            decided.extend(fence.map(|verdict| (passed, verdict)));
                        }
                        other => decided.push((passed, other)),
                    }
                }
                self.now = self.now + CONFIG.interval;
            }
            decided
        }
    }

    fn epoch(id: i32) -> BrokerEpoch {
        BrokerEpoch(i64::from(id) * 10)
    }

    fn fence(id: i32, cause: Cause) -> Verdict {
        Verdict::Fence(BrokerId(id), epoch(id), cause)
    }

    fn silent(ms: u64) -> Cause {
        Cause::Silent(Duration::from_millis(ms))
    }

    #[test]
    fn who_is_silent_for_a_session_is_fenced_once() {
        let mut stage = Stage::of(3);
        assert_eq!(stage.silence(&[2], 3_000, Probed::Silent), [(600, fence(2, silent(600)))]);
    }

    #[test]
    fn a_process_that_is_gone_is_fenced_as_soon_as_somebody_reports() {
        for (found, cause) in
            [(Probed::Refused, Cause::Gone), (Probed::Answered(BrokerEpoch(99)), Cause::Replaced)]
        {
            let mut stage = Stage::of(3);
            stage.detector.reported(BrokerId(2));
            assert_eq!(stage.silence(&[2], 500, found), [(0, fence(2, cause))]);
        }
    }

    #[test]
    fn a_report_alone_fences_nobody() {
        let mut stage = Stage::of(3);
        stage.detector.reported(BrokerId(2));
        assert!(stage.silence(&[], 2_000, Probed::Silent).is_empty());
    }

    #[test]
    fn who_answers_probes_and_never_reports_is_fenced_in_the_end() {
        let mut stage = Stage::of(3);
        let decided = stage.silence(&[2], 3_000, Probed::Answered(epoch(2)));
        assert_eq!(decided, [(1_800, fence(2, silent(1_800)))]);
    }

    #[test]
    fn the_judge_forgives_its_own_delay() {
        let mut stage = Stage::of(3);
        stage.silence(&[], 200, Probed::Silent);
        stage.now = stage.now + Duration::from_secs(10);
        assert!(stage.silence(&[2], 400, Probed::Silent).is_empty());
        let decided = stage.silence(&[2], 1_000, Probed::Silent);
        assert!(matches!(decided[..], [(_, Verdict::Fence(BrokerId(2), ..))]), "{decided:?}");
    }

    #[test]
    fn a_judge_whom_nobody_follows_judges_nobody() {
        let mut stage = Stage::of(3);
        stage.is_followed = false;
        assert!(stage.silence(&[2], 5_000, Probed::Silent).is_empty());
        // But the word of the host counts: nobody else can be there.
        stage.detector.reported(BrokerId(2));
        assert_eq!(stage.silence(&[2], 200, Probed::Refused), [(0, fence(2, Cause::Gone))]);
    }

    #[test]
    fn when_most_are_silent_the_judge_doubts_itself_first() {
        let mut stage = Stage::of(4);
        let decided = stage.silence(&[1, 2, 3], 3_000, Probed::Silent);
        let fences: Vec<_> = [1, 2, 3].map(|id| (1_800, fence(id, silent(1_800)))).into();
        assert_eq!(decided, [vec![(600, Verdict::DoubtYourself)], fences].concat());
        // Half of them is not most of them.
        let mut stage = Stage::of(4);
        let fences: Vec<_> = [1, 2].map(|id| (600, fence(id, silent(600)))).into();
        assert_eq!(stage.silence(&[1, 2], 3_000, Probed::Silent), fences);
        // The only other one is no crowd.
        let mut stage = Stage::of(1);
        assert_eq!(stage.silence(&[1], 3_000, Probed::Silent), [(600, fence(1, silent(600)))]);
    }

    #[test]
    fn who_comes_and_goes_is_given_more_time() {
        let mut stage = Stage::of(3);
        stage.silence(&[2], 1_000, Probed::Silent);
        stage.detector.watch(stage.now, BrokerId(2), epoch(2));
        assert_eq!(stage.silence(&[2], 3_000, Probed::Silent), [(1_800, fence(2, silent(1_800)))]);
        stage.detector.watch(stage.now, BrokerId(2), epoch(2));
        stage.silence(&[], 61_000, Probed::Silent);
        // It was heard up to the step before.
        assert_eq!(stage.silence(&[2], 3_000, Probed::Silent), [(550, fence(2, silent(600)))]);
    }

    #[test]
    fn words_of_another_incarnation_count_for_nothing() {
        let mut stage = Stage::of(2);
        for _ in 0..40 {
            stage.detector.heard(stage.now, BrokerId(2), BrokerEpoch(1));
            stage.silence(&[2], 0, Probed::Silent);
        }
        assert!(!stage.detector.brokers.contains_key(&BrokerId(2)));
    }
}
