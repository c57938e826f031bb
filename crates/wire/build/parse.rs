//! Reads `schema/*.txt` into [`crate::schema`].

use std::collections::BTreeSet;

use crate::schema::{Field, Message, MessageKind, Struct, Type, Versions};

/// One line of the schema: how deep it is indented, and its words.
struct Line<'a> {
    depth: usize,
    words: Vec<&'a str>,
}

pub fn messages(text: &str) -> Result<Vec<Message>, String> {
    let mut messages: Vec<Message> = Vec::new();
    let mut body: Vec<Line> = Vec::new();
    let mut head: Option<Vec<&str>> = None;
    let mut origin = None;
    for line in text.lines().chain([""]) {
        let trimmed = line.trim_start();
        if let Some(remark) = trimmed.strip_prefix('#') {
            origin = remark.trim().strip_prefix("from ").map(str::to_owned);
        } else if trimmed.is_empty() {
            if let Some(head) = head.take() {
                messages.push(message(&head, &body, origin.take())?);
            }
            body.clear();
        } else if trimmed.len() == line.len() {
            head = Some(line.split_whitespace().collect());
        } else {
            let depth = (line.len() - trimmed.len()) / 2;
            body.push(Line { depth, words: trimmed.split_whitespace().collect() });
        }
    }
    Ok(messages)
}

fn message(head: &[&str], body: &[Line], origin: Option<String>) -> Result<Message, String> {
    let [name, kind, rest @ ..] = head else { return Err(format!("not a message: {head:?}")) };
    let versions = word(rest, "versions=").and_then(versions).ok_or(format!("{name}: no versions"))?;
    let mut parser = Parser { message: name, all: versions, structs: Vec::new() };
    parser.structs.push(Struct { name: (*name).to_owned(), versions, fields: Vec::new() });
    let (shared, fields): (Vec<_>, Vec<_>) =
        sections(body, 1).into_iter().partition(|s| s[0].words[0] == "struct");
    for section in shared {
        let name = section[0].words.get(1).ok_or("struct without a name")?;
        parser.declare(name, versions, &section[1..], 2)?;
    }
    parser.structs[0].fields = parser.fields(&fields, versions, 2)?;
    check_not_recursive(name, &parser.structs)?;
    Ok(Message {
        name: (*name).to_owned(),
        kind: kind_of(kind)?,
        key: word(rest, "key=").and_then(|k| k.parse().ok()),
        listeners: word(rest, "listeners=").map_or(vec![], |l| l.split(',').map(str::to_owned).collect()),
        versions,
        flexible: word(rest, "flexible=").and_then(self::versions),
        unstable: rest.contains(&"unstable"),
        origin,
        structs: parser.structs,
    })
}

struct Parser<'a> {
    message: &'a str,
    all: Versions,
    structs: Vec<Struct>,
}

impl Parser<'_> {
    fn declare(&mut self, name: &str, versions: Versions, body: &[Line], depth: usize) -> Result<(), String> {
        if self.structs.iter().any(|s| s.name == name) {
            return Err(format!("{}: struct {name} is declared twice", self.message));
        }
        let index = self.structs.len();
        self.structs.push(Struct { name: name.to_owned(), versions, fields: Vec::new() });
        let fields = self.fields(&sections(body, depth), versions, depth + 1)?;
        self.structs[index].fields = fields;
        Ok(())
    }

    /// The fields of a struct that occurs in `within`. `depth` is the indent of their own children.
    fn fields(&mut self, sections: &[&[Line]], within: Versions, depth: usize) -> Result<Vec<Field>, String> {
        let mut fields = Vec::new();
        for section in sections {
            let (line, children) = (&section[0].words, &section[1..]);
            let field = field(line, within).map_err(|e| format!("{}: {line:?}: {e}", self.message))?;
            // A field that only retired versions had cannot be on the wire: there is nothing to generate.
            let Some(field) = field else { continue };
            if let (false, Some(name)) = (children.is_empty(), struct_name(&field.ty)) {
                let versions = field.versions.and(self.all).unwrap_or(self.all);
                self.declare(name, versions, children, depth)?;
            }
            fields.push(field);
        }
        Ok(fields)
    }
}

