//! An outbox with everything around it, as data: time, brokers, connections, a coordinator.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use ottla_wire::compress::Codec;
use ottla_wire::messages::metadata_response::{
    MetadataResponseBroker, MetadataResponsePartition, MetadataResponseTopic,
};
use ottla_wire::messages::produce_response::{PartitionProduceResponse, TopicProduceResponse};
use ottla_wire::messages::{MetadataResponse, ProduceRequest, ProduceResponse};
use ottla_wire::protocol::{ApiKey, ErrorCode};
use ottla_wire::{ProducerEpoch, ProducerId, Timestamp};

use super::super::*;
use super::broker::{Arriving, Fate, Partition, Uid};
use crate::error::ApiError;
use crate::producer::accumulator::{Accumulator, Rules as Accumulating};
use crate::producer::delivery::{Delivery, Outcome, Settlement};
use crate::producer::record::{ProducerRecord, RecordMetadata};
use crate::producer::transaction::{Core, TransactionVersion};
use crate::seam::{self, Dice};
use ottla_link::{End, LinkError};

pub const BROKERS: i32 = 2;
pub const PARTITIONS: usize = 3;
pub const PAUSE: Duration = Duration::from_millis(100);
pub const DELIVERY_TIMEOUT: Duration = Duration::from_secs(10);
/// Two or three records.
const BATCH_SIZE: usize = 120;
const ID: i64 = 7;

type Fated = Result<RecordMetadata, ProduceError>;

/// A record that was taken, and what its sender knows of it.
pub struct Taken {
    pub uid: Uid,
    pub partition: usize,
    delivery: Delivery,
    pub fate: Option<Fated>,
}

/// A request on its way to a broker.
struct OnItsWay {
    id: RequestId,
    request: ProduceRequest,
}

pub struct Rig {
    outbox: Outbox,
    accumulator: Accumulator,
    pub transaction: Option<Core>,
    metadata: Metadata,
    now: Instant,
    pub partitions: Vec<Partition>,
    /// Broker and epoch of the leader of each partition.
    leaders: Vec<(i32, i32)>,
    on_their_way: BTreeMap<i32, VecDeque<OnItsWay>>,
    /// What the producer has given up on, and a broker may yet take.
    limbo: VecDeque<ProduceRequest>,
    connecting: VecDeque<BrokerId>,
    identities: usize,
    epoch: i16,
    adding: Option<BTreeSet<TopicPartition>>,
    pub taken: Vec<Taken>,
    /// Kept, so that addresses stay different.
    settled: Vec<Arc<Settlement>>,
    reserved: usize,
    released: usize,
    pub failed: Option<Error>,
}

/// What becomes of a request.
#[derive(Clone, Debug)]
pub enum Deed {
    Obey,
    Refuse(ErrorCode),
    /// The connection breaks: so many of the requests on it are carried out all the same, and the others may
    /// be later.
    Break {
        carried_out: usize,
    },
    /// The request was never sent.
    NotSent,
}

impl Rig {
    pub fn new(max_in_flight: usize) -> Rig {
        Rig::of(None, true, max_in_flight)
    }

    pub fn without_idempotence(max_in_flight: usize) -> Rig {
        Rig::of(None, false, max_in_flight)
    }

    pub fn transactional(transaction: Core) -> Rig {
        Rig::of(Some(transaction), true, 5)
    }

