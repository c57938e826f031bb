//! One partition in its shard: feeds events to the core, carries its effects out on the log, and publishes the view.
//!
//! A turn of the shard feeds some events and then ends the turn. Only there the queued batches are written, in one call;
//! what the core has promised meanwhile is held back until that write has succeeded.

mod transactions;
mod truncate;
mod vouch;

use std::collections::VecDeque;
use std::sync::Arc;

use ottla_log::{FlushDone, FlushJob, Log, LogConfig, LogError};
use ottla_replica::{
    Acks, Append, AppendError, DeleteError, DeleteRecords, DeleteTo, Effect, Event, ProducerState, Replica,
    ReplicaConfig, ReplyId,
};
use ottla_wire::batch::{BatchHeader, Origin, ValidatedBatch};
use ottla_wire::{Instant, LeaderEpoch, Offset, Timestamp};
use tokio::sync::oneshot;

use super::appends::{Outcome, Ticket};
use super::mailbox::AppendRequest;
use super::waiters::Waiters;
use crate::coordinator::{Generation, Marker};
use crate::partition::{PartitionHandle, PartitionKey, PartitionView};

/// The times of a turn.
#[derive(Clone, Copy)]
pub struct Turn {
    pub now: Instant,
    pub wall: Timestamp,
}

/// What is due at a tick, besides deadlines.
#[derive(Clone, Copy)]
pub struct Due {
    /// Removing what has outlived its retention.
    pub retention: bool,
    /// Moving the recovery points of logs with at least so many bytes above.
    pub vouching: Option<u64>,
}

/// Who asked for a flush.
#[derive(Clone, Copy)]
enum Asker {
    /// The core, in this epoch: the outcome is for that epoch.
    Core(LeaderEpoch),
    /// The shard, of its own accord: the outcome is for whatever epoch it then is.
    Shard,
}

/// A batch of the coordinator that lives in this partition.
pub struct CoordinatorAppend {
    pub batch: ValidatedBatch,
    /// Which of the coordinator's lives it is of.
    pub generation: Generation,
    /// It is refused in any other epoch.
    pub epoch: LeaderEpoch,
}

/// Who waits for an append.
enum Waiter {
    /// Of a producer, or of a marker.
    Sender(Ticket),
    Coordinator(Generation),
}

/// What a partition keeps for the coordinator that lives in it, until that takes it.
#[derive(Default)]
struct ForCoordinator {
    outcomes: Vec<(Generation, Outcome)>,
    /// Markers that were written, oldest first.
    markers: VecDeque<Marker>,
}

/// What became of a DeleteRecords: the low watermark.
type Deleted = Result<Offset, DeleteError>;

/// A partition and all that its shard keeps for it.
pub struct PartitionDriver {
    handle: Arc<PartitionHandle>,
    core: Replica,
    log: Log,
    appends: Waiters<Waiter>,
    deletions: Waiters<oneshot::Sender<Deleted>>,
    next_reply: u64,
    /// Replies of this turn: they leave when its writes have succeeded.
    held: Vec<(Waiter, Outcome)>,
    held_deletions: Vec<(oneshot::Sender<Deleted>, Deleted)>,
    effects: Vec<Effect>,
    /// A flush that has been asked for and not begun.
    flush_wanted: Option<Asker>,
    /// The next flush is to move the recovery point, too.
    vouch_wanted: bool,
    vouched_at: Instant,
    /// Who asked for the flush under way.
    flushing: Option<Asker>,
    /// A turn has begun and has not ended.
    touched: bool,
    /// Set if a coordinator lives here.
    coordinator: Option<ForCoordinator>,
}

impl PartitionDriver {
    pub fn new(handle: Arc<PartitionHandle>, core: Replica, log: Log) -> PartitionDriver {
        PartitionDriver {
            handle,
            core,
            log,
            appends: Waiters::new(),
            deletions: Waiters::new(),
            next_reply: 0,
            held: Vec::new(),
            held_deletions: Vec::new(),
            effects: Vec::new(),
            flush_wanted: None,
            vouch_wanted: false,
            vouched_at: Instant(0),
            flushing: None,
            touched: false,
            coordinator: None,
        }
    }

    /// A coordinator lives in this partition: it wants to hear of its appends and of markers.
    pub fn house_coordinator(&mut self) {
        self.coordinator = Some(ForCoordinator::default());
    }

