//! The enums of API keys and error codes.

use crate::code::Code;
use crate::names;
use crate::schema::{Message, MessageKind};

pub fn api_key(messages: &[Message]) -> Result<String, String> {
    let requests: Vec<&Message> = messages.iter().filter(|m| m.kind == MessageKind::Request).collect();
    let mut rows = Vec::new();
    for request in &requests {
        let stem = request.name.trim_end_matches("Request");
        let response = format!("{stem}Response");
        let response =
            messages.iter().find(|m| m.name == response).ok_or(format!("{response} is missing"))?;
        rows.push((stem, request.key.ok_or(format!("{stem} has no key"))?, *request, response));
    }
    let mut code = Code::default();
    code.add("/// The APIs of the protocol.");
    code.add("#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]");
    code.add("#[repr(i16)]\npub enum ApiKey {");
    rows.iter().for_each(|(name, key, ..)| code.add(format!("{name} = {key},")));
    code.add("}");
    code.blank();
    code.add("impl ApiKey {");
    code.add(format!("/// Every key, in order.\npub const ALL: [ApiKey; {}] = [", rows.len()));
    rows.iter().for_each(|(name, ..)| code.add(format!("ApiKey::{name},")));
    code.add("];");
    code.blank();
    code.add("pub fn from_code(code: i16) -> Option<ApiKey> {\nSome(match code {");
    rows.iter().for_each(|(name, key, ..)| code.add(format!("{key} => ApiKey::{name},")));
    code.add("_ => return None,\n})\n}");
    code.blank();
    code.add("fn facts(self) -> &'static Facts {\nmatch self {");
    for (name, _, request, response) in &rows {
        code.add(format!("ApiKey::{name} => &{},", facts(name, request, response)?));
    }
    code.add("}\n}\n}");
    Ok(code.finish())
}

fn facts(name: &str, request: &Message, response: &Message) -> Result<String, String> {
    let listeners = request.listeners.iter().map(|listener| match listener.as_str() {
        "broker" => Ok("Listener::Broker"),
        "controller" => Ok("Listener::Controller"),
        _ => Err(format!("{name}: unknown listener {listener}")),
    });
    // A version that does not exist.
    let never = i16::MAX.to_string();
    let flexible = |m: &Message| m.flexible.map_or(never.clone(), |f| f.min.to_string());
    Ok([
        "Facts {".to_owned(),
        format!("name: {name:?},"),
        format!("min_version: {},", request.versions.min),
        format!("max_version: {},", request.versions.max),
        format!("unstable: {},", request.unstable),
        format!("request_flexible_from: {},", flexible(request)),
        format!("response_flexible_from: {},", flexible(response)),
        format!("listeners: &[{}],", listeners.collect::<Result<Vec<_>, _>>()?.join(", ")),
        "}".to_owned(),
    ]
    .join("\n"))
}

/// `text` has lines of `CODE NAME [retriable]`.
pub fn error_codes(text: &str) -> Result<String, String> {
    let mut rows = Vec::new();
    for line in text.lines().filter(|l| !l.starts_with('#') && !l.trim().is_empty()) {
        let words: Vec<&str> = line.split_whitespace().collect();
        let [code, name, rest @ ..] = words.as_slice() else {
            return Err(format!("not an error code: {line}"));
        };
        let code: i16 = code.parse().map_err(|_| format!("not a number: {line}"))?;
        rows.push((code, (*name).to_owned(), names::camel(name), rest.contains(&"retriable")));
    }
    let mut code = Code::default();
    code.add("/// The error codes of the protocol.");
    code.add("#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]");
    code.add("#[repr(i16)]\npub enum ErrorCode {");
    rows.iter().for_each(|(number, _, variant, _)| code.add(format!("{variant} = {number},")));
    code.add("}");
    code.blank();
    code.add("impl ErrorCode {");
    code.add(format!("/// Every code, in order.\npub const ALL: [ErrorCode; {}] = [", rows.len()));
    rows.iter().for_each(|(_, _, variant, _)| code.add(format!("ErrorCode::{variant},")));
    code.add("];");
    code.blank();
    code.add("pub fn from_code(code: i16) -> Option<ErrorCode> {\nSome(match code {");
    rows.iter().for_each(|(number, _, variant, _)| code.add(format!("{number} => ErrorCode::{variant},")));
    code.add("_ => return None,\n})\n}");
    code.blank();
    code.add(
        "/// Kafka's name, as `NOT_LEADER_OR_FOLLOWER`.\npub fn name(self) -> &'static str {\nmatch self {",
    );
    rows.iter().for_each(|(_, name, variant, _)| code.add(format!("ErrorCode::{variant} => {name:?},")));
    code.add("}\n}");
    code.blank();
    code.add("/// Whether a client may send the same request again and hope.");
    code.add("pub fn is_retriable(self) -> bool {\nmatches!(\nself,");
    let retriable: Vec<_> = rows.iter().filter(|r| r.3).map(|r| format!("ErrorCode::{}", r.2)).collect();
    code.add(retriable.join("\n| "));
    code.add(")\n}\n}");
    Ok(code.finish())
}
