//! What clients hear of a disk that stands still, and of one that rots.

use std::collections::VecDeque;
use std::sync::{Arc, mpsc};
use std::time::Duration;

use bytes::Bytes;
use ottla_controller::image::Endpoint;
use ottla_log::{DataDir, DirOptions, Disk, Faults, Identity, MemDisk};
use ottla_net::{ConnectionId, Frame, Part, Peer, Principal, Responses, SecurityProtocol, Service};
use ottla_settings::BrokerSettings;
use ottla_wire::batch::{BatchBuilder, BatchHeader, batches};
use ottla_wire::messages::create_topics_request::{CreatableTopic, CreatableTopicConfig};
use ottla_wire::messages::fetch_request::{FetchPartition, FetchTopic};
use ottla_wire::messages::fetch_response::PartitionData;
use ottla_wire::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use ottla_wire::messages::list_offsets_response::ListOffsetsPartitionResponse;
use ottla_wire::messages::produce_request::{PartitionProduceData, TopicProduceData};
use ottla_wire::messages::{
    CreateTopicsRequest, CreateTopicsResponse, FetchRequest, FetchResponse, ListOffsetsRequest,
    ListOffsetsResponse, ProduceRequest, ProduceResponse, RequestHeader, ResponseHeader,
};
use ottla_wire::primitives::{Message, Reader, Records, encode_to_bytes};
use ottla_wire::protocol::{ApiKey, ErrorCode, request_header_version, response_header_version};
use ottla_wire::{Offset, Timestamp};

use super::node::Node;
use super::registration::Membership;
use crate::api::Session;
use crate::clock::Clock;
use crate::metadata::RecoveryProgress;
use crate::service::KafkaService;

const FETCH_VERSION: i16 = 12;
const LIST_OFFSETS_VERSION: i16 = 7;
const TOPIC: &str = "t";
/// Batches of one record each, in segments of 1 MiB.
const BATCHES: i64 = 40;
const VALUE_BYTES: usize = 64 << 10;
const FIRST_SEGMENT: &str = "t-0/00000000000000000000.log";
/// How long the disk is stuck if nobody frees it: a test that waits for it on its own thread fails instead of hanging.
const STUCK_MAX: Duration = Duration::from_secs(120);

/// A broker on a disk in memory, without a network.
struct Stage {
    service: KafkaService,
    disk: MemDisk,
    _node: Node,
    metadata: tempfile::TempDir,
}

impl Stage {
    async fn with_records() -> Stage {
        let metadata = tempfile::tempdir().unwrap();
        let settings = BrokerSettings::from_pairs([("node.id", "1")]).unwrap();
        let disk = MemDisk::new();
        // The metadata log has a disk of its own: its folder is a real one of the same name.
        let path = metadata.path();
        let above: Vec<_> = path.ancestors().skip(1).filter(|folder| folder.parent().is_some()).collect();
        above.iter().rev().for_each(|folder| disk.create_dir(folder).unwrap());
        let options = DirOptions {
            disk: Arc::new(disk.clone()),
            background: false,
            checkpoint_interval: Duration::from_secs(3600),
        };
        let identity = Identity { node_id: Some(1), cluster_id: Some("p0XxMz0jTbuHn3nqvRuB6w".into()) };
        let dir = DataDir::open_with(path, &identity, options).unwrap();
        let directory = dir.meta().directory_id;
        let progress = Arc::new(RecoveryProgress::default());
        let node = Node::open(&settings, dir, Clock::start(), progress).await.unwrap();
        let endpoint =
            Endpoint { name: "PLAINTEXT".into(), host: "localhost".into(), port: 9092, security_protocol: 0 };
        Membership::join(node.ctx.clone(), vec![endpoint], vec![directory], None).await.unwrap();
        let service = KafkaService::new(node.ctx.clone());
        let stage = Stage { service, disk, _node: node, metadata };
        stage.create_topic().await;
        stage.produce().await;
        stage
    }