fn field(words: &[&str], within: Versions) -> Result<Option<Field>, String> {
    let [name, ty, range, attributes @ ..] = words else { return Err("too few words".into()) };
    let declared = versions(range).ok_or("no versions")?;
    let tag = word(attributes, "tag=").map(tag).transpose()?;
    // Kafka writes a tagged field in the versions of its tag only, even where it declares others.
    let declared = tag.map_or(Some(declared), |(_, tagged)| tagged.and(declared));
    let Some(versions) = declared.and_then(|d| d.and(within)) else { return Ok(None) };
    Ok(Some(Field {
        name: name.trim_end_matches(':').to_owned(),
        ty: type_of(ty),
        versions,
        nullable: word(attributes, "nullable=").and_then(self::versions).and_then(|n| n.and(versions)),
        default: word(attributes, "default=").map(str::to_owned),
        tag: tag.map(|(number, _)| number),
        ignorable: attributes.contains(&"ignorable"),
        never_flexible: attributes.contains(&"flexible=none"),
        map_key: attributes.contains(&"mapkey"),
    }))
}

/// `0@12+`.
fn tag(word: &str) -> Result<(u32, Versions), String> {
    let (number, range) = word.split_once('@').ok_or("tag without versions")?;
    let number = number.parse().map_err(|_| "tag is not a number")?;
    Ok((number, versions(range).ok_or("tag without versions")?))
}

/// Each line of `depth` with the deeper ones that follow it.
fn sections<'a, 'b>(lines: &'a [Line<'b>], depth: usize) -> Vec<&'a [Line<'b>]> {
    let starts: Vec<usize> = (0..lines.len()).filter(|&i| lines[i].depth == depth).collect();
    let ends = starts.iter().skip(1).copied().chain([lines.len()]);
    starts.iter().copied().zip(ends).map(|(from, to)| &lines[from..to]).collect()
}

fn type_of(word: &str) -> Type {
    match word {
        "bool" => Type::Bool,
        "int8" => Type::I8,
        "int16" => Type::I16,
        "int32" => Type::I32,
        "int64" => Type::I64,
        "uint16" => Type::U16,
        "uint32" => Type::U32,
        "float64" => Type::F64,
        "uuid" => Type::Uuid,
        "string" => Type::String,
        "bytes" => Type::Bytes,
        "records" => Type::Records,
        _ => match word.strip_prefix("[]") {
            Some(element) => Type::Array(Box::new(type_of(element))),
            None => Type::Struct(word.to_owned()),
        },
    }
}

fn kind_of(word: &str) -> Result<MessageKind, String> {
    Ok(match word {
        "request" => MessageKind::Request,
        "response" => MessageKind::Response,
        "header" => MessageKind::Header,
        "metadata" => MessageKind::Metadata,
        "coordinator-key" => MessageKind::CoordinatorKey,
        "coordinator-value" => MessageKind::CoordinatorValue,
        "data" => MessageKind::Data,
        _ => return Err(format!("unknown kind of message: {word}")),
    })
}

/// `3`, `3-13`, `3+`; anything else, as `none`, is `None`.
fn versions(text: &str) -> Option<Versions> {
    if let Some(min) = text.strip_suffix('+') {
        return Some(Versions { min: min.parse().ok()?, max: i16::MAX });
    }
    let (min, max) = text.split_once('-').unwrap_or((text, text));
    Some(Versions { min: min.parse().ok()?, max: max.parse().ok()? })
}

fn word<'a>(words: &[&'a str], prefix: &str) -> Option<&'a str> {
    words.iter().find_map(|w| w.strip_prefix(prefix))
}

pub fn struct_name(ty: &Type) -> Option<&str> {
    match ty {
        Type::Struct(name) => Some(name),
        Type::Array(element) => struct_name(element),
        _ => None,
    }
}

/// The reader has no limit of depth because the types have one; hold the schema to that.
fn check_not_recursive(message: &str, structs: &[Struct]) -> Result<(), String> {
    fn visit<'a>(name: &'a str, structs: &'a [Struct], above: &mut BTreeSet<&'a str>) -> Result<(), String> {
        let found =
            structs.iter().find(|s| s.name == name).ok_or(format!("struct {name} is not declared"))?;
        if !above.insert(name) {
            return Err(format!("struct {name} contains itself"));
        }
        for inner in found.fields.iter().filter_map(|f| struct_name(&f.ty)) {
            visit(inner, structs, above)?;
        }
        above.remove(name);
        Ok(())
    }
    visit(message, structs, &mut BTreeSet::new()).map_err(|e| format!("{message}: {e}"))
}
