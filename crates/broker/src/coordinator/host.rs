//! One coordinator in its shard: it follows the leadership of its partition, and carries requests in and records and
//! answers out.
//!
//! When this broker becomes leader the log is read off the shard ([`super::load`]); once everything that was read is
//! committed, requests are served. The records of a turn become one batch, which is appended like a producer's with
//! acks=all, and what hangs on it leaves when it is committed. An append that fails, whatever the reason, leaves the core
//! ahead of its log: it is then given up and loaded anew.

use std::sync::atomic::Ordering;
use std::time::Duration;

use ottla_controller::controller::IdSource;
use ottla_coordinator::{Frame, Moment, Refusal};
use ottla_partition::{AppendOutcome, Generation, LodgerAppend, Turn};
use ottla_replica::{View, ViewRole};
use ottla_wire::primitives::Str;
use ottla_wire::{Instant, LeaderEpoch, Offset};

use super::kind::{Asked, Home, Kind, Letter, Unserved, Waiting};
use super::kit::Counted;
use super::load::{Load, Loaded, load};
use super::metered::Metered;
use super::seal::seal;
use crate::controllers::Random;
use crate::shard::Partition;

/// Deleted topics that one coordinator remembers until it can be told.
const DELETED_MAX: usize = 10_000;

/// What a shard does with a coordinator of any kind. In a turn: mail and ticks, then [`Hosted::write`], the turn of the
/// partition, and [`Hosted::settle`].
pub trait Hosted {
    /// The world has changed, and these topics are gone.
    fn learn(&mut self, at: &Moment, deleted: &[Str]);

    /// Time has passed.
    fn tick(&mut self, at: &Moment);

    /// When [`Hosted::tick`] is due.
    fn next_deadline(&self) -> Option<Instant>;

    /// Appends the records of this turn to the partition.
    fn write(&mut self, turn: Turn, partition: &mut Partition);

    /// The broker stops: whoever waits looks for another coordinator.
    fn resign(&mut self);

    /// Takes in what became of appends and of the partition's leadership, and lets leave what may. True: there is more
    /// to write, so another turn is due at once.
    fn settle(&mut self, turn: Turn, partition: &mut Partition) -> bool;
}

/// A coordinator and what waits for it.
pub struct Host<K: Kind> {
    home: Home,
    generation: Generation,
    stage: Stage<K>,
    waiting: Waiting<K::Answer>,
    /// The broker stops: nothing is served any more.
    resigned: bool,
    /// The core has not been told of the world as it is now.
    news: bool,
    /// Topics whose end the core has not been told of.
    deleted: Vec<Str>,
}

enum Stage<K: Kind> {
    /// This broker does not lead.
    Away,
    /// The log is being read.
    Loading {
        epoch: LeaderEpoch,
        since: Instant,
        _counted: Counted,
    },
    /// The log has been read up to `end`, and not all of it is committed yet.
    Settling {
        epoch: LeaderEpoch,
        since: Instant,
        frame: Frame<K>,
        end: Offset,
        _counted: Counted,
    },
    Serving {
        epoch: LeaderEpoch,
        frame: Frame<K>,
        metered: Metered,
        _counted: Counted,
    },
}

impl<K: Kind> Host<K> {
    pub fn new(home: Home) -> Host<K> {
        let (generation, waiting) = (Generation::default(), Waiting::default());
        Host {
            home,
            generation,
            stage: Stage::Away,
            waiting,
            resigned: false,
            news: false,
            deleted: Vec::new(),
        }
    }

    pub fn take(&mut self, at: &Moment, letter: Letter<K>, partition: &Partition) {
        match letter {
            Letter::Ask(asked) => self.ask(at, *asked, partition),
            Letter::Act(act) => {
                if let Stage::Serving { frame, .. } = &mut self.stage {
                    frame.act(|core, out| act(core, at, out));
                }
            }
            Letter::Look(look) => {
                if let Stage::Serving { frame, .. } = &self.stage {
                    look(frame.core());
                }
            }
            Letter::Loaded(loaded) => self.loaded(*loaded),
        }
    }

