//! A coordinator beside the replica of its partition. The host follows the leadership, passes requests to the
//! coordinator, and carries out its records and answers.
//!
//! When the replica becomes leader, the driver reads the log ([`HostEffect::Load`]). Once everything read is
//! committed, requests are served. The records of a turn form one batch, appended like a producer's with
//! acks=all. The answers that depend on it leave when it is committed. After a failed append the core is
//! ahead of its log, so it is given up and loaded again.

use std::time::Duration;

use ottla_coordinator::{Coordinator, Frame, Moment, Output, Refusal, Ticket};
use ottla_replica::{AppendError, View, ViewRole};
use ottla_wire::compress::Codec;
use ottla_wire::primitives::Str;
use ottla_wire::protocol::ErrorCode;
use ottla_wire::{Instant, LeaderEpoch, Offset};

use crate::lodger::{Generation, Lodger, LodgerAppend, NewUuid, Seen};
use crate::partition::{AppendOutcome, Turn};
use crate::seal::seal;

/// The most deleted topics that one host remembers until its coordinator can take them in.
const DELETED_MAX: usize = 10_000;

/// What the driver provides: a kind of coordinator, and its world.
pub trait Household {
    type Core: Coordinator;

    /// The coordinator's name in the log.
    const NAME: &'static str;

    /// Topic and number of the partition, for the log.
    fn partition(&self) -> (&str, i32);

    /// A core of a leader in this epoch. It has the settings of the world and nothing loaded.
    fn create(&self, epoch: LeaderEpoch) -> Self::Core;

    /// Brings an active frame up to date with the world. `deleted` names the topics deleted since the last
    /// call, even if a new topic has the same name.
    fn learn(&self, frame: &mut Frame<Self::Core>, at: &Moment, deleted: &[Str]);

    /// Exchanges memory figures between a core and its driver, if the kind is metered. Runs before every
    /// request.
    fn meter(&mut self, core: &mut Self::Core);

    /// The compression of its batches.
    fn codec(&self) -> Codec;
}

/// The effects that the driver must carry out, in order, after those of the partition's turn.
pub enum HostEffect<C: Coordinator> {
    /// Read the log, then call [`Host::loaded`], unless the replica no longer leads in this epoch.
    Load(Load<C>),
    /// The coordinator serves. `after` is the time since the replica became leader.
    Serves { after: Duration },
    /// Drop all waiters without an answer. They look for the coordinator again.
    LetGo,
    /// Carry out what the core sends out.
    Say(Vec<C::Outbound>),
}

/// The input of a load.
pub struct Load<C: Coordinator> {
    pub epoch: LeaderEpoch,
    pub generation: Generation,
    /// The part read earlier, and the offset where it ends. Without one, the log is read from its start.
    pub begun: Option<(Frame<C>, Offset)>,
}

/// A frame whose log has been read up to `end`.
pub struct Loaded<C: Coordinator> {
    pub generation: Generation,
    pub frame: Frame<C>,
    pub end: Offset,
}

/// Why a request is not served.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unserved {
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The partition would refuse the coordinator's records for this producer.
    #[error(transparent)]
    Producer(#[from] AppendError),
}

impl From<Unserved> for ErrorCode {
    fn from(unserved: Unserved) -> ErrorCode {
        match unserved {
            Unserved::Refused(Refusal::Loading) => ErrorCode::CoordinatorLoadInProgress,
            Unserved::Refused(Refusal::Unavailable) => ErrorCode::CoordinatorNotAvailable,
            Unserved::Refused(Refusal::NotCoordinator) => ErrorCode::NotCoordinator,
            Unserved::Producer(error) => ErrorCode::from(error),
        }
    }
}

/// The state of a host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HostStatus {
    /// The replica does not lead.
    Away,
    Loading,
    Serving,
}

/// A coordinator and its pending effects.
pub struct Host<H: Household> {
    home: H,
    generation: Generation,
    stage: Stage<H::Core>,
    effects: Vec<HostEffect<H::Core>>,
    /// The broker stops. Nothing is served any more.
    resigned: bool,
    /// The core has not taken in the newest world.
    news: bool,
    /// Deleted topics that the core has not taken in.
    deleted: Vec<Str>,
}

