//! What can be wrong with bytes that are read, and with values that are to be written.

/// The bytes are not what the schema says. The connection that sent them is out of step and MUST be closed,
/// the record that holds them is corrupt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {problem}")]
pub struct DecodeError {
    /// `Struct.Field` in Kafka's names, or the name of the message.
    pub field: &'static str,
    pub problem: DecodeProblem,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeProblem {
    #[error("{needed} bytes are needed and {remaining} remain")]
    Truncated { needed: u64, remaining: u64 },
    #[error("{count} elements cannot be in the {remaining} bytes that remain")]
    TooManyElements { count: u32, remaining: u64 },
    #[error("length {0} is not allowed")]
    InvalidLength(i32),
    #[error("null is not allowed in this version")]
    UnexpectedNull,
    #[error("the text is not UTF-8")]
    NotUtf8,
    #[error("the variable-length number does not end or is too large")]
    InvalidVarint,
    #[error("tagged field {tag} ends {distance} bytes away from its stated end")]
    TaggedFieldLength { tag: u32, distance: i64 },
    #[error("version {0} is not known")]
    UnsupportedVersion(i16),
    #[error("record frame version {0} is not known")]
    UnsupportedFrame(u32),
    #[error("record type {0} is not known")]
    UnknownRecordType(u32),
    #[error("{0} bytes follow the end")]
    TrailingBytes(u64),
}

impl DecodeError {
    #[cold]
    pub fn new(field: &'static str, problem: DecodeProblem) -> DecodeError {
        DecodeError { field, problem }
    }
}

/// A value that the asked version cannot carry: an error of the caller, never of the peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EncodeError {
    #[error("{message}: version {version} is not known")]
    UnsupportedVersion { message: &'static str, version: i16 },
    #[error("{field} is set but version {version} does not have it")]
    FieldNotInVersion { field: &'static str, version: i16 },
    #[error("{field} is null, which version {version} does not allow")]
    NullNotInVersion { field: &'static str, version: i16 },
    #[error("{field} holds {length} bytes or elements, which its encoding cannot express")]
    TooLong { field: &'static str, length: u64 },
    #[error("the message is {0} bytes long, which a frame cannot express")]
    FrameTooLong(u64),
    #[error("a gap for bytes from elsewhere cannot be in a contiguous encoding")]
    Gap,
}
