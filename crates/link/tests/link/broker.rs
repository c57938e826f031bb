//! A broker that answers ApiVersions, and to everything else does what its script says.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use ottla_link::{Connection, LinkConfig, LinkError};
use ottla_wire::messages::api_versions_response::ApiVersion;
use ottla_wire::messages::{
    ApiVersionsResponse, MetadataRequest, MetadataResponse, RequestHeader, ResponseHeader,
};
use ottla_wire::primitives::{Message, Reader, decode_from, encode_frame};
use ottla_wire::protocol::{ApiKey, ErrorCode, request_header_version, response_header_version};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// What the broker does with a request. Without a script it obeys.
#[derive(Clone, Debug)]
pub enum Deed {
    /// Answers, after a while.
    Obey(Duration),
    /// Reads it, and never answers this nor anything after it.
    FallSilent,
    /// Closes the connection without an answer.
    HangUp,
    /// Sends half of an answer, then closes.
    HangUpWithin,
    /// Resets the connection.
    Reset,
    /// Answers with another correlation id.
    AnswerAnother,
    /// Sends these bytes in place of an answer.
    Send(&'static [u8]),
    /// Answers, and then says something that nobody asked for.
    SayMore,
    /// Reads nothing any more.
    StopReading,
}

#[derive(Default)]
struct World {
    script: VecDeque<Deed>,
    version_max: BTreeMap<ApiKey, i16>,
    /// ApiVersions is answered with this.
    refusal: Option<ErrorCode>,
    /// Key and version of each request, as it came.
    requests: Vec<(ApiKey, i16)>,
    connections: usize,
}

#[derive(Clone)]
pub struct Fake {
    pub address: String,
    world: Arc<Mutex<World>>,
}

impl Fake {
    pub async fn start() -> Fake {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let fake = Fake { address: listener.local_addr().unwrap().to_string(), world: Arc::default() };
        let accepting = fake.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                accepting.world.lock().unwrap().connections += 1;
                tokio::spawn(accepting.clone().serve(stream));
            }
        });
        fake
    }

    /// What becomes of the next requests, in their order.
    pub fn script(&self, deeds: impl IntoIterator<Item = Deed>) -> &Self {
        self.world.lock().unwrap().script.extend(deeds);
        self
    }

    pub fn serves(&self, key: ApiKey, version_max: i16) -> &Self {
        self.world.lock().unwrap().version_max.insert(key, version_max);
        self
    }

    pub fn refuses(&self, code: ErrorCode) -> &Self {
        self.world.lock().unwrap().refusal = Some(code);
        self
    }

    pub fn requests(&self) -> Vec<(ApiKey, i16)> {
        self.world.lock().unwrap().requests.clone()
    }

    /// Requests other than ApiVersions.
    pub fn asked(&self) -> usize {
        self.requests().iter().filter(|(key, _)| *key != ApiKey::ApiVersions).count()
    }

    pub fn connections(&self) -> usize {
        self.world.lock().unwrap().connections
    }

    pub async fn connect(&self, config: &LinkConfig) -> Result<Connection, LinkError> {
        Connection::connect(&self.address, config).await
    }

    async fn serve(self, mut stream: TcpStream) {
        let mut buffer = BytesMut::new();
        loop {
            let length = buffer.first_chunk().map(|&prefix| i32::from_be_bytes(prefix) as usize);
            let Some(length) = length.filter(|length| buffer.len() >= 4 + length) else {
                match stream.read_buf(&mut buffer).await {
                    Ok(1..) => continue,
                    _ => return,
                }
            };
            buffer.advance(4);
            let frame = buffer.split_to(length).freeze();
            if !self.handle(&mut stream, frame).await {
                return;
            }
        }
    }

    /// False: the connection is to end.
    async fn handle(&self, stream: &mut TcpStream, frame: Bytes) -> bool {
        let key = ApiKey::from_code(i16::from_be_bytes([frame[0], frame[1]])).unwrap();
        let version = i16::from_be_bytes([frame[2], frame[3]]);
        let mut reader = Reader::new(frame);
        let header = RequestHeader::decode(&mut reader, request_header_version(key, version)).unwrap();
        let id = header.correlation_id;
        let deed = {
            let mut world = self.world.lock().unwrap();
            world.requests.push((key, version));
            match key {
                ApiKey::ApiVersions => None,
                _ => Some(world.script.pop_front().unwrap_or(Deed::Obey(Duration::ZERO))),
            }
        };
        let answer = match key {
            ApiKey::ApiVersions => self.api_versions(version, id),
            ApiKey::Metadata => metadata(&decode_from(reader.rest(), version).unwrap(), version, id),
            other => panic!("the fake does not know {other:?}"),
        };
        match deed {
            None => stream.write_all(&answer).await.is_ok(),
            Some(deed) => perform(deed, stream, &answer).await,
        }
    }

    fn api_versions(&self, version: i16, id: i32) -> Bytes {
        let world = self.world.lock().unwrap();
        let keys =
            [ApiKey::ApiVersions, ApiKey::Metadata].into_iter().chain(world.version_max.keys().copied());
        let keys: BTreeSet<ApiKey> = keys.collect();
        let served: Vec<ApiVersion> = keys
            .into_iter()
            .map(|key| {
                let max = world.version_max.get(&key).copied().unwrap_or(*key.versions().end());
                ApiVersion { api_key: key.code(), min_version: *key.versions().start(), max_version: max }
            })
            .collect();
        let newest = world.version_max.get(&ApiKey::ApiVersions).copied();
        let too_new = newest.is_some_and(|newest| version > newest);
        let code =
            world.refusal.unwrap_or(if too_new { ErrorCode::UnsupportedVersion } else { ErrorCode::None });
        let response = ApiVersionsResponse {
            error_code: code.code(),
            api_keys: served,
            ..ApiVersionsResponse::default()
        };
        encode(ApiKey::ApiVersions, &response, if too_new { 0 } else { version }, id)
    }
}