    fn of(transaction: Option<Core>, idempotent: bool, max_in_flight: usize) -> Rig {
        let packing = Packing { codec: Codec::None, level: None, transactional: transaction.is_some() };
        let rules = Rules {
            acks: Acks::All,
            idempotent,
            transactional_id: transaction.is_some().then(|| "id".into()),
            max_in_flight,
            max_request_size: 4 * BATCH_SIZE,
            retries: u32::MAX,
            delivery_timeout: DELIVERY_TIMEOUT,
            request_timeout: Duration::from_secs(1),
            retry_backoff: PAUSE,
            reconnect_backoff: PAUSE,
            packing,
        };
        let accumulating = Accumulating {
            batch_size: BATCH_SIZE,
            linger: Duration::from_millis(5),
            packing,
            ignore_keys: false,
            adaptive: false,
        };
        let mut rig = Rig {
            outbox: Outbox::new(rules),
            accumulator: Accumulator::new(accumulating, Dice::new(Some(1))),
            transaction,
            metadata: Metadata::default(),
            // Far enough from the beginning of time to look back.
            now: seam::now() + Duration::from_secs(3600),
            partitions: (0..PARTITIONS).map(|_| Partition::default()).collect(),
            leaders: (0..PARTITIONS).map(|index| (index as i32 % BROKERS, 0)).collect(),
            on_their_way: BTreeMap::new(),
            limbo: VecDeque::new(),
            connecting: VecDeque::new(),
            identities: 0,
            epoch: 0,
            adding: None,
            taken: Vec::new(),
            settled: Vec::new(),
            reserved: 0,
            released: 0,
            failed: None,
        };
        rig.learn_metadata();
        rig
    }

    pub fn add(&mut self, partition: usize) {
        let uid = self.taken.len() as Uid;
        let record = ProducerRecord::new("t", uid.to_be_bytes().to_vec()).partition(partition as i32);
        let topic = self.metadata.topic("t").cloned().unwrap();
        let size = record.size_max();
        self.reserved += size;
        let (delivery, _) = self.accumulator.append(&topic, &record, size, self.now, Timestamp(1));
        if let Some(transaction) = &mut self.transaction {
            transaction.took(&TopicPartition::new("t", partition as i32));
        }
        self.taken.push(Taken { uid, partition, delivery, fate: None });
        self.turn();
    }

    pub fn wait(&mut self, time: Duration) {
        self.now += time;
        self.turn();
    }

    pub fn move_leader(&mut self, partition: usize) {
        let (leader, epoch) = &mut self.leaders[partition];
        (*leader, *epoch) = ((*leader + 1) % BROKERS, *epoch + 1);
    }

    pub fn connect(&mut self, failed: bool) {
        if let Some(broker) = self.connecting.pop_front() {
            if !failed {
                self.on_their_way.entry(broker.0).or_default();
            }
            self.outbox.connected(broker, failed, self.now);
            self.turn();
        }
    }

    /// Answers the question for an id.
    pub fn identify(&mut self, outcome: Result<(), ErrorCode>) {
        if self.identities == 0 {
            return;
        }
        self.identities -= 1;
        let identity = (ProducerId(ID), ProducerEpoch(self.epoch));
        let outcome = outcome.map(|()| identity).map_err(api_error);
        self.act(|outbox, world| outbox.identified(outcome, world));
    }

    /// Answers AddPartitionsToTxn.
    pub fn added(&mut self, outcome: Result<(), Error>) {
        if let Some(partitions) = self.adding.take() {
            self.act(|outbox, world| outbox.added(partitions, outcome, world));
        }
    }

    /// The oldest request to a broker meets its fate.
    pub fn serve(&mut self, broker: i32, deed: &Deed) {
        let Some(queue) = self.on_their_way.get_mut(&broker) else { return };
        if let Deed::Break { carried_out } = deed {
            let lost: Vec<OnItsWay> = self.on_their_way.remove(&broker).unwrap_or_default().into();
            return self.lose(broker, lost, *carried_out);
        }
        let Some(OnItsWay { id, request }) = queue.pop_front() else { return };
        let answer = match deed {
            Deed::Obey => Ok(Some(self.carry_out(broker, &request))),
            Deed::Refuse(code) => Ok(Some(respond(&request, |_, _| (code.code(), -1)))),
            Deed::NotSent | Deed::Break { .. } => Err(lost(false)),
        };
        self.answer(id, answer);
    }

    fn lose(&mut self, broker: i32, requests: Vec<OnItsWay>, carried_out: usize) {
        let mut ids = Vec::new();
        for (at, OnItsWay { id, request }) in requests.into_iter().enumerate() {
            if at < carried_out {
                self.carry_out(broker, &request);
            } else {
                self.limbo.push_back(request);
            }
            ids.push(id);
        }
        for id in ids {
            self.answer(id, Err(lost(true)));
        }
    }

