//! A thousand partitions: made, written, killed, there again. Times are printed, not judged: machines differ.

use std::time::Instant;

use ottla_wire::Records;
use ottla_wire::messages::ListOffsetsRequest;
use ottla_wire::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use ottla_wire::messages::list_offsets_response::ListOffsetsTopicResponse;
use ottla_wire::messages::produce_request::{PartitionProduceData, TopicProduceData};
use ottla_wire::messages::{MetadataRequest, ProduceRequest};

use crate::harness::{Setup, Wire, batch, create_topic, eventually};

const PARTITIONS: i32 = 1000;

/// A record to every partition, in one request.
fn produce_to_all(wire: &mut Wire) {
    let data = |index| PartitionProduceData {
        index,
        records: Some(Records::from(batch([format!("partition {index}")]))),
    };
    let topic = TopicProduceData {
        name: "many".into(),
        partition_data: (0..PARTITIONS).map(data).collect(),
        ..Default::default()
    };
    let request =
        ProduceRequest { acks: -1, timeout_ms: 60_000, topic_data: vec![topic], ..Default::default() };
    let answer = wire.call(&request, 12);
    assert_eq!(answer.responses[0].partition_responses.len(), 1000);
    assert!(answer.responses[0].partition_responses.iter().all(|partition| partition.error_code == 0));
}

fn ends(wire: &mut Wire) -> Vec<i64> {
    let partition =
        |partition_index| ListOffsetsPartition { partition_index, timestamp: -1, current_leader_epoch: -1 };
    let partitions = (0..PARTITIONS).map(partition).collect();
    let topics = vec![ListOffsetsTopic { name: "many".into(), partitions }];
    let request = ListOffsetsRequest { replica_id: -1, topics, timeout_ms: 30_000, ..Default::default() };
    let mut answer = ListOffsetsTopicResponse::default();
    // A leader that has just begun may not know its end yet (KIP-207).
    eventually("all partitions know their end", || {
        answer = wire.call(&request, 10).topics.remove(0);
        answer.partitions.iter().all(|partition| partition.error_code == 0)
    });
    answer.partitions.iter().map(|partition| partition.offset).collect()
}

#[test]
fn a_thousand_partitions() {
    let mut setup = Setup::new();
    let broker = setup.start();
    let mut wire = broker.connect();
    let began = Instant::now();
    create_topic(&mut wire, "many", PARTITIONS, &[]);
    println!("created after {:?}", began.elapsed());
    // All of them are usable when the answer comes.
    let metadata = wire.call(&MetadataRequest { topics: None, ..Default::default() }, 12);
    let many = &metadata.topics[0];
    assert_eq!(many.partitions.len(), 1000);
    assert!(many.partitions.iter().all(|partition| partition.error_code == 0 && partition.leader_id >= 0));
    assert_eq!(ends(&mut wire), vec![0; 1000]);
    let began = Instant::now();
    produce_to_all(&mut wire);
    println!("a record to each after {:?}", began.elapsed());
    broker.kill();
    let began = Instant::now();
    let broker = setup.start();
    println!("started after a kill after {:?}", began.elapsed());
    let mut wire = broker.connect();
    assert_eq!(ends(&mut wire), vec![1; 1000]);
    produce_to_all(&mut wire);
    let began = Instant::now();
    let (code, log) = broker.stop();
    println!("stopped after {:?}", began.elapsed());
    assert_eq!(code, 0, "{log}");
    let began = Instant::now();
    let broker = setup.start();
    println!("started after a stop after {:?}", began.elapsed());
    assert_eq!(ends(&mut broker.connect()), vec![2; 1000]);
}
