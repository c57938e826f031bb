//! Records as text.

use std::io::Write;
use std::str::FromStr;

use bytes::Bytes;
use ottla_client::TopicPartition;
use ottla_wire::batch::Record;
use serde_json::{Value, json};

use crate::output::{Style, json_line};

/// How a record is printed: text with places for what is in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Format(Vec<Piece>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Piece {
    Text(String),
    Topic,
    Partition,
    Offset,
    Timestamp,
    Key,
    Value,
    Headers,
}

impl FromStr for Format {
    type Err = String;

    fn from_str(text: &str) -> Result<Format, String> {
        let mut pieces = Vec::new();
        let mut literal = String::new();
        let mut chars = text.chars();
        while let Some(c) = chars.next() {
            match c {
                '\\' => literal.push(unescaped(chars.next())?),
                // As in Rust's own formats: doubled for itself.
                '{' | '}' if chars.as_str().starts_with(c) => {
                    literal.push(c);
                    chars.next();
                }
                '{' => {
                    let (name, rest) =
                        chars.as_str().split_once('}').ok_or("a { has no }; write {{ for the character")?;
                    chars = rest.chars();
                    pieces.extend([Piece::Text(std::mem::take(&mut literal)), place(name)?]);
                }
                '}' => return Err("a } has no {; write }} for the character".to_owned()),
                c => literal.push(c),
            }
        }
        pieces.push(Piece::Text(literal));
        pieces.retain(|piece| *piece != Piece::Text(String::new()));
        Ok(Format(pieces))
    }
}

fn unescaped(c: Option<char>) -> Result<char, String> {
    match c {
        Some('n') => Ok('\n'),
        Some('t') => Ok('\t'),
        Some('r') => Ok('\r'),
        Some('0') => Ok('\0'),
        Some('\\') => Ok('\\'),
        Some(other) => Err(format!("\\{other} is not known; there are \\n \\t \\r \\0 \\\\")),
        None => Err("it ends in a single backslash".to_owned()),
    }
}

fn place(name: &str) -> Result<Piece, String> {
    match name {
        "topic" => Ok(Piece::Topic),
        "partition" => Ok(Piece::Partition),
        "offset" => Ok(Piece::Offset),
        "timestamp" => Ok(Piece::Timestamp),
        "key" => Ok(Piece::Key),
        "value" => Ok(Piece::Value),
        "headers" => Ok(Piece::Headers),
        other => Err(format!(
            "{{{other}}} is not known; there are {{topic}} {{partition}} {{offset}} {{timestamp}} {{key}} {{value}} {{headers}}"
        )),
    }
}

/// Prints records one by one.
pub struct Printer {
    format: Format,
    style: Style,
}

impl Printer {
    pub fn new(format: Format, style: Style) -> Printer {
        Printer { format, style }
    }

    /// Appends a record to `out`. A missing key or value is empty text; only JSON tells the difference.
    pub fn print(&self, partition: &TopicPartition, record: &Record, out: &mut Vec<u8>) {
        if self.style == Style::Json {
            return out.extend_from_slice(json_record(partition, record).as_bytes());
        }
        for piece in &self.format.0 {
            match piece {
                Piece::Text(text) => out.extend_from_slice(text.as_bytes()),
                Piece::Topic => out.extend_from_slice(partition.topic.as_bytes()),
                Piece::Partition => number(out, i64::from(partition.partition)),
                Piece::Offset => number(out, record.offset.0),
                Piece::Timestamp => number(out, record.timestamp.0),
                Piece::Key => self.bytes(out, record.key.as_ref()),
                Piece::Value => self.bytes(out, record.value.as_ref()),
                Piece::Headers => self.headers(out, record),
            }
        }
    }

    fn headers(&self, out: &mut Vec<u8>, record: &Record) {
        for (at, header) in record.headers.iter().enumerate() {
            if at > 0 {
                out.push(b',');
            }
            self.bytes(out, Some(&header.key));
            out.push(b'=');
            self.bytes(out, header.value.as_ref());
        }
    }

    /// Into a pipe as they are; at a terminal without what could take it over.
    fn bytes(&self, out: &mut Vec<u8>, bytes: Option<&Bytes>) {
        let Some(bytes) = bytes else { return };
        match self.style {
            Style::Terminal { .. } => {
                for c in String::from_utf8_lossy(bytes).chars() {
                    if c.is_control() && !matches!(c, '\t' | '\n') {
                        out.extend(c.escape_default().map(|c| c as u8));
                    } else {
                        out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
                    }
                }
            }
            Style::Plain | Style::Json => out.extend_from_slice(bytes),
        }
    }
}