    /// A request that was given up on arrives.
    pub fn arrive_late(&mut self) {
        if let Some(request) = self.limbo.pop_front() {
            for (index, batch) in batches(&request) {
                // Refused or not, nobody hears of it.
                let _ = self.partitions[index].append(&batch);
            }
        }
    }

    pub fn give_up(&mut self) {
        self.act(|outbox, world| outbox.give_up(&ProduceError::Closed, world));
    }

    /// Whether nothing is left to do.
    pub fn is_settled(&self) -> bool {
        let adding = self.transaction.as_ref().is_some_and(Core::is_adding);
        self.accumulator.is_empty() && !adding
    }

    /// Everything is obeyed until all is settled.
    pub fn calm_down(&mut self) {
        for _ in 0..1000 {
            if self.is_settled() || self.failed.is_some() {
                return;
            }
            self.connect(false);
            self.identify(Ok(()));
            self.added(Ok(()));
            for broker in 0..BROKERS {
                self.serve(broker, &Deed::Obey);
            }
            self.wait(PAUSE);
        }
        panic!("it does not come to an end");
    }

    /// The coordinator ends the transaction.
    pub fn end(&mut self, fate: Fate) -> Option<(ProducerId, ProducerEpoch)> {
        let is_v2 = self.transaction.as_ref().unwrap().version() == TransactionVersion::V2;
        self.epoch += i16::from(is_v2);
        let epoch = self.epoch;
        self.partitions.iter_mut().for_each(|partition| partition.mark(ID, epoch, fate));
        is_v2.then_some((ProducerId(ID), ProducerEpoch(epoch)))
    }

    /// The coordinator gives another epoch; what is open is aborted, and older epochs are fenced.
    pub fn renew(&mut self) -> (ProducerId, ProducerEpoch) {
        self.epoch += 1;
        let epoch = self.epoch;
        self.partitions.iter_mut().for_each(|partition| partition.mark(ID, epoch, Fate::Aborted));
        (ProducerId(ID), ProducerEpoch(epoch))
    }

    /// Law: memory is given back, and nothing is kept.
    pub fn check_nothing_is_kept(&self) {
        assert_eq!(self.reserved, self.released, "buffer.memory");
        assert!(self.outbox.requests.is_empty() && self.accumulator.is_empty());
    }

    pub fn turn(&mut self) {
        self.act(|outbox, world| {
            let _look_again = outbox.turn(world);
        });
    }

    fn answer(&mut self, id: RequestId, answer: Result<Option<ProduceResponse>, Error>) {
        self.act(|outbox, world| outbox.answered(id, answer, world));
        self.turn();
    }