/// Does it; false if the connection is to end.
async fn perform(deed: Deed, stream: &mut TcpStream, answer: &[u8]) -> bool {
    let wrong_id = |answer: &[u8]| [&answer[..4], &[0x7f; 4], &answer[8..]].concat();
    match deed {
        Deed::Obey(after) => {
            tokio::time::sleep(after).await;
            stream.write_all(answer).await.is_ok()
        }
        Deed::HangUp => false,
        Deed::HangUpWithin => {
            stream.write_all(&answer[..answer.len() / 2]).await.unwrap();
            false
        }
        Deed::Reset => {
            socket2::SockRef::from(&*stream).set_linger(Some(Duration::ZERO)).unwrap();
            false
        }
        Deed::AnswerAnother => stream.write_all(&wrong_id(answer)).await.is_ok(),
        Deed::Send(bytes) => stream.write_all(bytes).await.is_ok(),
        Deed::SayMore => stream.write_all(&[answer, answer].concat()).await.is_ok(),
        Deed::FallSilent => {
            // Goes on reading until the peer has gone.
            let mut sink = [0; 4096];
            while let Ok(1..) = stream.read(&mut sink).await {}
            false
        }
        Deed::StopReading => std::future::pending().await,
    }
}

/// The answer names the number of topics that were asked for, so that answers can be told apart.
fn metadata(request: &MetadataRequest, version: i16, id: i32) -> Bytes {
    let controller_id = request.topics.as_ref().map_or(0, Vec::len) as i32;
    encode(ApiKey::Metadata, &MetadataResponse { controller_id, ..MetadataResponse::default() }, version, id)
}

fn encode<M: Message>(key: ApiKey, response: &M, version: i16, correlation_id: i32) -> Bytes {
    let header = (&ResponseHeader { correlation_id }, response_header_version(key, version));
    encode_frame(header, (response, version)).unwrap().into_bytes().unwrap()
}

/// A request whose answer says `number`.
pub fn asking(number: usize) -> MetadataRequest {
    MetadataRequest { topics: Some(vec![Default::default(); number]), ..MetadataRequest::default() }
}