    pub fn key(&self) -> PartitionKey {
        self.handle.key
    }

    pub fn handle(&self) -> &Arc<PartitionHandle> {
        &self.handle
    }

    /// Marks the partition as part of this turn; true the first time.
    pub fn touch(&mut self) -> bool {
        !std::mem::replace(&mut self.touched, true)
    }

    /// Something has happened in this turn.
    pub fn is_touched(&self) -> bool {
        self.touched
    }

    /// A producer's batch.
    pub fn append(&mut self, turn: Turn, request: AppendRequest, ticket: Ticket) {
        let AppendRequest { batch, acks, deadline, verified } = request;
        let (waiter, origin) = (Waiter::Sender(ticket), Origin::Client);
        self.put(turn, waiter, |reply| Append {
            batch,
            acks,
            deadline,
            reply,
            expected: None,
            origin,
            verified,
        });
    }

    /// A batch of the coordinator that lives here, acknowledged by all in-sync replicas however long that takes.
    pub fn append_for_coordinator(&mut self, turn: Turn, append: CoordinatorAppend) {
        let CoordinatorAppend { batch, generation, epoch } = append;
        self.touch();
        self.put(turn, Waiter::Coordinator(generation), |reply| Append {
            batch,
            acks: Acks::InSync,
            deadline: Instant(u64::MAX),
            reply,
            expected: Some(epoch),
            origin: Origin::Broker,
            verified: None,
        });
    }

    fn put(&mut self, turn: Turn, waiter: Waiter, append: impl FnOnce(ReplyId) -> Append) {
        let reply = self.next_reply();
        let append = append(reply);
        self.roll_for(turn, append.batch.header());
        self.appends.push(reply, waiter);
        self.step(turn, Event::Append(append));
    }

    /// What became of the appends of the coordinator, in the order in which it became known.
    pub fn take_outcomes(&mut self) -> Vec<(Generation, Outcome)> {
        self.coordinator.as_mut().map(|kept| std::mem::take(&mut kept.outcomes)).unwrap_or_default()
    }

    /// Forgets markers that nobody has taken.
    pub fn forget_markers(&mut self) {
        if let Some(kept) = &mut self.coordinator {
            kept.markers.clear();
        }
    }

    /// The markers below `committed`, in the order of the log.
    pub fn take_markers(&mut self, committed: Offset) -> Vec<Marker> {
        let Some(kept) = &mut self.coordinator else { return Vec::new() };
        let count = kept.markers.partition_point(|marker| marker.offset < committed);
        kept.markers.drain(..count).collect()
    }

    pub fn delete_records(
        &mut self,
        turn: Turn,
        before: DeleteTo,
        deadline: Instant,
        waiter: oneshot::Sender<Deleted>,
    ) {
        let reply = self.next_reply();
        self.deletions.push(reply, waiter);
        self.step(turn, Event::DeleteRecords(DeleteRecords { before, deadline, reply }));
    }

    pub fn configure(&mut self, turn: Turn, replica: ReplicaConfig, log: LogConfig) {
        self.log.set_config(log);
        self.step(turn, Event::Configured(replica));
    }

    /// A flush has ended: what it has made durable counts from now on.
    pub fn flushed(&mut self, turn: Turn, done: FlushDone) {
        let asker = self.flushing.take().unwrap_or(Asker::Shard);
        let epoch = self.epoch_of(asker);
        let failed = done.result.as_ref().err().map(|error| LogError::Offline(error.to_string()));
        let end = self.log.finish_flush(done);
        match failed {
            None => self.step(turn, Event::Flushed { epoch, end }),
            Some(error) => self.storage_failed(turn, &error),
        }
    }

    /// Time has passed: deadlines, flushes that are due without anybody waiting, and what else is due. Tells whether anything may have come of it.
    pub fn tick(&mut self, turn: Turn, due: Due) -> bool {
        if due.retention {
            self.retain(turn);
        }
        if let Some(least) = due.vouching {
            self.vouch(turn.now, least);
        }
        self.step(turn, Event::Tick);
        if self.log.flush_due(turn.now) {
            self.want_flush();
        }
        due.retention || self.has_waiters() || self.flush_wanted.is_some()
    }