    fn act(&mut self, act: impl FnOnce(&mut Outbox, &mut World<'_>)) {
        let mut effects = Vec::new();
        let connected: BTreeSet<i32> = self.on_their_way.keys().copied().collect();
        let mut world = World {
            now: self.now,
            accumulator: &mut self.accumulator,
            transaction: self.transaction.as_mut(),
            metadata: &self.metadata,
            urgent: true,
            is_connected: &|broker| connected.contains(&broker.0),
            pause: &|_| PAUSE,
            effects: &mut effects,
        };
        act(&mut self.outbox, &mut world);
        for effect in effects {
            self.perform(effect);
        }
        self.look_at_deliveries();
    }

    fn perform(&mut self, effect: Effect) {
        match effect {
            Effect::Send { request: id, broker } => self.send(id, broker),
            Effect::Connect(broker) => self.connecting.push_back(broker),
            Effect::AskIdentity => {
                self.identities += 1;
                assert_eq!(self.identities, 1, "one question at a time");
            }
            Effect::AddPartitions { partitions, .. } => {
                assert!(self.adding.replace(partitions).is_none(), "one question at a time");
            }
            Effect::Refresh => self.learn_metadata(),
            Effect::Settle(settlement, outcome) => self.settle(settlement, outcome),
            Effect::Release(bytes) => self.released += bytes,
            Effect::Fail(error) => self.failed = Some(error),
            Effect::Want(_) | Effect::Learn { .. } => {}
        }
    }

    fn settle(&mut self, settlement: Arc<Settlement>, outcome: Outcome) {
        let is_new = self.settled.iter().all(|of| !Arc::ptr_eq(of, &settlement));
        assert!(is_new, "law: a batch has one outcome, this is another: {outcome:?}");
        settlement.settle(outcome);
        self.settled.push(settlement);
    }

    fn send(&mut self, id: RequestId, broker: BrokerId) {
        let version = self.transaction.as_ref().map(Core::version);
        let encoded = self.outbox.request(id, &self.metadata, version);
        assert!(encoded.unencodable.is_empty());
        for (index, batch) in batches(&encoded.request) {
            self.partitions[index].check_numbers(&batch);
        }
        let queue = self.on_their_way.get_mut(&broker.0).expect("law: only open connections are used");
        queue.push_back(OnItsWay { id, request: encoded.request });
        assert!(queue.len() <= self.outbox.rules.max_in_flight, "law: requests in flight are bounded");
    }

    fn carry_out(&mut self, broker: i32, request: &ProduceRequest) -> ProduceResponse {
        let arriving: BTreeMap<usize, Arriving> = batches(request).collect();
        respond(request, |_, index| {
            if self.leaders[index].0 != broker {
                return (ErrorCode::NotLeaderOrFollower.code(), -1);
            }
            match self.partitions[index].append(&arriving[&index]) {
                Ok(base) => (0, base),
                Err(code) => (code.code(), -1),
            }
        })
    }

    /// Law: whoever is told of a failure while the record is on its way is told that the outcome is unknown.
    fn look_at_deliveries(&mut self) {
        let requests = self.on_their_way.values().flatten().map(|of| &of.request);
        let on_their_way: BTreeSet<Uid> =
            requests.flat_map(batches).flat_map(|(_, batch)| batch.uids).collect();
        for taken in self.taken.iter_mut().filter(|taken| taken.fate.is_none()) {
            taken.fate = taken.delivery.outcome();
            if let Some(Err(error)) = &taken.fate
                && on_their_way.contains(&taken.uid)
            {
                assert!(error.outcome_unknown(), "record {} is on its way: {error}", taken.uid);
            }
        }
    }

    fn learn_metadata(&mut self) {
        let partitions = self.leaders.iter().zip(0..).map(|(&(leader_id, leader_epoch), partition_index)| {
            MetadataResponsePartition { partition_index, leader_id, leader_epoch, ..Default::default() }
        });
        let topic = MetadataResponseTopic {
            name: Some("t".into()),
            partitions: partitions.collect(),
            ..MetadataResponseTopic::default()
        };
        let broker =
            |node_id| MetadataResponseBroker { node_id, host: "h".into(), port: 1, ..Default::default() };
        let brokers = (0..BROKERS).map(broker).collect();
        self.metadata =
            Metadata::of(MetadataResponse { brokers, topics: vec![topic], ..MetadataResponse::default() });
    }
}

fn batches(request: &ProduceRequest) -> impl Iterator<Item = (usize, Arriving)> {
    let partitions = request.topic_data.iter().flat_map(|topic| &topic.partition_data);
    partitions.map(|data| (data.index as usize, Arriving::read(data.records.as_ref().unwrap())))
}

/// An answer with what `outcome` says of each partition: error code and base offset.
fn respond(request: &ProduceRequest, mut outcome: impl FnMut(&str, usize) -> (i16, i64)) -> ProduceResponse {
    let mut answer = |topic: &str, index: i32| {
        let (error_code, base_offset) = outcome(topic, index as usize);
        let log_start_offset = 0;
        PartitionProduceResponse { index, error_code, base_offset, log_start_offset, ..Default::default() }
    };
    let responses = request.topic_data.iter().map(|topic| TopicProduceResponse {
        name: topic.name.clone(),
        partition_responses: topic.partition_data.iter().map(|of| answer(&topic.name, of.index)).collect(),
        ..TopicProduceResponse::default()
    });
    ProduceResponse { responses: responses.collect(), ..ProduceResponse::default() }
}

pub fn api_error(code: ErrorCode) -> Error {
    Error::Api(ApiError { code, message: None })
}

pub fn lost(sent: bool) -> Error {
    let (api, address) = (ApiKey::Produce, "b".to_owned());
    Error::Link(LinkError::Disconnected { api, address, end: End::ClosedByPeer, sent })
}
