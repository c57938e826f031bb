//! Producing and reading.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rdkafka::consumer::Consumer;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{Header, Headers, Message, OwnedHeaders, Timestamp};
use rdkafka::producer::FutureRecord;
use rdkafka::{Offset, TopicPartitionList};

use crate::cluster::{Cluster, TIMEOUT, poll, read, value};
use crate::{Outcome, Scenario, check, same};

const TIME: i64 = 1_700_000_000_000;
/// Records of that time are older than the default retention.
const KEEP: &[(&str, &str)] = &[("retention.ms", "-1")];

pub const SCENARIOS: &[Scenario] = &[
    ("produce-none", |cluster| filled(cluster, 200, &[("compression.type", "none")])),
    ("produce-gzip", |cluster| filled(cluster, 200, &[("compression.type", "gzip")])),
    ("produce-snappy", |cluster| filled(cluster, 200, &[("compression.type", "snappy")])),
    ("produce-lz4", |cluster| filled(cluster, 200, &[("compression.type", "lz4")])),
    ("produce-zstd", |cluster| filled(cluster, 200, &[("compression.type", "zstd")])),
    ("acks-0", |cluster| filled(cluster, 200, &[("acks", "0")])),
    ("acks-1", |cluster| filled(cluster, 200, &[("acks", "1")])),
    ("acks-all", |cluster| filled(cluster, 200, &[("acks", "all")])),
    ("idempotent", |cluster| {
        filled(
            cluster,
            5_000,
            &[("enable.idempotence", "true"), ("batch.num.messages", "20"), ("linger.ms", "0")],
        )
    }),
    ("round-trip", round_trip),
    ("append-time", append_time),
    ("big-record", big_record),
    ("read-all", |cluster| filled(cluster, 20_000, &[])),
    ("fetch-from-offset", fetch_from_offset),
    ("fetch-by-timestamp", fetch_by_timestamp),
    ("fetch-at-end", fetch_at_end),
    ("list-offsets", list_offsets),
    ("auto-create", auto_create),
    ("error-offset-out-of-range", offset_out_of_range),
];

fn filled(cluster: &Cluster, count: i32, settings: &[(&str, &str)]) -> Outcome {
    let topic = cluster.topic("filled", 3, &[])?;
    cluster.fill(&topic, 3, count, settings)?;
    cluster.check_filled(&topic, 3, count as usize)
}

struct Sent {
    key: Option<&'static [u8]>,
    value: Option<&'static [u8]>,
    time: i64,
    headers: &'static [(&'static str, Option<&'static [u8]>)],
}

const SENT: &[Sent] = &[
    Sent {
        key: Some(b"key"),
        value: Some(b"value"),
        time: TIME,
        headers: &[
            ("a", Some(&[0, 255, 7])),
            ("a", Some(b"again")),
            ("none", None),
            ("empty", Some(b"")),
            ("ключ", Some(b"v")),
        ],
    },
    Sent { key: None, value: Some(b"no key"), time: TIME + 5, headers: &[] },
    Sent { key: Some(b"no value"), value: None, time: TIME - 5, headers: &[] },
    Sent { key: Some(b""), value: Some(b""), time: TIME, headers: &[] },
];

impl Sent {
    fn record<'a>(&'a self, topic: &'a str) -> FutureRecord<'a, [u8], [u8]> {
        let headers = self
            .headers
            .iter()
            .fold(OwnedHeaders::new(), |headers, (key, value)| headers.insert(Header { key, value: *value }));
        let mut record = FutureRecord::to(topic).partition(0).timestamp(self.time);
        record.key = self.key;
        record.payload = self.value;
        if self.headers.is_empty() { record } else { record.headers(headers) }
    }
}

fn round_trip(cluster: &Cluster) -> Outcome {
    let topic = cluster.topic("trip", 1, KEEP)?;
    let records = SENT.iter().map(|sent| sent.record(&topic)).collect();
    let told = cluster.send(&[("compression.type", "lz4"), ("linger.ms", "100")], records)?;
    same!(vec![0, 1, 2, 3], told.iter().map(|one| one.offset).collect::<Vec<_>>(), "offsets told");
    let found = cluster.read_from(&topic, 1, Offset::Beginning, SENT.len())?;
    for (sent, found) in SENT.iter().zip(&found) {
        same!(sent.key, found.key(), "key");
        same!(sent.value, found.payload(), "value");
        same!(Timestamp::CreateTime(sent.time), found.timestamp(), "timestamp");
        let headers: Vec<_> =
            found.headers().iter().flat_map(|all| all.iter()).map(|one| (one.key, one.value)).collect();
        same!(sent.headers, headers, "headers");
    }
    Ok(())
}

