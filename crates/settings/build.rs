//! Turns `schema/*.txt` into static tables, so that settings cost nothing when the broker starts.

// The law against files is for the room itself; a build script has nothing but files.
#![allow(clippy::disallowed_methods)]

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;
use std::{env, fs, io};

const SECTIONS: [(&str, &str); 4] = [
    ("broker (server.properties)", "BROKER"),
    ("topic", "TOPIC"),
    ("group", "GROUP"),
    ("client metrics", "CLIENT_METRICS"),
];

/// Section to name to the Rust expression of its definition.
type Tables = BTreeMap<&'static str, BTreeMap<String, String>>;

fn main() -> io::Result<()> {
    let mut tables = Tables::new();
    // Ottla's own lines come second: they replace Kafka's of the same name.
    for (file, own) in [("schema/configs.txt", false), ("schema/ottla.txt", true)] {
        println!("cargo:rerun-if-changed={file}");
        read(&fs::read_to_string(file)?, own, &mut tables)
            .map_err(|what| io::Error::new(io::ErrorKind::InvalidData, format!("{file}: {what}")))?;
    }
    let mut code = String::new();
    for (_, name) in SECTIONS {
        let rows = tables.remove(name).unwrap_or_default();
        let _ = writeln!(code, "pub(crate) static {name}: [Definition; {}] = [", rows.len());
        for row in rows.values() {
            let _ = writeln!(code, "    {row},");
        }
        let _ = writeln!(code, "];");
    }
    let out = env::var("OUT_DIR").map_err(io::Error::other)?;
    fs::write(Path::new(&out).join("definitions.rs"), code)
}

fn read(text: &str, own: bool, tables: &mut Tables) -> Result<(), String> {
    let mut section = None;
    for line in text.lines() {
        if let Some(title) = line.strip_prefix("## ") {
            let (_, name) =
                SECTIONS.iter().find(|(known, _)| *known == title).ok_or(format!("section {title}"))?;
            section = Some(*name);
        } else if !line.is_empty() && !line.starts_with('#') {
            let section = section.ok_or(format!("no section before: {line}"))?;
            let (name, row) = definition(line, own).ok_or(format!("not understood: {line}"))?;
            tables.entry(section).or_default().insert(name, row);
        }
    }
    Ok(())
}

/// `name : type = default  range R  internal  dynamic=D  # doc`, where all after the default may be missing.
fn definition(line: &str, own: bool) -> Option<(String, String)> {
    let (line, doc) = match line.split_once("  # ") {
        Some((line, doc)) => (line, Some(doc)),
        None => (line, None),
    };
    let (name, rest) = line.split_once(" : ")?;
    let (kind, rest) = rest.split_once(" = ")?;
    let mut parts = rest.split("  ").map(str::trim);
    let default = match parts.next()? {
        "(required)" => "Fallback::Required".to_owned(),
        "null" => "Fallback::Null".to_owned(),
        "\"\"" => "Fallback::Value(\"\")".to_owned(),
        value => format!("Fallback::Value({value:?})"),
    };
    let (mut range, mut scope, mut internal) = ("Range::Any".to_owned(), "ReadOnly", false);
    for part in parts.filter(|part| !part.is_empty()) {
        match part {
            "internal" => internal = true,
            "dynamic=cluster-wide" => scope = "ClusterWide",
            "dynamic=per-broker" => scope = "PerBroker",
            _ => range = self::range(part.strip_prefix("range")?.trim())?,
        }
    }
    let kind = match kind {
        "boolean" => "Boolean",
        "string" => "String",
        "int" => "Int",
        "short" => "Short",
        "long" => "Long",
        "double" => "Double",
        "list" => "List",
        "class" => "Class",
        "password" => "Password",
        _ => return None,
    };
    let row = format!(
        "Definition {{ name: {name:?}, kind: Kind::{kind}, default: {default}, range: {range}, scope: Scope::{scope}, \
         internal: {internal}, own: {own}, doc: {doc:?} }}"
    );
    Some((name.to_owned(), row))
}

fn range(text: &str) -> Option<String> {
    let list = |text: &str| text.strip_prefix('[')?.strip_suffix(']').map(str::to_owned);
    Some(match text {
        "" => "Range::Any".to_owned(),
        "non-null string" | "non-empty string" | "non-empty list" => "Range::NotEmpty".to_owned(),
        "[1,...,9] or -1" => "Range::Numbers { min: 1.0, max: 9.0, or: Some(-1.0) }".to_owned(),
        "[partitionId]:[brokerId],[partitionId]:[brokerId],..." => "Range::Replicas".to_owned(),
        _ if text.starts_with("(case insensitive)") => {
            let values = list(text.strip_prefix("(case insensitive)")?.trim())?;
            format!("Range::OneOfAnyCase(&{:?})", values.split(", ").collect::<Vec<_>>())
        }
        _ if text.contains("...") && !text.contains("by_duration") => {
            let inner = list(text)?;
            let (min, max) = inner.split_once(",...")?;
            let min: f64 = min.parse().ok()?;
            let max: f64 = max.strip_prefix(',').map_or(Some(f64::INFINITY), |max| max.parse().ok())?;
            let max = if max.is_finite() { format!("{max:?}") } else { "f64::INFINITY".to_owned() };
            format!("Range::Numbers {{ min: {min:?}, max: {max}, or: None }}")
        }
        _ => format!("Range::OneOf(&{:?})", list(text)?.split(", ").collect::<Vec<_>>()),
    })
}
