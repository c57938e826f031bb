//! Streams that have to come up first, and what a service is told of their peers.

use std::sync::Arc;
use std::sync::atomic::Ordering::{Relaxed, SeqCst};
use std::time::Duration;

use ottla_net::{Listener, NetSettings, Plain, Principal, SecurityProtocol};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::time::Instant;

use crate::stage::{Client, SOON, Stage, Wire, stage, until};
use crate::steady::steady;
use crate::veiled::{HELLO, Veil};

/// Listeners of both kinds share one server, and the service learns how each peer came.
#[tokio::test]
async fn plain_and_other_listeners_share_a_server() {
    let mut stage = stage::<Veil>(NetSettings::default());
    let any = std::net::SocketAddr::from(([127, 0, 0, 1], 0));
    let listener = Listener::bind("bare", SecurityProtocol::Plaintext, any, 128).unwrap();
    let addr = listener.addr();
    stage.server.serve(stage.script.clone(), listener, Arc::new(Plain));
    let mut veiled = stage.connect().await;
    veiled.send(&["echo a"]).await;
    veiled.expect(&["echo a"]).await;
    let mut plain = Client { stream: TcpStream::connect(addr).await.unwrap() };
    plain.send(&["echo b"]).await;
    plain.expect(&["echo b"]).await;
    let peers = stage.script.peers.lock().unwrap();
    let known: Vec<_> = peers
        .iter()
        .map(|peer| (&*peer.listener, peer.security_protocol, peer.principal.to_string()))
        .collect();
    assert_eq!(
        known,
        [
            ("test", SecurityProtocol::Ssl, "User:CN=veiled".to_owned()),
            ("bare", SecurityProtocol::Plaintext, Principal::ANONYMOUS.to_string()),
        ]
    );
}

#[tokio::test]
async fn a_peer_without_a_handshake_is_closed_and_opens_no_session() {
    let stage = stage::<Veil>(NetSettings::default());
    let mut client = bare(&stage).await;
    client.send(&["echo"]).await;
    client.expect_end().await;
    until("it is counted", || stage.closed("io") == 1).await;
    assert_eq!(stage.script.sessions.load(SeqCst), 0);
    until("its place is free", || stage.metrics.connections_open.load(Relaxed) == 0).await;
}

/// A handshake that does not go on takes its place for a while, and holds up nobody else.
#[tokio::test]
async fn a_handshake_has_a_limit() {
    steady();
    let stage =
        stage::<Veil>(NetSettings { handshake_max: Duration::from_millis(200), ..NetSettings::default() });
    let mut silent = bare(&stage).await;
    silent.stream.write_all(&HELLO[..3]).await.unwrap();
    let mut other = stage.connect().await;
    other.send(&["echo"]).await;
    other.expect(&["echo"]).await;
    silent.expect_end().await;
    assert_eq!((stage.closed("refused"), stage.script.sessions.load(SeqCst)), (1, 1));
}

#[tokio::test]
async fn a_server_that_stops_does_not_wait_for_handshakes() {
    let stage = stage::<Veil>(NetSettings { handshake_max: SOON, ..NetSettings::default() });
    let mut silent = bare(&stage).await;
    until("it is accepted", || stage.metrics.connections_open.load(Relaxed) == 1).await;
    let since = Instant::now();
    assert_eq!(stage.server.shutdown(SOON).await.cut, 0);
    assert!(since.elapsed() < SOON / 2, "it waited for the handshake");
    silent.expect_end().await;
}

/// A connection that has said nothing yet.
async fn bare<W: Wire>(stage: &Stage<W>) -> Client<TcpStream> {
    Client { stream: TcpStream::connect(stage.addr).await.unwrap() }
}
