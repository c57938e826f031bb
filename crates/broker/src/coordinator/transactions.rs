//! The transaction coordinator as a kind, and how to reach it.

use std::time::Duration;

use ottla_coordinator::{Frame, Moment};
use ottla_txn::{AddGroup, Call, Outbound, Request, Response, TxnConfig, TxnCoordinator};
use ottla_wire::compress::Codec;
use ottla_wire::messages::add_partitions_to_txn_request::AddPartitionsToTxnTransaction;
use ottla_wire::messages::add_partitions_to_txn_response::AddPartitionsToTxnResult;
use ottla_wire::messages::*;
use ottla_wire::primitives::Str;
use ottla_wire::protocol::ErrorCode;
use ottla_wire::{InternalTopic, LeaderEpoch, PartitionIndex};

use super::ask::{Ask, asks};
use super::desk::Coordinators;
use super::kind::{AnswerWaiters, CoordinatorKind, Home, Letter};
use super::kit::Metered;
use super::txn_markers;
use super::world::World;
use crate::shard::Letters;

/// How long a request waits for the commit of its records, and for a producer id if needed. Kafka's
/// `request.timeout.ms`.
const PATIENCE: Duration = Duration::from_secs(30);

impl CoordinatorKind for TxnCoordinator {
    const NAME: &'static str = "transaction coordinator";
    const TOPIC: InternalTopic = InternalTopic::TransactionState;

    type Question = Request;
    type Answer = Response;

    fn create(world: &World, epoch: LeaderEpoch) -> TxnCoordinator {
        TxnCoordinator::new(TxnConfig::clone(&world.transactions), epoch)
    }

    /// Deleted topics need nothing here. They are noticed when their markers are to be written.
    fn learn(frame: &mut Frame<TxnCoordinator>, _at: &Moment, world: &World, _deleted: &[Str]) {
        frame.core_mut().set_config(TxnConfig::clone(&world.transactions));
    }

    /// Nothing to do: the number of transactions alone bounds its memory.
    fn meter(_core: &mut TxnCoordinator, _metered: &mut Metered) {}

    /// As in Kafka: its records are small and rarely read.
    fn codec(_world: &World) -> Codec {
        Codec::None
    }

    fn deliver(outbound: Vec<Outbound>, waiting: &mut AnswerWaiters<Response>, home: &Home) {
        let mut asked = Vec::new();
        for one in outbound {
            match one {
                Outbound::Reply { to, response } => waiting.answer(to, response),
                Outbound::WriteMarkers(markers) => asked.push(markers),
                Outbound::WantProducerIds { count } => {
                    let supply = supply_producer_ids(home.clone(), count);
                    home.desk.tasks.errand("supply of producer ids", supply);
                }
            }
        }
        if !asked.is_empty() {
            home.desk.tasks.errand("markers to write", txn_markers::write(home.clone(), asked));
        }
    }
}

asks! { TxnCoordinator, Request, Response:
    InitProducerId(InitProducerIdRequest) => InitProducerIdResponse,
    AddPartitionsToTxn(AddPartitionsToTxnTransaction) => AddPartitionsToTxnResult,
    AddOffsetsToTxn(AddGroup) => AddOffsetsToTxnResponse,
    EndTxn(EndTxnRequest) => EndTxnResponse,
    DescribeTransaction(Str) => describe_transactions_response::TransactionState,
    ListTransactions(ListTransactionsRequest) => ListTransactionsResponse,
}

/// A question about one transactional id: the coordinator of that id is asked.
pub trait AboutId: Ask<Kind = TxnCoordinator> {
    fn transactional_id(&self) -> &str;
}

/// Says where the id is in a question.
macro_rules! about_ids {
    ($($name:ident by $id:expr;)+) => {$(
        impl AboutId for $name {
            fn transactional_id(&self) -> &str {
                let id: fn(&$name) -> &str = $id;
                id(self)
            }
        }
    )+};
}

about_ids! {
    InitProducerId by |asked| asked.0.transactional_id.as_deref().unwrap_or_default();
    AddPartitionsToTxn by |asked| &asked.0.transactional_id;
    AddOffsetsToTxn by |asked| &asked.0.request.transactional_id;
    EndTxn by |asked| &asked.0.transactional_id;
    DescribeTransaction by |asked| &asked.0;
}

/// Sends requests to transaction coordinators.
#[derive(Clone, Copy)]
pub struct Transactions<'a> {
    desk: &'a Coordinators,
}

impl Coordinators {
    pub fn transactions(&self) -> Transactions<'_> {
        Transactions { desk: self }
    }
}

impl Transactions<'_> {
    /// Sends a request to the coordinator of the transactional id that it is about, for a client with this
    /// version. An error is about the coordinator as such: it is elsewhere, loading or not available. Safe to
    /// drop, but the request may be carried out without an answer.
    pub async fn ask<A: AboutId>(self, version: i16, question: A) -> Result<A::Answer, ErrorCode> {
        let id = question.transactional_id();
        let index = self.desk.partition_for(TxnCoordinator::TOPIC, id).await?;
        self.ask_at(index, version, question).await
    }

    /// Sends a request to the coordinator in one partition of the transactions topic.
    pub async fn ask_at<A: Ask<Kind = TxnCoordinator>>(
        self,
        index: PartitionIndex,
        version: i16,
        question: A,
    ) -> Result<A::Answer, ErrorCode> {
        let call = Call { version, request: question.question() };
        self.desk.send_to::<A>(index, call, None).await?.come_within(PATIENCE).await
    }

    /// The partitions of the transactions topic that this broker leads.
    pub fn led_here(self) -> Vec<PartitionIndex> {
        self.desk.led_here(TxnCoordinator::TOPIC)
    }
}

/// Gives the coordinator up to `count` producer ids, as many as are available.
async fn supply_producer_ids(home: Home, count: usize) {
    let mut ids = Vec::with_capacity(count);
    while ids.len() < count {
        match home.desk.next_producer_id().await {
            Ok(id) => ids.push(id),
            Err(_) => break,
        }
    }
    tell(&home, Box::new(move |core, at, out| core.producer_ids(at, ids, out))).await;
}

/// Delivers the result of work that the coordinator at `home` asked for.
pub(super) async fn tell(home: &Home, act: Box<super::kind::Act<TxnCoordinator>>) {
    let mut letters = Letters::default();
    letters.add(&home.partition, Letter::<TxnCoordinator>::Act(act));
    letters.send().await;
}
