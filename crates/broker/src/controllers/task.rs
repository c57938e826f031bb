//! The controller's task: one core for each leadership of the metadata log.
//!
//! Whoever does not lead knows nothing for sure and answers nothing. What a core remembers ends with its
//! leadership, and also when it is unknown what became of a proposal: the next core begins once that is
//! known, and makes whole what was only half logged. An answer leaves when its records are applied and
//! published here; that to a creation also waits for files, so that a topic can be used once it is answered.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use ottla_controller::controller::{Call, Controller, Entry, UNIT_BYTES_MAX};
use ottla_quorum::{Leadership, MetadataLog, PROPOSAL_BYTES_MAX};
use ottla_settings::BrokerSettings;
use tokio::sync::{mpsc, watch};
use tokio::time::{Interval, MissedTickBehavior};

use super::round::{Reached, Round};
use super::{AskError, Asked, Random, Waiter};
use crate::clock::Clock;
use crate::metadata::Applied;

/// Requests that are taken from the queue at once.
const TAKEN_MAX: usize = 64;

/// How long a controller that could not find out what its log holds waits before it tries again.
const SETTLE_PAUSE: Duration = Duration::from_millis(100);

// Whatever the core allows can be logged.
const _: () = assert!(UNIT_BYTES_MAX <= PROPOSAL_BYTES_MAX);

/// What the controller's task works with.
pub struct ControllerTask<L> {
    pub log: Arc<L>,
    pub settings: Arc<BrokerSettings>,
    pub cluster_id: String,
    pub clock: Clock,
    /// The image as the metadata log has it, and its index.
    pub applied: Arc<arc_swap::ArcSwap<Applied>>,
    pub reached: Reached,
}

/// A time in which this node is in charge.
struct Term<'a, L> {
    task: &'a ControllerTask<L>,
    epoch: u64,
    leadership: watch::Receiver<Leadership>,
    core: Controller,
}

/// How a term ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ended {
    /// This node does not lead any more.
    Deposed,
    /// It is unknown whether a proposal will be applied.
    Unsure,
    /// Nobody can ask any more.
    Closed,
}

impl<L: MetadataLog> ControllerTask<L> {
    /// Serves requests until nobody can ask any more, or the metadata log has stopped.
    pub async fn run(self, mut asked: mpsc::Receiver<Asked>) {
        let mut leadership = self.log.leadership();
        // The epoch in which a proposal may yet be applied.
        let mut unsure = None;
        loop {
            let leads = leadership.wait_for(|now| now.me);
            let Some(Ok(epoch)) =
                self.turn_away(&mut asked, async { leads.await.map(|now| now.epoch) }).await
            else {
                return;
            };
            if unsure == Some(epoch) {
                match self.turn_away(&mut asked, self.settle(epoch)).await {
                    Some(true) => unsure = None,
                    Some(false) => continue,
                    None => return,
                }
            }
            let core = Controller::new(self.clock.now(), &self.applied.load().image);
            let mut term = Term { task: &self, epoch, leadership: leadership.clone(), core };
            match term.serve(&mut asked).await {
                Ended::Deposed => {}
                Ended::Unsure => unsure = Some(epoch),
                Ended::Closed => return,
            }
        }
    }

    /// Refuses requests until `done`; `None` if nobody can ask any more.
    async fn turn_away<T>(
        &self,
        asked: &mut mpsc::Receiver<Asked>,
        done: impl Future<Output = T>,
    ) -> Option<T> {
        let mut done = pin!(done);
        loop {
            tokio::select! {
                biased;
                done = &mut done => return Some(done),
                request = asked.recv() => request?.refuse(self.not_controller()),
            }
        }
    }

    /// Finds out what became of all earlier proposals of this epoch: they are applied before one that comes
    /// now, or never. False if that cannot be told yet.
    async fn settle(&self, epoch: u64) -> bool {
        match self.log.propose_in(epoch, Vec::new()).await {
            Ok(_) => true,
            Err(error) => {
                tracing::warn!(%error, "it is unknown what the metadata log holds");
                tokio::time::sleep(SETTLE_PAUSE).await;
                false
            }
        }
    }

    fn call<'a>(&'a self, round: &'a Round, ids: &'a mut Random) -> Call<'a> {
        Call {
            now: self.clock.now(),
            wall: self.clock.wall(),
            image: round.image(),
            settings: &self.settings,
            cluster_id: &self.cluster_id,
            next_offset: round.next_offset(),
            image_offset: round.image_offset(),
            ids,
        }
    }

    fn not_controller(&self) -> AskError {
        let Leadership { leader, me, .. } = *self.log.leadership().borrow();
        AskError::NotController { leader: leader.filter(|_| !me) }
    }
}

