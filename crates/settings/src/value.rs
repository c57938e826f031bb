//! Values of settings, and their types.

use std::fmt;

/// Type of a value; the numbers are those of DescribeConfigs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Boolean,
    String,
    Int,
    Short,
    Long,
    Double,
    List,
    Class,
    Password,
}

/// A value of a known type.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    Boolean(bool),
    /// Of short, int and long: in the range of its type.
    Integer(i64),
    Double(f64),
    /// Of string, class and password.
    Text(String),
    List(Vec<String>),
}

impl Kind {
    /// The number of DescribeConfigs' `ConfigType`.
    pub fn code(self) -> i8 {
        match self {
            Kind::Boolean => 1,
            Kind::String => 2,
            Kind::Int => 3,
            Kind::Short => 4,
            Kind::Long => 5,
            Kind::Double => 6,
            Kind::List => 7,
            Kind::Class => 8,
            Kind::Password => 9,
        }
    }

    pub fn name(self) -> &'static str {
        match self {
            Kind::Boolean => "boolean",
            Kind::String => "string",
            Kind::Int => "int",
            Kind::Short => "short",
            Kind::Long => "long",
            Kind::Double => "double",
            Kind::List => "list",
            Kind::Class => "class",
            Kind::Password => "password",
        }
    }
}

impl Value {
    /// Reads `text` as Kafka does: spaces around it do not count (except in a password), booleans in any
    /// case.
    pub fn parse(kind: Kind, text: &str) -> Option<Value> {
        let trimmed = text.trim();
        let integer = |min: i64, max: i64| {
            trimmed.parse().ok().filter(|number| (min..=max).contains(number)).map(Value::Integer)
        };
        match kind {
            Kind::Boolean if trimmed.eq_ignore_ascii_case("true") => Some(Value::Boolean(true)),
            Kind::Boolean if trimmed.eq_ignore_ascii_case("false") => Some(Value::Boolean(false)),
            Kind::Boolean => None,
            Kind::Short => integer(i64::from(i16::MIN), i64::from(i16::MAX)),
            Kind::Int => integer(i64::from(i32::MIN), i64::from(i32::MAX)),
            Kind::Long => integer(i64::MIN, i64::MAX),
            Kind::Double => trimmed.parse().ok().filter(|number: &f64| !number.is_nan()).map(Value::Double),
            Kind::String | Kind::Class => Some(Value::Text(trimmed.to_owned())),
            Kind::Password => Some(Value::Text(text.to_owned())),
            Kind::List => Some(Value::List(split_list(trimmed))),
        }
    }

    pub fn as_f64(&self) -> Option<f64> {
        match self {
            Value::Integer(number) => Some(*number as f64),
            Value::Double(number) => Some(*number),
            Value::Boolean(_) | Value::Text(_) | Value::List(_) => None,
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        match self {
            Value::Text(text) => text.is_empty(),
            Value::List(entries) => entries.is_empty(),
            Value::Boolean(_) | Value::Integer(_) | Value::Double(_) => false,
        }
    }

    /// Whether a text, or every entry of a list, passes.
    pub(crate) fn all(&self, pass: impl Fn(&str) -> bool) -> bool {
        match self {
            Value::Text(text) => pass(text),
            Value::List(entries) => entries.iter().all(|entry| pass(entry)),
            Value::Boolean(_) | Value::Integer(_) | Value::Double(_) => true,
        }
    }
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Value::Boolean(value) => value.fmt(f),
            Value::Integer(value) => value.fmt(f),
            Value::Double(value) => f.write_str(&double(*value)),
            Value::Text(value) => f.write_str(value),
            Value::List(value) => f.write_str(&value.join(",")),
        }
    }
}

/// The entries of a list: separated by commas, spaces around them do not count. No text is no entries.
pub fn split_list(text: &str) -> Vec<String> {
    let text = text.trim();
    if text.is_empty() {
        return Vec::new();
    }
    text.split(',').map(|entry| entry.trim().to_owned()).collect()
}

/// As Java prints a double: with a point, and a power of ten once it is long.
fn double(value: f64) -> String {
    if value != 0.0 && !(1e-3..1e7).contains(&value.abs()) {
        let text = format!("{value:E}");
        match text.split_once('E') {
            Some((digits, power)) if !digits.contains('.') => format!("{digits}.0E{power}"),
            _ => text,
        }
    } else {
        format!("{value:?}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_read_and_print_as_kafka_does() {
        let cases = [
            (Kind::Boolean, " True ", Some("true")),
            (Kind::Boolean, "1", None),
            (Kind::Short, "32768", None),
            (Kind::Int, " 7 ", Some("7")),
            (Kind::Int, "7.0", None),
            (Kind::Long, "9223372036854775807", Some("9223372036854775807")),
            (Kind::Double, "1", Some("1.0")),
            (Kind::Double, "0.5", Some("0.5")),
            (Kind::Double, "1.7976931348623157E308", Some("1.7976931348623157E308")),
            (Kind::Double, "10000000", Some("1.0E7")),
            (Kind::Double, "NaN", None),
            (Kind::List, "a, b ,c", Some("a,b,c")),
            (Kind::List, "", Some("")),
            (Kind::Password, " secret ", Some(" secret ")),
        ];
        for (kind, text, printed) in cases {
            let value = Value::parse(kind, text).map(|value| value.to_string());
            assert_eq!(value.as_deref(), printed, "{kind:?} {text:?}");
        }
    }
}
