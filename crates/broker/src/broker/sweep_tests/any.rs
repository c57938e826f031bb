//! Any message of the schema: requests are written and responses are read without their types, so that an API
//! that is new is swept without a line here.

use bytes::{Buf, Bytes};
use ottla_wire::protocol::ApiKey;

use crate::schema::{Field, Message, MessageKind, Struct, Type, Versions};

#[path = "../../../../wire/build/parse.rs"]
#[allow(dead_code)]
mod parse;

/// What a field of a request is to hold.
pub enum Value {
    Null,
    Number(i64),
    Bytes(Vec<u8>),
    Elements(usize),
    /// It is a struct, and has fields of its own.
    Fields,
}

/// A field of a message, where it is.
pub struct Place<'a> {
    pub message: &'a Message,
    pub of: &'a Struct,
    pub field: &'a Field,
    /// The number of the innermost element of an array that it is in.
    pub nth: usize,
    /// Whether it may be null in this version.
    pub nullable: bool,
}

impl Place<'_> {
    pub fn label(&self) -> String {
        format!("{}.{}", self.of.name, self.field.name)
    }
}

/// The requests and responses of Kafka.
pub struct Schema {
    messages: Vec<Message>,
}

impl Schema {
    pub fn read() -> Schema {
        let text = include_str!("../../../../wire/schema/protocol.txt");
        Schema { messages: parse::messages(text).unwrap() }
    }

    pub fn request(&self, key: ApiKey) -> &Message {
        self.find(key, MessageKind::Request)
    }

    pub fn response(&self, key: ApiKey) -> &Message {
        self.find(key, MessageKind::Response)
    }

    fn find(&self, key: ApiKey, kind: MessageKind) -> &Message {
        let found = self.messages.iter().find(|one| one.kind == kind && one.key == Some(key.code()));
        found.unwrap_or_else(|| panic!("the schema has no {kind:?} for {key}"))
    }
}

/// A body, with the values that `choose` has for its fields.
pub fn write(message: &Message, version: i16, choose: &dyn Fn(&Place<'_>) -> Value) -> Vec<u8> {
    let mut writer = Writer { message, version, choose, out: Vec::new() };
    writer.fields(&message.structs[0], 0);
    writer.out
}

struct Writer<'a> {
    message: &'a Message,
    version: i16,
    choose: &'a dyn Fn(&Place<'_>) -> Value,
    out: Vec<u8>,
}

impl Writer<'_> {
    fn fields(&mut self, of: &Struct, nth: usize) {
        for field in inline(of, self.version) {
            self.field(of, field, nth);
        }
        if !is(self.message.flexible, self.version) {
            return;
        }
        let tagged = tagged(of, self.version);
        put_uvarint(&mut self.out, tagged.len());
        for (tag, field) in tagged {
            let before = std::mem::take(&mut self.out);
            self.field(of, field, nth);
            let value = std::mem::replace(&mut self.out, before);
            put_uvarint(&mut self.out, tag as usize);
            put_uvarint(&mut self.out, value.len());
            self.out.extend(value);
        }
    }

    fn field(&mut self, of: &Struct, field: &Field, nth: usize) {
        let nullable = is(field.nullable, self.version);
        let place = Place { message: self.message, of, field, nth, nullable };
        let value = (self.choose)(&place);
        let flexible = is(self.message.flexible, self.version) && !field.never_flexible;
        match (&field.ty, value) {
            (Type::Struct(name), Value::Fields) => {
                if nullable {
                    self.out.push(1);
                }
                self.fields(self.message.find(name).unwrap(), nth);
            }
            (Type::Struct(_), Value::Null) => self.out.push(0xff),
            (ty @ Type::Array(_), Value::Null) => self.length(ty, flexible, None),
            (ty @ Type::Array(element), Value::Elements(count)) => {
                self.length(ty, flexible, Some(count));
                (0..count).for_each(|nth| self.element(of, field, element, nth));
            }
            (ty, Value::Null) => self.length(ty, flexible, None),
            (Type::Uuid, Value::Bytes(bytes)) => self.out.extend(bytes),
            (ty, Value::Bytes(bytes)) => {
                self.length(ty, flexible, Some(bytes.len()));
                self.out.extend(bytes);
            }
            (ty, Value::Number(number)) => self.number(ty, number),
            _ => panic!("{}: no such value", place.label()),
        }
    }

    fn element(&mut self, of: &Struct, field: &Field, ty: &Type, nth: usize) {
        match ty {
            Type::Struct(name) => self.fields(self.message.find(name).unwrap(), nth),
            ty => {
                let single = Field {
                    name: field.name.clone(),
                    ty: ty.clone(),
                    versions: field.versions,
                    nullable: None,
                    default: None,
                    tag: None,
                    ignorable: false,
                    never_flexible: false,
                    map_key: false,
                };
                self.field(of, &single, nth);
            }
        }
    }

    fn number(&mut self, ty: &Type, number: i64) {
        let width = width(ty);
        self.out.extend(&number.to_be_bytes()[8 - width..]);
    }

    fn length(&mut self, ty: &Type, flexible: bool, len: Option<usize>) {
        match (flexible, ty) {
            (true, _) => put_uvarint(&mut self.out, len.map_or(0, |len| len + 1)),
            (false, Type::String) => self.out.extend(len.map_or(-1, |len| len as i16).to_be_bytes()),
            (false, _) => self.out.extend(len.map_or(-1, |len| len as i32).to_be_bytes()),
        }
    }
}

