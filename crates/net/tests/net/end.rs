//! How connections and servers end.

use std::sync::atomic::Ordering::SeqCst;
use std::time::Duration;

use crate::stage::{SOON, Wire, stage, until};
use ottla_net::{NetSettings, Stopped};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::time::timeout;

crate::on_every_stream! {
    a_peer_that_goes_away_ends_its_pending_answers,
    a_peer_that_goes_away_ends_a_service_that_waits,
    what_came_before_the_end_is_served,
    a_shutdown_finishes_what_is_in_flight,
    a_shutdown_cuts_what_does_not_finish,
    a_server_that_is_dropped_cuts_its_connections,
}

async fn a_peer_that_goes_away_ends_its_pending_answers<W: Wire>() {
    let stage = stage::<W>(NetSettings::default());
    let mut client = stage.connect().await;
    client.send(&["later:x"]).await;
    until("it is served", || stage.script.served().len() == 1).await;
    drop(client);
    until("the session is closed", || stage.script.closed.load(SeqCst) == 1).await;
    assert_eq!(stage.script.pending.load(SeqCst), 0);
    assert_eq!(stage.closed("eof"), 1);
}

async fn a_peer_that_goes_away_ends_a_service_that_waits<W: Wire>() {
    let stage = stage::<W>(NetSettings::default());
    let mut client = stage.connect().await;
    client.send(&["hang"]).await;
    until("it is served", || stage.script.pending.load(SeqCst) == 1).await;
    drop(client);
    until("the session is closed", || stage.script.closed.load(SeqCst) == 1).await;
    assert_eq!(stage.script.pending.load(SeqCst), 0);
}

/// A producer with acks=0 sends and leaves: nothing it sent may be lost for that.
async fn what_came_before_the_end_is_served<W: Wire>() {
    let stage = stage::<W>(NetSettings::default());
    let mut client = stage.connect().await;
    let words = vec!["none"; 50_000];
    client.send(&words).await;
    client.stream.shutdown().await.unwrap();
    client.expect_end().await;
    until("the session is closed", || stage.script.closed.load(SeqCst) == 1).await;
    assert_eq!(stage.script.served().len(), 50_000);
}

async fn a_shutdown_finishes_what_is_in_flight<W: Wire>() {
    let stage = stage::<W>(NetSettings::default());
    let (mut idle, mut waiting) = (stage.connect().await, stage.connect().await);
    waiting.send(&["later:x", "echo"]).await;
    until("both connections are there", || stage.script.sessions.load(SeqCst) == 2).await;
    until("it is served", || stage.script.served().len() == 2).await;
    let script = stage.script.clone();
    let stopping = tokio::spawn(stage.server.shutdown(SOON));
    idle.expect_end().await;
    assert!(TcpStream::connect(stage.addr).await.is_err(), "nothing is accepted any more");
    waiting.send(&["echo too late"]).await;
    script.open_gate("x");
    waiting.expect(&["later:x", "echo"]).await;
    waiting.expect_end().await;
    drop((idle, waiting));
    assert_eq!(stopping.await.unwrap(), Stopped { cut: 0 });
    assert_eq!(script.closed.load(SeqCst), 2);
    assert_eq!(script.served().len(), 2);
}

async fn a_shutdown_cuts_what_does_not_finish<W: Wire>() {
    let stage = stage::<W>(NetSettings::default());
    let (mut later, mut hang) = (stage.connect().await, stage.connect().await);
    later.send(&["later:never"]).await;
    hang.send(&["hang"]).await;
    until("both wait", || stage.script.served().len() == 2).await;
    let stopped = timeout(SOON, stage.server.shutdown(Duration::from_millis(100))).await;
    assert_eq!(stopped.expect("it does not wait"), Stopped { cut: 2 });
    assert_eq!((stage.script.closed.load(SeqCst), stage.script.pending.load(SeqCst)), (2, 0));
    later.expect_end().await;
    hang.expect_end().await;
}

async fn a_server_that_is_dropped_cuts_its_connections<W: Wire>() {
    let stage = stage::<W>(NetSettings::default());
    let mut client = stage.connect().await;
    client.send(&["later:never"]).await;
    until("it is served", || stage.script.served().len() == 1).await;
    drop(stage.server);
    client.expect_end().await;
}
