//! What stands around a coordinator while its partition is led here.
//!
//! The shard feeds requests and time in. It appends the batches that come out to the partition, reports how
//! each append went, and carries out what leaves. A response leaves when everything that it can have seen is
//! committed: its own records and those of requests before it. An append that fails for good leaves the core
//! ahead of its log: the frame is then [`Frame::is_broken`], and the shard loads the partition anew.

use std::collections::VecDeque;

use ottla_wire::{Instant, Offset};

use crate::coordinator::{Coordinator, Moment, ReplayError, Ticket};
use crate::output::{Batch, Output};
use crate::record::{Producer, Record};

/// Bytes of records above which a batch takes no further step. The records of one step are never split, so
/// one batch may be larger.
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

/// A coordinator and what waits for its log.
pub struct Frame<C: Coordinator> {
    core: C,
    phase: Phase,
    out: Output<C::Outbound>,
    /// Batches that are still to be appended, oldest first, each with what leaves when it is committed.
    queued: VecDeque<Pending<C::Outbound>>,
    /// Appended and not yet committed, oldest first.
    appended: VecDeque<Vec<C::Outbound>>,
    /// What may leave now.
    released: Vec<C::Outbound>,
}

struct Pending<O> {
    batch: Batch,
    bytes: usize,
    outbound: Vec<O>,
}

impl<C: Coordinator> Frame<C> {
    /// A frame whose core is still to be loaded.
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

    /// The core, to hand it what is not a request: settings and metadata.
    pub fn core_mut(&mut self) -> &mut C {
        &mut self.core
    }

    pub fn is_loading(&self) -> bool {
        self.phase == Phase::Loading
    }

    /// Everything is served, and [`Frame::act`] does something.
    pub fn is_active(&self) -> bool {
        self.phase == Phase::Active
    }

    /// The log does not hold what the core has answered for: the partition is to be loaded anew.
    pub fn is_broken(&self) -> bool {
        self.phase == Phase::Broken
    }

    /// Takes in a record of the log. MUST be called while loading only.
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

    /// A transaction has ended in this partition: its marker is in the log.
    pub fn end_transaction(&mut self, producer: Producer, commit: bool) {
        self.core.end_transaction(producer, commit);
    }

    /// Says whether the partition takes records now. While it does not, requests that write are refused, and
    /// time stands still for members.
    pub fn set_writable(&mut self, at: &Moment, writable: bool) {
        match (self.phase, writable) {
            (Phase::Active, false) => self.phase = Phase::Paused,
            (Phase::Paused, true) => self.begin(at),
            (Phase::Active, true) | (Phase::Paused, false) | (Phase::Loading | Phase::Broken, _) => {}
        }
    }

    /// Serves a request, or says why not: then nothing has happened.
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

    /// Lets the core do something that no request has asked for (a change of the metadata), if it can be
    /// written.
    pub fn act(&mut self, act: impl FnOnce(&mut C, &mut Output<C::Outbound>)) {
        if self.phase == Phase::Active {
            act(&mut self.core, &mut self.out);
            self.gather();
        }
    }

    /// Time has passed.
    pub fn tick(&mut self, at: &Moment) {
        self.act(|core, out| core.tick(at, out));
    }

    /// When [`Frame::tick`] is due next.
    pub fn next_deadline(&self) -> Option<Instant> {
        self.core.next_deadline().filter(|_| self.phase == Phase::Active)
    }

    /// The next batch to be appended. The shard MUST report each of them, in order: [`Frame::committed`] or
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

    /// The oldest batch that the shard has not reported is committed. What waits for it leaves.
    pub fn committed(&mut self) {
        if let Some(outbound) = self.appended.pop_front() {
            self.released.extend(outbound);
        }
    }

    /// A batch was refused, or nobody knows whether it will be committed. The core is ahead of its log, so
    /// what waits is dropped and never leaves.
    pub fn fail(&mut self) {
        self.phase = Phase::Broken;
        self.queued.clear();
        self.appended.clear();
    }

    /// What leaves now.
    pub fn take_released(&mut self) -> Vec<C::Outbound> {
        std::mem::take(&mut self.released)
    }

    fn begin(&mut self, at: &Moment) {
        self.phase = Phase::Active;
        self.core.start(at, &mut self.out);
        self.gather();
    }

    /// Takes over what a step gave back.
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
