use std::time::Duration;

use ottla_client::{Advice, ClientConfig, Connection, Error};
use ottla_wire::messages::{DescribeLogDirsRequest, MetadataRequest, MetadataResponse};
use ottla_wire::protocol::ApiKey;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket};

use super::broker::Brokers;
use super::client;
use super::steady::steady;

#[tokio::test]
async fn many_requests_in_flight_get_their_own_answers() {
    let brokers = Brokers::start(1).await;
    brokers.topic("a", 3).topic("b", 7);
    let connection = Connection::connect(&brokers.bootstrap(), &client("x:1")).await.unwrap();
    let calls = (0..200).map(|i| {
        let connection = connection.clone();
        tokio::spawn(async move {
            let (name, partitions) = if i % 2 == 0 { ("a", 3) } else { ("b", 7) };
            let topic = ottla_wire::messages::metadata_request::MetadataRequestTopic {
                name: Some(name.into()),
                ..Default::default()
            };
            let request = MetadataRequest { topics: Some(vec![topic]), ..Default::default() };
            let response: MetadataResponse = connection.call(&request).await.unwrap();
            assert_eq!(response.topics[0].partitions.len(), partitions);
        })
    });
    for call in calls.collect::<Vec<_>>() {
        call.await.unwrap();
    }
}

#[tokio::test]
async fn an_old_broker_is_asked_again_at_its_version() {
    let brokers = Brokers::start(1).await;
    brokers.world().version_max.insert(ApiKey::ApiVersions, 2);
    brokers.world().version_max.insert(ApiKey::Metadata, 4);
    let connection = Connection::connect(&brokers.bootstrap(), &client("x:1")).await.unwrap();
    connection.call(&MetadataRequest::default()).await.unwrap();
    let asked: Vec<i16> = brokers.world().requests.iter().map(|&(_, _, version)| version).collect();
    assert_eq!(asked, [4, 2, 4]);
}

#[tokio::test]
async fn an_api_that_is_not_served_is_said_so_without_asking() {
    let brokers = Brokers::start(1).await;
    let connection = Connection::connect(&brokers.bootstrap(), &client("x:1")).await.unwrap();
    let error = connection.call(&DescribeLogDirsRequest::default()).await.unwrap_err();
    assert!(matches!(error, Error::UnsupportedVersion { api: ApiKey::DescribeLogDirs, .. }), "{error}");
    assert_eq!(error.advice(), Advice::GiveUp);
    assert_eq!(brokers.count(ApiKey::DescribeLogDirs), 0);
}

#[tokio::test]
async fn nobody_listens() {
    // Taken, so that no other test listens there either.
    let taken = TcpSocket::new_v4().unwrap();
    taken.bind(([127, 0, 0, 1], 0).into()).unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let error = Connection::connect(&address, &client("x:1")).await.unwrap_err();
    assert!(matches!(error, Error::Connect { .. }), "{error}");
    assert_eq!(error.advice(), Advice::Retry);
}

/// A server that answers the first request (ApiVersions) and then does as told.
async fn after_negotiation(config: &ClientConfig, then: &'static [u8], close: bool) -> Connection {
    let brokers = Brokers::start(1).await;
    let real = brokers.bootstrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut behind = tokio::net::TcpStream::connect(real).await.unwrap();
        let mut buffer = vec![0; 65_536];
        let n = stream.read(&mut buffer).await.unwrap();
        behind.write_all(&buffer[..n]).await.unwrap();
        let n = behind.read(&mut buffer).await.unwrap();
        stream.write_all(&buffer[..n]).await.unwrap();
        let _ = stream.read(&mut buffer).await.unwrap();
        stream.write_all(then).await.unwrap();
        if !close {
            std::future::pending::<()>().await;
        }
    });
    Connection::connect(&address, config).await.unwrap()
}

#[tokio::test]
async fn a_late_answer_is_an_unknown_outcome_and_ends_the_connection() {
    steady();
    let config = ClientConfig { request_timeout: Duration::from_millis(500), ..client("x:1") };
    let connection = after_negotiation(&config, b"", false).await;
    let began = tokio::time::Instant::now();
    let error = connection.call(&MetadataRequest::default()).await.unwrap_err();
    assert!(matches!(error, Error::Timeout { sent: true, .. }), "{error}");
    assert!(error.outcome_unknown() && error.is_retriable());
    assert!(began.elapsed() >= config.request_timeout);
    let error = connection.call(&MetadataRequest::default()).await.unwrap_err();
    assert!(matches!(error, Error::Disconnected { sent: false, .. }), "{error}");
    assert_eq!(error.advice(), Advice::Retry);
}

#[tokio::test]
async fn a_connection_that_breaks_leaves_the_outcome_unknown() {
    let connection = after_negotiation(&client("x:1"), b"", true).await;
    let error = connection.call(&MetadataRequest::default()).await.unwrap_err();
    assert!(matches!(error, Error::Disconnected { sent: true, .. }), "{error}");
}

#[tokio::test]
async fn bytes_that_are_no_answer_end_the_connection() {
    let cases: [(&[u8], &str); 4] = [
        (&[0x7f, 0xff, 0xff, 0xff, 0, 0, 0, 1], "announced"),
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", "announced"),
        (&[0, 0, 0, 4, 0, 0, 0, 99], "out of order"),
        // The right correlation id, then a body that is cut off.
        (&[0, 0, 0, 6, 0, 0, 0, 1, 0, 0], "malformed"),
    ];
    for (bytes, reason) in cases {
        let connection = after_negotiation(&client("x:1"), bytes, false).await;
        let error = connection.call(&MetadataRequest::default()).await.unwrap_err();
        assert!(error.to_string().contains(reason), "{error}");
        let error = connection.call(&MetadataRequest::default()).await.unwrap_err();
        assert!(matches!(error, Error::Disconnected { sent: false, .. }), "{error}");
    }
}
