//! Newtypes for ids, offsets, epochs and times, so that two numbers that mean different things cannot be
//! swapped.

use std::fmt;
use std::time::Duration;

macro_rules! number {
    ($(#[$doc:meta])* $name:ident($inner:ty)) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
        pub struct $name(pub $inner);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(&self.0, f)
            }
        }
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self.0)
            }
        }
        impl From<$inner> for $name {
            fn from(value: $inner) -> Self {
                Self(value)
            }
        }
    };
}

number!(/// A position in a partition's log. The next record to be written has the log-end offset.
    Offset(i64));
number!(/// A broker (node) of the cluster. `-1` on the wire means "none".
    BrokerId(i32));
number!(/// One incarnation of a broker: the metadata-log offset of its registration.
    BrokerEpoch(i64));
number!(/// A partition of a topic, counted from 0.
    PartitionIndex(i32));
number!(/// Counts the leaders of a partition. Every batch carries the epoch of the leader that wrote it.
    LeaderEpoch(i32));
number!(/// Counts the changes of a partition's metadata (KIP-497).
    PartitionEpoch(i32));
number!(/// An idempotent or transactional producer (KIP-98).
    ProducerId(i64));
number!(/// One incarnation of a producer id.
    ProducerEpoch(i16));
number!(/// Number of a record in the stream of one producer to one partition; wraps from 2^31-1 to 0.
    Sequence(i32));
number!(/// Wall-clock time in milliseconds since 1970 (what records carry). `-1` means "none".
    Timestamp(i64));
number!(/// Monotonic time in nanoseconds since the process (or the simulation) started. Never on the wire or on disk.
    Instant(u64));

impl Offset {
    pub const ZERO: Offset = Offset(0);

    /// The offset `n` records further on.
    pub fn plus(self, n: i64) -> Offset {
        Offset(self.0 + n)
    }
}

impl Sequence {
    pub const NONE: Sequence = Sequence(-1);

    /// The sequence `n` records further on, wrapping from 2^31-1 to 0 as Kafka does.
    pub fn plus(self, n: i32) -> Sequence {
        Sequence(((self.0 as i64 + n as i64) & 0x7fff_ffff) as i32)
    }
}

impl ProducerId {
    pub const NONE: ProducerId = ProducerId(-1);
}

impl LeaderEpoch {
    pub const NONE: LeaderEpoch = LeaderEpoch(-1);
}

impl BrokerId {
    pub const NONE: BrokerId = BrokerId(-1);
}

impl Timestamp {
    pub const NONE: Timestamp = Timestamp(-1);
}

impl Instant {
    /// Time since `earlier`; zero if `earlier` is later.
    pub fn since(self, earlier: Instant) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

impl std::ops::Add<Duration> for Instant {
    type Output = Instant;
    fn add(self, rhs: Duration) -> Instant {
        Instant(self.0.saturating_add(u64::try_from(rhs.as_nanos()).unwrap_or(u64::MAX)))
    }
}

/// 128-bit id, as Kafka prints it: URL-safe base64 without padding.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Uuid(pub [u8; 16]);

/// The id of a topic: a topic created again under the same name has another one (KIP-516).
pub type TopicId = Uuid;

const BASE64_URL: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

impl Uuid {
    /// All zero: "no id".
    pub const ZERO: Uuid = Uuid([0; 16]);

    pub fn is_zero(&self) -> bool {
        *self == Self::ZERO
    }

    /// Reads the 22 characters that [`fmt::Display`] writes; `None` for anything else.
    pub fn parse(text: &str) -> Option<Uuid> {
        if text.len() != 22 {
            return None;
        }
        let mut value: u128 = 0;
        for (i, c) in text.bytes().enumerate() {
            let digit = BASE64_URL.iter().position(|&b| b == c)? as u128;
            // 22 digits are 132 bits: the last digit carries two bits of the id and four that must be zero.
            if i < 21 {
                value = (value << 6) | digit;
            } else if digit & 0xf == 0 {
                value = (value << 2) | (digit >> 4);
            } else {
                return None;
            }
        }
        Some(Uuid(value.to_be_bytes()))
    }
}

impl fmt::Display for Uuid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let value = u128::from_be_bytes(self.0);
        let mut text = [0u8; 22];
        for (i, c) in text.iter_mut().enumerate() {
            let digit = if i < 21 { (value >> (122 - 6 * i)) & 0x3f } else { (value & 0x3) << 4 };
            *c = BASE64_URL[digit as usize];
        }
        f.write_str(std::str::from_utf8(&text).map_err(|_| fmt::Error)?)
    }
}

impl fmt::Debug for Uuid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uuid_prints_as_kafka_does() {
        let id = Uuid::parse("_qbhJAh0QYCkIDa2gBPMdA").unwrap();
        assert_eq!(id.to_string(), "_qbhJAh0QYCkIDa2gBPMdA");
        assert_eq!(Uuid::ZERO.to_string(), "AAAAAAAAAAAAAAAAAAAAAA");
        assert_eq!(Uuid::parse("AAAAAAAAAAAAAAAAAAAAAB"), None);
        assert_eq!(Uuid::parse("short"), None);
    }

    #[test]
    fn sequence_wraps_to_zero() {
        assert_eq!(Sequence(i32::MAX).plus(1), Sequence(0));
        assert_eq!(Sequence(i32::MAX - 1).plus(3), Sequence(1));
    }
}