    fn ask(&mut self, at: &Moment, asked: Asked<K>, partition: &Partition) {
        let claimed = asked.proof.map_or(Ok(()), |proof| proof.check(partition));
        let unserved = match &mut self.stage {
            // Dropping the request says it.
            Stage::Away => return,
            Stage::Loading { .. } | Stage::Settling { .. } => Unserved::Refused(Refusal::Loading),
            Stage::Serving { frame, metered, .. } => match claimed {
                Err(error) => Unserved::Producer(error),
                Ok(()) => {
                    K::meter(frame.core_mut(), metered);
                    let ticket = self.waiting.add(asked.answer);
                    if let Err(refusal) = frame.handle(at, ticket, asked.request) {
                        self.waiting.refuse(ticket, refusal);
                    }
                    return;
                }
            },
        };
        let _gone = asked.answer.send(Err(unserved));
    }

    fn loaded(&mut self, loaded: Loaded<K>) {
        let Loaded { generation, frame, end } = loaded;
        let Stage::Loading { epoch, since, .. } = self.stage else { return };
        if generation != self.generation {
            return; // of an earlier life
        }
        if end < self.home.partition.view().replica.log_end {
            // A marker was written meanwhile.
            self.spawn_load(epoch, Some((frame, end)));
            return;
        }
        let _counted = Counted::new(&self.home.kit, |counts| &counts.loading);
        self.stage = Stage::Settling { epoch, since, frame, end, _counted };
    }

    /// Begins or ends as the partition's leadership says; false if that is as before.
    fn follow(&mut self, now: Instant, view: &View) -> bool {
        let leads = (view.role == ViewRole::Leader && !self.resigned).then_some(view.leader_epoch);
        if leads == self.epoch() {
            return false;
        }
        match leads {
            Some(epoch) => self.begin(now, epoch, view),
            None => self.leave(),
        }
        true
    }

    fn leave(&mut self) {
        self.waiting.clear();
        self.deleted.clear();
        self.stage = Stage::Away;
    }

    /// Lets leave what may.
    fn release(&mut self) {
        let Stage::Serving { frame, .. } = &mut self.stage else { return };
        let released = frame.take_released();
        if !released.is_empty() {
            K::deliver(released, &mut self.waiting, &self.home);
        }
    }

    fn begin(&mut self, now: Instant, epoch: LeaderEpoch, view: &View) {
        self.generation = Generation(self.generation.0 + 1);
        self.waiting.clear();
        let _counted = Counted::new(&self.home.kit, |counts| &counts.loading);
        if view.log_start == view.log_end {
            // A new topic is usable at once.
            let frame = Frame::loading(K::create(&self.home.kit.world(), epoch));
            self.stage = Stage::Settling { epoch, since: now, frame, end: view.log_end, _counted };
            return;
        }
        self.stage = Stage::Loading { epoch, since: now, _counted };
        self.spawn_load(epoch, None);
    }

    fn spawn_load(&self, epoch: LeaderEpoch, begun: Option<(Frame<K>, Offset)>) {
        let (home, generation) = (self.home.clone(), self.generation);
        tokio::spawn(load(Load { home, epoch, generation, begun }));
    }

    /// Serves once all that was read is committed: an answer must not tell what may yet be lost.
    fn serve(&mut self, turn: Turn, view: &View) {
        let ready = matches!(&self.stage, Stage::Settling { end, .. } if view.high_watermark >= *end);
        if !ready {
            return;
        }
        let Stage::Settling { epoch, since, mut frame, .. } = std::mem::replace(&mut self.stage, Stage::Away)
        else {
            return;
        };
        frame.loaded(&moment(turn));
        self.news = true;
        self.count_load(turn.now.since(since));
        let kit = &self.home.kit;
        let (metered, _counted) = (Metered::new(kit), Counted::new(kit, |counts| &counts.active));
        self.stage = Stage::Serving { epoch, frame, metered, _counted };
    }

    /// Tells the core of the world, as soon as it can do something about it.
    fn pass_on(&mut self, at: &Moment) {
        let Stage::Serving { frame, .. } = &mut self.stage else { return };
        if self.news && frame.is_active() {
            self.news = false;
            K::learn(frame, at, &self.home.kit.world(), &std::mem::take(&mut self.deleted));
        }
    }

