//! Reader, writer and the field types of messages.
//!
//! [`Reader`] reads one frame and shares its bytes; [`Writer`] writes into one allocation of the size that
//! [`Sizer`] has measured. Both know nothing of messages: the generated code of [`crate::messages`] drives
//! them.

mod error;
mod message;
mod reader;
mod records;
mod sink;
mod str;
mod writer;

pub use error::{DecodeError, DecodeProblem, EncodeError};
pub use message::{
    Message, Request, decode_from, encode, encode_frame, encode_prefixed, encode_to_bytes,
    encode_with_header, put_frame,
};
pub use reader::Reader;
pub use records::Records;
pub use sink::{Sink, Size, Sizer, absent_unless, present, tag_size};
pub use str::Str;
pub use writer::{Encoded, Part, SHARED_RECORDS_BYTES_MIN, Writer};
