//! The machine: feeds events to the core, carries its effects out on the log, and collects the output of a
//! turn.
//!
//! A turn feeds some events and then ends. Only its end writes the queued batches, in one call. The core's
//! promises are held back until that write has succeeded.

mod effects;
mod flush;
mod follow;
mod transactions;

use std::collections::VecDeque;
use std::vec::Drain;

use ottla_coordinator::Moment;
use ottla_log::{FlushJob, Log, LogConfig, LogError, Writer};
use ottla_replica::{
    Acks, Append, AppendError, Appended, DeleteError, DeleteRecords, DeleteTo, Effect, Event, FetchRequest,
    IsrProposal, ProducerState, Replica, ReplicaConfig, ReplyId, VerificationGuard, View,
};
use ottla_wire::batch::{BatchHeader, Origin, ValidatedBatch};
use ottla_wire::{Instant, Offset, Timestamp, Uuid};

use crate::lodger::{Generation, LodgerAppend};
use crate::marker::Marker;
use crate::view::PartitionView;
use crate::waiters::Waiters;
use flush::Flushing;
pub use transactions::{Claim, MarkerRequest};

/// The times of a turn.
#[derive(Clone, Copy, Debug)]
pub struct Turn {
    pub now: Instant,
    pub wall: Timestamp,
}

impl Turn {
    /// One step of a lodger in this turn. The id MUST be fresh.
    pub fn moment(self, uuid: Uuid) -> Moment {
        Moment { now: self.now, wall: self.wall, uuid }
    }
}

/// The work that is due at a tick, besides deadlines.
#[derive(Clone, Copy, Debug, Default)]
pub struct Due {
    /// Remove data beyond its retention.
    pub retention: bool,
    /// Move the recovery points of logs with at least this many bytes above.
    pub vouching: Option<u64>,
}

/// The outcome of one append.
pub type AppendOutcome = Result<Appended, AppendError>;

/// The outcome of a DeleteRecords: the low watermark.
pub type DeleteOutcome = Result<Offset, DeleteError>;

/// A producer's batch, and the acknowledgement that its sender wants.
#[derive(Debug)]
pub struct AppendRequest {
    pub batch: ValidatedBatch,
    pub acks: Acks,
    pub deadline: Instant,
    /// Evidence that the coordinator of the producer's transaction knows this partition.
    pub verified: Option<VerificationGuard>,
}

/// What happens to the files of a partition that is given up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// The cluster has deleted it, or moved it away, and this broker has seen it happen.
    Delete,
    /// The broker was away when that happened. As in Kafka, its operator decides.
    SetAside,
}

/// What a partition asks of other nodes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wish {
    /// Fetch from the leader, instead of any earlier fetch. [`Partition::leader_answered`] takes the answer.
    Fetch(FetchRequest),
    /// Drop the current fetch, if there is one.
    StopFetching,
    /// Ask the controller for another ISR. `Event::IsrAnswered` has the answer.
    ProposeIsr(IsrProposal),
}

/// The result of a turn. To be carried out in the order of the fields: publication comes before
/// acknowledgement, so a client with an answer can read the data that it is about.
#[must_use]
#[derive(Debug)]
pub struct Ended<'a, W, D> {
    /// To be published.
    pub view: PartitionView,
    pub appends: Drain<'a, (W, AppendOutcome)>,
    pub deletions: Drain<'a, (D, DeleteOutcome)>,
    pub wishes: Drain<'a, Wish>,
    /// To be run, followed by [`Partition::flushed`]. There is one at a time.
    pub flush: Option<FlushJob>,
}

/// The waiter for an append.
#[derive(Debug)]
enum Waiter<W> {
    /// The sender of a batch or a marker.
    Sender(W),
    /// Of the lodger with this number.
    Lodger(usize, Generation),
}

/// What a batch is written for.
fn writer_of<W>(waiter: &Waiter<W>) -> Writer {
    match waiter {
        Waiter::Sender(_) => Writer::Client,
        Waiter::Lodger(..) => Writer::Broker,
    }
}

/// Results for lodgers, until they take them.
#[derive(Debug, Default)]
struct ForLodgers {
    outcomes: Vec<(usize, Generation, AppendOutcome)>,
    /// Whether lodgers want markers.
    keeps_markers: bool,
    /// Markers that were written, oldest first.
    markers: VecDeque<Marker>,
}

