//! Settings with the type that they are read as. What does not fit together does not compile: a name that no
//! table has, a type that cannot hold every value of the setting, a time whose unit the name does not say.

use std::marker::PhantomData;
use std::time::Duration;

use crate::definition::{Definition, Fallback};
use crate::dynamic::ConfigMap;
use crate::value::{Kind, Value};

/// A setting that is read as `T`.
#[derive(Debug)]
pub struct Key<T> {
    definition: &'static Definition,
    reads: PhantomData<T>,
}

impl<T> Clone for Key<T> {
    fn clone(&self) -> Key<T> {
        *self
    }
}

impl<T> Copy for Key<T> {}

/// A constant of the module `key`.
#[derive(Clone, Copy, Debug)]
pub struct Declared {
    pub constant: &'static str,
    pub definition: &'static Definition,
}

/// A type that settings are read as.
pub trait Read: Sized {
    /// The types of settings that it holds.
    const KINDS: &'static [Kind];
    /// It can say that there is no value.
    const NULL: bool = false;
    /// It is a time.
    const TIME: bool = false;

    /// `value` is of one of `KINDS`, and there only if `NULL` lets it be missing.
    fn read(definition: &Definition, value: Option<Value>) -> Self;
}

impl<T> Key<T> {
    pub const fn name(self) -> &'static str {
        self.definition.name
    }

    pub(crate) const fn definition(self) -> &'static Definition {
        self.definition
    }
}

impl<T: Read> Key<T> {
    /// The setting `name` of `table`. In a constant, so that what is wrong is an error of the compiler.
    pub(crate) const fn of(table: &'static [Definition], name: &str) -> Key<T> {
        let definition = find(table, name);
        assert!(holds(T::KINDS, definition.kind), "the setting is of another type");
        assert!(T::NULL || matches!(definition.default, Fallback::Value(_)), "the setting may have no value");
        assert!(!T::TIME || unit_ms(definition.name).is_some(), "the name does not say the unit of the time");
        Key { definition, reads: PhantomData }
    }

    /// What a resource has set itself, if that can be used.
    pub fn own(self, own: &ConfigMap) -> Option<T> {
        let value = self.definition.parse(own.get(self.definition.name)?).ok()?;
        Some(self.typed(Some(value)))
    }

    pub(crate) fn typed(self, value: Option<Value>) -> T {
        T::read(self.definition, value)
    }
}

