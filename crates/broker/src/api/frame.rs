//! From a frame to a request, and from a response to a frame.

use bytes::{Buf, Bytes};
use ottla_net::{CloseReason, Frame, Part, Response};
use ottla_wire::messages::{RequestHeader, ResponseHeader};
use ottla_wire::primitives::{
    EncodeError, Encoded, Message, Part as WirePart, Reader, Request, Writer, encode_with_header, put_frame,
};
use ottla_wire::protocol::{ApiKey, request_header_version, response_header_version};

/// A frame whose header has been read.
pub struct ParsedHeader {
    pub key: ApiKey,
    pub version: i16,
    pub header: RequestHeader,
    /// What follows the header.
    pub body: Reader,
}

impl ParsedHeader {
    /// Reads the header; the version is not yet checked against what is served.
    pub fn read(frame: Bytes) -> Result<ParsedHeader, CloseReason> {
        let (code, version) =
            peek(&frame).ok_or_else(|| CloseReason::refused("a request without a header"))?;
        let key = ApiKey::try_from(code).map_err(|unknown| CloseReason::refused(unknown.to_string()))?;
        let mut body = Reader::new(frame);
        let header = RequestHeader::decode(&mut body, request_header_version(key, version))
            .map_err(|error| CloseReason::refused(format!("header of {key} version {version}: {error}")))?;
        Ok(ParsedHeader { key, version, header, body })
    }
}

/// Whether a frame is a request of this API.
pub fn is_of(frame: &Frame, key: ApiKey) -> bool {
    peek(&frame.bytes).is_some_and(|(code, _)| code == key.code())
}

/// Reads a request body. One that does not parse ends the connection: nothing after it can be trusted to be in step.
pub fn decode<R: Request>(key: ApiKey, version: i16, mut body: Reader) -> Result<R, CloseReason> {
    // Bytes after the end are left alone, as Kafka does: librdkafka sends some after Metadata.
    R::decode(&mut body, version)
        .map_err(|error| CloseReason::refused(format!("{key} version {version}: {error}")))
}

/// A response with its header.
pub fn encode<M: Message>(
    key: ApiKey,
    version: i16,
    correlation_id: i32,
    response: &M,
) -> Result<Response, CloseReason> {
    let encoded = encode_parts(key, version, correlation_id, response)?;
    let mut parts = Vec::with_capacity(encoded.parts.len());
    for part in encoded.parts {
        match part {
            WirePart::Bytes(bytes) => parts.push(Part::Bytes(bytes)),
            WirePart::Gap { .. } => return Err(CloseReason::refused(format!("{key} answered with a gap"))),
        }
    }
    Ok(Response { parts, ..Response::default() })
}

/// Adds a whole response to `out`, with its length.
pub fn encode_behind<M: Message>(
    out: &mut Writer,
    (key, version): (ApiKey, i16),
    correlation_id: i32,
    response: &M,
) -> Result<(), CloseReason> {
    let header = ResponseHeader { correlation_id };
    let header_version = response_header_version(key, version);
    put_frame(out, (&header, header_version), (response, version))
        .map_err(|error| cannot_be_expressed(key, version, &error))
}

pub fn encode_parts<M: Message>(
    key: ApiKey,
    version: i16,
    correlation_id: i32,
    response: &M,
) -> Result<Encoded, CloseReason> {
    let header = ResponseHeader { correlation_id };
    let header_version = response_header_version(key, version);
    encode_with_header((&header, header_version), (response, version))
        .map_err(|error| cannot_be_expressed(key, version, &error))
}

fn cannot_be_expressed(key: ApiKey, version: i16, error: &EncodeError) -> CloseReason {
    tracing::error!(api = %key, version, %error, "a response cannot be expressed in the version that was asked");
    CloseReason::refused(format!("the answer to {key} version {version} cannot be expressed: {error}"))
}

/// API key and version, which every header begins with.
fn peek(frame: &Bytes) -> Option<(i16, i16)> {
    let mut start = frame.get(..4)?;
    Some((start.get_i16(), start.get_i16()))
}
