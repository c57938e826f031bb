//! From a body to a request, and from a response to a frame.

use ottla_net::{CloseReason, Part, Response};
use ottla_wire::messages::ResponseHeader;
use ottla_wire::primitives::{
    EncodeError, Encoded, Message, Part as WirePart, Reader, Request, Writer, encode_with_header, put_frame,
};
use ottla_wire::protocol::{ApiKey, response_header_version};

/// Reads a request body. If it does not parse, the connection ends, because the bytes after it cannot be
/// trusted.
pub fn decode<R: Request>(key: ApiKey, version: i16, mut body: Reader) -> Result<R, CloseReason> {
    // Extra bytes at the end are ignored, as in Kafka: librdkafka sends some after Metadata.
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
