//! Answers to clients while a disk is stuck, and when a disk returns damaged bytes.

use std::sync::mpsc;
use std::time::Duration;

use ottla_log::Faults;
use ottla_wire::Offset;
use ottla_wire::batch::{BatchHeader, batches};
use ottla_wire::messages::create_topics_request::{CreatableTopic, CreatableTopicConfig};
use ottla_wire::messages::fetch_request::{FetchPartition, FetchTopic};
use ottla_wire::messages::fetch_response::PartitionData;
use ottla_wire::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use ottla_wire::messages::list_offsets_response::ListOffsetsPartitionResponse;
use ottla_wire::messages::produce_request::{PartitionProduceData, TopicProduceData};
use ottla_wire::messages::{
    FetchRequest, FetchResponse, ListOffsetsRequest, ListOffsetsResponse, ProduceRequest, ProduceResponse,
};
use ottla_wire::primitives::Records;
use ottla_wire::protocol::ErrorCode;

use super::stage::{Connection, Stage, batch};

const FETCH_VERSION: i16 = 12;
const LIST_OFFSETS_VERSION: i16 = 7;
const TOPIC: &str = "t";
/// Batches of one record each, in segments of 1 MiB.
const BATCHES: i64 = 40;
const VALUE_BYTES: usize = 64 << 10;
const FIRST_SEGMENT: &str = "t-0/00000000000000000000.log";
/// How long the disk is stuck if nobody frees it. A test that waits for it on its own thread then fails
/// instead of hanging.
const STUCK_MAX: Duration = Duration::from_secs(120);

/// A topic with records, on a disk that can be stuck.
struct Library {
    stage: Stage,
}

impl Library {
    async fn new() -> Library {
        let library = Library { stage: Stage::new().await };
        library.create_topic().await;
        library.produce().await;
        library
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
        self.stage.create(topic).await;
    }

    async fn produce(&self) {
        let mut connection = self.stage.connection();
        for time in 0..BATCHES {
            let records = Some(Records::Bytes(batch(&vec![b'v'; VALUE_BYTES], 1000 + time)));
            let data = PartitionProduceData { index: 0, records };
            let topic =
                TopicProduceData { name: TOPIC.into(), partition_data: vec![data], ..Default::default() };
            let request = ProduceRequest {
                acks: -1,
                timeout_ms: 60_000,
                topic_data: vec![topic],
                ..Default::default()
            };
            let response: ProduceResponse = connection.ask(9, &request).await.unwrap();
            assert_eq!(response.responses[0].partition_responses[0].error_code, 0, "{response:?}");
        }
    }

    fn reader(&self) -> Borrower {
        Borrower { connection: self.stage.connection() }
    }

    /// Blocks the disk until the guard is dropped, and drops bytes of the first segment from memory.
    fn stick(&self, cold: std::ops::Range<usize>) -> Stuck {
        let disk = self.stage.disk.clone();
        disk.evict(&self.stage.path().join(FIRST_SEGMENT), cold).unwrap();
        disk.set_faults(Faults { reads_stall: true, ..Faults::default() });
        let (free, freed) = mpsc::channel();
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

/// Reads the topic.
struct Borrower {
    connection: Connection,
}

impl Borrower {
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
        let mut response: FetchResponse = self.connection.ask(FETCH_VERSION, &request).await.unwrap();
        response.responses.remove(0).partitions.remove(0)
    }

    async fn offset_at(&mut self, timestamp: i64) -> ListOffsetsPartitionResponse {
        let partition = ListOffsetsPartition { timestamp, current_leader_epoch: -1, ..Default::default() };
        let topic = ListOffsetsTopic { name: TOPIC.into(), partitions: vec![partition] };
        let request = ListOffsetsRequest { replica_id: -1, topics: vec![topic], ..Default::default() };
        let mut response: ListOffsetsResponse =
            self.connection.ask(LIST_OFFSETS_VERSION, &request).await.unwrap();
        response.topics.remove(0).partitions.remove(0)
    }
}

/// The answer to `ask` once the disk responds. Others are served meanwhile, on the only thread.
async fn served_meanwhile<T: Send + 'static>(
    library: &Library,
    cold: std::ops::Range<usize>,
    ask: impl AsyncFnOnce(Borrower) -> T,
) -> T {
    let stuck = library.stick(cold);
    let other = async {
        let stalls = async {
            while library.stage.disk.reads_stalled() == 0 {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        tokio::time::timeout(STUCK_MAX, stalls).await.expect("it waits, and not on this thread");
        let mut reader = library.reader();
        assert_eq!(reader.fetch(BATCHES - 1, false).await[0].base_offset, Offset(BATCHES - 1));
        assert_eq!(library.stage.disk.reads_stalled(), 1, "the first one still waits");
        drop(stuck);
    };
    let (answer, ()) = tokio::join!(ask(library.reader()), other);
    answer
}

#[tokio::test]
async fn a_fetch_whose_batches_must_be_looked_up_on_the_disk() {
    let library = Library::new().await;
    for committed in [false, true] {
        let found = served_meanwhile(&library, 0..1 << 20, async |mut reader: Borrower| {
            reader.fetch(3, committed).await
        });
        let found = found.await;
        assert_eq!((found.len(), found[0].base_offset), (1, Offset(3)));
    }
}

/// The header of the batch is in memory, the rest is not.
#[tokio::test]
async fn a_fetch_whose_bytes_are_on_the_disk() {
    let library = Library::new().await;
    let found = served_meanwhile(&library, 8192..VALUE_BYTES, async |mut reader: Borrower| {
        reader.fetch(0, false).await
    });
    let found = found.await;
    assert_eq!((found.len(), found[0].base_offset), (1, Offset(0)));
}

#[tokio::test]
async fn a_search_by_time_that_reads_the_disk() {
    let library = Library::new().await;
    let found =
        served_meanwhile(&library, 0..1 << 20, async |mut reader: Borrower| reader.offset_at(1005).await);
    assert_eq!(found.await.offset, 5);
}

/// Kafka's code for a damaged batch. Consumers report it, while they would wait forever for a failed disk.
#[tokio::test]
async fn a_damaged_batch_is_a_corrupt_message() {
    let library = Library::new().await;
    let mut reader = library.reader();
    let first = reader.fetch(0, false).await[0];
    let second = first.total_len();
    library.stage.disk.corrupt(&library.stage.path().join(FIRST_SEGMENT), second, &[0; 8]).unwrap();
    assert_eq!(reader.fetch(0, false).await[0], first);
    assert_eq!(reader.fetch_partition(1, false).await.error_code, ErrorCode::CorruptMessage.code());
    assert_eq!(reader.offset_at(1001).await.error_code, ErrorCode::CorruptMessage.code());
}
