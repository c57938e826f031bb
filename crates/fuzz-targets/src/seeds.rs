//! Good inputs of each target.

use bytes::Bytes;
use ottla_settings::{Definition, tables};
use ottla_wire::batch::{BatchBuilder, ControlRecord, Header};
use ottla_wire::compress::{Codec, compress, decompress};
use ottla_wire::messages::{MetadataRecord, PartitionRecord, RequestHeader, TopicRecord};
use ottla_wire::primitives::encode_to_bytes;
use ottla_wire::protocol::request_header_version;
use ottla_wire::{ProducerEpoch, ProducerId, Sequence, Timestamp};

use crate::damage::CHANGE_LEN;
use crate::message::{APIS, DATA};
use crate::mutate::Numbers;

/// Messages as Kafka encodes them: lines of name, version, hex, JSON.
const GOLDEN: &[u8] = include_bytes!("../../wire/tests/messages.golden.tsv.zst");

/// Longer messages hold more of the same.
const MESSAGE_BYTES_MAX: usize = 600;

struct Golden {
    name: String,
    version: i16,
    bytes: Vec<u8>,
}

fn golden() -> Vec<Golden> {
    let mut text = Vec::new();
    decompress(Codec::Zstd, GOLDEN, 1 << 30, &mut text).expect("a whole file");
    let text = String::from_utf8(text).expect("lines of text");
    let read = |line: &str| {
        let mut columns = line.split('\t');
        let mut column = || columns.next().expect("three columns");
        let (name, version) = (column().to_owned(), column().parse().expect("a version"));
        let digits = column().as_bytes().chunks(2);
        let byte = |pair: &[u8]| {
            u8::from_str_radix(std::str::from_utf8(pair).expect("digits"), 16).expect("hexadecimal digits")
        };
        Golden { name, version, bytes: digits.map(byte).collect() }
    };
    let short = |golden: &Golden| golden.bytes.len() <= MESSAGE_BYTES_MAX;
    text.lines().map(read).filter(short).collect()
}

/// `number` of `name`, its version, and another version, before the bytes.
fn numbered(golden: &Golden, number: usize, min_version: i16) -> Vec<u8> {
    let version = (golden.version - min_version) as u8;
    [&[number as u8, version, version.wrapping_add(1)], &golden.bytes[..]].concat()
}

/// A frame of every API at the versions that are served.
pub fn frames() -> Vec<Vec<u8>> {
    let frame = |golden: Golden| {
        let api = APIS.iter().find(|api| api.request_name == golden.name)?;
        let header = RequestHeader {
            request_api_key: api.key.code(),
            request_api_version: golden.version,
            correlation_id: 7,
            client_id: Some("client".into()),
        };
        let header = encode_to_bytes(&header, request_header_version(api.key, golden.version));
        Some([&header.expect("a header")[..], &golden.bytes].concat())
    };
    golden().into_iter().filter_map(frame).collect()
}

pub fn requests() -> Vec<Vec<u8>> {
    let seed = |golden: Golden| {
        let number = APIS.iter().position(|api| api.request_name == golden.name)?;
        Some(numbered(&golden, number, *APIS[number].key.versions().start()))
    };
    golden().into_iter().filter_map(seed).collect()
}

pub fn responses() -> Vec<Vec<u8>> {
    let seed = |golden: Golden| {
        let number = APIS.iter().position(|api| api.response_name == golden.name)?;
        Some(numbered(&golden, number, *APIS[number].key.versions().start()))
    };
    golden().into_iter().filter_map(seed).collect()
}

pub fn records() -> Vec<Vec<u8>> {
    let seed = |golden: Golden| {
        let number = DATA.iter().position(|data| data.name == golden.name)?;
        Some(numbered(&golden, number, DATA[number].min_version))
    };
    let mut seeds: Vec<Vec<u8>> = golden().into_iter().filter_map(seed).collect();
    let records: [MetadataRecord; 2] = [
        TopicRecord { name: "topic".into(), ..TopicRecord::default() }.into(),
        PartitionRecord { replicas: vec![1, 2], ..Default::default() }.into(),
    ];
    for record in records {
        let frame = record.to_frame().expect("a record");
        seeds.push([&[DATA.len() as u8, 0, 0], &frame[..]].concat());
    }
    seeds
}

/// Plain, packed, of an idempotent and a transactional producer, a marker, an emptied batch, two in a row;
/// each sealed anew after a mutation and as it is.
pub fn batches() -> Vec<Vec<u8>> {
    let mut found = Vec::new();
    for codec in Codec::ALL {
        found.push(fill(BatchBuilder::new().codec(codec)));
    }
    let producer = || BatchBuilder::new().producer(ProducerId(4), ProducerEpoch(1), Sequence(9));
    found.push(fill(producer()));
    found.push(fill(producer().transactional().codec(Codec::Lz4)));
    found.push(fill(BatchBuilder::new().log_append_time(Timestamp(50))));
    let mut marker = producer().transactional();
    marker.push_control(Timestamp(5), &ControlRecord::Abort { coordinator_epoch: 3 });
    found.push(marker.build().expect("a batch"));
    found.push(fill(BatchBuilder::new().delete_horizon(Timestamp(3)).codec(Codec::Zstd)));
    found.push([&found[0][..], &found[3][..]].concat().into());
    let wishes = [0x00, 0x01, 0x13, 0x25, 0x39, 0x4b, 0x03, 0x41];
    found.iter().flat_map(|bytes| wishes.map(|wish| [&[wish], &bytes[..]].concat())).collect()
}