/// A replica of a partition, its log, and its waiters: `W` for an append, `D` for a DeleteRecords.
#[derive(Debug)]
pub struct Partition<W, D> {
    core: Replica,
    log: Log,
    appends: Waiters<Waiter<W>>,
    deletions: Waiters<D>,
    next_reply: u64,
    /// Replies of this turn. They leave when its writes have succeeded.
    held: Vec<(W, AppendOutcome)>,
    held_deletions: Vec<(D, DeleteOutcome)>,
    wishes: Vec<Wish>,
    effects: Vec<Effect>,
    flushing: Flushing,
    /// Why the log failed. The partition is offline from then on.
    failure: Option<LogError>,
    /// The disk is full, and the core does not know yet that what was queued is not in the log.
    unwritten: bool,
    /// Whether coordinators could write at the last tick.
    had_room: bool,
    /// The last stable offset when last looked at, and since when it has held readers up.
    held_at: (Offset, Option<Instant>),
    /// A turn has begun and has not ended.
    touched: bool,
    lodgers: ForLodgers,
}

impl<W, D> Partition<W, D> {
    pub fn new(core: Replica, log: Log) -> Partition<W, D> {
        Partition {
            core,
            log,
            appends: Waiters::new(),
            deletions: Waiters::new(),
            next_reply: 0,
            held: Vec::new(),
            held_deletions: Vec::new(),
            wishes: Vec::new(),
            effects: Vec::new(),
            flushing: Flushing::default(),
            failure: None,
            unwritten: false,
            had_room: true,
            held_at: (Offset(-1), None),
            touched: false,
            lodgers: ForLodgers::default(),
        }
    }

    pub fn log(&self) -> &Log {
        &self.log
    }

    /// The current view. Between turns it is the published one.
    pub fn view(&self) -> PartitionView {
        PartitionView::new(self.core.view(), &self.log, self.held_at.1)
    }

    pub(crate) fn replica_view(&self) -> View {
        self.core.view()
    }

    /// Why the log failed, if it has.
    pub fn failure(&self) -> Option<&LogError> {
        self.failure.as_ref()
    }

    /// Marks the partition as part of this turn; true the first time.
    pub fn touch(&mut self) -> bool {
        !std::mem::replace(&mut self.touched, true)
    }

    /// Whether something has happened in this turn.
    pub fn is_touched(&self) -> bool {
        self.touched
    }

    /// Whether there are waiters.
    pub fn has_waiters(&self) -> bool {
        !self.appends.is_empty() || !self.deletions.is_empty()
    }

    pub fn producers(&self) -> Vec<ProducerState> {
        self.core.producers()
    }

    /// Appends a producer's batch.
    pub fn append(&mut self, turn: Turn, request: AppendRequest, waiter: W) {
        let AppendRequest { batch, acks, deadline, verified } = request;
        self.put(turn, Waiter::Sender(waiter), |reply| Append {
            batch,
            acks,
            deadline,
            reply,
            expected: None,
            origin: Origin::Client,
            verified,
        });
    }

    /// Appends a batch of a lodger.
    pub(crate) fn append_for_lodger(&mut self, turn: Turn, lodger: usize, append: LodgerAppend) {
        let LodgerAppend { batch, generation, epoch } = append;
        self.put(turn, Waiter::Lodger(lodger, generation), |reply| Append {
            batch,
            acks: Acks::InSync,
            deadline: Instant(u64::MAX),
            reply,
            expected: Some(epoch),
            origin: Origin::Broker,
            verified: None,
        });
    }

    /// Sets whether lodgers want markers.
    pub(crate) fn keep_markers(&mut self, keep: bool) {
        self.lodgers.keeps_markers = keep;
    }

    /// Moves the outcomes of lodgers' appends to `outcomes`, in order.
    pub(crate) fn take_outcomes(&mut self, outcomes: &mut Vec<(usize, Generation, AppendOutcome)>) {
        outcomes.append(&mut self.lodgers.outcomes);
    }

    /// Drops the markers that nobody has taken.
    pub(crate) fn forget_markers(&mut self) {
        self.lodgers.markers.clear();
    }

    /// Adds the markers below `committed`, in the order of the log.
    pub(crate) fn take_markers(&mut self, committed: Offset, ended: &mut Vec<Marker>) {
        let count = self.lodgers.markers.partition_point(|marker| marker.offset < committed);
        ended.extend(self.lodgers.markers.drain(..count));
    }

    pub fn delete_records(&mut self, turn: Turn, before: DeleteTo, deadline: Instant, waiter: D) {
        let reply = self.next_reply();
        self.deletions.push(reply, waiter);
        self.step(turn, Event::DeleteRecords(DeleteRecords { before, deadline, reply }));
    }

    pub fn configure(&mut self, turn: Turn, replica: ReplicaConfig, log: LogConfig) {
        self.log.set_config(log);
        self.step(turn, Event::Configured(replica));
    }

