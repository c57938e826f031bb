//! What reading and writing share: when a field is there, and how it is encoded.

use crate::schema::{Field, Message, Struct, Type, Versions};

/// Whether something is there, as seen from the versions in which its owner is.
#[derive(Debug, PartialEq, Eq)]
pub enum Presence {
    Always,
    Never,
    /// When this condition on `version` holds.
    If(String),
}

/// When a version of `owner` is one of `versions`.
pub fn presence(owner: Versions, versions: Option<Versions>) -> Presence {
    let Some(both) = versions.and_then(|v| v.and(owner)) else { return Presence::Never };
    match (both.min > owner.min, both.max < owner.max) {
        (false, false) => Presence::Always,
        (true, false) => Presence::If(format!("version >= {}", both.min)),
        (false, true) => Presence::If(format!("version <= {}", both.max)),
        (true, true) if both.min == both.max => Presence::If(format!("version == {}", both.min)),
        (true, true) => Presence::If(format!("({}..={}).contains(&version)", both.min, both.max)),
    }
}

/// The opposite of a condition that [`presence`] made.
pub fn not(condition: &str) -> String {
    for (from, to) in [(">=", "<"), ("<=", ">"), ("==", "!=")] {
        if let Some((left, right)) = condition.split_once(from).filter(|_| !condition.starts_with('(')) {
            return format!("{left}{to}{right}");
        }
    }
    format!("!{condition}")
}

/// Versions of `of` in which it ends with tagged fields.
pub fn flexible_versions(message: &Message, of: &Struct) -> Versions {
    message.flexible.and_then(|f| f.and(of.versions)).unwrap_or(of.versions)
}

/// The argument that chooses the encoding of lengths.
pub fn flexible_word(message: &Message, of: &Struct, field: &Field) -> &'static str {
    if field.never_flexible {
        return "false";
    }
    match presence(of.versions, message.flexible) {
        Presence::Always => "true",
        Presence::Never => "false",
        Presence::If(_) => "flexible",
    }
}

/// The name of a field in errors.
pub fn label(of: &Struct, field: &Field) -> String {
    format!("\"{}.{}\"", of.name, field.name)
}

/// Bytes of a value of fixed length.
pub fn fixed_size(ty: &Type) -> Option<usize> {
    Some(match ty {
        Type::Bool | Type::I8 => 1,
        Type::I16 | Type::U16 => 2,
        Type::I32 | Type::U32 => 4,
        Type::I64 | Type::F64 => 8,
        Type::Uuid => 16,
        Type::String | Type::Bytes | Type::Records | Type::Struct(_) | Type::Array(_) => return None,
    })
}

/// The name of the function that reads or writes a value of fixed length.
pub fn scalar(ty: &Type) -> &'static str {
    match ty {
        Type::Bool => "bool",
        Type::I8 => "i8",
        Type::I16 => "i16",
        Type::I32 => "i32",
        Type::I64 => "i64",
        Type::U16 => "u16",
        Type::U32 => "u32",
        Type::F64 => "f64",
        Type::Uuid => "uuid",
        Type::String | Type::Bytes | Type::Records | Type::Struct(_) | Type::Array(_) => {
            unreachable!("not of fixed length: {ty:?}")
        }
    }
}
