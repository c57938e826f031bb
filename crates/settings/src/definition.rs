//! What a setting is: its type, its default, what it may hold, and how it may change.

use crate::error::ConfigError;
use crate::value::{Kind, Value};

/// One setting as the tables in `schema/` define it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Definition {
    pub name: &'static str,
    pub kind: Kind,
    pub default: Fallback,
    pub range: Range,
    pub scope: Scope,
    /// Kafka hides it from descriptions.
    pub internal: bool,
    /// From Ottla's own table, not Kafka's.
    pub own: bool,
    pub doc: Option<&'static str>,
}

/// What holds when nothing is set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fallback {
    /// There is no default: it MUST be set where it is needed.
    Required,
    Null,
    Value(&'static str),
}

/// What a value may be besides being of its type.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Range {
    Any,
    /// Both ends belong to it; `or` is one more number that is allowed.
    Numbers {
        min: f64,
        max: f64,
        or: Option<f64>,
    },
    /// Of a list, each entry.
    OneOf(&'static [&'static str]),
    OneOfAnyCase(&'static [&'static str]),
    NotEmpty,
    /// `partition:broker` pairs, or `*`.
    Replicas,
}

/// How a broker setting may change while the broker runs (KIP-226).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// Only by a restart.
    ReadOnly,
    PerBroker,
    /// For one broker or for all at once.
    ClusterWide,
}

impl Definition {
    /// The default as text; `None` if there is none or it is null.
    pub fn default_text(&self) -> Option<&'static str> {
        match self.default {
            Fallback::Value(text) => Some(text),
            Fallback::Required | Fallback::Null => None,
        }
    }

    /// Values of it are never shown.
    pub fn is_sensitive(&self) -> bool {
        self.kind == Kind::Password
    }

    /// Reads a value: of the right type and in range, or an error that names the setting and says what would
    /// do.
    pub fn parse(&self, text: &str) -> Result<Value, ConfigError> {
        let value = Value::parse(self.kind, text).ok_or_else(|| ConfigError::WrongType {
            name: self.name,
            value: self.shown(text),
            kind: self.kind,
        })?;
        match self.range.refusal(&value) {
            None => Ok(value),
            Some(must) => Err(ConfigError::OutOfRange { name: self.name, value: self.shown(text), must }),
        }
    }

    fn shown(&self, text: &str) -> String {
        if self.is_sensitive() { "[hidden]".to_owned() } else { text.to_owned() }
    }
}

impl Range {
    /// What `value` would have to be, if it is not that.
    fn refusal(&self, value: &Value) -> Option<String> {
        match *self {
            Range::Any => None,
            Range::Numbers { min, max, or } => {
                let number = value.as_f64()?;
                let fits = (number >= min && number <= max) || or == Some(number);
                (!fits).then(|| numbers(min, max, or))
            }
            Range::OneOf(allowed) => {
                let fits = |entry: &str| allowed.iter().any(|one| matches(one, entry));
                (!value.all(fits)).then(|| format!("one of {}", allowed.join(", ")))
            }
            Range::OneOfAnyCase(allowed) => {
                let fits = |entry: &str| allowed.iter().any(|one| one.eq_ignore_ascii_case(entry));
                (!value.all(fits)).then(|| format!("one of {} (in any case)", allowed.join(", ")))
            }
            Range::NotEmpty => value.is_empty().then(|| "not empty".to_owned()),
            Range::Replicas => {
                (!value.all(is_replica)).then(|| "a list of partition:broker pairs, or *".to_owned())
            }
        }
    }
}

fn numbers(min: f64, max: f64, or: Option<f64>) -> String {
    let range = if max.is_finite() { format!("between {min} and {max}") } else { format!("at least {min}") };
    match or {
        Some(or) => format!("{range}, or {or}"),
        None => range,
    }
}

