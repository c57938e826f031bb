//! What every message can do, and the ways to turn one into bytes and back.

use bytes::Bytes;

use super::{DecodeError, EncodeError, Encoded, Reader, Sink, Size, Sizer, Writer};
use crate::protocol::ApiKey;

/// A request, response, header or record of the schema.
///
/// A version outside `MIN_VERSION..=MAX_VERSION` is an error of every function here. Writing a field that the
/// version lacks is an error unless the field has its default value or the schema calls it ignorable.
pub trait Message: Sized {
    /// Kafka's name.
    const NAME: &'static str;
    const MIN_VERSION: i16;
    const MAX_VERSION: i16;

    /// Whether `version` uses the compact encodings and tagged fields of KIP-482.
    fn flexible(version: i16) -> bool;

    /// Reads one message from the front of `reader`; what follows it is left there.
    fn decode(reader: &mut Reader, version: i16) -> Result<Self, DecodeError>;

    /// Adds the fields to `sink`: measures with a [`Sizer`], writes with a [`Writer`].
    fn put<S: Sink>(&self, sink: &mut S, version: i16) -> Result<(), EncodeError>;

    /// Length in bytes, with records that are shared and gaps.
    fn size(&self, version: i16) -> Result<usize, EncodeError> {
        let mut sizer = Sizer::default();
        self.put(&mut sizer, version)?;
        Ok(sizer.size().total())
    }

    /// Writes the message; `writer` MUST have been made for the size of all that it is to take.
    fn encode(&self, writer: &mut Writer, version: i16) -> Result<(), EncodeError> {
        self.put(writer, version)
    }
}

/// A message that has an API key and is answered.
pub trait Request: Message {
    const KEY: ApiKey;
    type Response: Message;
}

/// Reads a whole message and refuses bytes after its end.
pub fn decode_from<M: Message>(bytes: Bytes, version: i16) -> Result<M, DecodeError> {
    let mut reader = Reader::new(bytes);
    let message = M::decode(&mut reader, version)?;
    reader.finish(M::NAME)?;
    Ok(message)
}

/// The parts of one message.
pub fn encode<M: Message>(message: &M, version: i16) -> Result<Encoded, EncodeError> {
    let mut sizer = Sizer::default();
    message.put(&mut sizer, version)?;
    let mut writer = Writer::new(sizer.size());
    message.put(&mut writer, version)?;
    Ok(writer.finish())
}

/// One message in one piece. A [`super::Records::Gap`] is an error.
pub fn encode_to_bytes<M: Message>(message: &M, version: i16) -> Result<Bytes, EncodeError> {
    encode(message, version)?.into_bytes()
}

/// A number of 16 bits and then the message, in one piece: the form of coordinator records (the record type
/// before a key, the version before a value) and of the consumer protocol (the version).
pub fn encode_prefixed<M: Message>(prefix: i16, message: &M, version: i16) -> Result<Bytes, EncodeError> {
    let mut sizer = Sizer::default();
    sizer.i16(prefix);
    message.put(&mut sizer, version)?;
    let mut writer = Writer::new(sizer.size());
    writer.i16(prefix);
    message.put(&mut writer, version)?;
    writer.finish().into_bytes()
}

/// A header and its body, without the length that stands before a frame.
pub fn encode_with_header<H: Message, M: Message>(
    header: (&H, i16),
    body: (&M, i16),
) -> Result<Encoded, EncodeError> {
    let mut sizer = Sizer::default();
    put_pair(&mut sizer, header, body)?;
    let mut writer = Writer::new(sizer.size());
    put_pair(&mut writer, header, body)?;
    Ok(writer.finish())
}

/// A whole frame: its length (32 bits), the header, the body.
pub fn encode_frame<H: Message, M: Message>(
    header: (&H, i16),
    body: (&M, i16),
) -> Result<Encoded, EncodeError> {
    let mut writer = Writer::new(Size::default());
    put_frame(&mut writer, header, body)?;
    Ok(writer.finish())
}

/// Adds a whole frame to what `writer` has.
pub fn put_frame<H: Message, M: Message>(
    writer: &mut Writer,
    header: (&H, i16),
    body: (&M, i16),
) -> Result<(), EncodeError> {
    let mut sizer = Sizer::default();
    sizer.i32(0);
    put_pair(&mut sizer, header, body)?;
    let total = sizer.size().total() - size_of::<i32>();
    let length = i32::try_from(total).map_err(|_| EncodeError::FrameTooLong(total as u64))?;
    writer.reserve(sizer.size());
    writer.i32(length);
    put_pair(writer, header, body)
}

fn put_pair<S: Sink, H: Message, M: Message>(
    sink: &mut S,
    (header, header_version): (&H, i16),
    (body, version): (&M, i16),
) -> Result<(), EncodeError> {
    header.put(sink, header_version)?;
    body.put(sink, version)
}
