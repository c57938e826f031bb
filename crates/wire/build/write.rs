//! How a struct is measured and written: one function for both, over a `Sink`.

use crate::code::Code;
use crate::codec::{self, Presence};
use crate::schema::{Field, Message, Struct, Type};
use crate::{names, types};

/// An array that is longer is broken, so that its line fits.
const LINE_MAX: usize = 98;

/// Emits the body of `write`.
pub fn body(message: &Message, of: &Struct) -> Result<Code, String> {
    let mut code = Code::default();
    for field in &of.fields {
        inline(&mut code, message, of, field)?;
    }
    let mut tagged: Vec<&Field> = of.fields.iter().filter(|f| f.tag.is_some()).collect();
    tagged.sort_by_key(|f| f.tag);
    match codec::presence(of.versions, message.flexible) {
        Presence::Never => {}
        Presence::Always => tagged_fields(&mut code, message, of, &tagged)?,
        Presence::If(_) => {
            code.add("if flexible {");
            tagged_fields(&mut code, message, of, &tagged)?;
            code.add("}");
        }
    }
    code.add("Ok(())");
    Ok(code)
}

/// Writes the field where it stands, and refuses to lose it in a version that does not have it.
fn inline(code: &mut Code, message: &Message, of: &Struct, field: &Field) -> Result<(), String> {
    let default = types::is_default(field)?;
    let absent = format!("absent_unless({default}, {}, version)?;", codec::label(of, field));
    let write = value(message, of, field);
    match codec::presence(of.versions, Some(field.versions)) {
        // A tagged field comes later; here it can only be missed.
        Presence::If(condition) if field.tag.is_some() => {
            if !field.ignorable {
                code.add(format!("if {} {{\n{absent}\n}}", codec::not(&condition)));
            }
        }
        Presence::Always | Presence::Never if field.tag.is_some() => {}
        Presence::If(condition) if field.ignorable => code.add(format!("if {condition} {{\n{write}\n}}")),
        Presence::If(condition) => code.add(format!("if {condition} {{\n{write}\n}} else {{\n{absent}\n}}")),
        Presence::Always | Presence::Never => code.add(write),
    }
    Ok(())
}

fn tagged_fields(code: &mut Code, message: &Message, of: &Struct, tagged: &[&Field]) -> Result<(), String> {
    if tagged.is_empty() {
        code.add("s.uvarint(0);");
        return Ok(());
    }
    let mut count = Vec::new();
    for field in tagged {
        let set = format!("has_{}", names::snake(&field.name));
        let differs = negated(&types::is_default(field)?);
        let condition = match codec::presence(codec::flexible_versions(message, of), Some(field.versions)) {
            Presence::If(condition) => format!("{condition} && {differs}"),
            Presence::Always | Presence::Never => differs,
        };
        code.add(format!("let {set} = {condition};"));
        count.push(format!("u32::from({set})"));
    }
    code.add(format!("s.uvarint({});", count.join("\n+ ")));
    for field in tagged {
        let Some(tag) = field.tag else { continue };
        code.add(format!("if has_{} {{", names::snake(&field.name)));
        let write = value(message, of, field);
        match (codec::fixed_size(&field.ty), write.strip_suffix("?;")) {
            (Some(len), _) => code.add(format!("s.tag({tag}, {len});")),
            (None, Some(result)) if !result.contains('\n') => {
                code.add(format!("let len = tag_size(|s| {result})?;\ns.tag({tag}, len);"));
            }
            (None, _) => {
                code.add(format!("let len = tag_size(|s| {{\n{write}\nOk(())\n}})?;\ns.tag({tag}, len);"));
            }
        }
        code.add(write);
        code.add("}");
    }
    Ok(())
}

/// Writes the value of `field`, as statements.
fn value(message: &Message, of: &Struct, field: &Field) -> String {
    let label = codec::label(of, field);
    let access = format!("self.{}", names::field(&field.name));
    let nullable = |access: &str| match field.ty {
        Type::Array(_) => format!("{access}.as_deref()"),
        _ => format!("{access}.as_ref()"),
    };
    match codec::presence(field.versions, field.nullable) {
        Presence::Never => write(message, of, field, &access, false),
        Presence::Always => write(message, of, field, &nullable(&access), true),
        Presence::If(condition) => {
            let as_nullable = write(message, of, field, &nullable(&access), true);
            let checked = format!("present({}, {label}, version)?", nullable(&access));
            let plain = write(message, of, field, &checked, false);
            format!("if {condition} {{\n{as_nullable}\n}} else {{\n{plain}\n}}")
        }
    }
}

fn write(message: &Message, of: &Struct, field: &Field, access: &str, nullable: bool) -> String {
    let label = codec::label(of, field);
    let flexible = codec::flexible_word(message, of, field);
    let prefix = if nullable { "nullable_" } else { "" };
    let by_reference =
        if access.starts_with("self.") && !nullable { format!("&{access}") } else { access.to_owned() };
    match &field.ty {
        Type::String => format!("s.{prefix}string({flexible}, {by_reference}, {label})?;"),
        Type::Bytes if nullable => {
            let access = access.replace(".as_ref()", ".as_deref()");
            format!("s.nullable_bytes({flexible}, {access}, {label})?;")
        }
        Type::Bytes => format!("s.bytes({flexible}, {by_reference}, {label})?;"),
        Type::Records => format!("s.{prefix}records({flexible}, {by_reference}, {label})?;"),
        Type::Struct(_) if nullable => {
            let kind = if field.tag.is_some() { "tagged_nullable" } else { "nullable" };
            format!("s.{kind}({access}, |s, v| v.write(s, version))?;")
        }
        Type::Struct(_) => format!("{access}.write(s, version)?;"),
        Type::Array(ty) => {
            let element = element(ty, &label, flexible);
            let line = format!("s.{prefix}array({flexible}, {by_reference}, {label}, |s, v| {element})?;");
            if line.len() <= LINE_MAX || element.starts_with('{') {
                return line;
            }
            format!("s.{prefix}array({flexible}, {by_reference}, {label}, |s, v| {{\n{element}\n}})?;")
        }
        ty => format!("s.{}({access});", codec::scalar(ty)),
    }
}

fn element(ty: &Type, label: &str, flexible: &str) -> String {
    match ty {
        Type::Struct(_) => "v.write(s, version)".into(),
        Type::String => format!("s.string({flexible}, v, {label})"),
        Type::Bytes => format!("s.bytes({flexible}, v, {label})"),
        ty => format!("{{\ns.{}(*v);\nOk(())\n}}", codec::scalar(ty)),
    }
}

/// The opposite of an expression that [`types::is_default`] made.
fn negated(expression: &str) -> String {
    if let Some(inner) = expression.strip_prefix('!') {
        return inner.to_owned();
    }
    match expression.split_once(" == ") {
        Some((left, right)) => format!("{left} != {right}"),
        None => match expression.strip_suffix(".is_none()") {
            Some(value) => format!("{value}.is_some()"),
            None => format!("!{expression}"),
        },
    }
}
