//! The enum over the records of the metadata log.

use crate::code::Code;
use crate::schema::{Message, MessageKind};

/// The part of Kafka whose metadata records make up the metadata log. Others use the same frame with keys of
/// their own.
const ORIGIN: &str = "kafka-metadata";

pub fn metadata_record(messages: &[Message]) -> String {
    let is_ours = |m: &&Message| m.kind == MessageKind::Metadata && m.origin.as_deref() == Some(ORIGIN);
    let records: Vec<&Message> = messages.iter().filter(is_ours).collect();
    let mut code = Code::default();
    code.add("//! One record of the metadata log, of any type.");
    code.blank();
    code.add("use crate::primitives::{DecodeError, DecodeProblem, EncodeError, Message, Reader, Sink};");
    code.add("use super::{");
    records.iter().for_each(|m| code.add(format!("{},", m.name)));
    code.add("};");
    code.blank();
    code.add("/// One record of the metadata log, of any type.");
    code.add("#[derive(Clone, Debug, PartialEq)]");
    code.add("pub enum MetadataRecord {");
    records.iter().for_each(|m| code.add(format!("{}({}),", variant(m), m.name)));
    code.add("}");
    code.blank();
    code.add("impl MetadataRecord {");
    facts(&mut code, &records);
    code.add("/// Reads the body of a record of type `key`.");
    code.add("pub fn decode(key: u32, version: i16, r: &mut Reader) -> Result<Self, DecodeError> {");
    code.add("Ok(match key {");
    for m in &records {
        code.add(format!(
            "{} => Self::{}({}::decode(r, version)?),",
            m.key.unwrap_or(-1),
            variant(m),
            m.name
        ));
    }
    code.add("_ => return Err(DecodeError::new(\"MetadataRecord\", DecodeProblem::UnknownRecordType(key))),");
    code.add("})\n}");
    code.blank();
    code.add("/// Adds the body of the record to `s`.");
    code.add("pub(super) fn put<S: Sink>(&self, s: &mut S, version: i16) -> Result<(), EncodeError> {");
    code.add("match self {");
    records.iter().for_each(|m| code.add(format!("Self::{}(record) => record.put(s, version),", variant(m))));
    code.add("}\n}\n}");
    for m in &records {
        code.blank();
        code.add(format!("impl From<{}> for MetadataRecord {{", m.name));
        code.add(format!("fn from(record: {}) -> Self {{\nSelf::{}(record)\n}}\n}}", m.name, variant(m)));
    }
    code.finish()
}

fn facts(code: &mut Code, records: &[&Message]) {
    let tables = [
        ("key", "u32", "The number of this type of record."),
        ("newest_version", "i16", "The newest version of this type of record."),
        ("name", "&'static str", "Kafka's name of this type of record."),
    ];
    for (function, ty, doc) in tables {
        code.add(format!("/// {doc}\npub fn {function}(&self) -> {ty} {{\nmatch self {{"));
        for m in records {
            let value = match function {
                "key" => m.key.unwrap_or(-1).to_string(),
                "newest_version" => format!("{}::MAX_VERSION", m.name),
                _ => format!("{}::NAME", m.name),
            };
            code.add(format!("Self::{}(_) => {value},", variant(m)));
        }
        code.add("}\n}");
        code.blank();
    }
}

/// `TopicRecord` is `Topic`.
fn variant(message: &Message) -> String {
    message.name.trim_end_matches("Record").to_owned()
}
