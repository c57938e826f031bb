//! The turns of a shard.
//!
//! A turn takes all waiting mail and feeds it to the partitions. Then it ends the turn of each partition that
//! was touched: one write, the replies, at most one flush, one publication. Batches that arrive during a
//! flush share the next flush. That is the group commit.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use ottla_log::{FlushDone, FlushJob, Flusher};
use ottla_partition::{Due, Fate, Lodger, Turn};
use ottla_replica::Event;
use ottla_tasks::Tasks;
use ottla_wire::Instant;
use tokio::sync::{mpsc, oneshot};

use super::driver::{Partition, PartitionDriver};
use super::mailbox::{Mail, ShardHandle};
use super::slot::{Slot, uuid};
use super::vouching;
use crate::clock::Clock;
use crate::coordinator::{Coordinating, Coordinators};
use crate::partition::{ByPartition, PartitionKey};

/// The most mail in one turn. Later mail waits until the log is written.
const TURN_MAIL_MAX: usize = 256;

/// How often partitions with waiting requests check their deadlines.
const DEADLINE_TICK: Duration = Duration::from_millis(100);

/// How often all partitions are told that time has passed.
const IDLE_TICK: Duration = Duration::from_secs(1);

/// The most flushes of one shard that have ended and were not yet noticed. A partition has one flush at a
/// time, so this bounds the number of partitions. It is never reached.
const FLUSHES_DONE_MAX: usize = 1 << 20;

/// The settings and services of a shard.
pub struct ShardSettings {
    pub clock: Clock,
    pub flusher: Arc<Flusher>,
    /// `log.retention.check.interval.ms`
    pub retention_interval: Duration,
    /// The coordinators of this broker, which carry out effects outside of the shard.
    pub coordinators: Arc<Coordinators>,
}

type Flushed = (PartitionKey, FlushDone);

struct Shard {
    settings: ShardSettings,
    partitions: ByPartition<Slot>,
    /// Partitions of this turn, and those with work left for the next one.
    touched: Vec<PartitionKey>,
    /// Partitions with a coordinator.
    coordinators: BTreeSet<PartitionKey>,
    /// Partitions with work left for the next turn.
    again: Vec<PartitionKey>,
    /// Who waits for the end of the turn.
    barriers: Vec<oneshot::Sender<()>>,
    /// When to tell coordinators that time has passed.
    due: BTreeSet<(Instant, PartitionKey)>,
    /// Partitions with waiting requests, whose deadlines are checked more often.
    waiting: BTreeSet<PartitionKey>,
    flushed: mpsc::Sender<Flushed>,
    retained_at: Instant,
    vouched_at: Instant,
    /// When all partitions were last told that time has passed.
    ticked_at: Instant,
    /// When those with waiting requests were last told.
    deadlines_at: Instant,
}

/// Runs a shard until it is stopped or all its handles are gone.
pub async fn run(mut mail: mpsc::Receiver<Mail>, settings: ShardSettings) {
    let (flushed, mut flushes) = mpsc::channel(FLUSHES_DONE_MAX);
    let now = settings.clock.now();
    let mut shard = Shard {
        settings,
        partitions: ByPartition::default(),
        touched: Vec::new(),
        coordinators: BTreeSet::new(),
        again: Vec::new(),
        barriers: Vec::new(),
        due: BTreeSet::new(),
        waiting: BTreeSet::new(),
        flushed,
        retained_at: now,
        vouched_at: now,
        ticked_at: now,
        deadlines_at: now,
    };
    let mut letters = Vec::with_capacity(TURN_MAIL_MAX);
    let mut done = Vec::new();
    loop {
        let tick = tokio::time::sleep(shard.time_to_tick());
        tokio::select! {
            biased;
            _ = flushes.recv_many(&mut done, TURN_MAIL_MAX) => {}
            count = mail.recv_many(&mut letters, TURN_MAIL_MAX) => if count == 0 { return },
            () = tick => {}
        }
        if let Some(stopping) = shard.turn(&mut done, &mut letters) {
            mail.close();
            shard.stop(stopping, &mut flushes).await;
            return;
        }
    }
}

impl Shard {
    /// Runs one turn. If it stops the shard, returns the waiter for the stop.
    fn turn(&mut self, done: &mut Vec<Flushed>, letters: &mut Vec<Mail>) -> Option<oneshot::Sender<()>> {
        let turn = self.now();
        let mut stopping = None;
        for (key, done) in done.drain(..) {
            self.with(key, |partition| partition.flushed(turn, done));
        }
        for letter in letters.drain(..) {
            match letter {
                Mail::Stop(stopped) => stopping = Some(stopped),
                letter => self.take(turn, letter),
            }
        }
        self.tick(turn);
        self.end(turn);
        // What was sent before them is to be seen by now.
        for passed in self.barriers.drain(..) {
            let _gone = passed.send(());
        }
        stopping
    }