enum Stage<C: Coordinator> {
    /// The replica does not lead.
    Away,
    /// The log is being read.
    Loading {
        epoch: LeaderEpoch,
        since: Instant,
    },
    /// The log has been read up to `end`, but not all of it is committed yet.
    Settling {
        epoch: LeaderEpoch,
        since: Instant,
        frame: Frame<C>,
        end: Offset,
    },
    Serving {
        epoch: LeaderEpoch,
        frame: Frame<C>,
    },
}

impl<H: Household> Host<H> {
    pub fn new(home: H) -> Host<H> {
        Host {
            home,
            generation: Generation::default(),
            stage: Stage::Away,
            effects: Vec::new(),
            resigned: false,
            news: false,
            deleted: Vec::new(),
        }
    }

    pub fn household(&self) -> &H {
        &self.home
    }

    pub fn household_mut(&mut self) -> &mut H {
        &mut self.home
    }

    pub fn status(&self) -> HostStatus {
        match &self.stage {
            Stage::Away => HostStatus::Away,
            Stage::Loading { .. } | Stage::Settling { .. } => HostStatus::Loading,
            Stage::Serving { .. } => HostStatus::Serving,
        }
    }

    /// The core, while it serves.
    pub fn core(&self) -> Option<&H::Core> {
        match &self.stage {
            Stage::Serving { frame, .. } => Some(frame.core()),
            Stage::Away | Stage::Loading { .. } | Stage::Settling { .. } => None,
        }
    }

    /// The pending effects. To be taken after every turn.
    pub fn take_effects(&mut self) -> std::vec::Drain<'_, HostEffect<H::Core>> {
        self.effects.drain(..)
    }

    /// Serves a request. `claim` says whether the partition would accept a write of the request's producer.
    /// If the partition refused it only after the core had accepted it, the coordinator would have to reload
    /// its state. The answer is among the effects.
    pub fn ask(
        &mut self,
        at: &Moment,
        ticket: Ticket,
        request: <H::Core as Coordinator>::Request,
        claim: Result<(), AppendError>,
    ) -> Result<(), Unserved> {
        match &mut self.stage {
            Stage::Away => Err(Unserved::Refused(Refusal::NotCoordinator)),
            Stage::Loading { .. } | Stage::Settling { .. } => Err(Unserved::Refused(Refusal::Loading)),
            Stage::Serving { frame, .. } => {
                claim?;
                self.home.meter(frame.core_mut());
                Ok(frame.handle(at, ticket, request)?)
            }
        }
    }

    /// Runs work on the core that does not come from a client. Does nothing if the core cannot write now: it
    /// asks again later.
    pub fn act(&mut self, act: impl FnOnce(&mut H::Core, &mut Output<<H::Core as Coordinator>::Outbound>)) {
        if let Stage::Serving { frame, .. } = &mut self.stage {
            frame.act(act);
        }
    }

    /// Takes over a log that has been read. `log_end` is the current end of the log.
    pub fn loaded(&mut self, loaded: Loaded<H::Core>, log_end: Offset) {
        let Loaded { generation, frame, end } = loaded;
        let Stage::Loading { epoch, since } = self.stage else { return };
        if generation != self.generation {
            return; // of an earlier generation
        }
        if end < log_end {
            // A marker was written meanwhile.
            self.effects.push(HostEffect::Load(Load { epoch, generation, begun: Some((frame, end)) }));
            return;
        }
        self.stage = Stage::Settling { epoch, since, frame, end };
    }

    /// Takes in that the world has changed and that these topics are gone.
    pub fn learn(&mut self, at: &Moment, deleted: &[Str]) {
        self.news = true;
        // A partition without a coordinator does not need them. Beyond the limit, retention expires the
        // offsets.
        if self.epoch().is_some() {
            let room = DELETED_MAX.saturating_sub(self.deleted.len());
            self.deleted.extend(deleted.iter().take(room).cloned());
        }
        self.pass_on(at);
    }

    /// Starts or ends with the partition's leadership.
    fn follow(&mut self, now: Instant, view: &View) {
        let leads = (view.role == ViewRole::Leader && !self.resigned).then_some(view.leader_epoch);
        if leads == self.epoch() {
            return;
        }
        match leads {
            Some(epoch) => self.begin(now, epoch, view),
            None => self.leave(),
        }
    }

    fn leave(&mut self) {
        self.effects.push(HostEffect::LetGo);
        self.deleted.clear();
        self.stage = Stage::Away;
    }

    fn begin(&mut self, now: Instant, epoch: LeaderEpoch, view: &View) {
        self.generation = Generation(self.generation.0 + 1);
        self.effects.push(HostEffect::LetGo);
        if view.log_start == view.log_end {
            // A new topic is usable at once.
            let frame = Frame::loading(self.home.create(epoch));
            self.stage = Stage::Settling { epoch, since: now, frame, end: view.log_end };
            return;
        }
        self.stage = Stage::Loading { epoch, since: now };
        let generation = self.generation;
        self.effects.push(HostEffect::Load(Load { epoch, generation, begun: None }));
    }

    /// Serves once everything read is committed. Otherwise an answer could show records that may still be
    /// lost.
    fn serve(&mut self, turn: Turn, uuids: &mut NewUuid<'_>, view: &View) {
        let ready = matches!(&self.stage, Stage::Settling { end, .. } if view.high_watermark >= *end);
        if !ready {
            return;
        }
        let Stage::Settling { epoch, since, mut frame, .. } = std::mem::replace(&mut self.stage, Stage::Away)
        else {
            return;
        };
        frame.loaded(&turn.moment(uuids()));
        self.news = true;
        self.effects.push(HostEffect::Serves { after: turn.now.since(since) });
        self.stage = Stage::Serving { epoch, frame };
    }

    /// Passes the newest world to the core, as soon as the core can write.
    fn pass_on(&mut self, at: &Moment) {
        let Stage::Serving { frame, .. } = &mut self.stage else { return };
        if self.news && frame.is_active() {
            self.news = false;
            self.home.learn(frame, at, &std::mem::take(&mut self.deleted));
        }
    }

    /// Releases the answers that may leave.
    fn release(&mut self) {
        let Stage::Serving { frame, .. } = &mut self.stage else { return };
        let released = frame.take_released();
        if !released.is_empty() {
            self.effects.push(HostEffect::Say(released));
        }
    }

    fn epoch(&self) -> Option<LeaderEpoch> {
        match &self.stage {
            Stage::Away => None,
            Stage::Loading { epoch, .. } | Stage::Settling { epoch, .. } | Stage::Serving { epoch, .. } => {
                Some(*epoch)
            }
        }
    }
}