fn append_time(cluster: &Cluster) -> Outcome {
    let topic = cluster.topic("time", 1, &[("message.timestamp.type", "LogAppendTime")])?;
    cluster.send(&[], vec![FutureRecord::to(&topic).payload(b"x".as_slice()).timestamp(TIME)])?;
    let now = i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH)?.as_millis())?;
    match cluster.read_from(&topic, 1, Offset::Beginning, 1)?[0].timestamp() {
        Timestamp::LogAppendTime(time) => {
            check!((now - time).abs() < 60_000, "the timestamp is not now: {time}")
        }
        other => check!(false, "not the time of appending: {other:?}"),
    }
    Ok(())
}

fn big_record(cluster: &Cluster) -> Outcome {
    let topic = cluster.topic("big", 1, &[])?;
    // Xorshift: bytes that do not compress.
    let mut state = 0x2545_f491_u32;
    let mut step = || {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        state as u8
    };
    let big: Vec<u8> = std::iter::repeat_with(&mut step).take(900_000).collect();
    cluster.send(&[("compression.type", "zstd")], vec![FutureRecord::to(&topic).payload(big.as_slice())])?;
    let found = cluster.read_from(&topic, 1, Offset::Beginning, 1)?;
    check!(found[0].payload() == Some(big.as_slice()), "the bytes differ");
    Ok(())
}

fn fetch_from_offset(cluster: &Cluster) -> Outcome {
    let topic = cluster.topic("seek", 1, &[])?;
    cluster.fill(&topic, 1, 100, &[("compression.type", "gzip"), ("linger.ms", "200")])?;
    let records = cluster.read_from(&topic, 1, Offset::Offset(42), 58)?;
    same!(42, records[0].offset(), "first offset");
    same!(Some(value(42).as_slice()), records[0].payload(), "first value");
    Ok(())
}

fn fetch_by_timestamp(cluster: &Cluster) -> Outcome {
    let topic = cluster.topic("times", 1, KEEP)?;
    let records = (0..100)
        .map(|i| FutureRecord::to(&topic).payload(b"x".as_slice()).timestamp(TIME + i * 1_000))
        .collect();
    cluster.send(&[("compression.type", "snappy"), ("linger.ms", "200")], records)?;
    let consumer = cluster.consumer(&topic, 1, Offset::Beginning)?;
    for (time, expected) in [
        (TIME + 49_001, Offset::Offset(50)),
        (0, Offset::Offset(0)),
        (TIME + 100_000, Offset::End), // nothing is that late
    ] {
        let mut asked = TopicPartitionList::new();
        asked.add_partition_offset(&topic, 0, Offset::Offset(time))?;
        let found = consumer.offsets_for_times(asked, TIMEOUT)?;
        let found = found.find_partition(&topic, 0).ok_or("no answer")?.offset();
        same!(expected, found, "offset at {time}");
    }
    Ok(())
}

fn fetch_at_end(cluster: &Cluster) -> Outcome {
    let topic = cluster.topic("tail", 1, &[])?;
    cluster.fill(&topic, 1, 10, &[])?;
    let consumer = cluster.consumer(&topic, 1, Offset::End)?;
    check!(poll(&consumer, Duration::from_secs(1))?.is_none(), "a record at the end");
    // The consumer's own thread has a fetch waiting at the broker meanwhile.
    cluster.fill(&topic, 1, 1, &[])?;
    same!(10, read(&consumer, 1)?[0].offset(), "offset");
    Ok(())
}

fn list_offsets(cluster: &Cluster) -> Outcome {
    let topic = cluster.topic("offsets", 3, &[])?;
    cluster.fill(&topic, 3, 31, &[])?;
    for (partition, end) in [(0, 11), (1, 10), (2, 10)] {
        same!((0, end), cluster.watermarks(&topic, partition)?, "partition {partition} earliest and latest");
    }
    Ok(())
}

fn auto_create(cluster: &Cluster) -> Outcome {
    let topic = cluster.name("auto");
    cluster.fill(&topic, 1, 10, &[])?;
    cluster.check_filled(&topic, 1, 10)
}

fn offset_out_of_range(cluster: &Cluster) -> Outcome {
    let topic = cluster.topic("range", 1, &[])?;
    cluster.fill(&topic, 1, 10, &[])?;
    let error =
        cluster.read_from(&topic, 1, Offset::Offset(1_000), 1).err().ok_or("a record beyond the end")?;
    // The client reports a position it may not reset by an error of its own.
    let code = error.downcast_ref::<KafkaError>().and_then(KafkaError::rdkafka_error_code);
    same!(Some(RDKafkaErrorCode::AutoOffsetReset), code, "error ({error})");
    Ok(())
}