    fn take(&mut self, turn: Turn, letter: Mail) {
        match letter {
            Mail::Append(appends) => {
                for (key, request, ticket) in appends {
                    // The ticket of a removed partition answers itself.
                    self.with(key, |partition| partition.append(turn, request, ticket));
                }
            }
            Mail::WriteMarkers(markers) => {
                for (key, marker, ticket) in markers {
                    if let Some(slot) = self.listed(key) {
                        slot.machine.write_marker(turn, &marker, ticket);
                    }
                }
            }
            Mail::BeginVerification(claims) => {
                for (key, claim, reply) in claims {
                    if let Some(slot) = self.partitions.get_mut(&key) {
                        let _gone = reply.send(slot.machine.partition_mut().begin_verification(turn, &claim));
                    }
                }
            }
            Mail::Adopt(driver) => self.adopt(*driver),
            Mail::Assign(states) => {
                for (key, state) in states {
                    self.with(key, |partition| partition.step(turn, Event::Assigned(state)));
                }
            }
            Mail::Configure(key, replica, log) => {
                self.with(key, |partition| partition.configure(turn, replica, log));
            }
            Mail::DeleteRecords { partition, before, deadline, reply } => {
                self.with(partition, |partition| partition.delete_records(turn, before, deadline, reply));
            }
            Mail::FollowerFetched(key, fetch) => {
                self.with(key, |partition| partition.step(turn, Event::FollowerFetched(fetch)));
            }
            Mail::Coordinators(letters) => {
                for (key, mail) in letters {
                    if let Some(slot) = self.listed(key) {
                        slot.deliver(turn, mail);
                    }
                }
            }
            Mail::Learn(deleted) => {
                for key in self.coordinators.clone() {
                    self.coordinate(key, |coordinator| coordinator.learn(&turn.moment(uuid()), &deleted));
                }
            }
            Mail::Resign => {
                for key in self.coordinators.clone() {
                    self.coordinate(key, |coordinator| coordinator.resign());
                }
            }
            Mail::DescribeProducers(key, reply) => self.with(key, |partition| {
                let _gone = reply.send(partition.producers());
            }),
            Mail::Retire { partition, fate, done } => self.retire(turn, partition, fate, done),
            Mail::Barrier(passed) => self.barriers.push(passed),
            Mail::Stop(_) => unreachable!("the turn takes it out"),
        }
    }

    /// Runs `act` on a partition, which becomes part of the turn.
    fn with(&mut self, key: PartitionKey, act: impl FnOnce(&mut Partition)) {
        if let Some(slot) = self.listed(key) {
            let partition = slot.machine.partition_mut();
            act(partition);
            partition.touch();
        }
    }

    /// Runs `act` on the coordinators in a partition.
    fn coordinate(&mut self, key: PartitionKey, act: impl FnMut(&mut Coordinating)) {
        if let Some(slot) = self.listed(key) {
            slot.coordinate(act);
        }
    }

    /// A partition, listed for the end of the turn.
    fn listed(&mut self, key: PartitionKey) -> Option<&mut Slot> {
        let slot = self.partitions.get_mut(&key)?;
        if slot.list() {
            self.touched.push(key);
        }
        Some(slot)
    }

    fn adopt(&mut self, driver: PartitionDriver) {
        let key = driver.key();
        let slot = Slot::new(driver, &self.settings.coordinators);
        if slot.has_coordinators() {
            self.coordinators.insert(key);
        }
        self.partitions.insert(key, slot);
        self.with(key, Partition::adopted);
    }

    fn retire(&mut self, turn: Turn, key: PartitionKey, fate: Fate, done: oneshot::Sender<()>) {
        if let Some(slot) = self.partitions.remove(&key) {
            self.coordinators.remove(&key);
            slot.due.map(|at| self.due.remove(&(at, key)));
            self.waiting.remove(&key);
            let handle = slot.handle.clone();
            if let Err(error) = slot.retire(turn, fate) {
                tracing::error!(topic = %handle.topic, partition = handle.index.0, %error, "files stay behind");
            }
        }
        let _gone = done.send(());
    }

    /// Ends the turn of every touched partition.
    fn end(&mut self, turn: Turn) {
        let mut touched = std::mem::take(&mut self.touched);
        for key in touched.drain(..) {
            let Some(slot) = self.partitions.get_mut(&key) else { continue };
            let left = slot.end_turn(turn);
            let due = std::mem::replace(&mut slot.due, left.due);
            if due != left.due {
                due.map(|at| self.due.remove(&(at, key)));
                self.due.extend(left.due.map(|at| (at, key)));
            }
            match left.has_waiters {
                true => self.waiting.insert(key),
                false => self.waiting.remove(&key),
            };
            if left.again {
                self.again.push(key);
            }
            if let Some(job) = left.flush {
                self.submit(key, job);
            }
        }
        // Keeps the capacity for the next turn.
        self.touched = touched;
        for key in std::mem::take(&mut self.again) {
            self.listed(key);
        }
    }

