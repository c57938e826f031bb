//! How a struct is read.

use crate::code::Code;
use crate::codec::{self, Presence};
use crate::schema::{Field, Message, Struct, Type};
use crate::{min_size, names, types};

/// An expression that is longer is broken, so that its line fits with what is around it.
const LINE_MAX: usize = 72;

/// Emits the body of `read`: an expression of `Self`, or statements that end with one.
pub fn body(message: &Message, of: &Struct) -> Result<Code, String> {
    let mut code = Code::default();
    let tagged: Vec<&Field> = of.fields.iter().filter(|f| f.tag.is_some()).collect();
    let flexible = codec::presence(of.versions, message.flexible);
    let ends_plain = tagged.is_empty() && flexible == Presence::Never;
    if of.fields.is_empty() {
        if flexible != Presence::Never {
            code.add(format!("r.skip_tagged_fields({:?})?;", of.name));
        }
        code.add("Ok(Self {})");
        return Ok(code);
    }
    match (tagged.is_empty(), ends_plain) {
        (_, true) => code.add("Ok(Self {"),
        (true, _) => code.add("let value = Self {"),
        (false, _) => code.add("let mut value = Self {"),
    }
    for field in &of.fields {
        code.add(format!("{}: {},", names::field(&field.name), inline(message, of, field)?));
    }
    if ends_plain {
        code.add("})");
        return Ok(code);
    }
    code.add("};");
    match flexible {
        Presence::Never => {
            return Err(format!("{}: tagged fields in a message that is not flexible", message.name));
        }
        Presence::Always => tagged_fields(&mut code, message, of, &tagged),
        Presence::If(_) => {
            code.add("if flexible {");
            tagged_fields(&mut code, message, of, &tagged);
            code.add("}");
        }
    }
    code.add("Ok(value)");
    Ok(code)
}

/// The value of a field where it stands: its default where it is absent or comes later with a tag.
fn inline(message: &Message, of: &Struct, field: &Field) -> Result<String, String> {
    let default = types::default(field)?;
    if field.tag.is_some() {
        return Ok(default);
    }
    Ok(match codec::presence(of.versions, Some(field.versions)) {
        Presence::If(condition) => either(&condition, &value(message, of, field), &default),
        Presence::Always | Presence::Never => value(message, of, field),
    })
}

fn tagged_fields(code: &mut Code, message: &Message, of: &Struct, tagged: &[&Field]) {
    if tagged.is_empty() {
        code.add(format!("r.skip_tagged_fields({:?})?;", of.name));
        return;
    }
    code.add(format!("r.tagged_fields({:?}, |r, tag| {{", of.name));
    code.add("match tag {");
    for field in tagged {
        let Some(tag) = field.tag else { continue };
        let guard = match codec::presence(codec::flexible_versions(message, of), Some(field.versions)) {
            Presence::If(condition) => format!(" if {condition}"),
            Presence::Always | Presence::Never => String::new(),
        };
        let name = names::field(&field.name);
        code.add(format!("{tag}{guard} => value.{name} = {},", value(message, of, field)));
    }
    code.add("_ => return Ok(false),");
    code.add("}");
    code.add("Ok(true)");
    code.add("})?;");
}

/// Reads the value of `field`, as an expression of its type.
fn value(message: &Message, of: &Struct, field: &Field) -> String {
    match codec::presence(field.versions, field.nullable) {
        Presence::Never => format!("{}?", read(message, of, field, false)),
        Presence::Always => format!("{}?", read(message, of, field, true)),
        Presence::If(condition) => {
            let nullable = read(message, of, field, true);
            let plain = read(message, of, field, false);
            either(&condition, &format!("{nullable}?"), &format!("Some({plain}?)"))
        }
    }
}

fn read(message: &Message, of: &Struct, field: &Field, nullable: bool) -> String {
    let label = codec::label(of, field);
    let flexible = codec::flexible_word(message, of, field);
    let prefix = if nullable { "nullable_" } else { "" };
    match &field.ty {
        Type::String => format!("r.{prefix}string({flexible}, {label})"),
        Type::Bytes => format!("r.{prefix}bytes({flexible}, {label})"),
        Type::Records => format!("r.{prefix}records({flexible}, {label})"),
        Type::Struct(name) if nullable => {
            let kind = if field.tag.is_some() { "tagged_nullable" } else { "nullable" };
            format!("r.{kind}({label}, |r| {name}::read(r, version))")
        }
        Type::Array(ty) => {
            let min = min_size::of_type(message, ty, field.versions);
            let element = element(ty, &label, flexible);
            let line = format!("r.{prefix}array({flexible}, {min}, {label}, |r| {element})");
            if line.len() <= LINE_MAX {
                line
            } else {
                format!("r.{prefix}array({flexible}, {min}, {label}, |r| {{\n{element}\n}})")
            }
        }
        ty => element(ty, &label, flexible),
    }
}

/// `if condition { yes } else { no }`, on several lines if it is long.
fn either(condition: &str, yes: &str, no: &str) -> String {
    let line = format!("if {condition} {{ {yes} }} else {{ {no} }}");
    if line.len() <= LINE_MAX { line } else { format!("if {condition} {{\n{yes}\n}} else {{\n{no}\n}}") }
}

fn element(ty: &Type, label: &str, flexible: &str) -> String {
    match ty {
        Type::Struct(name) => format!("{name}::read(r, version)"),
        Type::String => format!("r.string({flexible}, {label})"),
        Type::Bytes => format!("r.bytes({flexible}, {label})"),
        ty => format!("r.{}({label})", codec::scalar(ty)),
    }
}
