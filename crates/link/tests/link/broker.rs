//! A broker that answers ApiVersions, and to everything else does what its script says.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use ottla_link::{Connection, LinkConfig, LinkError};
use ottla_wire::messages::{ApiVersionsResponse, MetadataRequest, MetadataResponse};
use ottla_wire::primitives::decode_from;
use ottla_wire::protocol::{ApiKey, ErrorCode};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::wire::{ReceivedRequest, listen};

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
        let world: Arc<Mutex<World>> = Arc::default();
        let accepting = world.clone();
        let address = listen(move |stream| {
            accepting.lock().unwrap().connections += 1;
            serve(accepting.clone(), stream)
        });
        Fake { address: address.await.to_string(), world }
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
}

async fn serve(world: Arc<Mutex<World>>, mut stream: TcpStream) {
    let mut buffer = BytesMut::new();
    while let Some(asked) = ReceivedRequest::next(&mut stream, &mut buffer).await {
        let (deed, answer) = world.lock().unwrap().answer(&asked);
        if !perform(deed, &mut stream, &answer).await {
            return;
        }
    }
}

impl World {
    /// What is done, and the answer that there is to it.
    fn answer(&mut self, asked: &ReceivedRequest) -> (Deed, Bytes) {
        let obey = Deed::Obey(Duration::ZERO);
        self.requests.push((asked.key, asked.version));
        match asked.key {
            ApiKey::ApiVersions => (obey, self.api_versions(asked)),
            ApiKey::Metadata => (self.script.pop_front().unwrap_or(obey), metadata(asked)),
            other => panic!("the fake does not know {other:?}"),
        }
    }

    fn api_versions(&self, asked: &ReceivedRequest) -> Bytes {
        let mut keys: BTreeSet<ApiKey> = self.version_max.keys().copied().collect();
        keys.extend([ApiKey::ApiVersions, ApiKey::Metadata]);
        let error_code = self.refusal.unwrap_or(ErrorCode::None).code();
        let response = ApiVersionsResponse { error_code, ..ApiVersionsResponse::default() };
        asked.api_versions(keys, &self.version_max, response)
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
fn metadata(asked: &ReceivedRequest) -> Bytes {
    let request: MetadataRequest = decode_from(asked.body.clone(), asked.version).unwrap();
    let controller_id = request.topics.as_ref().map_or(0, Vec::len) as i32;
    asked.answer(&MetadataResponse { controller_id, ..MetadataResponse::default() })
}

/// A request whose answer says `number`.
pub fn asking(number: usize) -> MetadataRequest {
    MetadataRequest { topics: Some(vec![Default::default(); number]), ..MetadataRequest::default() }
}