    async fn create_topic(&self) {
        let segments = CreatableTopicConfig { name: "segment.bytes".into(), value: Some("1048576".into()) };
        let topic = CreatableTopic {
            name: TOPIC.into(),
            num_partitions: 1,
            replication_factor: 1,
            configs: vec![segments],
            ..Default::default()
        };
        let request = CreateTopicsRequest { topics: vec![topic], timeout_ms: 60_000, ..Default::default() };
        let response: CreateTopicsResponse = self.connection().ask(ApiKey::CreateTopics, 7, &request).await;
        assert_eq!(response.topics[0].error_code, 0, "{response:?}");
    }

    async fn produce(&self) {
        let mut connection = self.connection();
        for time in 0..BATCHES {
            let mut batch = BatchBuilder::new();
            batch.push(Timestamp(1000 + time), None, Some(&vec![b'v'; VALUE_BYTES]));
            let records = Some(Records::Bytes(batch.build().unwrap()));
            let data = PartitionProduceData { index: 0, records };
            let topic =
                TopicProduceData { name: TOPIC.into(), partition_data: vec![data], ..Default::default() };
            let request = ProduceRequest {
                acks: -1,
                timeout_ms: 60_000,
                topic_data: vec![topic],
                ..Default::default()
            };
            let response: ProduceResponse = connection.ask(ApiKey::Produce, 9, &request).await;
            assert_eq!(response.responses[0].partition_responses[0].error_code, 0, "{response:?}");
        }
    }

    fn connection(&self) -> Connection {
        let any = ([127, 0, 0, 1], 1).into();
        let peer = Peer {
            addr: any,
            local: any,
            listener: "PLAINTEXT".into(),
            security_protocol: SecurityProtocol::Plaintext,
            principal: Principal::ANONYMOUS,
            connection: ConnectionId(1),
        };
        Connection { session: self.service.open(&peer), service: self.service.clone() }
    }

    /// Makes the disk stuck until the guard is dropped, and takes bytes of the first segment out of memory.
    fn stick(&self, cold: std::ops::Range<usize>) -> Stuck {
        self.disk.evict(&self.metadata.path().join(FIRST_SEGMENT), cold).unwrap();
        self.disk.set_faults(Faults { reads_stall: true, ..Faults::default() });
        let (disk, (free, freed)) = (self.disk.clone(), mpsc::channel());
        std::thread::spawn(move || {
            let _dropped_or_late = freed.recv_timeout(STUCK_MAX);
            disk.set_faults(Faults::default());
        });
        Stuck { _free: free }
    }
}

struct Stuck {
    _free: mpsc::Sender<()>,
}

struct Connection {
    service: KafkaService,
    session: Session,
}

impl Connection {
    async fn ask<R: Message>(&mut self, key: ApiKey, version: i16, request: &impl Message) -> R {
        let header = RequestHeader {
            request_api_key: key.code(),
            request_api_version: version,
            correlation_id: 7,
            client_id: None,
        };
        let header = encode_to_bytes(&header, request_header_version(key, version)).unwrap();
        let frame = [header, encode_to_bytes(request, version).unwrap()].concat();
        let mut frames = VecDeque::from([Frame::unmetered(frame.into())]);
        let responses = match self.service.serve(&mut self.session, &mut frames).await.unwrap() {
            Responses::Ready(responses) => responses,
            Responses::Later(later) => later.await.unwrap(),
        };
        let mut bytes = Vec::new();
        for part in &responses[0].parts {
            match part {
                Part::Bytes(part) => bytes.extend_from_slice(part),
                Part::File { .. } => panic!("a disk in memory has no files to send"),
            }
        }
        // Responses of a run come with their lengths.
        let start = if responses[0].framed.is_some() { 4 } else { 0 };
        let mut reader = Reader::new(Bytes::from(bytes).slice(start..));
        ResponseHeader::decode(&mut reader, response_header_version(key, version)).unwrap();
        R::decode(&mut reader, version).unwrap()
    }

    async fn fetch(&mut self, offset: i64, committed: bool) -> Vec<BatchHeader> {
        let partition = self.fetch_partition(offset, committed).await;
        assert_eq!(partition.error_code, 0, "{partition:?}");
        let Some(Records::Bytes(bytes)) = partition.records else { panic!("records in one piece") };
        batches(bytes).map(|batch| *batch.unwrap().header()).collect()
    }

