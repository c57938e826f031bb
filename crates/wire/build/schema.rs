//! The schema as data.

/// Versions from `min` to `max`, both included. `max` is `i16::MAX` for "and later".
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Versions {
    pub min: i16,
    pub max: i16,
}

impl Versions {
    /// The versions that are in both; `None` if there are none.
    pub fn and(self, other: Versions) -> Option<Versions> {
        let both = Versions { min: self.min.max(other.min), max: self.max.min(other.max) };
        (both.min <= both.max).then_some(both)
    }

    pub fn covers(self, other: Versions) -> bool {
        self.and(other) == Some(other)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MessageKind {
    Request,
    Response,
    Header,
    /// A record of the metadata log.
    Metadata,
    CoordinatorKey,
    CoordinatorValue,
    /// Anything else that is kept or carried as bytes.
    Data,
}

#[derive(Debug)]
pub struct Message {
    pub name: String,
    pub kind: MessageKind,
    pub key: Option<i16>,
    pub listeners: Vec<String>,
    pub versions: Versions,
    pub flexible: Option<Versions>,
    /// The newest version is not advertised.
    pub unstable: bool,
    /// The part of Kafka that defines it, where the schema says so.
    pub origin: Option<String>,
    /// The message itself comes first, then the structs it is made of.
    pub structs: Vec<Struct>,
}

impl Message {
    pub fn find(&self, name: &str) -> Option<&Struct> {
        self.structs.iter().find(|s| s.name == name)
    }
}

#[derive(Debug)]
pub struct Struct {
    pub name: String,
    /// Versions of the message in which this struct can occur.
    pub versions: Versions,
    pub fields: Vec<Field>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Type {
    Bool,
    I8,
    I16,
    I32,
    I64,
    U16,
    U32,
    F64,
    Uuid,
    String,
    Bytes,
    Records,
    Struct(String),
    Array(Box<Type>),
}

#[derive(Debug)]
pub struct Field {
    /// Kafka's name.
    pub name: String,
    pub ty: Type,
    /// Within the versions of the struct.
    pub versions: Versions,
    pub nullable: Option<Versions>,
    pub default: Option<String>,
    /// The number of a tagged field. It is one in all of its versions.
    pub tag: Option<u32>,
    pub ignorable: bool,
    /// Whether it keeps the older encoding in a flexible message.
    pub never_flexible: bool,
    /// Whether the schema calls it the key of a keyed array.
    pub map_key: bool,
}

impl Field {
    /// `None`, which the schema has too, is the absence of a default: Kafka takes an empty value there.
    pub fn default_is_null(&self) -> bool {
        self.default.as_deref() == Some("null")
    }
}