impl<H: Household> Lodger for Host<H> {
    fn next_batch(&mut self, turn: Turn) -> Option<LodgerAppend> {
        let Stage::Serving { epoch, frame } = &mut self.stage else { return None };
        let batch = frame.next_batch()?;
        match seal(&batch, turn.wall, self.home.codec()) {
            Ok(batch) => Some(LodgerAppend { batch, generation: self.generation, epoch: *epoch }),
            Err(error) => {
                let (topic, partition) = self.home.partition();
                tracing::error!(topic, partition, %error, "records of a {} cannot be written", H::NAME);
                frame.fail();
                None
            }
        }
    }

    fn appended(&mut self, generation: Generation, outcome: AppendOutcome) {
        let Stage::Serving { frame, .. } = &mut self.stage else { return };
        match outcome {
            _ if generation != self.generation => {}
            Ok(_) => frame.committed(),
            Err(error) => {
                let (topic, partition) = self.home.partition();
                let name = H::NAME;
                tracing::warn!(topic, partition, %error, "records of a {name} were not committed: loading it anew");
                frame.fail();
            }
        }
    }

    fn settle(&mut self, turn: Turn, uuids: &mut NewUuid<'_>, seen: &Seen<'_>) -> bool {
        self.release();
        self.follow(turn.now, seen.view);
        self.serve(turn, uuids, seen.view);
        let Stage::Serving { epoch, frame } = &mut self.stage else { return false };
        for marker in seen.ended {
            frame.end_transaction(marker.producer, marker.commit);
        }
        let at = turn.moment(uuids());
        frame.set_writable(&at, seen.has_room && !seen.view.under_min_isr);
        if frame.is_broken() {
            let epoch = *epoch;
            self.begin(turn.now, epoch, seen.view);
            return false;
        }
        self.pass_on(&at);
        self.release();
        let Stage::Serving { frame, .. } = &mut self.stage else { return false };
        self.home.meter(frame.core_mut());
        frame.has_batches()
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

    fn resign(&mut self) {
        self.resigned = true;
        self.leave();
    }
}