    async fn fetch_partition(&mut self, offset: i64, committed: bool) -> PartitionData {
        let partition = FetchPartition {
            partition: 0,
            fetch_offset: offset,
            partition_max_bytes: 100,
            current_leader_epoch: -1,
            last_fetched_epoch: -1,
            ..Default::default()
        };
        let topic = FetchTopic { topic: TOPIC.into(), partitions: vec![partition], ..Default::default() };
        let request = FetchRequest {
            max_wait_ms: 60_000,
            min_bytes: 1,
            max_bytes: 1 << 20,
            isolation_level: i8::from(committed),
            session_epoch: -1,
            topics: vec![topic],
            ..Default::default()
        };
        let mut response: FetchResponse = self.ask(ApiKey::Fetch, FETCH_VERSION, &request).await;
        response.responses.remove(0).partitions.remove(0)
    }

    async fn offset_at(&mut self, timestamp: i64) -> ListOffsetsPartitionResponse {
        let partition = ListOffsetsPartition { timestamp, current_leader_epoch: -1, ..Default::default() };
        let topic = ListOffsetsTopic { name: TOPIC.into(), partitions: vec![partition] };
        let request = ListOffsetsRequest { replica_id: -1, topics: vec![topic], ..Default::default() };
        let mut response: ListOffsetsResponse =
            self.ask(ApiKey::ListOffsets, LIST_OFFSETS_VERSION, &request).await;
        response.topics.remove(0).partitions.remove(0)
    }
}

/// What `ask` hears once the disk answers. Others are served meanwhile, on the one thread that there is.
async fn served_meanwhile<T: Send + 'static>(
    stage: &Stage,
    cold: std::ops::Range<usize>,
    ask: impl AsyncFnOnce(Connection) -> T,
) -> T {
    let stuck = stage.stick(cold);
    let other = async {
        let stalls = async {
            while stage.disk.reads_stalled() == 0 {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        tokio::time::timeout(STUCK_MAX, stalls).await.expect("it waits, and not on this thread");
        let mut connection = stage.connection();
        assert_eq!(connection.fetch(BATCHES - 1, false).await[0].base_offset, Offset(BATCHES - 1));
        assert_eq!(stage.disk.reads_stalled(), 1, "the first one still waits");
        drop(stuck);
    };
    let (answer, ()) = tokio::join!(ask(stage.connection()), other);
    answer
}

#[tokio::test]
async fn a_fetch_whose_batches_must_be_looked_up_on_the_disk() {
    let stage = Stage::with_records().await;
    for committed in [false, true] {
        let found = served_meanwhile(&stage, 0..1 << 20, async |mut connection: Connection| {
            connection.fetch(3, committed).await
        });
        let found = found.await;
        assert_eq!((found.len(), found[0].base_offset), (1, Offset(3)));
    }
}

/// The header of the batch is in memory, what comes after is not.
#[tokio::test]
async fn a_fetch_whose_bytes_are_on_the_disk() {
    let stage = Stage::with_records().await;
    let found = served_meanwhile(&stage, 8192..VALUE_BYTES, async |mut connection: Connection| {
        connection.fetch(0, false).await
    });
    let found = found.await;
    assert_eq!((found.len(), found[0].base_offset), (1, Offset(0)));
}

#[tokio::test]
async fn a_search_by_time_that_reads_the_disk() {
    let stage = Stage::with_records().await;
    let found = served_meanwhile(&stage, 0..1 << 20, async |mut connection: Connection| {
        connection.offset_at(1005).await
    });
    assert_eq!(found.await.offset, 5);
}

/// Kafka's code for a batch that is not what it should be: consumers hear of it, while they would wait for ever for a disk
/// that has failed.
#[tokio::test]
async fn a_damaged_batch_is_a_corrupt_message() {
    let stage = Stage::with_records().await;
    let mut connection = stage.connection();
    let first = connection.fetch(0, false).await[0];
    let second = first.total_len();
    stage.disk.corrupt(&stage.metadata.path().join(FIRST_SEGMENT), second, &[0; 8]).unwrap();
    assert_eq!(connection.fetch(0, false).await[0], first);
    assert_eq!(connection.fetch_partition(1, false).await.error_code, ErrorCode::CorruptMessage.code());
    assert_eq!(connection.offset_at(1001).await.error_code, ErrorCode::CorruptMessage.code());
}