impl<L: MetadataLog> Term<'_, L> {
    async fn serve(&mut self, asked: &mut mpsc::Receiver<Asked>) -> Ended {
        let mut waiting = Vec::with_capacity(TAKEN_MAX);
        let ended = match self.work(asked, &mut waiting).await {
            Ok(()) => Ended::Closed,
            Err(ended) => ended,
        };
        for asked in waiting {
            asked.refuse(self.task.not_controller());
        }
        ended
    }

    /// Works until nobody can ask any more. Requests that it leaves in `waiting` are not decided.
    async fn work(
        &mut self,
        asked: &mut mpsc::Receiver<Asked>,
        waiting: &mut Vec<Asked>,
    ) -> Result<(), Ended> {
        let mut ticks = tokio::time::interval(Controller::TICK_INTERVAL);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        // What the last controller left half done comes before everything else.
        while self.tick().await? {}
        loop {
            tokio::select! {
                () = self.deposed() => return Err(Ended::Deposed),
                taken = asked.recv_many(waiting, TAKEN_MAX) => {
                    if taken == 0 {
                        return Ok(());
                    }
                    self.decide_all(waiting).await?;
                }
                _ = ticks.tick() => self.look_after(asked, waiting, &mut ticks).await?,
            }
        }
    }

    /// Does what is due. Requests that came before go first: a heartbeat that waits behind a pause must count
    /// before its absence does.
    async fn look_after(
        &mut self,
        asked: &mut mpsc::Receiver<Asked>,
        waiting: &mut Vec<Asked>,
        ticks: &mut Interval,
    ) -> Result<(), Ended> {
        let mut before = asked.len();
        while before > 0 {
            let taken = asked.recv_many(waiting, before.min(TAKEN_MAX)).await;
            self.decide_all(waiting).await?;
            before -= taken.clamp(1, before);
        }
        if self.tick().await? {
            // There may be more.
            ticks.reset_immediately();
        }
        Ok(())
    }

    async fn decide_all(&mut self, waiting: &mut Vec<Asked>) -> Result<(), Ended> {
        while !waiting.is_empty() {
            self.decide(waiting).await?;
        }
        Ok(())
    }

    /// Decides on requests from the front of `waiting`, as many as fit in one round, and makes them true.
    async fn decide(&mut self, waiting: &mut Vec<Asked>) -> Result<(), Ended> {
        let mut round = self.round()?;
        let mut taken = 0;
        for Asked { request, .. } in waiting.iter() {
            if !round.takes(request) {
                break;
            }
            let outcome = self.core.handle(&mut self.task.call(&round, &mut Random), request);
            let added = round.add(&outcome);
            round.reply(request, added.map(|()| outcome.response));
            taken += 1;
        }
        self.make_true(round, waiting.drain(..taken).map(|asked| asked.answer)).await
    }

    /// One piece of what is due; whether there was any.
    async fn tick(&mut self) -> Result<bool, Ended> {
        let mut round = self.round()?;
        let outcome = self.core.tick(&mut self.task.call(&round, &mut Random));
        if let Err(error) = round.add(&outcome) {
            tracing::error!(%error, "what is due cannot be logged");
        }
        let any = !round.is_empty();
        self.make_true(round, std::iter::empty()).await?;
        Ok(any)
    }

    /// A round on the image as it is now, if this node may still decide.
    fn round(&self) -> Result<Round, Ended> {
        if leads(&self.leadership.borrow(), self.epoch) {
            Ok(Round::new(self.task.applied.load_full()))
        } else {
            Err(Ended::Deposed)
        }
    }

    /// Logs the entries of a round one after the other, and answers what each of them makes true.
    async fn make_true(&mut self, round: Round, waiters: impl Iterator<Item = Waiter>) -> Result<(), Ended> {
        let (entries, mut replies) = round.finish(waiters);
        replies.send(&self.task.reached);
        for entry in entries {
            match self.log(entry).await {
                Ok(index) => replies.applied(index),
                Err(error) => {
                    tracing::warn!(%error, "a change of the metadata was not logged");
                    replies.refuse(&error);
                    return Err(Ended::Unsure);
                }
            }
            replies.send(&self.task.reached);
        }
        Ok(())
    }

    /// Resolves when this node does not lead any more.
    async fn deposed(&self) {
        let mut leadership = self.leadership.clone();
        // An error is that the log has stopped, which ends a leadership, too.
        drop(leadership.wait_for(|now| !leads(now, self.epoch)).await);
    }

    async fn log(&self, entry: Entry) -> Result<u64, AskError> {
        tokio::select! {
            biased;
            logged = self.task.log.propose_in(self.epoch, entry.frames) => Ok(logged?),
            // Waiting for a majority could take long.
            () = self.deposed() => {
                Err(AskError::Unknown("this node does not lead the metadata log any more".to_owned()))
            }
        }
    }
}

fn leads(now: &Leadership, epoch: u64) -> bool {
    now.me && now.epoch == epoch
}
