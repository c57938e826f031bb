//! The wire of brokers that tests make up: connections, frames, headers, and which versions are served.

use std::collections::BTreeMap;
use std::future::Future;
use std::net::SocketAddr;

use bytes::{Buf, Bytes, BytesMut};
use ottla_wire::messages::api_versions_response::ApiVersion;
use ottla_wire::messages::{ApiVersionsResponse, RequestHeader, ResponseHeader};
use ottla_wire::primitives::{Message, Reader, encode_frame};
use ottla_wire::protocol::{ApiKey, ErrorCode, request_header_version, response_header_version};
use tokio::io::AsyncReadExt;
use tokio::net::{TcpListener, TcpStream};

/// Has each connection to a new address served.
pub async fn listen<F>(serve: impl Fn(TcpStream) -> F + Send + 'static) -> SocketAddr
where
    F: Future<Output = ()> + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(serve(stream));
        }
    });
    address
}

/// A request as it came.
pub struct ReceivedRequest {
    pub key: ApiKey,
    pub version: i16,
    pub correlation_id: i32,
    pub body: Bytes,
}

impl ReceivedRequest {
    /// The next request of a connection; `None` when the peer has gone. `buffer` is what was read ahead.
    pub async fn next(stream: &mut TcpStream, buffer: &mut BytesMut) -> Option<ReceivedRequest> {
        loop {
            let length = buffer.first_chunk().map(|&prefix| i32::from_be_bytes(prefix) as usize);
            if let Some(length) = length.filter(|length| buffer.len() >= 4 + length) {
                buffer.advance(4);
                return Some(ReceivedRequest::parse(buffer.split_to(length).freeze()));
            }
            if !matches!(stream.read_buf(buffer).await, Ok(1..)) {
                return None;
            }
        }
    }

    fn parse(frame: Bytes) -> ReceivedRequest {
        let key = ApiKey::from_code(i16::from_be_bytes([frame[0], frame[1]])).unwrap();
        let version = i16::from_be_bytes([frame[2], frame[3]]);
        let mut reader = Reader::new(frame);
        let header = RequestHeader::decode(&mut reader, request_header_version(key, version)).unwrap();
        ReceivedRequest { key, version, correlation_id: header.correlation_id, body: reader.rest() }
    }

    /// An answer in the version of the request, with its length in front.
    pub fn answer<M: Message>(&self, response: &M) -> Bytes {
        self.answer_in(self.version, response)
    }

    /// The answer to ApiVersions of a broker that serves `keys`, up to `version_max` where that is not the
    /// newest. Whoever asks in a version that is too new is told so in version 0.
    pub fn api_versions(
        &self,
        keys: impl IntoIterator<Item = ApiKey>,
        version_max: &BTreeMap<ApiKey, i16>,
        mut response: ApiVersionsResponse,
    ) -> Bytes {
        let newest = |key: ApiKey| version_max.get(&key).copied().unwrap_or(*key.versions().end());
        let served = keys.into_iter().map(|key| {
            let max_version = newest(key);
            let min_version = *key.versions().start().min(&max_version);
            ApiVersion { api_key: key.code(), min_version, max_version }
        });
        response.api_keys = served.collect();
        if self.version <= newest(ApiKey::ApiVersions) {
            return self.answer(&response);
        }
        response.error_code = ErrorCode::UnsupportedVersion.code();
        self.answer_in(0, &response)
    }

    fn answer_in<M: Message>(&self, version: i16, response: &M) -> Bytes {
        let header = ResponseHeader { correlation_id: self.correlation_id };
        let header = (&header, response_header_version(self.key, version));
        encode_frame(header, (response, version)).unwrap().into_bytes().unwrap()
    }
}
