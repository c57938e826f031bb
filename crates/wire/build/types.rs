//! The structs of a message: fields, docs, defaults.

use crate::code::Code;
use crate::names;
use crate::schema::{Field, Message, Struct, Type, Versions};

/// Emits `of` with its `Default`. `doc` is the text above it.
pub fn define(code: &mut Code, message: &Message, of: &Struct, doc: &str) -> Result<(), String> {
    let derived = of.fields.iter().all(has_natural_default);
    code.add(doc);
    code.add(format!("#[derive(Clone, Debug, PartialEq{})]", if derived { ", Default" } else { "" }));
    if of.fields.is_empty() {
        code.add(format!("pub struct {} {{}}", of.name));
    } else {
        code.add(format!("pub struct {} {{", of.name));
        for field in &of.fields {
            code.add(format!("/// {}", describe(field, message)));
            code.add(format!("pub {}: {},", names::field(&field.name), rust_type(field)));
        }
        code.add("}");
    }
    code.blank();
    if !derived {
        define_default(code, of)?;
    }
    Ok(())
}

fn define_default(code: &mut Code, of: &Struct) -> Result<(), String> {
    code.add(format!("impl Default for {} {{", of.name));
    code.add(format!("fn default() -> {} {{", of.name));
    code.add(format!("{} {{", of.name));
    for field in &of.fields {
        code.add(format!("{}: {},", names::field(&field.name), default(field)?));
    }
    code.add("}\n}\n}");
    code.blank();
    Ok(())
}

/// `TopicId, versions 13+, key of its array.`
fn describe(field: &Field, message: &Message) -> String {
    let mut text = format!("`{}`", field.name);
    text += &match field.versions.covers(message.versions) {
        true => ", all versions".to_owned(),
        false => format!(", versions {}", range(field.versions)),
    };
    if let Some(nullable) = field.nullable {
        let everywhere = nullable.covers(field.versions);
        text +=
            &if everywhere { ", nullable".to_owned() } else { format!(", nullable in {}", range(nullable)) };
    }
    if let Some(default) = &field.default {
        text += &format!(", default {default}");
    }
    if let Some(tag) = field.tag {
        text += &format!(", tag {tag}");
    }
    if field.ignorable {
        text += ", ignorable";
    }
    if field.map_key {
        text += ", unique in its array";
    }
    text + "."
}

pub fn range(versions: Versions) -> String {
    match versions {
        Versions { min, max: i16::MAX } => format!("{min}+"),
        Versions { min, max } if min == max => min.to_string(),
        Versions { min, max } => format!("{min}-{max}"),
    }
}

fn rust_type(field: &Field) -> String {
    let plain = plain_type(&field.ty);
    if field.nullable.is_some() { format!("Option<{plain}>") } else { plain }
}

fn plain_type(ty: &Type) -> String {
    match ty {
        Type::Bool => "bool".into(),
        Type::I8 => "i8".into(),
        Type::I16 => "i16".into(),
        Type::I32 => "i32".into(),
        Type::I64 => "i64".into(),
        Type::U16 => "u16".into(),
        Type::U32 => "u32".into(),
        Type::F64 => "f64".into(),
        Type::Uuid => "Uuid".into(),
        Type::String => "Str".into(),
        Type::Bytes => "Bytes".into(),
        Type::Records => "Records".into(),
        Type::Struct(name) => name.clone(),
        Type::Array(element) => format!("Vec<{}>", plain_type(element)),
    }
}

/// The default value of `field` as an expression.
pub fn default(field: &Field) -> Result<String, String> {
    if field.nullable.is_some() {
        // Records have no other default than null.
        if field.default_is_null() || field.ty == Type::Records {
            return Ok("None".into());
        }
        return Ok(format!("Some({})", plain_default(field)?));
    }
    plain_default(field)
}

fn plain_default(field: &Field) -> Result<String, String> {
    let given = field.default.as_deref().filter(|d| !d.is_empty());
    Ok(match &field.ty {
        Type::Bool => (given == Some("true")).to_string(),
        Type::F64 => format!("{:?}", number(field)? as f64),
        Type::I8 | Type::I16 | Type::I32 | Type::I64 | Type::U16 | Type::U32 => number(field)?.to_string(),
        Type::Uuid => "Uuid::ZERO".into(),
        Type::String => match given.map(|d| d.trim_matches('"')) {
            None | Some("") => "Str::default()".into(),
            Some(text) => format!("Str::from_static({text:?})"),
        },
        Type::Bytes => "Bytes::new()".into(),
        Type::Records => "Records::default()".into(),
        Type::Struct(name) => format!("{name}::default()"),
        Type::Array(_) => "Vec::new()".into(),
    })
}

fn number(field: &Field) -> Result<i64, String> {
    let text = field.default.as_deref().unwrap_or("0");
    let value = match text.strip_prefix("0x") {
        Some(hex) => i64::from_str_radix(hex, 16),
        None => text.parse(),
    };
    value.map_err(|_| format!("{}: default {text} is not a number", field.name))
}

/// Whether the default of the field is what Rust would take without being told.
fn has_natural_default(field: &Field) -> bool {
    match default(field) {
        Ok(text) => {
            matches!(
                text.as_str(),
                "None"
                    | "0"
                    | "0.0"
                    | "false"
                    | "Uuid::ZERO"
                    | "Str::default()"
                    | "Bytes::new()"
                    | "Vec::new()"
            ) || text.ends_with("::default()") && field.nullable.is_none()
        }
        Err(_) => false,
    }
}

/// Whether the value of the field is its default, as an expression over `self`.
pub fn is_default(field: &Field) -> Result<String, String> {
    let value = format!("self.{}", names::field(&field.name));
    let default = default(field)?;
    let nullable = field.nullable.is_some();
    if default == "None" {
        return Ok(format!("{value}.is_none()"));
    }
    Ok(match &field.ty {
        Type::Bool if default == "true" => value,
        Type::Bool => format!("!{value}"),
        Type::Uuid => format!("{value}.is_zero()"),
        Type::String if default.contains("from_static") => format!("{value} == {default}"),
        Type::String | Type::Bytes | Type::Array(_) | Type::Records if !nullable => {
            format!("{value}.is_empty()")
        }
        Type::String | Type::Bytes | Type::Array(_) | Type::Records => {
            format!("{value}.as_ref().is_some_and(|v| v.is_empty())")
        }
        _ => format!("{value} == {default}"),
    })
}
