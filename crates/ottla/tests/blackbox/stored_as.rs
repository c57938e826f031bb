//! How batches are stored: whose time they carry, which codec they are packed with, how large they may be.

use ottla_wire::batch::{BatchBuilder, TimestampType};
use ottla_wire::compress::Codec;
use ottla_wire::{ErrorCode, Timestamp};

use crate::harness::{Setup, batch, batch_of, create_topic, now, produced, read_all, try_produce, values};

#[test]
fn log_append_time_is_the_brokers() {
    let mut setup = Setup::new();
    let broker = setup.start();
    let mut wire = broker.connect();
    create_topic(&mut wire, "stamped", 1, &[("message.timestamp.type", "LogAppendTime")]);
    let mut builder = BatchBuilder::new();
    for (time, value) in [(1_000, "a"), (2_000, "b")] {
        builder.push(Timestamp(time), None, Some(value.as_bytes()));
    }
    let before = now();
    let answer = try_produce(&mut wire, "stamped", 0, builder.build().unwrap()).unwrap();
    let after = now();
    assert_eq!(answer.error_code, 0);
    let told = Timestamp(answer.log_append_time_ms);
    assert!((before..=after).contains(&told), "{before} {told} {after}");
    broker.kill();
    let broker = setup.start();
    let read = read_all(&mut broker.connect(), "stamped", 0);
    assert_eq!(read.headers[0].timestamp_type(), TimestampType::LogAppendTime);
    assert!(read.records.iter().all(|record| record.timestamp == told), "{:?}", read.records);
}

#[test]
fn create_time_is_the_clients() {
    let mut setup = Setup::new();
    let broker = setup.start();
    let mut wire = broker.connect();
    create_topic(&mut wire, "plain", 1, &[]);
    let time = Timestamp(now().0 - 5_000);
    let mut builder = BatchBuilder::new();
    builder.push(time, None, Some(b"a"));
    let answer = try_produce(&mut wire, "plain", 0, builder.build().unwrap()).unwrap();
    assert_eq!((answer.error_code, answer.log_append_time_ms), (0, -1));
    assert_eq!(read_all(&mut wire, "plain", 0).records[0].timestamp, time);
}

/// Whatever the producer chose, a topic with a codec of its own stores that one.
#[test]
fn compression_type_packs_again() {
    let mut setup = Setup::new();
    let broker = setup.start();
    let mut wire = broker.connect();
    let codecs = [
        ("uncompressed", Codec::None),
        ("gzip", Codec::Gzip),
        ("snappy", Codec::Snappy),
        ("lz4", Codec::Lz4),
        ("zstd", Codec::Zstd),
    ];
    for (name, stored) in codecs {
        create_topic(&mut wire, name, 1, &[("compression.type", name)]);
        create_topic(&mut wire, &format!("{name}-as-sent"), 1, &[]);
        let mut expected = Vec::new();
        for (sent_name, sent) in codecs {
            let several: Vec<String> =
                (0..50).map(|n| format!("{sent_name} {n} {}", "again ".repeat(20))).collect();
            let packed = batch_of(BatchBuilder::new().codec(sent), &several);
            produced(&mut wire, name, 0, packed.clone());
            produced(&mut wire, &format!("{name}-as-sent"), 0, packed);
            expected.extend(several);
        }
        let read = read_all(&mut wire, name, 0);
        assert_eq!(values(&read), expected, "{name}");
        assert!(read.headers.iter().all(|header| header.codec() == Ok(stored)), "{name}: {:?}", read.headers);
        let as_sent = read_all(&mut wire, &format!("{name}-as-sent"), 0);
        let kept: Vec<Codec> = as_sent.headers.iter().map(|header| header.codec().unwrap()).collect();
        assert_eq!(kept, codecs.map(|(_, codec)| codec));
    }
}

#[test]
fn too_large_and_corrupt_batches_are_refused_and_not_stored() {
    let mut setup = Setup::new();
    let broker = setup.start();
    let mut wire = broker.connect();
    create_topic(&mut wire, "strict", 1, &[("max.message.bytes", "10000")]);
    create_topic(&mut wire, "keyed", 1, &[("cleanup.policy", "compact")]);
    let mut bent = batch(["bent"]).to_vec();
    *bent.last_mut().unwrap() ^= 1;
    let mut two = batch(["one"]).to_vec();
    two.extend_from_slice(&batch(["two"]));
    let mut old_format = batch(["old"]).to_vec();
    old_format[16] = 1;
    let future = {
        let mut builder = BatchBuilder::new();
        builder.push(Timestamp(now().0 + 24 * 3_600_000), None, Some(b"tomorrow"));
        builder.build().unwrap()
    };
    let cases = [
        ("strict", batch(["x".repeat(20_000)]), ErrorCode::MessageTooLarge),
        ("strict", bent.into(), ErrorCode::CorruptMessage),
        ("strict", two.into(), ErrorCode::InvalidRecord),
        ("strict", old_format.into(), ErrorCode::UnsupportedForMessageFormat),
        ("strict", future, ErrorCode::InvalidTimestamp),
        ("strict", bytes::Bytes::new(), ErrorCode::InvalidRecord),
        ("keyed", batch(["no key"]), ErrorCode::InvalidRecord),
        ("nowhere", batch(["a"]), ErrorCode::UnknownTopicOrPartition),
    ];
    for (topic, bytes, error) in cases {
        let answer = try_produce(&mut wire, topic, 0, bytes).unwrap();
        assert_eq!(ErrorCode::from_code(answer.error_code), Some(error), "{:?}", answer.error_message);
        assert_eq!(answer.base_offset, -1);
    }
    assert_eq!(read_all(&mut wire, "strict", 0).high_watermark, 0);
    assert_eq!(produced(&mut wire, "strict", 0, batch(["fine"])), 0);
}