    fn count_load(&self, took: Duration) {
        self.home.kit.counts.loads.fetch_add(1, Ordering::Relaxed);
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        self.home.kit.counts.load_micros.fetch_add(micros, Ordering::Relaxed);
    }

    fn epoch(&self) -> Option<LeaderEpoch> {
        match &self.stage {
            Stage::Away => None,
            Stage::Loading { epoch, .. } | Stage::Settling { epoch, .. } | Stage::Serving { epoch, .. } => {
                Some(*epoch)
            }
        }
    }

    fn told(&mut self, outcomes: Vec<(Generation, AppendOutcome)>) {
        for (generation, outcome) in outcomes {
            let Stage::Serving { frame, .. } = &mut self.stage else { continue };
            match outcome {
                _ if generation != self.generation => {}
                Ok(_) => frame.committed(),
                Err(error) => {
                    let (topic, partition) = (&self.home.partition.topic, self.home.partition.index.0);
                    tracing::warn!(%topic, partition, %error, "records of a {} were not committed: loading it anew", K::NAME);
                    frame.fail();
                }
            }
        }
    }
}

impl<K: Kind> Hosted for Host<K> {
    fn learn(&mut self, at: &Moment, deleted: &[Str]) {
        self.news = true;
        // Those of a partition that nobody serves are of no interest; more than there is room for expire by retention.
        if self.epoch().is_some() {
            let room = DELETED_MAX.saturating_sub(self.deleted.len());
            self.deleted.extend(deleted.iter().take(room).cloned());
        }
        self.pass_on(at);
    }

    fn tick(&mut self, at: &Moment) {
        if let Stage::Serving { frame, .. } = &mut self.stage {
            frame.tick(at);
        }
    }

    fn next_deadline(&self) -> Option<Instant> {
        match &self.stage {
            Stage::Serving { frame, .. } => frame.next_deadline(),
            Stage::Away | Stage::Loading { .. } | Stage::Settling { .. } => None,
        }
    }

    fn write(&mut self, turn: Turn, partition: &mut Partition) {
        let Stage::Serving { epoch, frame, .. } = &mut self.stage else { return };
        if !frame.has_batches() {
            return;
        }
        let codec = K::codec(&self.home.kit.world());
        while let Some(batch) = frame.next_batch() {
            match seal(&batch, turn.wall, codec) {
                Ok(batch) => {
                    let (generation, epoch) = (self.generation, *epoch);
                    partition.touch();
                    partition.append_for_lodger(turn, LodgerAppend { batch, generation, epoch });
                }
                Err(error) => {
                    let (topic, partition) = (&self.home.partition.topic, self.home.partition.index.0);
                    tracing::error!(%topic, partition, %error, "records of a {} cannot be written", K::NAME);
                    frame.fail();
                }
            }
        }
    }

    fn settle(&mut self, turn: Turn, partition: &mut Partition) -> bool {
        self.told(partition.take_outcomes());
        self.release();
        let view = self.home.partition.view();
        let view = &view.replica;
        if self.follow(turn.now, view) {
            // What this replica has written and not committed before may be cut off: the log says what is left.
            partition.forget_markers();
        }
        self.serve(turn, view);
        let ended = partition.take_markers(view.high_watermark);
        let at = moment(turn);
        let Stage::Serving { epoch, frame, .. } = &mut self.stage else { return false };
        for marker in ended {
            frame.end_transaction(marker.producer, marker.commit);
        }
        frame.set_writable(&at, !view.under_min_isr);
        if frame.is_broken() {
            let epoch = *epoch;
            self.begin(turn.now, epoch, view);
            return false;
        }
        self.pass_on(&at);
        self.release();
        let Stage::Serving { frame, metered, .. } = &mut self.stage else { return false };
        K::meter(frame.core_mut(), metered);
        frame.has_batches()
    }

    fn resign(&mut self) {
        self.resigned = true;
        self.leave();
    }
}

/// The time of a turn, with randomness for one step.
pub fn moment(turn: Turn) -> Moment {
    Moment { now: turn.now, wall: turn.wall, uuid: Random.uuid() }
}
