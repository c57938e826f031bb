//! The frame around a coordinator while its partition is led here.
//!
//! The shard feeds in requests and time. It appends the resulting batches to the partition, reports the
//! outcome of each append, and carries out what is released. A response is released once everything that it
//! can have seen is committed: its own records and those of earlier requests. After an append that fails for
//! good, the core is ahead of its log. The frame is then [`Frame::is_broken`], and the shard loads the
//! partition again.

use std::collections::VecDeque;

use ottla_wire::{Instant, Offset};

use crate::coordinator::{Coordinator, Moment, ReplayError, Ticket};
use crate::output::{Batch, Output};
use crate::record::{Producer, Record};

/// A batch of this many bytes takes no further step. The records of one step are never split, so a batch may
/// be larger.
pub const BATCH_BYTES_TARGET: usize = 256 * 1024;

/// Why a request is not served.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    #[error("the coordinator is loading its state; try again")]
    Loading,
    #[error("the partition of the coordinator cannot be written to now; try again")]
    Unavailable,
    #[error("this broker is not the coordinator any more; look for the new one")]
    NotCoordinator,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Loading,
    Active,
    /// Nothing can be written now.
    Paused,
    Broken,
}

/// A coordinator, and its output that waits for the log.
pub struct Frame<C: Coordinator> {
    core: C,
    phase: Phase,
    out: Output<C::Outbound>,
    /// Batches that are not appended yet, oldest first, each with the output that depends on it.
    queued: VecDeque<Pending<C::Outbound>>,
    /// The output of batches that are appended but not committed, oldest first.
    appended: VecDeque<Vec<C::Outbound>>,
    /// Output that may leave now.
    released: Vec<C::Outbound>,
}

struct Pending<O> {
    batch: Batch,
    bytes: usize,
    outbound: Vec<O>,
}

impl<C: Coordinator> Frame<C> {
    /// A frame whose core is not loaded yet.
    pub fn loading(core: C) -> Frame<C> {
        Frame {
            core,
            phase: Phase::Loading,
            out: Output::default(),
            queued: VecDeque::new(),
            appended: VecDeque::new(),
            released: Vec::new(),
        }
    }

    pub fn core(&self) -> &C {
        &self.core
    }

    /// The core, for input other than requests: settings and metadata.
    pub fn core_mut(&mut self) -> &mut C {
        &mut self.core
    }

    pub fn is_loading(&self) -> bool {
        self.phase == Phase::Loading
    }

    /// Whether everything is served, and [`Frame::act`] has an effect.
    pub fn is_active(&self) -> bool {
        self.phase == Phase::Active
    }

    /// Whether the core has answered for something that the log does not hold. The partition must then be
    /// loaded again.
    pub fn is_broken(&self) -> bool {
        self.phase == Phase::Broken
    }

    /// Replays a record of the log. MUST be called only while loading.
    pub fn replay(
        &mut self,
        offset: Offset,
        producer: Option<Producer>,
        record: Record,
    ) -> Result<(), ReplayError> {
        assert!(self.is_loading(), "records are replayed before requests are served");
        self.core.replay(offset, producer, record)
    }

    /// The log has been read to its end.
    pub fn loaded(&mut self, at: &Moment) {
        assert!(self.is_loading(), "a coordinator is loaded once");
        self.begin(at);
    }

    /// Ends a transaction in this partition, whose marker is in the log.
    pub fn end_transaction(&mut self, producer: Producer, commit: bool) {
        self.core.end_transaction(producer, commit);
    }

    /// Sets whether the partition takes records. While it does not, requests that write are refused, and
    /// members' deadlines are suspended.
    pub fn set_writable(&mut self, at: &Moment, writable: bool) {
        match (self.phase, writable) {
            (Phase::Active, false) => self.phase = Phase::Paused,
            (Phase::Paused, true) => self.begin(at),
            (Phase::Active, true) | (Phase::Paused, false) | (Phase::Loading | Phase::Broken, _) => {}
        }
    }

    /// Serves a request. On a refusal nothing has happened.
    pub fn handle(&mut self, at: &Moment, ticket: Ticket, request: C::Request) -> Result<(), Refusal> {
        match self.phase {
            Phase::Loading => return Err(Refusal::Loading),
            Phase::Broken => return Err(Refusal::NotCoordinator),
            Phase::Paused if !C::only_reads(&request) => return Err(Refusal::Unavailable),
            Phase::Paused | Phase::Active => {}
        }
        self.core.handle(at, ticket, request, &mut self.out);
        self.gather();
        Ok(())
    }

    /// Runs work on the core without a request (a change of the metadata), if it can be written.
    pub fn act(&mut self, act: impl FnOnce(&mut C, &mut Output<C::Outbound>)) {
        if self.phase == Phase::Active {
            act(&mut self.core, &mut self.out);
            self.gather();
        }
    }

    /// Handles the passing of time.
    pub fn tick(&mut self, at: &Moment) {
        self.act(|core, out| core.tick(at, out));
    }

    /// When [`Frame::tick`] is due next.
    pub fn next_deadline(&self) -> Option<Instant> {
        self.core.next_deadline().filter(|_| self.phase == Phase::Active)
    }

    /// The next batch to append. The shard MUST report the outcome of each, in order: [`Frame::committed`] or
    /// [`Frame::fail`].
    pub fn next_batch(&mut self) -> Option<Batch> {
        let pending = self.queued.pop_front()?;
        self.appended.push_back(pending.outbound);
        Some(pending.batch)
    }

    /// Whether there is something to append.
    pub fn has_batches(&self) -> bool {
        !self.queued.is_empty()
    }

    /// The oldest unreported batch is committed. Its output is released.
    pub fn committed(&mut self) {
        if let Some(outbound) = self.appended.pop_front() {
            self.released.extend(outbound);
        }
    }

    /// A batch was refused, or it is unknown whether it will be committed. The core is ahead of its log, so
    /// waiting output is dropped.
    pub fn fail(&mut self) {
        self.phase = Phase::Broken;
        self.queued.clear();
        self.appended.clear();
    }

    /// Takes the released output.
    pub fn take_released(&mut self) -> Vec<C::Outbound> {
        std::mem::take(&mut self.released)
    }

    fn begin(&mut self, at: &Moment) {
        self.phase = Phase::Active;
        self.core.start(at, &mut self.out);
        self.gather();
    }

    /// Takes over the output of a step.
    fn gather(&mut self) {
        let (batches, outbound) = self.out.take();
        for batch in batches {
            self.enqueue(batch);
        }
        match self.queued.back_mut() {
            Some(pending) => pending.outbound.extend(outbound),
            None => match self.appended.back_mut() {
                Some(waiting) => waiting.extend(outbound),
                None => self.released.extend(outbound),
            },
        }
    }

    fn enqueue(&mut self, batch: Batch) {
        let bytes = batch.records.iter().map(Record::len).sum();
        if let Some(last) = self.queued.back_mut()
            && last.batch.producer == batch.producer
            && last.bytes + bytes <= BATCH_BYTES_TARGET
        {
            last.batch.records.extend(batch.records);
            last.bytes += bytes;
            return;
        }
        self.queued.push_back(Pending { batch, bytes, outbound: Vec::new() });
    }
}