    fn retain(&mut self, turn: Turn) {
        let high_watermark = self.handle.view().replica.high_watermark;
        let core = &self.core;
        match self.log.retain(turn.wall, high_watermark, &mut || core.snapshot_producers()) {
            Ok(retained) => {
                if retained.log_start > self.handle.view().replica.log_start {
                    self.step(turn, Event::LogStartMoved(retained.log_start));
                }
            }
            Err(error) => self.storage_failed(turn, &error),
        }
        self.log.close_idle_files();
    }

    pub fn producers(&self) -> Vec<ProducerState> {
        self.core.producers()
    }

    /// Somebody waits for an answer.
    pub fn has_waiters(&self) -> bool {
        !self.appends.is_empty() || !self.deletions.is_empty()
    }

    /// A flush is under way.
    pub fn is_flushing(&self) -> bool {
        self.flushing.is_some()
    }

    /// Asks for a flush at the end of the turn.
    pub fn want_flush(&mut self) {
        self.flush_wanted.get_or_insert(Asker::Shard);
    }

    /// The partition is this shard's from now on. What a crash has left unflushed is flushed, so that it counts; of a topic
    /// that has given up flushes it counts as it is, and a thousand flushes would hold up the start.
    pub fn adopted(&mut self) {
        if self.log.durable_end() < self.log.log_end() && !self.log.is_relaxed() {
            self.want_flush();
        }
    }

    /// Gives the partition's files up for deletion.
    pub fn delete(self) {
        if let Err(error) = self.log.delete() {
            tracing::error!(topic = %self.handle.topic, partition = self.handle.index.0, %error, "files stay behind");
        }
    }

    /// Makes the files of the log complete, as a clean stop leaves them, and gives the flush that is to be run for it.
    /// There MUST be no flush under way.
    pub fn close(&mut self) -> Option<FlushJob> {
        match self.log.close(&self.core.snapshot_producers()) {
            Ok(job) => {
                self.flushing = job.as_ref().map(|_| Asker::Shard);
                job
            }
            Err(error) => {
                tracing::error!(topic = %self.handle.topic, partition = self.handle.index.0, %error, "not closed cleanly");
                None
            }
        }
    }

    /// Feeds an event and carries out what comes of it.
    pub fn step(&mut self, turn: Turn, event: Event) {
        let mut completed = self.step_once(turn, event);
        while let Some(event) = completed {
            completed = self.step_once(turn, event);
        }
    }

    /// Feeds one event; gives the one that says that what the core wanted is done.
    fn step_once(&mut self, turn: Turn, event: Event) -> Option<Event> {
        let mut effects = std::mem::take(&mut self.effects);
        self.core.step(turn.now, turn.wall, event, &mut effects);
        let mut next = None;
        for effect in effects.drain(..) {
            match self.carry_out(effect) {
                Ok(completed) => next = completed.or(next),
                Err(error) => {
                    self.storage_failed(turn, &error);
                    next = None;
                    break;
                }
            }
        }
        self.effects = effects;
        next
    }

    /// Starts a segment if this batch does not fit into the one that grows, or that one is old. Before the core takes the
    /// batch: the snapshot is of the producers as they are without it.
    fn roll_for(&mut self, turn: Turn, batch: &BatchHeader) {
        if self.log.roll_due(batch, turn.wall)
            && let Err(error) = self.log.roll(&self.core.snapshot_producers())
        {
            self.storage_failed(turn, &error);
        }
    }

    /// Does what the core wants done. Gives the event that says that it is done, where the core waits for one and it is
    /// done at once: that is a truncation, of which there is one at a time.
    fn carry_out(&mut self, effect: Effect) -> Result<Option<Event>, LogError> {
        match effect {
            Effect::Write(batch) => {
                if let Some(kept) = self.coordinator.as_mut().filter(|_| batch.header.is_control()) {
                    kept.markers.extend(Marker::of(&batch));
                }
                self.log.append(batch)?;
            }
            Effect::Flush { epoch, .. } => self.flush_wanted = Some(Asker::Core(epoch)),
            Effect::Reply { to, outcome } => {
                if let Some(waiter) = self.appends.take(to) {
                    self.held.push((waiter, outcome));
                }
            }
            Effect::DeleteReplied { to, outcome } => {
                if let Some(waiter) = self.deletions.take(to) {
                    self.held_deletions.push((waiter, outcome));
                }
            }
            Effect::MoveLogStart(start) => {
                // What is queued counts, too.
                self.log.write()?;
                self.log.move_start(start)?;
            }
            Effect::EpochsChanged => self.log.store_epochs(self.core.epochs().entries()),
            Effect::Aborted(txn) => self.log.append_aborted(txn),
            Effect::Truncate { to } => return self.truncate(to).map(Some),
            Effect::RestartAt(offset) => self.log.restart_at(offset)?,
            // What goes between brokers comes with clusters of several nodes. A cluster of one never asks for it.
            Effect::Fetch(_) | Effect::ProposeIsr(_) => {
                let (topic, partition) = (&self.handle.topic, self.handle.index.0);
                tracing::error!(%topic, partition, ?effect, "replication between brokers is not there yet");
            }
            Effect::StopFetching => {}
        }
        Ok(None)
    }

