//! The golden messages, and every message of the schema behind one interface.

use bytes::Bytes;
use ottla_wire::messages::*;
use ottla_wire::primitives::{Message, decode_from, encode, encode_to_bytes};

include!(concat!(env!("OUT_DIR"), "/for_each_message.rs"));

/// Lines of `name, version, hex, JSON`, separated by tabs.
const GOLDEN: &[u8] = include_bytes!("../messages.golden.tsv.zst");

/// A message as Kafka encodes it.
pub struct Row {
    pub kind: &'static MessageType,
    pub version: i16,
    pub bytes: Bytes,
    pub json: String,
}

pub fn golden_rows() -> Vec<Row> {
    let text = String::from_utf8(zstd::decode_all(GOLDEN).expect("zstd")).expect("UTF-8");
    text.lines().map(row).collect()
}

fn row(line: &str) -> Row {
    let columns: Vec<&str> = line.split('\t').collect();
    let hex = columns[2].as_bytes().chunks(2);
    let bytes = hex.map(|pair| u8::from_str_radix(std::str::from_utf8(pair).expect("hex"), 16).expect("hex"));
    Row {
        kind: KINDS.iter().find(|k| k.name == columns[0]).expect(columns[0]),
        version: columns[1].parse().expect("version"),
        bytes: bytes.collect::<Vec<_>>().into(),
        json: columns[3].to_owned(),
    }
}

/// A type of message.
pub struct MessageType {
    pub name: &'static str,
    pub min_version: i16,
    pub max_version: i16,
    /// Reads a whole message; says whether that went well.
    pub reads: fn(Bytes, i16) -> bool,
    /// Reads a whole message and gives it in the form of `Debug`.
    pub debug: fn(Bytes, i16) -> Option<String>,
    /// `None` if the bytes are no message; else what was written after reading, with everything about it
    /// checked.
    pub round_trip: fn(Bytes, i16) -> Option<Bytes>,
}

macro_rules! kinds {
    ($($name:ident,)*) => {
        pub static KINDS: &[MessageType] = &[$(MessageType {
            name: $name::NAME,
            min_version: $name::MIN_VERSION,
            max_version: $name::MAX_VERSION,
            reads: |bytes, version| decode_from::<$name>(bytes, version).is_ok(),
            debug: |bytes, version| decode_from::<$name>(bytes, version).ok().map(|m| format!("{m:?}")),
            round_trip: round_trip::<$name>,
        },)*];
    };
}
for_each_message!(kinds);

fn round_trip<M: Message + PartialEq + std::fmt::Debug>(bytes: Bytes, version: i16) -> Option<Bytes> {
    let message: M = decode_from(bytes, version).ok()?;
    let written = encode_to_bytes(&message, version).expect(M::NAME);
    assert_eq!(message.size(version).expect(M::NAME), written.len(), "{message:?}");
    assert_eq!(encode(&message, version).expect(M::NAME).len(), written.len(), "{message:?}");
    let again: M = decode_from(written.clone(), version).expect(M::NAME);
    // NaN is not equal to itself.
    assert!(again == message || format!("{message:?}").contains("NaN"), "{message:?}\n{again:?}");
    Some(written)
}
