//! The leader of the partition that transactional ids are kept in, as this world speaks to it.

use std::collections::BTreeMap;

use ottla_coordinator::{Coordinator as _, Frame, Moment, Output, Ticket};
use ottla_partition::{Household, Turn};
use ottla_txn::{Call, Outbound, TransactionVersion, TxnConfig, TxnCoordinator};
use ottla_wire::compress::Codec;
use ottla_wire::primitives::Str;
use ottla_wire::{ErrorCode, Instant, InternalTopic, LeaderEpoch, Offset};

use super::TxnMutation;
use crate::leader::resident::{Bend, Bent};
use crate::leader::{Leader, Rules};
use crate::rng::Rng;

const TOPIC: &str = InternalTopic::TransactionState.topic();

/// Who is to hear an answer.
#[derive(Clone, Copy, Debug)]
pub enum Asker {
    Client {
        client: usize,
        attempt: u64,
    },
    /// A partition that verifies a batch.
    Partition {
        verification: u64,
    },
}

pub struct Coordinator {
    leader: Leader<Transactions>,
    home: Transactions,
    askers: BTreeMap<Ticket, Asker>,
    tickets: u64,
    /// Up to where the log is known to become committed.
    planned: Offset,
}

impl Coordinator {
    pub fn new(version: TransactionVersion, mutation: Option<TxnMutation>, uuids: Rng) -> Coordinator {
        let config = TxnConfig { transaction_version: version, ..TxnConfig::default() };
        let rules = Rules { topic: TOPIC, verify_transactions: false, hasty: false };
        Coordinator {
            leader: Leader::new(rules, uuids),
            home: Transactions { config, mutation },
            askers: BTreeMap::new(),
            tickets: 0,
            planned: Offset::ZERO,
        }
    }

    /// Counts the brokers that have led; what was planned for an earlier one is void.
    pub fn term(&self) -> u64 {
        self.leader.term()
    }

    pub fn is_led(&self) -> bool {
        self.leader.is_led()
    }

    /// `transaction.version` is raised or lowered.
    pub fn set_version(&mut self, at: &Moment, version: TransactionVersion) {
        self.home.config.transaction_version = version;
        if let Some(host) = self.leader.host_mut() {
            host.household_mut().config = self.home.config.clone();
            host.learn(at, &[]);
        }
    }

    /// Another broker takes over with what is in the log.
    pub fn take_over(&mut self, turn: Turn) -> Result<(), String> {
        self.leader.start(turn, Some(self.home.clone()))?;
        self.planned = self.leader.ends().1;
        Ok(())
    }

    /// The broker fails. Of what was under way some may be committed: nobody was told.
    pub fn fail(&mut self, rng: &mut Rng) -> Result<(), String> {
        let loses = self.home.mutation == Some(TxnMutation::LoseCommitted);
        self.askers.clear();
        self.leader.crash(rng, if loses { 2 } else { 0 })
    }

    /// The replicas are too few for a while, or enough again.
    pub fn set_writable(&mut self, turn: Turn, writable: bool) -> Result<(), String> {
        // What the other replica was to fetch counts once it is in sync again.
        self.planned = self.leader.ends().1;
        self.leader.set_writable(turn, writable)
    }

    /// The code, if the request is refused at once.
    pub fn ask(&mut self, at: &Moment, asker: Asker, call: Call) -> Result<(), ErrorCode> {
        self.tickets += 1;
        let ticket = Ticket(self.tickets);
        self.leader.ask(at, ticket, call, Ok(())).map_err(ErrorCode::from)?;
        self.askers.insert(ticket, asker);
        Ok(())
    }

    pub fn asker(&mut self, ticket: Ticket) -> Option<Asker> {
        self.askers.remove(&ticket)
    }

    /// Has the core take in what it had asked for.
    pub fn act(&mut self, act: impl FnOnce(&mut TxnCoordinator, &mut Output<Outbound>)) {
        if let Some(host) = self.leader.host_mut() {
            host.act(|core, out| act(&mut core.inner, out));
        }
    }

    pub fn tick(&mut self, turn: Turn) {
        self.leader.tick(turn);
    }

    pub fn next_deadline(&self) -> Option<Instant> {
        self.leader.next_deadline()
    }

    /// Ends the broker's turn. Gives what leaves.
    pub fn end_turn(&mut self, turn: Turn) -> Result<Vec<Outbound>, String> {
        self.leader.end_turn(turn)?;
        if self.leader.take_news().let_go {
            self.askers.clear();
        }
        Ok(self.leader.take_released())
    }

    /// Where the log ends, if it has grown since this was asked.
    pub fn grown(&mut self) -> Option<Offset> {
        let (end, _) = self.leader.ends();
        let grown = self.is_led() && end > self.planned;
        self.planned = self.planned.max(end);
        grown.then_some(end)
    }

    /// The log is committed up to here.
    pub fn commit(&mut self, turn: Turn, end: Offset) -> Result<(), String> {
        self.leader.commit(turn, end)
    }
}

/// What the host of the coordinator knows of the simulated world.
#[derive(Clone)]
struct Transactions {
    config: TxnConfig,
    mutation: Option<TxnMutation>,
}

impl Household for Transactions {
    type Core = Bent<TxnCoordinator, Option<TxnMutation>>;

    const NAME: &'static str = "transaction coordinator";

    fn partition(&self) -> (&str, i32) {
        (TOPIC, 0)
    }

    fn create(&self, epoch: LeaderEpoch) -> Self::Core {
        Bent::new(TxnCoordinator::new(self.config.clone(), epoch), self.mutation)
    }

    fn learn(&self, frame: &mut Frame<Self::Core>, _: &Moment, _: &[Str]) {
        frame.core_mut().inner.set_config(self.config.clone());
    }

    fn meter(&mut self, _: &mut Self::Core) {}

    fn codec(&self) -> Codec {
        Codec::None
    }
}

impl Bend<TxnCoordinator> for Option<TxnMutation> {
    /// One that forgets decisions has no markers written.
    fn start(&self, core: &mut TxnCoordinator, at: &Moment, out: &mut Output<Outbound>) {
        if *self != Some(TxnMutation::ForgetDecisions) {
            return core.start(at, out);
        }
        let mut whole = Output::default();
        core.start(at, &mut whole);
        let (batches, outbound) = whole.take();
        batches.into_iter().flat_map(|batch| batch.records).for_each(|record| out.write(record));
        let decides = |one: &Outbound| matches!(one, Outbound::WriteMarkers(_));
        outbound.into_iter().filter(|one| !decides(one)).for_each(|one| out.send(one));
    }
}