fn number(out: &mut Vec<u8>, number: i64) {
    // Writing to memory does not fail.
    let _ = write!(out, "{number}");
}

/// Bytes that are not UTF-8 are given as an array of numbers, so that nothing is lost.
fn json_bytes(bytes: Option<&Bytes>) -> Value {
    bytes.map_or(Value::Null, |bytes| match std::str::from_utf8(bytes) {
        Ok(text) => json!(text),
        Err(_) => json!(bytes.as_ref()),
    })
}

fn json_record(partition: &TopicPartition, record: &Record) -> String {
    let header = |header: &ottla_wire::batch::Header| json!({ "key": json_bytes(Some(&header.key)), "value": json_bytes(header.value.as_ref()) });
    json_line(&json!({
        "topic": partition.topic.as_str(),
        "partition": partition.partition,
        "offset": record.offset.0,
        "timestamp": record.timestamp.0,
        "key": json_bytes(record.key.as_ref()),
        "value": json_bytes(record.value.as_ref()),
        "headers": record.headers.iter().map(header).collect::<Vec<_>>(),
    }))
}

#[cfg(test)]
mod tests {
    use ottla_wire::batch::Header;
    use ottla_wire::{Offset, Timestamp};

    use super::*;

    fn record(key: Option<&'static [u8]>, value: Option<&'static [u8]>) -> Record {
        let header = |key: &'static str, value: Option<&'static [u8]>| Header {
            key: Bytes::from_static(key.as_bytes()),
            value: value.map(Bytes::from_static),
        };
        Record {
            offset: Offset(7),
            timestamp: Timestamp(1000),
            key: key.map(Bytes::from_static),
            value: value.map(Bytes::from_static),
            headers: vec![header("a", Some(b"1")), header("b", None)],
        }
    }

    fn printed(format: &str, style: Style, record: &Record) -> Vec<u8> {
        let mut out = Vec::new();
        let partition = TopicPartition::new("orders", 3);
        Printer::new(format.parse().unwrap(), style).print(&partition, record, &mut out);
        out
    }

    #[test]
    fn places_are_filled() {
        let all = "{topic} {partition} {offset} {timestamp} {key} {value} {headers}";
        let cases = [
            (all, "orders 3 7 1000 k v a=1,b="),
            ("{partition}:{offset}\\t{key}\\t{value}\\n", "3:7\tk\tv\n"),
            ("{{{key}}} \\\\ \\0", "{k} \\ \0"),
            ("", ""),
        ];
        for (format, text) in cases {
            assert_eq!(
                printed(format, Style::Plain, &record(Some(b"k"), Some(b"v"))),
                text.as_bytes(),
                "{format}"
            );
        }
    }

    #[test]
    fn wrong_formats_say_what_there_is() {
        for (format, why) in [
            ("{keys}", "{keys} is not known; there are {topic}"),
            ("{key", "a { has no }"),
            ("key}", "a } has no {"),
            ("\\q", "\\q is not known"),
            ("x\\", "single backslash"),
        ] {
            let error = format.parse::<Format>().unwrap_err();
            assert!(error.contains(why), "{format}: {error}");
        }
    }

    #[test]
    fn a_pipe_gets_the_bytes_and_a_terminal_no_control_characters() {
        let hostile = record(None, Some(b"\x1b[2Jclear\xff\tok"));
        assert_eq!(printed("{key}|{value}", Style::Plain, &hostile), b"|\x1b[2Jclear\xff\tok");
        let shown = printed("{value}", Style::Terminal { colour: true }, &hostile);
        assert_eq!(String::from_utf8(shown).unwrap(), "\\u{1b}[2Jclear\u{fffd}\tok");
    }

    #[test]
    fn json_loses_nothing() {
        let text = printed("", Style::Json, &record(None, Some(b"\xff\x00")));
        let expected = "{\"headers\":[{\"key\":\"a\",\"value\":\"1\"},{\"key\":\"b\",\"value\":null}],\"key\":null,\"offset\":7,\"partition\":3,\"timestamp\":1000,\"topic\":\"orders\",\"value\":[255,0]}\n";
        assert_eq!(String::from_utf8(text).unwrap(), expected);
    }
}
