//! The file of a message, and the index of them all.

use std::path::Path;

use crate::code::Code;
use crate::codec::{self, Presence};
use crate::schema::{Message, MessageKind, Struct, Type};
use crate::{names, parse, read, types, write};

/// The module of one message.
pub fn message(message: &Message) -> Result<String, String> {
    let mut parts = Code::default();
    for (i, of) in message.structs.iter().enumerate() {
        let doc = if i == 0 { format!("/// {}", describe(message)) } else { struct_doc(message, of) };
        types::define(&mut parts, message, of, &doc)?;
        codec_of(&mut parts, message, of)?;
        if i == 0 {
            traits(&mut parts, message);
        }
    }
    let parts = parts.finish();

    let mut code = Code::default();
    code.add(format!("//! {}", describe(message)));
    code.blank();
    imports(&mut code, message, &parts);
    code.blank();
    Ok(code.finish() + parts.trim_end() + "\n")
}

/// `ProduceRequest`: request, key 0, versions 3-13, flexible in 9+.
fn describe(message: &Message) -> String {
    let kind = match message.kind {
        MessageKind::Request => "request",
        MessageKind::Response => "response",
        MessageKind::Header => "header",
        MessageKind::Metadata => "metadata record",
        MessageKind::CoordinatorKey => "key of a coordinator record",
        MessageKind::CoordinatorValue => "value of a coordinator record",
        MessageKind::Data => "data",
    };
    let mut text = format!("`{}`: {kind}", message.name);
    if let Some(key) = message.key {
        text += &format!(", key {key}");
    }
    text += &format!(", versions {}", types::range(message.versions));
    if message.unstable {
        text += " (the last is not advertised)";
    }
    match message.flexible {
        Some(flexible) if flexible.covers(message.versions) => text + ", flexible.",
        Some(flexible) => text + &format!(", flexible in {}.", types::range(flexible)),
        None => text + ", never flexible.",
    }
}

fn struct_doc(message: &Message, of: &Struct) -> String {
    let owners = message.structs.iter().flat_map(|s| s.fields.iter().map(move |f| (s, f)));
    let uses = owners.filter(|(_, f)| parse::struct_name(&f.ty) == Some(&of.name));
    let uses: Vec<_> = uses.map(|(s, f)| format!("`{}.{}`", s.name, f.name)).collect();
    match message.structs.iter().flat_map(|s| &s.fields).find(|f| parse::struct_name(&f.ty) == Some(&of.name))
    {
        Some(field) if matches!(field.ty, Type::Array(_)) => format!("/// Element of {}.", uses.join(", ")),
        _ => format!("/// Value of {}.", uses.join(", ")),
    }
}

fn imports(code: &mut Code, message: &Message, body: &str) {
    let types = [
        "DecodeError",
        "DecodeProblem",
        "EncodeError",
        "Message",
        "Reader",
        "Records",
        "Request",
        "Sink",
        "Str",
    ];
    let functions = ["absent_unless", "present", "tag_size"];
    let used = types.iter().filter(|name| mentions(body, name));
    let called = functions.iter().filter(|name| body.contains(&format!("{name}(")));
    let names: Vec<&str> = used.chain(called).copied().collect();
    if mentions(body, "Bytes") {
        code.add("use bytes::Bytes;");
        code.blank();
    }
    if mentions(body, "Uuid") {
        code.add("use crate::ids::Uuid;");
    }
    if message.kind == MessageKind::Request {
        let response = message.name.replace("Request", "Response");
        code.add(format!("use crate::messages::{response};"));
    }
    code.add("use crate::primitives::{");
    names.chunks(8).for_each(|line| code.add(format!("{},", line.join(", "))));
    code.add("};");
    if message.kind == MessageKind::Request {
        code.add("use crate::protocol::ApiKey;");
    }
}

/// Whether `word` stands by itself in `text`, outside of comments and quotes.
fn mentions(text: &str, word: &str) -> bool {
    let code = text.lines().filter(|line| !line.trim_start().starts_with("//"));
    let is_part = |c: char| c.is_alphanumeric() || c == '_' || c == '"';
    code.flat_map(|line| line.match_indices(word).map(move |(at, _)| (line, at))).any(|(line, at)| {
        let before = line[..at].chars().next_back();
        let after = line[at + word.len()..].chars().next();
        let quoted = line[..at].matches('"').count() % 2 == 1;
        !quoted && !before.is_some_and(is_part) && !after.is_some_and(is_part)
    })
}

