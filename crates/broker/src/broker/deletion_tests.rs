//! A topic is deleted while requests to it wait, on real sockets: they are answered in the version that they
//! were asked in, and the connection lives on.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use ottla_net::Server;
use ottla_wire::TopicId;
use ottla_wire::messages::delete_topics_request::DeleteTopicState;
use ottla_wire::messages::{
    ApiVersionsRequest, DeleteTopicsRequest, FetchRequest, ProduceRequest, RequestHeader, ResponseHeader,
};
use ottla_wire::primitives::{Message, Reader, Request, encode_to_bytes};
use ottla_wire::protocol::{ErrorCode, request_header_version, response_header_version};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::leader_tests::{fetch, fetched, produce, produced};
use super::stage::{ME, PATIENCE, Stage};

/// A broker that never fetches, so that a Produce with acks=all waits for it.
const OTHER: i32 = 2;

/// A client's end of a connection.
struct Socket(TcpStream);

impl Socket {
    async fn connect(addr: SocketAddr) -> Socket {
        Socket(TcpStream::connect(addr).await.unwrap())
    }

    async fn send<R: Request>(&mut self, version: i16, request: &R) {
        let header = RequestHeader {
            request_api_key: R::KEY.code(),
            request_api_version: version,
            correlation_id: 7,
            client_id: None,
        };
        let header = encode_to_bytes(&header, request_header_version(R::KEY, version)).unwrap();
        let frame = [header, encode_to_bytes(request, version).unwrap()].concat();
        self.0.write_all(&[&(frame.len() as u32).to_be_bytes(), &frame[..]].concat()).await.unwrap();
    }

    async fn receive<R: Request>(&mut self, version: i16) -> R::Response {
        let receive = async {
            let len = self.0.read_u32().await.expect("the connection lives");
            let mut frame = vec![0; len as usize];
            self.0.read_exact(&mut frame).await.unwrap();
            frame
        };
        let frame = tokio::time::timeout(PATIENCE, receive).await.expect("an answer");
        let mut reader = Reader::new(Bytes::from(frame));
        ResponseHeader::decode(&mut reader, response_header_version(R::KEY, version)).unwrap();
        R::Response::decode(&mut reader, version).unwrap()
    }
}

/// Sends a request to a topic, deletes the topic once the request is on its way, and gives the answer. Then
/// asks something else on the same connection.
async fn asked_while_deleted<R: Request>(
    stage: &Stage,
    addr: SocketAddr,
    version: i16,
    request: &R,
) -> R::Response {
    let mut socket = Socket::connect(addr).await;
    socket.send(version, request).await;
    // It need not wait by then: the answer is the same.
    tokio::time::sleep(Duration::from_millis(20)).await;
    let topic = DeleteTopicState { name: Some("t".into()), ..Default::default() };
    let delete = DeleteTopicsRequest { topics: vec![topic], timeout_ms: 60_000, ..Default::default() };
    let deleted = stage.connection().ask(6, &delete).await.unwrap();
    assert_eq!(deleted.responses[0].error_code, 0, "{deleted:?}");
    let answer = socket.receive::<R>(version).await;
    socket.send(0, &ApiVersionsRequest::default()).await;
    assert_eq!(socket.receive::<ApiVersionsRequest>(0).await.error_code, 0);
    answer
}

async fn stage() -> (Stage, Server, SocketAddr) {
    let stage = Stage::new().await;
    stage.register(OTHER, 500).await;
    let (server, addr) = stage.listen();
    (stage, server, addr)
}

async fn topic(stage: &Stage) -> TopicId {
    stage.create_topic("t", &[&[ME, OTHER]]).await
}

/// What a topic that is gone is called, by those who name it and by those who have its id. Or the partition
/// itself may be the first to know.
fn is_gone(error_code: i16) -> bool {
    matches!(
        ErrorCode::from_code(error_code),
        Some(ErrorCode::UnknownTopicOrPartition | ErrorCode::UnknownTopicId | ErrorCode::NotLeaderOrFollower)
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fetch_that_waits_is_answered_in_every_version() {
    let (stage, _server, addr) = stage().await;
    for version in FetchRequest::KEY.versions() {
        let request = fetch(version, topic(&stage).await, PATIENCE);
        let answer = asked_while_deleted(&stage, addr, version, &request).await;
        let code = fetched(&answer).error_code;
        assert!(is_gone(code), "version {version}: {code}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_produce_that_waits_is_answered_in_every_version() {
    let (stage, _server, addr) = stage().await;
    for version in ProduceRequest::KEY.versions() {
        let request = produce(version, topic(&stage).await, -1);
        let answer = asked_while_deleted(&stage, addr, version, &request).await;
        let code = produced(&answer).error_code;
        assert!(is_gone(code), "version {version}: {code}");
    }
}
