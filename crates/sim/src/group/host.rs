//! The leader of the partition that groups are kept in, as this world speaks to it.

use ottla_coordinator::{Frame, Moment, Producer, Record, Ticket};
use ottla_group::{Call, GroupConfig, GroupCoordinator, Reply, Request};
use ottla_partition::{Claim, MarkerRequest, Turn, Unserved};
use ottla_replica::AppendError;
use ottla_wire::primitives::Str;
use ottla_wire::{Instant, Offset, ProducerEpoch, ProducerId, Sequence};

use super::mutation::Mutation;
use super::topics::SimTopics;
use crate::leader::groups::{Groups, TOPIC};
use crate::leader::resident::{Bend, Bent};
use crate::leader::{Leader, News, Rules};
use crate::rng::Rng;

type Home = Groups<Option<Mutation>>;

pub struct Host {
    leader: Leader<Home>,
    config: GroupConfig,
    mutation: Option<Mutation>,
}

impl Host {
    pub fn new(config: GroupConfig, mutation: Option<Mutation>, uuids: Rng) -> Host {
        let hasty = mutation == Some(Mutation::AnswerBeforeCommit);
        let rules = Rules { topic: TOPIC, verify_transactions: false, hasty };
        Host { leader: Leader::new(rules, uuids), config, mutation }
    }

    pub fn term(&self) -> u64 {
        self.leader.term()
    }

    pub fn core(&self) -> Option<&GroupCoordinator> {
        self.leader.core().map(|core| &core.inner)
    }

    pub fn config(&self) -> &GroupConfig {
        &self.config
    }

    pub fn is_led(&self) -> bool {
        self.leader.is_led()
    }

    /// Where the log ends, and up to where it is committed.
    pub fn ends(&self) -> (Offset, Offset) {
        self.leader.ends()
    }

    pub fn start(&mut self, turn: Turn, topics: &SimTopics) -> Result<(), String> {
        let home = self.home(topics);
        self.leader.start(turn, Some(home))
    }

    /// What a coordinator that reads the log knows.
    pub fn load(
        &self,
        topics: &SimTopics,
    ) -> Result<Frame<Bent<GroupCoordinator, Option<Mutation>>>, String> {
        self.leader.load(&self.home(topics))
    }

    pub fn crash(&mut self, rng: &mut Rng) -> Result<(), String> {
        self.leader.crash(rng, 0)
    }

    pub fn set_writable(&mut self, turn: Turn, writable: bool) -> Result<(), String> {
        self.leader.set_writable(turn, writable)
    }

    pub fn handle(&mut self, at: &Moment, ticket: Ticket, call: Call) -> Result<(), Unserved> {
        let claim = self.check_claim(&call.request);
        self.leader.ask(at, ticket, call, claim)
    }

    /// Whether the partition takes offsets of this producer's transaction.
    fn check_claim(&self, request: &Request) -> Result<(), AppendError> {
        let (Request::TxnOffsetCommit(request), Some(partition)) = (request, self.leader.partition()) else {
            return Ok(());
        };
        let (id, epoch) = (ProducerId(request.producer_id), ProducerEpoch(request.producer_epoch));
        let (sequence, bumps_epochs) = (Sequence::NONE, false);
        let claim = Claim { producer: Producer { id, epoch }, sequence, bumps_epochs };
        partition.check_claim(&claim, None, false)
    }

    pub fn topics_changed(&mut self, at: &Moment, topics: &SimTopics, deleted: &[Str]) {
        if let Some(host) = self.leader.host_mut() {
            host.household_mut().topics = topics.clone();
            host.learn(at, deleted);
        }
    }

    pub fn tick(&mut self, turn: Turn) {
        self.leader.tick(turn);
    }

    pub fn next_deadline(&self) -> Option<Instant> {
        self.leader.next_deadline()
    }

    /// Writes a marker, behind what its transaction may have written. Says where it is in the log; `None` if
    /// it is not taken.
    pub fn write_marker(&mut self, turn: Turn, producer: Producer, commit: bool) -> Option<Offset> {
        let (coordinator_epoch, transaction_version) = (0, 0);
        let deadline = Instant(u64::MAX);
        let marker = MarkerRequest { producer, commit, coordinator_epoch, transaction_version, deadline };
        self.leader.write_marker(turn, &marker)
    }

    /// The other replica holds the log up to here.
    pub fn commit(&mut self, turn: Turn, end: Offset) -> Result<(), String> {
        self.leader.commit(turn, end)
    }

    pub fn end_turn(&mut self, turn: Turn) -> Result<(), String> {
        self.leader.end_turn(turn)
    }

    pub fn take_released(&mut self) -> Vec<Reply> {
        self.leader.take_released()
    }

    pub fn take_news(&mut self) -> News {
        self.leader.take_news()
    }

    fn home(&self, topics: &SimTopics) -> Home {
        Groups { config: self.config.clone(), topics: topics.clone(), bend: self.mutation }
    }
}

impl Bend<GroupCoordinator> for Option<Mutation> {
    fn reads(&self, record: &Record) -> bool {
        record.value.is_some() || *self != Some(Mutation::ForgetTombstones)
    }

    fn hears(&self, commit: bool, loading: bool) -> bool {
        commit || (loading && *self == Some(Mutation::TakeAbortsForCommits))
    }
}
