//! Brokers that speak the protocol over TCP and do what a test tells them: a log in memory for each
//! partition, Kafka's rules of idempotence, and faults by script.

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use ottla_wire::Uuid;
use ottla_wire::batch::{BatchHeader, BatchView, Record};
use ottla_wire::protocol::{ApiKey, ErrorCode};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use super::groups::Group;
use super::handlers;
use super::txns::Txn;
use super::wire::{ReceivedRequest, listen};

/// What a broker does with a Produce request, in the order of the script; without one it obeys.
#[derive(Clone, Debug)]
pub enum Fault {
    /// Stores nothing and answers this for every partition.
    Refuse(ErrorCode),
    /// Stores, then closes the connection without an answer.
    StoreAndHangUp,
    /// Closes the connection and stores nothing.
    HangUp,
    /// Stores and never answers.
    StoreAndStaySilent,
    /// Obeys, but late.
    Late(Duration),
    /// Forgets every producer, then obeys.
    Forget,
    /// Obeys.
    None,
}

/// The state that all brokers of a test share.
pub struct World {
    pub addresses: Vec<SocketAddr>,
    pub topics: BTreeMap<String, Topic>,
    pub faults: VecDeque<Fault>,
    /// Highest version that is served of an API, where it is not the newest.
    pub version_max: BTreeMap<ApiKey, i16>,
    /// Most bytes of a batch.
    pub message_bytes_max: usize,
    /// Every request, as it came: broker, key, version.
    pub requests: Vec<(usize, ApiKey, i16)>,
    /// A record with this value is refused.
    pub poison: Option<&'static [u8]>,
    pub next_producer_id: i64,
    pub init_faults: VecDeque<ErrorCode>,
    pub auto_create: Option<usize>,
    /// A producer that is not known may begin with any number (Kafka before transaction version 2).
    pub lenient: bool,
    pub accepted_batches: usize,
    pub duplicates: usize,
    pub groups: BTreeMap<String, Group>,
    /// The broker that coordinates every group.
    pub coordinator: usize,
    /// What is answered to requests about groups, in the order of the script; without one they are obeyed.
    pub group_faults: BTreeMap<ApiKey, VecDeque<ErrorCode>>,
    /// So many OffsetFetch requests find that a transaction is open.
    pub unstable_offsets: usize,
    /// The level of `transaction.version` that is finalized.
    pub transaction_version: i16,
    pub transactions: BTreeMap<String, Txn>,
    /// So many requests about transactions are obeyed, and then the connection closes without an answer.
    pub deaf: BTreeMap<ApiKey, usize>,
}

pub struct Topic {
    pub id: Uuid,
    pub partitions: Vec<Partition>,
}

#[derive(Default)]
pub struct Partition {
    pub leader: usize,
    pub leader_epoch: i32,
    pub log_start: i64,
    pub batches: Vec<Bytes>,
    pub next_offset: i64,
    pub producers: BTreeMap<i64, Producer>,
    /// Producer and first offset of transactions that are open.
    pub open: BTreeMap<i64, i64>,
    /// Producer, first offset and marker of transactions that were aborted.
    pub aborted: Vec<(i64, i64, i64)>,
}

/// What a broker remembers of a producer (KIP-98): the last five batches.
#[derive(Default)]
pub struct Producer {
    pub epoch: i16,
    /// First and last sequence, base offset.
    pub batches: VecDeque<(i32, i32, i64)>,
}

#[derive(Clone)]
pub struct Brokers {
    world: Arc<Mutex<World>>,
}

impl Brokers {
    /// Starts `count` brokers with ids from 0.
    pub async fn start(count: usize) -> Brokers {
        let world = World {
            addresses: Vec::new(),
            topics: BTreeMap::new(),
            faults: VecDeque::new(),
            version_max: BTreeMap::new(),
            message_bytes_max: usize::MAX,
            requests: Vec::new(),
            poison: None,
            next_producer_id: 1000,
            init_faults: VecDeque::new(),
            auto_create: None,
            lenient: false,
            accepted_batches: 0,
            duplicates: 0,
            groups: BTreeMap::new(),
            coordinator: count - 1,
            group_faults: BTreeMap::new(),
            unstable_offsets: 0,
            transaction_version: 0,
            transactions: BTreeMap::new(),
            deaf: BTreeMap::new(),
        };
        let brokers = Brokers { world: Arc::new(Mutex::new(world)) };
        for id in 0..count {
            let serving = brokers.clone();
            let address = listen(move |stream| serving.clone().serve(id, stream)).await;
            brokers.world().addresses.push(address);
        }
        brokers
    }

    /// A topic whose partitions are led by the brokers in turn.
    pub fn topic(&self, name: &str, partitions: usize) -> &Self {
        let mut world = self.world();
        world.create(name, partitions);
        drop(world);
        self
    }

