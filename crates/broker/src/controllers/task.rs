//! The controller's task: one core for each leadership of the metadata log.
//!
//! A node that does not lead knows nothing for sure and answers nothing. A core's memory ends with its
//! leadership, and also when the outcome of a proposal is unknown. The next core begins once the outcome is
//! known, and completes decisions that were only half logged. An answer leaves when its records are applied
//! and published here. The answer to a creation also waits for files, so the topic is usable by then.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use ottla_controller::controller::{Call, Controller, Entry, UNIT_BYTES_MAX};
use ottla_quorum::{Leadership, MetadataLog, PROPOSAL_BYTES_MAX};
use ottla_settings::BrokerSettings;
use ottla_tasks::Tasks;
use tokio::sync::{mpsc, watch};
use tokio::time::{Interval, MissedTickBehavior};

use super::Random;
use super::error::AskError;
use super::handle::{QueuedRequest, Waiter};
use super::round::{Reached, Round};
use crate::clock::Clock;
use crate::metadata::Applied;

/// The most requests taken from the queue at once.
const TAKEN_MAX: usize = 64;

/// How long a controller waits between tries to find out what its log holds.
const SETTLE_PAUSE: Duration = Duration::from_millis(100);

// Every decision that the core allows must fit into the log.
const _: () = assert!(UNIT_BYTES_MAX <= PROPOSAL_BYTES_MAX);

/// The parts that the controller's task works with.
pub struct ControllerTask<L> {
    pub log: Arc<L>,
    pub settings: Arc<BrokerSettings>,
    pub cluster_id: String,
    /// Partitions that this node can keep open.
    pub open_max: usize,
    pub clock: Clock,
    /// The image according to the metadata log, and its index.
    pub applied: Arc<arc_swap::ArcSwap<Applied>>,
    pub reached: Reached,
    pub tasks: Tasks,
}

/// One continuous period in which this node is the controller.
struct Term<'a, L> {
    task: &'a ControllerTask<L>,
    epoch: u64,
    leadership: watch::Receiver<Leadership>,
    core: Controller,
}

/// How a term ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ended {
    /// This node no longer leads.
    Deposed,
    /// A proposal has an unknown outcome.
    Unsure,
    /// All handles are gone.
    Closed,
}

impl<L: MetadataLog> ControllerTask<L> {
    /// Serves requests until all handles are gone or the metadata log has stopped.
    pub async fn run(self, mut asked: mpsc::Receiver<QueuedRequest>) {
        let mut leadership = self.log.leadership();
        // The epoch in which an earlier proposal may still be applied.
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

    /// Refuses requests until `done`. `None` if all handles are gone.
    async fn turn_away<T>(
        &self,
        asked: &mut mpsc::Receiver<QueuedRequest>,
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

    /// Finds out the outcome of all earlier proposals of this epoch. They are applied before a new one, or
    /// never. False if that is not known yet.
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
            open_max: self.open_max,
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
    async fn serve(&mut self, asked: &mut mpsc::Receiver<QueuedRequest>) -> Ended {
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

    /// Works until all handles are gone. Requests left in `waiting` are undecided.
    async fn work(
        &mut self,
        asked: &mut mpsc::Receiver<QueuedRequest>,
        waiting: &mut Vec<QueuedRequest>,
    ) -> Result<(), Ended> {
        let mut ticks = tokio::time::interval(Controller::TICK_INTERVAL);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        // First comes whatever the last controller left half done.
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

    /// Does what is due. Requests that arrived earlier go first: a heartbeat that waits behind a pause must
    /// count before its absence does.
    async fn look_after(
        &mut self,
        asked: &mut mpsc::Receiver<QueuedRequest>,
        waiting: &mut Vec<QueuedRequest>,
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

    async fn decide_all(&mut self, waiting: &mut Vec<QueuedRequest>) -> Result<(), Ended> {
        while !waiting.is_empty() {
            self.decide(waiting).await?;
        }
        Ok(())
    }

    /// Decides as many requests from the front of `waiting` as fit into one round, and logs them.
    async fn decide(&mut self, waiting: &mut Vec<QueuedRequest>) -> Result<(), Ended> {
        let mut round = self.round()?;
        let mut taken = 0;
        for QueuedRequest { request, .. } in waiting.iter() {
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

    /// Does one piece of what is due. False if there was none.
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

    /// Starts a round on the current image, if this node may still decide.
    fn round(&self) -> Result<Round, Ended> {
        if leads(&self.leadership.borrow(), self.epoch) {
            Ok(Round::new(self.task.applied.load_full()))
        } else {
            Err(Ended::Deposed)
        }
    }

    /// Logs the entries of a round one after the other. Answers the requests of each entry once it is
    /// published.
    async fn make_true(&mut self, round: Round, waiters: impl Iterator<Item = Waiter>) -> Result<(), Ended> {
        let (entries, mut replies) = round.finish(waiters);
        replies.send(&self.task.reached, &self.task.tasks);
        for entry in entries {
            match self.log(entry).await {
                Ok(index) => replies.applied(index),
                Err(error) => {
                    tracing::warn!(%error, "a change of the metadata was not logged");
                    replies.refuse(&error);
                    return Err(Ended::Unsure);
                }
            }
            replies.send(&self.task.reached, &self.task.tasks);
        }
        Ok(())
    }

    /// Resolves when this node no longer leads.
    async fn deposed(&self) {
        let mut leadership = self.leadership.clone();
        // An error means that the log has stopped, which also ends a leadership.
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