    fn submit(&self, key: PartitionKey, job: FlushJob) {
        let flushed = self.flushed.clone();
        let done = Box::new(move |done| {
            // It cannot be full. It is closed if the shard has stopped.
            let _stopped = flushed.try_send((key, done));
        });
        if let Err((job, done)) = self.settings.flusher.submit(job, done) {
            tracing::warn!("more flushes wait than the pool takes: flushing here");
            done(job.run());
        }
    }

    /// Tells coordinators that their time has come.
    fn tick_coordinators(&mut self, turn: Turn) {
        while let Some((at, key)) = self.due.first().copied().filter(|(at, _)| *at <= turn.now) {
            self.due.remove(&(at, key));
            if let Some(slot) = self.listed(key) {
                slot.due = None;
                slot.tick_coordinators(turn);
            }
        }
    }

    /// Tells partitions that time has passed: those with waiting requests ten times a second, all others once
    /// a second. Applies retention when it is due.
    fn tick(&mut self, turn: Turn) {
        self.tick_coordinators(turn);
        let mut due = Due { retention: false, vouching: None };
        if turn.now.since(self.retained_at) >= self.settings.retention_interval {
            (self.retained_at, due.retention) = (turn.now, true);
        }
        if due.retention || turn.now.since(self.ticked_at) >= IDLE_TICK {
            due.vouching = self.vouching_due(turn.now);
            self.ticked_at = turn.now;
            self.deadlines_at = turn.now;
            for (key, slot) in &mut self.partitions {
                let partition = slot.machine.partition_mut();
                if partition.tick(turn, due) {
                    partition.touch();
                    if slot.list() {
                        self.touched.push(*key);
                    }
                }
            }
        } else if turn.now.since(self.deadlines_at) >= DEADLINE_TICK {
            self.deadlines_at = turn.now;
            for key in std::mem::take(&mut self.waiting) {
                self.with(key, |partition| partition.step(turn, Event::Tick));
            }
        }
    }

    fn vouching_due(&mut self, now: Instant) -> Option<u64> {
        let unvouched = self.partitions.values().map(|slot| slot.machine.partition().unvouched_bytes());
        let waited = now.since(self.vouched_at);
        let due = vouching::due(waited, unvouched);
        if waited >= vouching::INTERVAL {
            self.vouched_at = now;
        }
        due
    }

    fn time_to_tick(&self) -> Duration {
        if !self.touched.is_empty() {
            return Duration::ZERO;
        }
        let now = self.settings.clock.now();
        let coordinators = self.due.first().map_or(IDLE_TICK, |(at, _)| at.since(now));
        let idle = IDLE_TICK.saturating_sub(now.since(self.ticked_at)).min(coordinators);
        match self.waiting.is_empty() {
            true => idle,
            false => idle.min(DEADLINE_TICK.saturating_sub(now.since(self.deadlines_at))),
        }
    }

    /// Flushes and closes every partition.
    async fn stop(&mut self, stopped: oneshot::Sender<()>, flushes: &mut mpsc::Receiver<Flushed>) {
        let turn = self.now();
        for (key, slot) in &mut self.partitions {
            let partition = slot.machine.partition_mut();
            partition.want_flush();
            partition.touch();
            if slot.list() {
                self.touched.push(*key);
            }
        }
        self.end(turn);
        self.await_flushes(flushes).await;
        let mut closing = Vec::new();
        for (key, slot) in &mut self.partitions {
            match slot.machine.partition_mut().close() {
                Ok(job) => closing.extend(job.map(|job| (*key, job))),
                Err(error) => {
                    let (topic, partition) = (&slot.handle.topic, slot.handle.index.0);
                    tracing::error!(%topic, partition, %error, "not closed cleanly");
                }
            }
        }
        closing.into_iter().for_each(|(key, job)| self.submit(key, job));
        self.await_flushes(flushes).await;
        self.partitions.clear();
        let _gone = stopped.send(());
    }

    async fn await_flushes(&mut self, flushes: &mut mpsc::Receiver<Flushed>) {
        while self.partitions.values().any(|slot| slot.machine.partition().is_flushing()) {
            let Some((key, done)) = flushes.recv().await else { break };
            let turn = self.now();
            self.with(key, |partition| partition.flushed(turn, done));
            self.end(turn);
        }
    }

    fn now(&self) -> Turn {
        Turn { now: self.settings.clock.now(), wall: self.settings.clock.wall() }
    }
}

impl ShardHandle {
    /// Starts a shard's task.
    pub fn spawn(number: usize, settings: ShardSettings, tasks: &Tasks) -> ShardHandle {
        let (handle, mail) = ShardHandle::new(number);
        tasks.part(format!("shard {number}"), run(mail, settings));
        handle
    }
}
