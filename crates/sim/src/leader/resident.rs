//! The coordinator beside the replica, and where it breaks rules on purpose.

use ottla_coordinator::{Coordinator, Moment, Output, Producer, Record, ReplayError, Ticket};
use ottla_partition::{
    AppendOutcome, Generation, Host, Household, Lodger, LodgerAppend, NewUuid, Seen, Turn,
};
use ottla_replica::Appended;
use ottla_wire::{Instant, Offset, Timestamp};

/// The host of the coordinator; one that is hasty takes it that whatever it appends is committed.
pub struct Resident<H: Household> {
    pub host: Host<H>,
    pub hasty: bool,
}

impl<H: Household> Lodger for Resident<H> {
    fn next_batch(&mut self, turn: Turn) -> Option<LodgerAppend> {
        let append = self.host.next_batch(turn)?;
        if self.hasty {
            let (offset, log_append_time) = (Offset::ZERO, Timestamp::NONE);
            let appended =
                Appended { base_offset: offset, last_offset: offset, log_append_time, log_start: offset };
            self.host.appended(append.generation, Ok(appended));
        }
        Some(append)
    }

    fn appended(&mut self, generation: Generation, outcome: AppendOutcome) {
        if !self.hasty || outcome.is_err() {
            self.host.appended(generation, outcome);
        }
    }

    fn settle(&mut self, turn: Turn, uuids: &mut NewUuid<'_>, seen: &Seen<'_>) -> bool {
        self.host.settle(turn, uuids, seen)
    }

    fn tick(&mut self, at: &Moment) {
        self.host.tick(at);
    }

    fn next_deadline(&self) -> Option<Instant> {
        self.host.next_deadline()
    }

    fn resign(&mut self) {
        self.host.resign();
    }
}

/// Where a core breaks a rule.
pub trait Bend<C: Coordinator> {
    /// Whether a core that loads takes a record of its log in.
    fn reads(&self, _record: &Record) -> bool {
        true
    }

    /// What a core makes of the end of a transaction.
    fn hears(&self, commit: bool, _loading: bool) -> bool {
        commit
    }

    /// What a core does first.
    fn start(&self, core: &mut C, at: &Moment, out: &mut Output<C::Outbound>) {
        core.start(at, out);
    }
}

/// A core, bent or not.
pub struct Bent<C, B> {
    pub inner: C,
    bend: B,
    loading: bool,
}

impl<C: Coordinator, B: Bend<C>> Bent<C, B> {
    pub fn new(inner: C, bend: B) -> Bent<C, B> {
        Bent { inner, bend, loading: true }
    }
}

impl<C: Coordinator, B: Bend<C>> Coordinator for Bent<C, B> {
    type Request = C::Request;
    type Outbound = C::Outbound;

    fn handle(&mut self, at: &Moment, ticket: Ticket, request: C::Request, out: &mut Output<C::Outbound>) {
        self.inner.handle(at, ticket, request, out);
    }

    fn only_reads(request: &C::Request) -> bool {
        C::only_reads(request)
    }

    fn tick(&mut self, at: &Moment, out: &mut Output<C::Outbound>) {
        self.inner.tick(at, out);
    }

    fn next_deadline(&self) -> Option<Instant> {
        self.inner.next_deadline()
    }

    fn replay(
        &mut self,
        offset: Offset,
        producer: Option<Producer>,
        record: Record,
    ) -> Result<(), ReplayError> {
        if self.bend.reads(&record) { self.inner.replay(offset, producer, record) } else { Ok(()) }
    }

    fn end_transaction(&mut self, producer: Producer, commit: bool) {
        self.inner.end_transaction(producer, self.bend.hears(commit, self.loading));
    }

    fn start(&mut self, at: &Moment, out: &mut Output<C::Outbound>) {
        self.loading = false;
        self.bend.start(&mut self.inner, at, out);
    }
}
