//! The least room that an element of an array takes on the wire: what bounds a count that a peer claims.

use crate::codec;
use crate::schema::{Field, Message, Struct, Type, Versions};

/// The fewest bytes of one `ty` in any of `versions`.
pub fn of_type(message: &Message, ty: &Type, versions: Versions) -> usize {
    let max = versions.max.min(message.versions.max);
    (versions.min..=max).map(|version| in_version(message, ty, version, false)).min().unwrap_or(1)
}

fn in_version(message: &Message, ty: &Type, version: i16, nullable: bool) -> usize {
    let flexible = is_flexible(message, version);
    match ty {
        Type::Struct(_) if nullable => 1,
        Type::Struct(name) => message.find(name).map_or(1, |s| of_struct(message, s, version)),
        Type::String | Type::Bytes | Type::Records | Type::Array(_) if flexible => 1,
        Type::String => 2,
        Type::Bytes | Type::Records | Type::Array(_) => 4,
        scalar => codec::fixed_size(scalar).unwrap_or(1),
    }
}

fn of_struct(message: &Message, of: &Struct, version: i16) -> usize {
    let at = Versions { min: version, max: version };
    let is_present = |f: &&Field| f.tag.is_none() && f.versions.covers(at);
    let fields = of.fields.iter().filter(is_present);
    let inline: usize = fields.map(|f| in_version(message, &f.ty, version, f.nullable.is_some())).sum();
    inline + usize::from(is_flexible(message, version))
}

fn is_flexible(message: &Message, version: i16) -> bool {
    message.flexible.is_some_and(|f| f.covers(Versions { min: version, max: version }))
}
