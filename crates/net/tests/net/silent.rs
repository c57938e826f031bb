//! Who announces more than they send: it costs them, and nobody else.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use ottla_net::{NetSettings, Stream};
use tokio::net::TcpSocket;
use tokio::time::sleep;

use crate::stage::{Client, Stage, Wire, framed, stage, until};
use crate::steady::steady;

crate::on_every_stream! {
    announced_lengths_take_no_memory,
    what_has_arrived_counts_and_no_more,
    the_slowest_are_cut_off_when_others_wait,
    large_requests_that_wait_for_each_other_are_all_served,
    one_address_leaves_memory_to_others,
    other_protocols_are_closed_at_once,
}

const POOL_BYTES: usize = 1_000_000;

fn settings() -> NetSettings {
    NetSettings { queued_bytes_max: POOL_BYTES, ..NetSettings::default() }
}

/// How other programs begin, read as a length that a request may have.
const BEGINNINGS: [[u8; 4]; 2] = [[3, 0, 0, 0x13], [5, 1, 0, 0]];

/// Their number is that of a small scan; each announces more than the pool holds.
#[tokio::test(flavor = "multi_thread")]
async fn hundreds_of_silent_peers_hold_nobody_up() {
    let stage = stage::<ottla_net::Plain>(NetSettings::default());
    let mut silent = Vec::new();
    for at in 0..300 {
        let mut client = stage.connect().await;
        client.send_bytes(&BEGINNINGS[at % 2]).await;
        silent.push(client);
    }
    until("all have come", || stage.metrics.bytes_in.load(Relaxed) == 4 * 300).await;
    let mut honest = stage.connect().await;
    let word = "x".repeat(200_000);
    for _ in 0..50 {
        honest.send(&[word.as_str()]).await;
        assert_eq!(honest.receive_bytes().await.len(), word.len());
    }
    // Before, each waited until a silent peer's time was up.
    assert_eq!(stage.metrics.admission_waits.load(Relaxed), 0);
    until("all is given back", || stage.server.admission().bytes() == 0).await;
    assert_eq!(stage.metrics.connections_open.load(Relaxed), 301, "they may stay: they take nothing");
}

async fn announced_lengths_take_no_memory<W: Wire>() {
    let stage = stage::<W>(settings());
    let mut silent = Vec::new();
    for prefix in BEGINNINGS.repeat(5) {
        let mut client = stage.connect().await;
        client.send_bytes(&prefix).await;
        silent.push(client);
    }
    until("all have come", || stage.metrics.bytes_in.load(Relaxed) == 4 * 10).await;
    assert_eq!(stage.server.admission().bytes(), 0);
    let mut honest = stage.connect().await;
    honest.send(&["x".repeat(200_000).as_str()]).await;
    assert_eq!(honest.receive_bytes().await.len(), 200_000);
    assert_eq!(stage.metrics.admission_waits.load(Relaxed), 0);
}

/// Also of a connection that has sent large requests before, and is lent a buffer for the whole of the next
/// one.
async fn what_has_arrived_counts_and_no_more<W: Wire>() {
    let stage = stage::<W>(settings());
    let mut client = stage.connect().await;
    for size in [900_000, 300_000] {
        client.send(&["x".repeat(size).as_str()]).await;
        assert_eq!(client.receive_bytes().await.len(), size);
    }
    until("all is given back", || stage.server.admission().bytes() == 0).await;
    client.send_bytes(&framed(&[b'x'; 900_000])[..100_004]).await;
    until("it counts", || stage.server.admission().bytes() == 100_000).await;
    sleep(Duration::from_millis(20)).await;
    assert_eq!(stage.server.admission().bytes(), 100_000);
    drop(client);
    until("all is given back", || stage.server.admission().bytes() == 0).await;
}

/// Sends the beginning of a request, and nothing of the rest.
async fn begin<S: Stream>(client: &mut Client<S>, sent: usize, len: usize) {
    client.send_bytes(&framed(&vec![b'x'; len])[..4 + sent]).await;
}

