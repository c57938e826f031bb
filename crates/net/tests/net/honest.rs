//! How long an honest client waits while many others announce what they do not send.

use std::time::Duration;

use ottla_net::{NetSettings, Plain};
use tokio::net::TcpStream;
use tokio::time::Instant;

use crate::stage::{Client, Stage, stage, until};
use crate::steady::steady;

/// How a remote desktop and a proxy begin: read as lengths, 48 MiB and 80 MiB.
const BEGINNINGS: [[u8; 4]; 2] = [[3, 0, 0, 0x13], [5, 1, 0, 0]];

const REQUEST_BYTES: usize = 200_000;

/// Clients that begin, and then say nothing.
async fn silent(stage: &Stage<Plain>, count: usize) -> Vec<Client<TcpStream>> {
    let mut silent = Vec::with_capacity(count);
    for at in 0..count {
        let mut client = stage.connect().await;
        client.send_bytes(&BEGINNINGS[at % 2]).await;
        silent.push(client);
    }
    let opened = || stage.metrics.connections_open.load(std::sync::atomic::Ordering::Relaxed) > count as u64;
    until("all have come", opened).await;
    silent
}

/// How long all but the slowest hundredth of the requests of a client take.
async fn p99(stage: &Stage<Plain>, client: &mut Client<TcpStream>, requests: usize) -> Duration {
    let word = "x".repeat(REQUEST_BYTES);
    let mut took = Vec::with_capacity(requests);
    for _ in 0..requests {
        let sent = Instant::now();
        client.send(&[word.as_str()]).await;
        assert_eq!(client.receive_bytes().await.len(), word.len());
        took.push(sent.elapsed());
        stage.script.served.lock().unwrap().clear();
    }
    took.sort();
    took[requests * 99 / 100]
}

/// In time that passes only as the runtime gets its turns, so that whoever else has the machine does not
/// count.
#[tokio::test]
async fn who_is_silent_does_not_slow_others_down() {
    /// A turn more here and there.
    const NOISE: Duration = Duration::from_millis(20);
    steady();
    let stage = stage::<Plain>(NetSettings::default());
    let mut honest = stage.connect().await;
    let alone = p99(&stage, &mut honest, 100).await;
    let _silent = silent(&stage, 100).await;
    let among_others = p99(&stage, &mut honest, 100).await;
    assert!(among_others <= 2 * alone + NOISE, "{among_others:?}, and {alone:?} alone");
}

/// The real thing, on the clock: run with `OTTLA_SOAK=1 cargo test --release -p ottla-net honest --
/// --nocapture` on a machine that is idle.
#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_silent_peers_do_not_double_the_time_of_an_honest_client() {
    if std::env::var_os("OTTLA_SOAK").is_none_or(|soak| soak != "1") {
        return;
    }
    let stage = stage::<Plain>(NetSettings::default());
    let mut honest = stage.connect().await;
    let warm = p99(&stage, &mut honest, 500).await;
    let alone = p99(&stage, &mut honest, 2_000).await;
    let _silent = silent(&stage, 1_000).await;
    let among_others = p99(&stage, &mut honest, 2_000).await;
    println!("p99 of 200 kB there and back: {alone:?} alone ({warm:?} cold), {among_others:?} among 1,000");
    assert!(among_others <= 2 * alone, "{among_others:?}, and {alone:?} alone");
}