fn fill(mut builder: BatchBuilder) -> Bytes {
    let headers = [
        Header { key: Bytes::from_static(b"trace"), value: Some(Bytes::from_static(b"abc")) },
        Header { key: Bytes::new(), value: None },
    ];
    for i in 0..4i64 {
        let value = b"text that repeats, text that repeats ".repeat(i as usize);
        builder.push_with_headers(
            Timestamp(1000 - i * 77),
            Some(&[i as u8]),
            Some(&value),
            &headers[..i as usize % 3],
        );
    }
    builder.build().expect("a batch")
}

pub fn gzip() -> Vec<Vec<u8>> {
    packed(Codec::Gzip)
}

/// Behind the header of Java's library, and bare blocks.
pub fn snappy() -> Vec<Vec<u8>> {
    let mut seeds = packed(Codec::Snappy);
    let bare: Vec<Vec<u8>> = seeds.iter().filter_map(|seed| Some(seed.get(20..)?.to_vec())).collect();
    seeds.extend(bare);
    seeds
}

pub fn lz4() -> Vec<Vec<u8>> {
    packed(Codec::Lz4)
}

pub fn zstd() -> Vec<Vec<u8>> {
    packed(Codec::Zstd)
}

fn packed(codec: Codec) -> Vec<Vec<u8>> {
    let mut numbers = Numbers::new(3);
    let noise: Vec<u8> = (0..300).map(|_| numbers.draw() as u8).collect();
    let mixed: Vec<u8> =
        (0..2000).map(|i| if i % 5 == 0 { numbers.draw() as u8 } else { (i / 50) as u8 }).collect();
    let contents = [Vec::new(), b"x".to_vec(), b"some text, some text".to_vec(), vec![0; 1000], noise, mixed];
    let pack = |content: &Vec<u8>| {
        let mut packed = Vec::new();
        compress(codec, None, content, &mut packed).expect("anything can be packed");
        packed
    };
    contents.iter().map(pack).collect()
}

/// One change of each kind to each file, for each way to stop.
pub fn log() -> Vec<Vec<u8>> {
    changes(3, 24)
}

/// As [`log`], and cuts at the end of each file: those are what a crash leaves.
pub fn quorum() -> Vec<Vec<u8>> {
    let cut = |i: u8| vec![i, i / 2, 3, 0, 0, 1 + i, 0];
    changes(2, 3).into_iter().chain((0..40).map(cut)).collect()
}

fn changes(kinds: u8, files: u8) -> Vec<Vec<u8>> {
    let mut numbers = Numbers::new(5);
    let mut seeds: Vec<Vec<u8>> = (0..kinds).map(|kind| vec![kind]).collect();
    for file in 0..files {
        for what in 0..12 {
            let mut change = [0; CHANGE_LEN];
            let place = (numbers.below(900) as u16).to_be_bytes();
            change.copy_from_slice(&[
                file,
                what,
                place[0],
                place[1],
                numbers.draw() as u8,
                numbers.draw() as u8,
            ]);
            seeds.push([&[(file + what) % kinds], &change[..], b"0\n1\n0 7\nversion: 0"].concat());
        }
    }
    seeds
}

/// A few of each kind, and every setting with its default.
pub fn properties() -> Vec<Vec<u8>> {
    const LINES: usize = 6;
    let line =
        |definition: &Definition| Some(format!("{}={}\n", definition.name, definition.default_text()?));
    let lines = [tables::brokers(), tables::topics()].map(|table| table.iter().filter_map(line).collect());
    let several = |lines: &Vec<String>| -> Vec<Vec<u8>> {
        lines.chunks(LINES).map(|lines| lines.concat().into_bytes()).collect()
    };
    let mut seeds: Vec<Vec<u8>> = lines.iter().flat_map(several).collect();
    let texts = [
        "listeners=PLAINTEXT://127.0.0.1:9092,IN://:9093\nlog.dirs=/a,/b\nnode.id=3\n",
        "# a comment\nlog.retention.hours = 12\nlog.segment.bytes:1048576\nnum.partitions 3\n",
        "advertised.listeners=PLAINTEXT://host:1\nlisteners=PLAINTEXT://[::1]:0\nmax.connections.per.ip.overrides=a:1",
        "compression.type=zstd\nmin.insync.replicas=2\nmessage.max.bytes=1000\nauto.create.topics.enable=false\n",
        "cleanup.policy=compact,delete\nretention.ms=-1\nsegment.bytes=1048576\nmin.cleanable.dirty.ratio=0.5\n",
        "compression.type=gzip\ncompression.gzip.level=9\nmessage.timestamp.type=LogAppendTime\nsegment.ms=1000\n",
        "retention.ms=\\\n  1000\nflush\\u002ems=5\n!x\n\\ key\\=a=\\tv\\\\",
        "listener.security.protocol.map=A:PLAINTEXT,B:PLAINTEXT\nlisteners=A://:1,B://:2\ninter.broker.listener.name=A",
    ];
    seeds.extend(texts.map(|text| text.as_bytes().to_vec()));
    seeds
}

pub fn addresses() -> Vec<Vec<u8>> {
    let texts = [
        "127.0.0.1:9092",
        "[::1]:9092",
        ":0",
        "host.example:65535",
        "PLAINTEXT://:9092,IN://[::]:9093",
        "plaintext://localhost:0, B://0.0.0.0:0",
        "a:1,A://b:2",
    ];
    texts.map(|text| text.as_bytes().to_vec()).to_vec()
}