/// What a response has in a field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found {
    Null,
    Number(i64),
    Bytes(Bytes),
    Elements(usize),
    Fields,
}

/// Reads a body, shows each field to `see`, and says whether nothing is left.
pub fn read(message: &Message, version: i16, body: Bytes, see: &mut dyn FnMut(&Place<'_>, Found)) -> bool {
    let mut reader = Reader { message, version, body, see };
    reader.fields(&message.structs[0], 0);
    reader.body.is_empty()
}

struct Reader<'a> {
    message: &'a Message,
    version: i16,
    body: Bytes,
    see: &'a mut dyn FnMut(&Place<'_>, Found),
}

impl Reader<'_> {
    fn fields(&mut self, of: &Struct, nth: usize) {
        for field in inline(of, self.version) {
            self.field(of, field, nth);
        }
        if !is(self.message.flexible, self.version) {
            return;
        }
        let tagged = tagged(of, self.version);
        for _ in 0..self.uvarint() {
            let (tag, len) = (self.uvarint() as u32, self.uvarint());
            let after = self.body.len() - len;
            let known = tagged.iter().find(|(known, _)| *known == tag);
            let (_, field) = known.unwrap_or_else(|| panic!("{}: tag {tag}", of.name));
            self.field(of, field, nth);
            assert_eq!(self.body.len(), after, "{}.{} has its length", of.name, field.name);
        }
    }

    fn field(&mut self, of: &Struct, field: &Field, nth: usize) {
        let message = self.message;
        let flexible = is(message.flexible, self.version) && !field.never_flexible;
        let nullable = is(field.nullable, self.version);
        let place = Place { message, of, field, nth, nullable };
        match &field.ty {
            Type::Struct(name) => {
                let absent = nullable && self.body.get_i8() < 0;
                (self.see)(&place, if absent { Found::Null } else { Found::Fields });
                if !absent {
                    self.fields(message.find(name).unwrap(), nth);
                }
            }
            ty @ Type::Array(element) => {
                let count = self.length(ty, flexible);
                (self.see)(&place, count.map_or(Found::Null, Found::Elements));
                (0..count.unwrap_or(0)).for_each(|nth| self.element(&place, element, flexible, nth));
            }
            ty => {
                let found = self.single(ty, flexible);
                (self.see)(&place, found);
            }
        }
    }

    fn element(&mut self, place: &Place<'_>, ty: &Type, flexible: bool, nth: usize) {
        match ty {
            Type::Struct(name) => self.fields(place.message.find(name).unwrap(), nth),
            ty => drop(self.single(ty, flexible)),
        }
    }

    fn single(&mut self, ty: &Type, flexible: bool) -> Found {
        match ty {
            Type::String | Type::Bytes | Type::Records => match self.length(ty, flexible) {
                Some(len) => Found::Bytes(self.body.split_to(len)),
                None => Found::Null,
            },
            Type::Uuid => Found::Bytes(self.body.split_to(16)),
            ty => {
                let width = width(ty);
                let bytes = self.body.split_to(width);
                let sign =
                    if bytes[0] & 0x80 == 0 || *ty == Type::U16 || *ty == Type::U32 { 0 } else { 0xff };
                let mut number = [sign; 8];
                number[8 - width..].copy_from_slice(&bytes);
                Found::Number(i64::from_be_bytes(number))
            }
        }
    }

    fn length(&mut self, ty: &Type, flexible: bool) -> Option<usize> {
        match (flexible, ty) {
            (true, _) => self.uvarint().checked_sub(1),
            (false, Type::String) => usize::try_from(self.body.get_i16()).ok(),
            (false, _) => usize::try_from(self.body.get_i32()).ok(),
        }
    }

    fn uvarint(&mut self) -> usize {
        let (mut value, mut shift) = (0, 0);
        loop {
            let byte = self.body.get_u8();
            value |= usize::from(byte & 0x7f) << shift;
            shift += 7;
            if byte & 0x80 == 0 {
                return value;
            }
        }
    }
}

/// The bytes of a number.
fn width(ty: &Type) -> usize {
    match ty {
        Type::Bool | Type::I8 => 1,
        Type::I16 | Type::U16 => 2,
        Type::I32 | Type::U32 => 4,
        Type::I64 | Type::F64 => 8,
        ty => panic!("{ty:?} is no number"),
    }
}

fn inline(of: &Struct, version: i16) -> impl Iterator<Item = &Field> {
    of.fields.iter().filter(move |field| field.tag.is_none() && is(Some(field.versions), version))
}

fn tagged(of: &Struct, version: i16) -> Vec<(u32, &Field)> {
    let all = of.fields.iter().filter(|field| is(Some(field.versions), version));
    let mut tagged: Vec<_> = all.filter_map(|field| Some((field.tag?, field))).collect();
    tagged.sort_by_key(|(tag, _)| *tag);
    tagged
}

/// Whether a version is among these.
pub fn is(versions: Option<Versions>, version: i16) -> bool {
    versions.is_some_and(|versions| (versions.min..=versions.max).contains(&version))
}

fn put_uvarint(out: &mut Vec<u8>, mut value: usize) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}