/// `by_duration:PnDTnHnMn.nS` in a table stands for any ISO-8601 duration.
fn matches(allowed: &str, entry: &str) -> bool {
    match allowed.split_once(":PnDT") {
        Some((prefix, _)) => {
            entry.strip_prefix(prefix).and_then(|rest| rest.strip_prefix(':')).is_some_and(is_duration)
        }
        None => allowed == entry,
    }
}

/// Days, hours, minutes and seconds of ISO-8601, none of them negative.
fn is_duration(text: &str) -> bool {
    let Some(rest) = text.strip_prefix('P') else { return false };
    let (days, time) = match rest.split_once('T') {
        Some((days, time)) => (days, Some(time)),
        None => (rest, None),
    };
    let whole = |text: &str| !text.is_empty() && text.bytes().all(|c| c.is_ascii_digit());
    let days_fit = days.is_empty() || days.strip_suffix('D').is_some_and(whole);
    let time_fits = match time {
        None => !days.is_empty(),
        Some(time) => is_time(time),
    };
    days_fit && time_fits
}

fn is_time(mut text: &str) -> bool {
    if text.is_empty() {
        return false;
    }
    for unit in ['H', 'M', 'S'] {
        if let Some((number, rest)) = text.split_once(unit) {
            let fits = number.parse::<f64>().is_ok_and(|number| number >= 0.0);
            if !fits || (unit != 'S' && number.contains('.')) {
                return false;
            }
            text = rest;
        }
    }
    text.is_empty()
}

fn is_replica(entry: &str) -> bool {
    let number = |text: &str| text.parse::<u32>().is_ok();
    entry == "*"
        || entry.split_once(':').is_some_and(|(partition, broker)| number(partition) && number(broker))
}

#[cfg(test)]
mod tests {
    use crate::tables;

    #[test]
    fn values_are_checked() {
        let cases = [
            ("segment.bytes", "1048576", None),
            ("segment.bytes", "1048575", Some("at least 1048576")),
            ("segment.bytes", "2147483648", Some("int")),
            ("segment.bytes", "12x", Some("int")),
            ("retention.ms", "-1", None),
            ("retention.ms", "-2", Some("at least -1")),
            ("min.cleanable.dirty.ratio", "0.5", None),
            ("min.cleanable.dirty.ratio", "1.5", Some("between 0 and 1")),
            ("cleanup.policy", "compact,delete", None),
            ("cleanup.policy", " compact , delete ", None),
            ("cleanup.policy", "shred", Some("one of compact, delete")),
            ("compression.gzip.level", "-1", None),
            ("compression.gzip.level", "0", Some("between 1 and 9, or -1")),
            ("compression.type", "ZSTD", Some("one of")),
            ("preallocate", "TRUE", None),
            ("preallocate", "yes", Some("boolean")),
            ("leader.replication.throttled.replicas", "0:1,2:3", None),
            ("leader.replication.throttled.replicas", "*", None),
            ("leader.replication.throttled.replicas", "0", Some("partition:broker")),
        ];
        for (name, value, refusal) in cases {
            let result = tables::topic(name).unwrap().parse(value);
            match refusal {
                None => assert!(result.is_ok(), "{name}={value}: {result:?}"),
                Some(part) => {
                    let text = result.expect_err(&format!("{name}={value}")).to_string();
                    assert!(text.contains(part) && text.contains(name), "{text}");
                }
            }
        }
    }

    #[test]
    fn durations_of_iso_8601() {
        let share = tables::group("share.auto.offset.reset").unwrap();
        for good in ["latest", "earliest", "by_duration:PT1H", "by_duration:P2D", "by_duration:P1DT2H3M4.5S"]
        {
            assert!(share.parse(good).is_ok(), "{good}");
        }
        for bad in
            ["none", "by_duration:", "by_duration:P", "by_duration:PT", "by_duration:1H", "by_duration:PT-1H"]
        {
            assert!(share.parse(bad).is_err(), "{bad}");
        }
    }
}
