//! The machine: feeds events to the core, carries its effects out on the log, and says what is to leave.
//!
//! A turn feeds some events and then ends. Only there the queued batches are written, in one call; what the core has
//! promised meanwhile is held back until that write has succeeded.

mod effects;
mod flush;
mod follow;
mod transactions;

use std::collections::VecDeque;
use std::vec::Drain;

use ottla_log::{FlushJob, Log, LogConfig, LogError};
use ottla_replica::{
    Acks, Append, AppendError, Appended, DeleteError, DeleteRecords, DeleteTo, Effect, Event, FetchRequest,
    IsrProposal, ProducerState, Replica, ReplicaConfig, ReplyId, VerificationGuard,
};
use ottla_wire::batch::{BatchHeader, Origin, ValidatedBatch};
use ottla_wire::{Instant, LeaderEpoch, Offset, Timestamp};

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

/// What is due at a tick, besides deadlines.
#[derive(Clone, Copy, Debug, Default)]
pub struct Due {
    /// Removing what has outlived its retention.
    pub retention: bool,
    /// Moving the recovery points of logs with at least so many bytes above.
    pub vouching: Option<u64>,
}

/// What became of one append.
pub type AppendOutcome = Result<Appended, AppendError>;

/// What became of a DeleteRecords: the low watermark.
pub type DeleteOutcome = Result<Offset, DeleteError>;

/// A batch of a producer and how its sender wants to hear of it.
#[derive(Debug)]
pub struct AppendRequest {
    pub batch: ValidatedBatch,
    pub acks: Acks,
    pub deadline: Instant,
    /// That the coordinator of the producer's transaction knows of this partition.
    pub verified: Option<VerificationGuard>,
}

/// Numbers the lives of one who writes to the partition from beside it: what an earlier life has asked for means nothing to
/// a later one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Generation(pub u64);

/// A batch of one who lives beside the replica.
#[derive(Debug)]
pub struct LodgerAppend {
    pub batch: ValidatedBatch,
    pub generation: Generation,
    /// It is refused in any other epoch.
    pub epoch: LeaderEpoch,
}

/// What a partition wants of other nodes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wish {
    /// Fetch from the leader; replaces any fetch under way. [`Partition::leader_answered`] brings the answer.
    Fetch(FetchRequest),
    /// Drop the fetch under way, if any.
    StopFetching,
    /// Ask the controller for another ISR. `Event::IsrAnswered` brings the answer.
    ProposeIsr(IsrProposal),
}

/// What a turn leads to. To be carried out in the order of the fields: first everybody can see it, then it is
/// acknowledged, so that who has the answer can read what it is about.
#[must_use]
#[derive(Debug)]
pub struct Ended<'a, W, D> {
    /// To be published.
    pub view: PartitionView,
    pub appends: Drain<'a, (W, AppendOutcome)>,
    pub deletions: Drain<'a, (D, DeleteOutcome)>,
    pub wishes: Drain<'a, Wish>,
    /// To be run; [`Partition::flushed`] is then due. There is one at a time.
    pub flush: Option<FlushJob>,
}

/// Who waits for an append.
#[derive(Debug)]
enum Waiter<W> {
    /// Of a producer, or of a marker.
    Sender(W),
    Lodger(Generation),
}

/// What a partition keeps for one who lives beside it, until that takes it.
#[derive(Debug, Default)]
struct ForLodger {
    outcomes: Vec<(Generation, AppendOutcome)>,
    /// Markers that were written, oldest first.
    markers: VecDeque<Marker>,
}

