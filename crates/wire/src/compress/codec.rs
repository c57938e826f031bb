//! Which codecs there are, and what can go wrong with one.

use std::fmt;

/// How the records of a batch are packed: bits 0 to 2 of its attributes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub enum Codec {
    #[default]
    None,
    Gzip,
    Snappy,
    Lz4,
    Zstd,
}

impl Codec {
    /// Every codec, in the order of the ids.
    pub const ALL: [Codec; 5] = [Codec::None, Codec::Gzip, Codec::Snappy, Codec::Lz4, Codec::Zstd];

    /// The number in a batch's attributes.
    pub fn id(self) -> u8 {
        self as u8
    }

    /// The codec of a number in a batch's attributes; `None` for 5 and up, which Kafka has not given out.
    pub fn from_id(id: u8) -> Option<Codec> {
        Self::ALL.get(usize::from(id)).copied()
    }

    /// The name as clients write it in `compression.type`. (Topics say `uncompressed` for `none`.)
    pub fn name(self) -> &'static str {
        match self {
            Codec::None => "none",
            Codec::Gzip => "gzip",
            Codec::Snappy => "snappy",
            Codec::Lz4 => "lz4",
            Codec::Zstd => "zstd",
        }
    }

    /// Reads [`Codec::name`], and `uncompressed`.
    pub fn from_name(name: &str) -> Option<Codec> {
        if name == "uncompressed" {
            return Some(Codec::None);
        }
        Self::ALL.into_iter().find(|codec| codec.name() == name)
    }

    /// The level that is used where none is given: Kafka's defaults of `compression.<codec>.level`.
    pub fn default_level(self) -> i32 {
        match self {
            Codec::None | Codec::Snappy => 0,
            Codec::Gzip => -1,
            Codec::Lz4 => 9,
            Codec::Zstd => 3,
        }
    }

    /// True for a level that `compression.<codec>.level` takes: gzip -1 and 1 to 9, lz4 1 to 17, zstd -131072
    /// to 22. The others have no levels and take their default only.
    pub fn takes_level(self, level: i32) -> bool {
        match self {
            Codec::None | Codec::Snappy => level == self.default_level(),
            Codec::Gzip => level == -1 || (1..=9).contains(&level),
            Codec::Lz4 => (1..=17).contains(&level),
            Codec::Zstd => (-131_072..=22).contains(&level),
        }
    }
}

impl fmt::Display for Codec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Why bytes could not be packed or unpacked.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum CodecError {
    /// The unpacked bytes would be more than the caller allows. Nothing is said about how many more.
    #[error("unpacks to more than the {max} bytes that are allowed")]
    TooLarge { max: usize },
    /// The packed bytes are not what the codec writes.
    #[error("{codec} data is broken: {what}")]
    Corrupt { codec: Codec, what: &'static str },
    /// The codec has no such level.
    #[error("{codec} has no compression level {level}")]
    Level { codec: Codec, level: i32 },
    /// The codec failed for a reason that is not in the bytes (no memory).
    #[error("{codec} failed: {what}")]
    Failed { codec: Codec, what: &'static str },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_and_names_are_kafkas() {
        let expected = [(0, "none"), (1, "gzip"), (2, "snappy"), (3, "lz4"), (4, "zstd")];
        for (codec, (id, name)) in Codec::ALL.into_iter().zip(expected) {
            assert_eq!((codec.id(), codec.name()), (id, name));
            assert_eq!(Codec::from_id(id), Some(codec));
            assert_eq!(Codec::from_name(name), Some(codec));
            assert!(codec.takes_level(codec.default_level()));
        }
        assert_eq!(Codec::from_id(5), None);
        assert_eq!(Codec::from_name("uncompressed"), Some(Codec::None));
    }
}