/// `read` and `write` of one struct.
fn codec_of(code: &mut Code, message: &Message, of: &Struct) -> Result<(), String> {
    let read = read::body(message, of)?.finish();
    let write = write::body(message, of)?.finish();
    code.add(format!("impl {} {{", of.name));
    code.add(format!(
        "fn read({}: &mut Reader, {}: i16) -> Result<Self, DecodeError> {{",
        unless_unused("r", &read),
        unless_unused("version", &(flexible_let(message, of, &read) + &read)),
    ));
    code.add(flexible_let(message, of, &read));
    code.add(&read);
    code.add("}");
    code.blank();
    code.add(format!(
        "fn write<S: Sink>(&self, {}: &mut S, {}: i16) -> Result<(), EncodeError> {{",
        unless_unused("s", &write),
        unless_unused("version", &(flexible_let(message, of, &write) + &write)),
    ));
    code.add(flexible_let(message, of, &write));
    code.add(&write);
    code.add("}\n}");
    code.blank();
    Ok(())
}

fn flexible_let(message: &Message, of: &Struct, body: &str) -> String {
    match codec::presence(of.versions, message.flexible) {
        Presence::If(condition) if mentions(body, "flexible") => format!("let flexible = {condition};"),
        _ => String::new(),
    }
}

fn unless_unused(name: &str, body: &str) -> String {
    // A field may be called `version`, too: that is no use of the parameter.
    let used = body.lines().any(|line| {
        let line = line.replace(&format!("self.{name}"), "");
        let line = line.trim().strip_prefix(&format!("{name}: ")).map_or(line.clone(), str::to_owned);
        mentions(&line, name)
    });
    if used { name.to_owned() } else { format!("_{name}") }
}

fn traits(code: &mut Code, message: &Message) {
    let name = &message.name;
    code.add(format!("impl Message for {name} {{"));
    code.add(format!("const NAME: &'static str = {name:?};"));
    code.add(format!("const MIN_VERSION: i16 = {};", message.versions.min));
    code.add(format!("const MAX_VERSION: i16 = {};", message.versions.max));
    code.blank();
    match message.flexible {
        Some(flexible) if flexible.covers(message.versions) => {
            code.add("fn flexible(_version: i16) -> bool {\ntrue\n}");
        }
        Some(flexible) => {
            code.add(format!("fn flexible(version: i16) -> bool {{\nversion >= {}\n}}", flexible.min))
        }
        None => code.add("fn flexible(_version: i16) -> bool {\nfalse\n}"),
    }
    code.blank();
    code.add("fn decode(r: &mut Reader, version: i16) -> Result<Self, DecodeError> {");
    code.add("if !(Self::MIN_VERSION..=Self::MAX_VERSION).contains(&version) {");
    code.add("return Err(DecodeError::new(Self::NAME, DecodeProblem::UnsupportedVersion(version)));");
    code.add("}\nSelf::read(r, version)\n}");
    code.blank();
    code.add("fn put<S: Sink>(&self, s: &mut S, version: i16) -> Result<(), EncodeError> {");
    code.add("if !(Self::MIN_VERSION..=Self::MAX_VERSION).contains(&version) {");
    code.add("return Err(EncodeError::UnsupportedVersion { message: Self::NAME, version });");
    code.add("}\nself.write(s, version)\n}\n}");
    code.blank();
    if message.kind == MessageKind::Request {
        let stem = name.trim_end_matches("Request");
        code.add(format!("impl Request for {name} {{"));
        code.add(format!("const KEY: ApiKey = ApiKey::{stem};"));
        code.add(format!("type Response = {stem}Response;"));
        code.add("}");
        code.blank();
    }
    let is_keyed = matches!(
        message.kind,
        MessageKind::Metadata | MessageKind::CoordinatorKey | MessageKind::CoordinatorValue
    );
    if let (Some(key), true) = (message.key, is_keyed) {
        code.add(format!("impl {name} {{"));
        code.add("/// The number of this type of record in its log.");
        code.add(format!("pub const RECORD_TYPE: i16 = {key};\n}}"));
        code.blank();
    }
}

/// Declares every module and re-exports its message.
pub fn index(messages: &[Message], folder: &Path) -> String {
    let mut code = Code::default();
    let modules = messages.iter().map(|m| (names::snake(&m.name), m.name.as_str()));
    for (module, name) in modules.chain([("metadata_record".to_owned(), "MetadataRecord")]) {
        code.add(format!("#[path = {:?}]", folder.join(format!("{module}.rs"))));
        code.add(format!("pub mod {module};"));
        code.add(format!("pub use {module}::{name};"));
    }
    code.finish()
}

/// A macro that calls another with the names of all messages: for tests.
pub fn for_each(messages: &[Message]) -> String {
    let mut code = Code::default();
    code.add("macro_rules! for_each_message {");
    code.add("($call:ident) => {");
    code.add("$call! {");
    messages.iter().for_each(|m| code.add(format!("{},", m.name)));
    code.add("}\n};\n}");
    code.finish()
}