/// The pool is full of what will never be whole. Those who sent least go; the others may still send the rest.
async fn the_slowest_are_cut_off_when_others_wait<W: Wire>() {
    steady();
    let stage = stage::<W>(settings());
    let mut stalled = Vec::new();
    for sent in [50_000, 100_000, 250_000, 300_000] {
        let mut client = stage.connect().await;
        begin(&mut client, sent, 900_000).await;
        stalled.push(client);
    }
    until("all have come", || stage.server.admission().bytes() == 700_000).await;
    sleep(Duration::from_secs(3)).await;
    assert_eq!(stage.closed("slow_request"), 0, "nobody waits");
    let mut honest = stage.connect().await;
    // One goes on beyond the limit, and is cut off with the slowest: it holds the others up by itself.
    let mut beyond = stage.connect().await;
    begin(&mut beyond, 150_000, 900_000).await;
    until("it has come", || stage.server.admission().bytes() == 850_000).await;
    honest.send(&["x".repeat(200_000).as_str()]).await;
    assert_eq!(honest.receive_bytes().await.len(), 200_000);
    let cut = stage.closed("slow_request");
    assert!((1..=4).contains(&cut), "{cut} were cut off for 200 kB");
    let fastest = stalled.pop().unwrap();
    for mut slowest in stalled.into_iter().take(1) {
        slowest.expect_end().await;
    }
    let mut fastest = fastest;
    fastest.send_bytes(&vec![b'x'; 600_000]).await;
    assert_eq!(fastest.receive_bytes().await.len(), 900_000);
}

/// Together they are five times the pool, and none of them could be whole if each waited for the others.
async fn large_requests_that_wait_for_each_other_are_all_served<W: Wire>() {
    let stage = stage::<W>(settings());
    let mut clients = Vec::new();
    for _ in 0..10 {
        clients.push(stage.connect().await);
    }
    for client in &mut clients {
        begin(client, 90_000, 500_000).await;
    }
    let rest = vec![b'x'; 410_000];
    let mut sending = Vec::new();
    for mut client in clients {
        let rest = rest.clone();
        sending.push(tokio::spawn(async move {
            client.send_bytes(&rest).await;
            client.receive_bytes().await.len()
        }));
    }
    for sent in sending {
        assert_eq!(sent.await.unwrap(), 500_000);
    }
    assert_eq!(stage.closed("slow_request"), 0);
    until("all is given back", || stage.server.admission().bytes() == 0).await;
}

/// A client whose address is another one of this host.
async fn connect_from<W: Wire>(stage: &Stage<W>, last: u8) -> Client<W::Stream> {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(SocketAddr::from((Ipv4Addr::new(127, 0, 0, last), 0))).unwrap();
    Client { stream: W::dial(socket.connect(stage.addr).await.unwrap()).await }
}

/// However much somebody really sends: who comes from elsewhere need not wait until they are cut off.
async fn one_address_leaves_memory_to_others<W: Wire>() {
    let stage = stage::<W>(settings());
    let mut greedy = Vec::new();
    for _ in 0..7 {
        let mut client = connect_from(&stage, 2).await;
        begin(&mut client, 100_000, 900_000).await;
        greedy.push(client);
    }
    until("it holds what it may", || stage.server.admission().bytes() == 700_000).await;
    let mut honest = connect_from(&stage, 3).await;
    for _ in 0..20 {
        honest.send(&["x".repeat(200_000).as_str()]).await;
        assert_eq!(honest.receive_bytes().await.len(), 200_000);
    }
    assert_eq!((stage.metrics.admission_waits.load(Relaxed), stage.closed("slow_request")), (0, 0));
}

/// A TLS client, a browser: counted, named in the log, and gone without a wait.
async fn other_protocols_are_closed_at_once<W: Wire>() {
    let stage = stage::<W>(settings());
    for (at, hello) in [&b"\x16\x03\x01\x02\x00\x01"[..], b"GET / HTTP/1.1\r\n\r\n"].iter().enumerate() {
        let mut client = stage.connect().await;
        client.send_bytes(hello).await;
        client.expect_end().await;
        until("it is counted", || stage.closed("request_too_large") == at as u64 + 1).await;
    }
}