/// Declares the settings of one table that are read, a line each, and lists them as `DECLARED`.
macro_rules! keys {
    ($table:expr; $($(#[$doc:meta])* $constant:ident: $type:ty = $name:literal;)*) => {
        $($(#[$doc])* pub const $constant: Key<$type> = Key::of($table, $name);)*

        pub(crate) const DECLARED: &[Declared] =
            &[$(Declared { constant: stringify!($constant), definition: $constant.definition() },)*];
    };
}
pub(crate) use keys;

impl Read for bool {
    const KINDS: &'static [Kind] = &[Kind::Boolean];

    fn read(definition: &Definition, value: Option<Value>) -> bool {
        match value {
            Some(Value::Boolean(value)) => value,
            other => unreachable!("{} is a boolean, not {other:?}", definition.name),
        }
    }
}

const WHOLE: &[Kind] = &[Kind::Short, Kind::Int, Kind::Long];

impl Read for i64 {
    const KINDS: &'static [Kind] = WHOLE;

    fn read(definition: &Definition, value: Option<Value>) -> i64 {
        match value {
            Some(Value::Integer(number)) => number,
            other => unreachable!("{} is a whole number, not {other:?}", definition.name),
        }
    }
}

impl Read for i32 {
    const KINDS: &'static [Kind] = &[Kind::Short, Kind::Int];

    fn read(definition: &Definition, value: Option<Value>) -> i32 {
        // It fits: the type of the setting says so.
        i32::try_from(i64::read(definition, value)).unwrap_or(i32::MAX)
    }
}

impl Read for i16 {
    const KINDS: &'static [Kind] = &[Kind::Short];

    fn read(definition: &Definition, value: Option<Value>) -> i16 {
        // It fits: the type of the setting says so.
        i16::try_from(i64::read(definition, value)).unwrap_or(i16::MAX)
    }
}

/// A negative number counts as 0.
impl Read for usize {
    const KINDS: &'static [Kind] = WHOLE;

    fn read(definition: &Definition, value: Option<Value>) -> usize {
        let number = i64::read(definition, value);
        usize::try_from(number.max(0)).unwrap_or(usize::MAX)
    }
}

/// A negative number means that there is none.
impl Read for Option<usize> {
    const KINDS: &'static [Kind] = WHOLE;
    const NULL: bool = true;

    fn read(definition: &Definition, value: Option<Value>) -> Option<usize> {
        usize::try_from(i64::read(definition, Some(value?))).ok()
    }
}

/// A negative number means that there is none.
impl Read for Option<i32> {
    const KINDS: &'static [Kind] = <i32 as Read>::KINDS;
    const NULL: bool = true;

    fn read(definition: &Definition, value: Option<Value>) -> Option<i32> {
        Some(i32::read(definition, Some(value?))).filter(|number| *number >= 0)
    }
}

/// A negative time counts as none at all: 0.
impl Read for Duration {
    const KINDS: &'static [Kind] = WHOLE;
    const TIME: bool = true;

    fn read(definition: &Definition, value: Option<Value>) -> Duration {
        let unit = unit_ms(definition.name).unwrap_or(1);
        let number = u64::try_from(i64::read(definition, value)).unwrap_or(0);
        Duration::from_millis(number.saturating_mul(unit))
    }
}

/// A negative time means for ever.
impl Read for Option<Duration> {
    const KINDS: &'static [Kind] = WHOLE;
    const NULL: bool = true;
    const TIME: bool = true;

    fn read(definition: &Definition, value: Option<Value>) -> Option<Duration> {
        let value = value.filter(|value| !matches!(value, Value::Integer(..0)))?;
        Some(Duration::read(definition, Some(value)))
    }
}

impl Read for Option<String> {
    const KINDS: &'static [Kind] = &[Kind::String];
    const NULL: bool = true;

    fn read(definition: &Definition, value: Option<Value>) -> Option<String> {
        match value? {
            Value::Text(text) => Some(text),
            other => unreachable!("{} is text, not {other:?}", definition.name),
        }
    }
}

impl Read for String {
    const KINDS: &'static [Kind] = &[Kind::String];

    fn read(definition: &Definition, value: Option<Value>) -> String {
        <Option<String>>::read(definition, value).unwrap_or_default()
    }
}

/// No list has no entries.
impl Read for Vec<String> {
    const KINDS: &'static [Kind] = &[Kind::List];
    const NULL: bool = true;

    fn read(definition: &Definition, value: Option<Value>) -> Vec<String> {
        match value {
            Some(Value::List(entries)) => entries,
            None => Vec::new(),
            other => unreachable!("{} is a list, not {other:?}", definition.name),
        }
    }
}

const fn find(table: &'static [Definition], name: &str) -> &'static Definition {
    let mut at = 0;
    while at < table.len() {
        if same(table[at].name.as_bytes(), name.as_bytes()) {
            return &table[at];
        }
        at += 1;
    }
    panic!("no setting has this name")
}

const fn holds(kinds: &[Kind], kind: Kind) -> bool {
    let mut at = 0;
    while at < kinds.len() {
        if kinds[at] as u8 == kind as u8 {
            return true;
        }
        at += 1;
    }
    false
}

/// The milliseconds of the unit that a name ends with.
const fn unit_ms(name: &str) -> Option<u64> {
    match () {
        () if ends_with(name, ".ms") => Some(1),
        () if ends_with(name, ".seconds") => Some(1_000),
        () if ends_with(name, ".minutes") => Some(60_000),
        () => None,
    }
}

const fn ends_with(name: &str, end: &str) -> bool {
    let (name, end) = (name.as_bytes(), end.as_bytes());
    if name.len() < end.len() {
        return false;
    }
    same(name.split_at(name.len() - end.len()).1, end)
}

const fn same(a: &[u8], b: &[u8]) -> bool {
    if a.len() != b.len() {
        return false;
    }
    let mut at = 0;
    while at < a.len() {
        if a[at] != b[at] {
            return false;
        }
        at += 1;
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tables;

    #[test]
    fn numbers_and_times_are_read_in_their_units() {
        const IDLE: Key<Option<Duration>> = Key::of(&tables::BROKER, "connections.max.idle.ms");
        const IMBALANCE: Key<Duration> = Key::of(&tables::BROKER, "leader.imbalance.check.interval.seconds");
        const RETENTION: Key<Duration> = Key::of(&tables::BROKER, "offsets.retention.minutes");
        const BUFFER: Key<Option<usize>> = Key::of(&tables::BROKER, "socket.send.buffer.bytes");
        const METADATA: Key<usize> = Key::of(&tables::BROKER, "offset.metadata.max.bytes");
        const BROKER_ID: Key<Option<i32>> = Key::of(&tables::BROKER, "broker.id");
        let number = |number| Some(Value::Integer(number));
        assert_eq!(IDLE.typed(number(5)), Some(Duration::from_millis(5)));
        assert_eq!(IDLE.typed(number(-1)), None);
        assert_eq!(IMBALANCE.typed(number(5)), Duration::from_secs(5));
        assert_eq!(IMBALANCE.typed(number(-5)), Duration::ZERO);
        assert_eq!(RETENTION.typed(number(5)), Duration::from_secs(300));
        assert_eq!((BUFFER.typed(number(7)), BUFFER.typed(number(-1))), (Some(7), None));
        assert_eq!((METADATA.typed(number(7)), METADATA.typed(number(-1))), (7, 0));
        assert_eq!((BROKER_ID.typed(number(0)), BROKER_ID.typed(number(-1))), (Some(0), None));
        assert_eq!(BROKER_ID.typed(None), None);
    }

    #[test]
    #[should_panic(expected = "no setting has this name")]
    fn a_key_needs_a_setting() {
        Key::<bool>::of(&tables::BROKER, "auto.create.topic.enable");
    }

    #[test]
    #[should_panic(expected = "another type")]
    fn a_key_has_the_type_of_its_setting() {
        Key::<i32>::of(&tables::BROKER, "log.retention.bytes");
    }

    #[test]
    #[should_panic(expected = "may have no value")]
    fn a_key_minds_what_may_be_missing() {
        Key::<i64>::of(&tables::BROKER, "log.retention.ms");
    }

    #[test]
    #[should_panic(expected = "unit of the time")]
    fn a_key_of_a_time_knows_its_unit() {
        Key::<Duration>::of(&tables::BROKER, "num.partitions");
    }

    #[test]
    fn what_a_resource_has_set_is_read_if_it_can_be() {
        const TIMEOUT: Key<Duration> = Key::of(&tables::GROUP, "consumer.session.timeout.ms");
        let own = |value: &str| ConfigMap::from([("consumer.session.timeout.ms".into(), value.into())]);
        assert_eq!(TIMEOUT.own(&own("50000")), Some(Duration::from_secs(50)));
        assert_eq!(TIMEOUT.own(&own("soon")), None);
        assert_eq!(TIMEOUT.own(&ConfigMap::new()), None);
    }
}