/// A replica of a partition, its log, and who waits for it: `W` for an append, `D` for a DeleteRecords.
#[derive(Debug)]
pub struct Partition<W, D> {
    core: Replica,
    log: Log,
    appends: Waiters<Waiter<W>>,
    deletions: Waiters<D>,
    next_reply: u64,
    /// Replies of this turn: they leave when its writes have succeeded.
    held: Vec<(W, AppendOutcome)>,
    held_deletions: Vec<(D, DeleteOutcome)>,
    wishes: Vec<Wish>,
    effects: Vec<Effect>,
    flushing: Flushing,
    /// Why the log failed. The partition is offline from then on.
    failure: Option<LogError>,
    /// The last stable offset as it was seen last, and since when it has held readers up.
    held_at: (Offset, Option<Instant>),
    /// A turn has begun and has not ended.
    touched: bool,
    /// Set if somebody lives beside the replica.
    lodger: Option<ForLodger>,
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
            held_at: (Offset(-1), None),
            touched: false,
            lodger: None,
        }
    }

    /// Somebody lives beside the replica, and wants to hear of appends and of markers.
    pub fn house_lodger(&mut self) {
        self.lodger = Some(ForLodger::default());
    }

    pub fn log(&self) -> &Log {
        &self.log
    }

    /// What is known of the partition. Between turns it is what was published last.
    pub fn view(&self) -> PartitionView {
        PartitionView::new(self.core.view(), &self.log, self.held_at.1)
    }

    /// Why the log failed, if it did.
    pub fn failure(&self) -> Option<&LogError> {
        self.failure.as_ref()
    }

    /// Marks the partition as part of this turn; true the first time.
    pub fn touch(&mut self) -> bool {
        !std::mem::replace(&mut self.touched, true)
    }

    /// Something has happened in this turn.
    pub fn is_touched(&self) -> bool {
        self.touched
    }

    /// Somebody waits for an answer.
    pub fn has_waiters(&self) -> bool {
        !self.appends.is_empty() || !self.deletions.is_empty()
    }

    pub fn producers(&self) -> Vec<ProducerState> {
        self.core.producers()
    }

    /// A producer's batch.
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

    /// A batch of one who lives here, acknowledged by all in-sync replicas however long that takes.
    pub fn append_for_lodger(&mut self, turn: Turn, append: LodgerAppend) {
        let LodgerAppend { batch, generation, epoch } = append;
        self.put(turn, Waiter::Lodger(generation), |reply| Append {
            batch,
            acks: Acks::InSync,
            deadline: Instant(u64::MAX),
            reply,
            expected: Some(epoch),
            origin: Origin::Broker,
            verified: None,
        });
    }

    /// What became of the appends of the one who lives here, in the order in which it became known.
    pub fn take_outcomes(&mut self) -> Vec<(Generation, AppendOutcome)> {
        self.lodger.as_mut().map(|kept| std::mem::take(&mut kept.outcomes)).unwrap_or_default()
    }

    /// Forgets markers that nobody has taken.
    pub fn forget_markers(&mut self) {
        if let Some(kept) = &mut self.lodger {
            kept.markers.clear();
        }
    }

    /// The markers below `committed`, in the order of the log.
    pub fn take_markers(&mut self, committed: Offset) -> Vec<Marker> {
        let Some(kept) = &mut self.lodger else { return Vec::new() };
        let count = kept.markers.partition_point(|marker| marker.offset < committed);
        kept.markers.drain(..count).collect()
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

    /// Time has passed: deadlines, flushes that are due without anybody waiting, and what else is due. Says whether anything
    /// may have come of it.
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
        due.retention || self.has_waiters() || !self.wishes.is_empty() || self.is_flush_wanted()
    }

    /// Writes what the turn has queued, begins a flush if one is wanted, and says what is to be carried out.
    pub fn end_turn(&mut self, turn: Turn) -> Ended<'_, W, D> {
        self.touched = false;
        if let Err(error) = self.log.write() {
            self.storage_failed(turn, error);
        }
        let flush = self.begin_flush(turn);
        let view = self.view_now(turn.now);
        self.log.set_high_watermark(view.replica.high_watermark);
        Ended {
            view,
            appends: self.held.drain(..),
            deletions: self.held_deletions.drain(..),
            wishes: self.wishes.drain(..),
            flush,
        }
    }

    /// The view after a turn: it also says since when a transaction has held readers up.
    fn view_now(&mut self, now: Instant) -> PartitionView {
        let view = self.core.view();
        let (before, since) = self.held_at;
        let since = since.filter(|_| before == view.last_stable).unwrap_or(now);
        let held_since = (view.last_stable < view.high_watermark).then_some(since);
        self.held_at = (view.last_stable, held_since);
        PartitionView::new(view, &self.log, held_since)
    }

    /// Gives the partition's files up for deletion.
    pub fn delete(self) -> Result<(), LogError> {
        self.log.delete()
    }

    fn put(&mut self, turn: Turn, waiter: Waiter<W>, append: impl FnOnce(ReplyId) -> Append) {
        let reply = self.next_reply();
        let append = append(reply);
        self.roll_for(turn, append.batch.header());
        self.appends.push(reply, waiter);
        self.step(turn, Event::Append(append));
    }

    /// Starts a segment if this batch, which comes next, does not fit into the one that grows, or that one is old. Before
    /// the core takes the batch: the snapshot is of the producers as they are without it.
    fn roll_for(&mut self, turn: Turn, batch: &BatchHeader) {
        // Only the core gives a producer's batch its offset, but offsets count for whether it fits.
        let next = BatchHeader { base_offset: batch.base_offset.max(self.log.log_end()), ..*batch };
        if self.log.roll_due(&next, turn.wall)
            && let Err(error) = self.log.roll(&self.core.snapshot_producers())
        {
            self.storage_failed(turn, error);
        }
    }

    fn retain(&mut self, turn: Turn) {
        if self.failure.is_some() {
            return;
        }
        let (core, before) = (&self.core, self.core.view());
        match self.log.retain(turn.wall, before.high_watermark, &mut || core.snapshot_producers()) {
            Ok(retained) if retained.log_start > before.log_start => {
                self.step(turn, Event::LogStartMoved(retained.log_start));
            }
            Ok(_) => {}
            Err(error) => self.storage_failed(turn, error),
        }
        self.log.close_idle_files();
    }

    fn next_reply(&mut self) -> ReplyId {
        self.next_reply += 1;
        ReplyId(self.next_reply)
    }
}