    /// Writes what the turn has queued, starts a flush if one is wanted, publishes, and lets the replies leave.
    pub fn end_turn(&mut self, turn: Turn) -> Option<FlushJob> {
        self.touched = false;
        if let Err(error) = self.log.write() {
            self.storage_failed(turn, &error);
        }
        let job = self.begin_flush(turn);
        // First everybody can see it, then it is acknowledged: who has the answer can read what it is about.
        self.publish(turn.now);
        for (waiter, outcome) in self.held.drain(..) {
            match (waiter, &mut self.coordinator) {
                (Waiter::Sender(ticket), _) => ticket.answer(outcome),
                (Waiter::Coordinator(generation), Some(kept)) => kept.outcomes.push((generation, outcome)),
                (Waiter::Coordinator(_), None) => {}
            }
        }
        for (waiter, outcome) in self.held_deletions.drain(..) {
            let _gone = waiter.send(outcome);
        }
        job
    }

    fn begin_flush(&mut self, turn: Turn) -> Option<FlushJob> {
        if self.flushing.is_some() {
            return None;
        }
        let asker = self.flush_wanted?;
        let core = &self.core;
        let mut producers = || core.snapshot_producers();
        let job = match std::mem::take(&mut self.vouch_wanted) {
            true => self.log.begin_vouch(&mut producers),
            false => self.log.begin_flush(&mut producers),
        };
        let Some(job) = job else {
            self.flush_wanted = None;
            // All is durable: a flush that an earlier epoch had asked for covered it, and the core did not listen to that.
            let epoch = self.epoch_of(asker);
            self.step(turn, Event::Flushed { epoch, end: self.log.durable_end() });
            return None;
        };
        self.flush_wanted = None;
        self.flushing = Some(asker);
        Some(job)
    }

    fn epoch_of(&self, asker: Asker) -> LeaderEpoch {
        match asker {
            Asker::Core(epoch) => epoch,
            Asker::Shard => self.core.view().leader_epoch,
        }
    }

    fn publish(&self, now: Instant) {
        let view = self.core.view();
        let held = (view.last_stable < view.high_watermark).then(|| {
            let before = self.handle.view();
            let stands = before.replica.last_stable == view.last_stable;
            before.held_since.filter(|_| stands).unwrap_or(now)
        });
        self.log.set_high_watermark(view.high_watermark);
        self.handle.publish(PartitionView {
            high_watermark: self.log.bound(view.high_watermark),
            last_stable: self.log.bound(view.last_stable),
            log_end: self.log.bound(view.log_end),
            held_since: held,
            replica: view,
        });
    }

    /// The disk has failed: nothing that this turn promised may leave as a success.
    fn storage_failed(&mut self, turn: Turn, error: &LogError) {
        tracing::error!(topic = %self.handle.topic, partition = self.handle.index.0, %error, "the log failed: the partition goes offline");
        for (_, outcome) in &mut self.held {
            if outcome.is_ok() {
                *outcome = Err(AppendError::Storage);
            }
        }
        for (_, outcome) in &mut self.held_deletions {
            *outcome = outcome.and(Err(DeleteError::Storage));
        }
        let mut effects = Vec::new();
        self.core.step(turn.now, turn.wall, Event::StorageFailed, &mut effects);
        for effect in effects {
            match effect {
                Effect::Reply { .. } | Effect::DeleteReplied { .. } => {
                    let _answers_only = self.carry_out(effect);
                }
                // Nothing is asked of a disk that has failed.
                _ => {}
            }
        }
    }

    fn next_reply(&mut self) -> ReplyId {
        self.next_reply += 1;
        ReplyId(self.next_reply)
    }
}