    pub fn world(&self) -> MutexGuard<'_, World> {
        self.world.lock().unwrap()
    }

    pub fn bootstrap(&self) -> String {
        self.world().addresses[0].to_string()
    }

    pub fn faults(&self, faults: impl IntoIterator<Item = Fault>) {
        self.world().faults.extend(faults);
    }

    pub fn count(&self, key: ApiKey) -> usize {
        self.world().requests.iter().filter(|(_, of, _)| *of == key).count()
    }

    /// Every record of a partition.
    pub fn records(&self, topic: &str, partition: usize) -> Vec<Record> {
        let world = self.world();
        let batches = &world.topics[topic].partitions[partition].batches;
        let records = |batch: &Bytes| {
            let view = BatchView::parse(batch.clone()).unwrap();
            view.check_crc().unwrap();
            view.records(1 << 30).unwrap().map(Result::unwrap).collect::<Vec<_>>()
        };
        batches.iter().flat_map(records).collect()
    }

    pub fn values(&self, topic: &str, partition: usize) -> Vec<String> {
        let value = |record: Record| String::from_utf8(record.value.unwrap().to_vec()).unwrap();
        self.records(topic, partition).into_iter().map(value).collect()
    }

    async fn serve(self, id: usize, mut stream: TcpStream) {
        stream.set_nodelay(true).unwrap();
        let mut buffer = BytesMut::new();
        while let Some(asked) = ReceivedRequest::next(&mut stream, &mut buffer).await {
            self.world().requests.push((id, asked.key, asked.version));
            let call = handlers::Call { brokers: &self, broker: id, asked };
            match call.answer().await {
                // Silence.
                Some(answer) if answer.is_empty() => {}
                Some(answer) if stream.write_all(&answer).await.is_ok() => {}
                // It hangs up.
                Some(_) | None => return,
            }
        }
    }
}

impl World {
    pub fn create(&mut self, name: &str, partitions: usize) {
        let brokers = self.addresses.len();
        let partition = |index| Partition { leader: index % brokers, ..Partition::default() };
        let id = Uuid([self.topics.len() as u8 + 1; 16]);
        let topic = Topic { id, partitions: (0..partitions).map(partition).collect() };
        self.topics.insert(name.to_owned(), topic);
    }

    /// The name of a topic that a request names by name or id.
    pub fn name(&self, name: &str, id: Uuid) -> Option<String> {
        if !name.is_empty() {
            return self.topics.contains_key(name).then(|| name.to_owned());
        }
        self.topics.iter().find(|(_, topic)| topic.id == id).map(|(name, _)| name.clone())
    }

    pub fn partition(&mut self, topic: &str, index: usize) -> &mut Partition {
        &mut self.topics.get_mut(topic).unwrap().partitions[index]
    }

    /// Makes another broker lead a partition.
    pub fn move_leader(&mut self, topic: &str, index: usize, leader: usize) {
        let partition = self.partition(topic, index);
        partition.leader = leader;
        partition.leader_epoch += 1;
    }
}

impl Partition {
    /// Appends a batch by Kafka's rules; gives its base offset, or whether it was a repeat.
    pub fn append(&mut self, batch: Bytes, lenient: bool) -> Result<(i64, bool), ErrorCode> {
        let mut header = BatchHeader::parse(&batch).unwrap();
        if header.has_producer()
            && let Some(base) = self.check_sequence(&header, lenient)?
        {
            return Ok((base, true));
        }
        let base = self.next_offset;
        header.base_offset = ottla_wire::Offset(base);
        header.partition_leader_epoch = ottla_wire::LeaderEpoch(self.leader_epoch);
        self.next_offset = header.next_offset().0;
        self.batches.push([&header.encode()[..], &batch[ottla_wire::batch::HEADER_LEN..]].concat().into());
        if header.is_transactional() {
            self.open.entry(header.producer_id.0).or_insert(base);
        }
        if header.has_producer() {
            let producer = self.producers.entry(header.producer_id.0).or_default();
            producer.batches.push_back((header.base_sequence.0, header.last_sequence().0, base));
            while producer.batches.len() > 5 {
                producer.batches.pop_front();
            }
        }
        Ok((base, false))
    }

    /// The base offset of a batch that is known already.
    fn check_sequence(&mut self, header: &BatchHeader, lenient: bool) -> Result<Option<i64>, ErrorCode> {
        let (first, last, epoch) =
            (header.base_sequence.0, header.last_sequence().0, header.producer_epoch.0);
        let Some(producer) = self.producers.get_mut(&header.producer_id.0) else {
            // As transaction version 2 is strict with producers that begin in the middle.
            if first != 0 && !lenient {
                return Err(ErrorCode::UnknownProducerId);
            }
            let new = Producer { epoch, ..Producer::default() };
            self.producers.insert(header.producer_id.0, new);
            return Ok(None);
        };
        if epoch < producer.epoch {
            return Err(ErrorCode::InvalidProducerEpoch);
        }
        if epoch > producer.epoch {
            if first != 0 {
                return Err(ErrorCode::OutOfOrderSequenceNumber);
            }
            *producer = Producer { epoch, ..Producer::default() };
            return Ok(None);
        }
        if let Some(known) = producer.batches.iter().find(|known| (known.0, known.1) == (first, last)) {
            return Ok(Some(known.2));
        }
        let next = producer.batches.back().map_or(0, |(_, last, _)| last + 1);
        match first.cmp(&next) {
            std::cmp::Ordering::Equal => Ok(None),
            std::cmp::Ordering::Less => Err(ErrorCode::DuplicateSequenceNumber),
            std::cmp::Ordering::Greater => Err(ErrorCode::OutOfOrderSequenceNumber),
        }
    }
}
