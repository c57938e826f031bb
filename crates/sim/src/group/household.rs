//! What the host of a coordinator knows of the simulated world, and where it breaks rules on purpose.

use std::sync::Arc;

use ottla_coordinator::{Coordinator, Frame, Moment, Output, Producer, Record, ReplayError, Ticket};
use ottla_group::{Call, GroupConfig, GroupCoordinator, Reply};
use ottla_partition::{AppendOutcome, Generation, Household, Lodger, LodgerAppend, NewUuid, Seen, Turn};
use ottla_replica::Appended;
use ottla_wire::compress::Codec;
use ottla_wire::primitives::Str;
use ottla_wire::{Instant, LeaderEpoch, Offset, PartitionIndex, Timestamp};

use super::mutation::Mutation;
use super::topics::SimTopics;

/// The partition that groups are kept in.
pub const TOPIC: &str = "__consumer_offsets";
pub const PARTITION: PartitionIndex = PartitionIndex(0);

/// The host of the coordinator; one that is hasty takes it that whatever it appends is committed.
pub struct Resident {
    pub host: ottla_partition::Host<SimHousehold>,
    pub hasty: bool,
}

impl Lodger for Resident {
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

/// What the host knows of the world.
pub struct SimHousehold {
    pub config: GroupConfig,
    pub topics: SimTopics,
    pub mutation: Option<Mutation>,
}

impl Household for SimHousehold {
    type Core = Core;

    const NAME: &'static str = "group coordinator";

    fn partition(&self) -> (&str, i32) {
        (TOPIC, PARTITION.0)
    }

    fn create(&self, _: LeaderEpoch) -> Core {
        let inner = GroupCoordinator::new(self.config.clone(), Arc::new(self.topics.clone()));
        Core { inner, loading: true, mutation: self.mutation }
    }

    fn learn(&self, frame: &mut Frame<Core>, at: &Moment, deleted: &[Str]) {
        let topics = Arc::new(self.topics.clone());
        frame.act(|core, out| core.inner.topics_changed(at, topics, deleted, out));
    }

    fn meter(&mut self, _: &mut Core) {}

    fn codec(&self) -> Codec {
        Codec::None
    }
}

/// The coordinator; one that breaks a rule takes its log for something else than it is.
pub struct Core {
    pub inner: GroupCoordinator,
    loading: bool,
    mutation: Option<Mutation>,
}

impl Coordinator for Core {
    type Request = Call;
    type Outbound = Reply;

    fn handle(&mut self, at: &Moment, ticket: Ticket, request: Call, out: &mut Output<Reply>) {
        self.inner.handle(at, ticket, request, out);
    }

    fn only_reads(request: &Call) -> bool {
        GroupCoordinator::only_reads(request)
    }

    fn tick(&mut self, at: &Moment, out: &mut Output<Reply>) {
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
        let forgotten = self.mutation == Some(Mutation::ForgetTombstones) && record.value.is_none();
        if forgotten { Ok(()) } else { self.inner.replay(offset, producer, record) }
    }

    fn end_transaction(&mut self, producer: Producer, commit: bool) {
        let takes_all = self.loading && self.mutation == Some(Mutation::TakeAbortsForCommits);
        self.inner.end_transaction(producer, commit || takes_all);
    }

    fn start(&mut self, at: &Moment, out: &mut Output<Reply>) {
        self.loading = false;
        self.inner.start(at, out);
    }
}