    /// Handles the passing of time: deadlines, flushes that are due on their own, and other due work. True if
    /// it may have led to something.
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
        let had_room = std::mem::replace(&mut self.had_room, self.log.room().is_left_for_broker());
        due.retention
            || self.has_waiters()
            || had_room != self.had_room
            || !self.wishes.is_empty()
            || self.is_flush_wanted()
    }

    /// Writes what the turn has queued, begins a flush if one is wanted, and returns the effects.
    pub fn end_turn(&mut self, turn: Turn) -> Ended<'_, W, D> {
        let (view, flush) = self.finish_turn(turn);
        self.hand_out(view, flush)
    }

    pub(crate) fn finish_turn(&mut self, turn: Turn) -> (PartitionView, Option<FlushJob>) {
        self.touched = false;
        self.write_now(turn);
        let flush = self.begin_flush(turn);
        let view = self.view_now(turn.now);
        self.log.set_high_watermark(view.replica.high_watermark);
        (view, flush)
    }

    pub(crate) fn hand_out(&mut self, view: PartitionView, flush: Option<FlushJob>) -> Ended<'_, W, D> {
        Ended {
            view,
            appends: self.held.drain(..),
            deletions: self.held_deletions.drain(..),
            wishes: self.wishes.drain(..),
            flush,
        }
    }

    /// The view after a turn. It includes the time since when a transaction has held readers up.
    fn view_now(&mut self, now: Instant) -> PartitionView {
        let view = self.core.view();
        let (before, since) = self.held_at;
        let since = since.filter(|_| before == view.last_stable).unwrap_or(now);
        let held_since = (view.last_stable < view.high_watermark).then_some(since);
        self.held_at = (view.last_stable, held_since);
        PartitionView::new(view, &self.log, held_since)
    }

    /// Gives up the partition's files.
    pub fn give_up(self, fate: Fate) -> Result<(), LogError> {
        match fate {
            Fate::Delete => self.log.delete(),
            Fate::SetAside => self.log.set_aside(),
        }
    }

    fn put(&mut self, turn: Turn, waiter: Waiter<W>, append: impl FnOnce(ReplyId) -> Append) {
        let reply = self.next_reply();
        let append = append(reply);
        if !self.has_room_for(turn, append.batch.header(), writer_of(&waiter)) {
            return self.refuse(waiter);
        }
        self.appends.push(reply, waiter);
        self.step(turn, Event::Append(append));
    }

    /// Makes room for a batch that comes next, in the log and on the disk. Who does not lead has other things
    /// to say.
    fn has_room_for(&mut self, turn: Turn, batch: &BatchHeader, writer: Writer) -> bool {
        if !self.core.leads() || self.failure.is_some() {
            return true;
        }
        self.log.room().take(batch.total_len() as u64, writer) && self.roll_for(turn, batch)
    }

    fn refuse(&mut self, waiter: Waiter<W>) {
        match waiter {
            Waiter::Sender(waiter) => self.held.push((waiter, Err(AppendError::NoRoom))),
            Waiter::Lodger(lodger, generation) => {
                self.lodgers.outcomes.push((lodger, generation, Err(AppendError::NoRoom)));
            }
        }
    }

    /// Starts a segment before this batch if the batch does not fit into the current one, or that one is old.
    /// This happens before the core takes the batch, because the snapshot has the producers without it.
    /// False if there is no room for a segment.
    fn roll_for(&mut self, turn: Turn, batch: &BatchHeader) -> bool {
        // The core has not assigned the offsets of a producer's batch yet, but their number decides whether
        // it fits.
        let next = BatchHeader { base_offset: batch.base_offset.max(self.log.log_end()), ..*batch };
        if !self.log.roll_due(&next, turn.wall) {
            return true;
        }
        self.write_now(turn);
        match self.log.roll(&self.core.snapshot_producers()) {
            Ok(()) => true,
            Err(LogError::Full { .. }) => false,
            Err(error) => {
                self.storage_failed(turn, error);
                true
            }
        }
    }

    fn retain(&mut self, turn: Turn) {
        if self.failure.is_some() {
            return;
        }
        self.write_now(turn);
        let (core, before) = (&self.core, self.core.view());
        match self.log.retain(turn.wall, before.high_watermark, &mut || core.snapshot_producers()) {
            Ok(retained) if retained.log_start > before.log_start => {
                self.step(turn, Event::LogStartMoved(retained.log_start));
            }
            // What there is no room for now is done at the next time.
            Ok(_) | Err(LogError::Full { .. }) => {}
            Err(error) => self.storage_failed(turn, error),
        }
        self.log.close_idle_files();
    }

    fn next_reply(&mut self) -> ReplyId {
        self.next_reply += 1;
        ReplyId(self.next_reply)
    }
}
