//! Everything outsiders can grow has a bound.

use std::sync::atomic::Ordering::{Relaxed, SeqCst};
use std::time::Duration;

use crate::stage::{Wire, framed, stage, until};
use crate::steady::steady;
use ottla_net::{ConnectionLimits, NetSettings};
use tokio::time::{Instant, sleep};

crate::on_every_stream! {
    pending_requests_are_bounded_for_each_connection,
    requests_that_come_together_count_one_by_one,
    a_slow_reader_is_bounded,
    a_peer_that_never_reads_is_closed,
    an_idle_connection_is_closed_and_a_waiting_one_is_not,
    connections_beyond_the_limit_wait_for_a_place,
    connections_of_one_address_are_limited,
    connections_come_no_faster_than_the_rate,
    small_requests_pass_a_full_pool_and_large_ones_wait,
    a_small_request_leaves_the_line_when_its_connection_holds_nothing,
    a_request_larger_than_the_pool_is_served_alone,
    a_connection_that_holds_much_is_not_read,
}

async fn pending_requests_are_bounded_for_each_connection<W: Wire>() {
    let stage = stage::<W>(NetSettings { requests_in_flight_max: 3, ..NetSettings::default() });
    let mut client = stage.connect().await;
    for n in 0..10 {
        client.send(&[format!("later:{n}").as_str()]).await;
    }
    until("three are served", || stage.script.served().len() == 3).await;
    sleep(Duration::from_millis(30)).await;
    assert_eq!(stage.script.served().len(), 3);
    for n in 0..10 {
        stage.script.open_gate(&n.to_string());
    }
    for n in 0..10 {
        client.expect(&[format!("later:{n}").as_str()]).await;
    }
}

/// A call of the service may take many requests, and answers that wait behind others are under way, too.
async fn requests_that_come_together_count_one_by_one<W: Wire>() {
    let stage = stage::<W>(NetSettings { requests_in_flight_max: 4, ..NetSettings::default() });
    let mut client = stage.connect().await;
    let mut words = vec!["later:first"];
    words.extend(["echo"; 10]);
    client.send(&words).await;
    until("four are served", || stage.script.served().len() == 4).await;
    sleep(Duration::from_millis(30)).await;
    assert_eq!(stage.script.served().len(), 4);
    assert!(stage.script.offered.lock().unwrap().iter().all(|offered| *offered <= 4));
    stage.script.open_gate("first");
    client.expect(&words).await;
}

/// A peer that does not read is not served on: what it asked for stays in its own requests.
async fn a_slow_reader_is_bounded<W: Wire>() {
    let settings = NetSettings {
        response_bytes_pending_max: 100_000,
        send_buffer_bytes: Some(64 << 10),
        ..NetSettings::default()
    };
    let stage = stage::<W>(settings);
    let mut client = stage.connect().await;
    for _ in 0..400 {
        client.send(&["many:100000"]).await;
        sleep(Duration::from_micros(100)).await;
    }
    sleep(Duration::from_millis(50)).await;
    let served = stage.script.served().len();
    assert!(served < 200, "{served} responses of 100 kB were made for a peer that reads none");
    for _ in 0..400 {
        assert_eq!(client.receive_bytes().await.len(), 100_000);
    }
}

async fn a_peer_that_never_reads_is_closed<W: Wire>() {
    let settings = NetSettings {
        write_stall_max: Duration::from_millis(200),
        send_buffer_bytes: Some(64 << 10),
        ..NetSettings::default()
    };
    let stage = stage::<W>(settings);
    let mut client = stage.connect().await;
    client.send(&["many:20000000"]).await;
    until("it is closed", || stage.closed("stalled") == 1).await;
    assert_eq!(stage.script.closed.load(SeqCst), 1);
}

async fn an_idle_connection_is_closed_and_a_waiting_one_is_not<W: Wire>() {
    steady();
    let stage =
        stage::<W>(NetSettings { idle_max: Some(Duration::from_millis(200)), ..NetSettings::default() });
    let mut waiting = stage.connect().await;
    waiting.send(&["later:x"]).await;
    let mut idle = stage.connect().await;
    let mut half_open = stage.connect().await;
    half_open.send_bytes(&framed(b"half of a frame")[..9]).await;
    idle.expect_end().await;
    half_open.expect_end().await;
    sleep(Duration::from_millis(250)).await;
    assert_eq!(stage.closed("idle"), 2);
    stage.script.open_gate("x");
    waiting.expect(&["later:x"]).await;
    waiting.expect_end().await;
}

async fn connections_beyond_the_limit_wait_for_a_place<W: Wire>() {
    let limits = ConnectionLimits { connections_max: 2, ..ConnectionLimits::default() };
    let stage = stage::<W>(NetSettings { limits, ..NetSettings::default() });
    let (mut a, mut b, mut c) = (stage.connect().await, stage.connect().await, stage.connect().await);
    for client in [&mut a, &mut b, &mut c] {
        client.send(&["echo"]).await;
    }
    a.expect(&["echo"]).await;
    b.expect(&["echo"]).await;
    c.expect_silence().await;
    drop(a);
    c.expect(&["echo"]).await;
    assert!(stage.metrics.accept_waits_connections.load(Relaxed) > 0);
}

async fn connections_of_one_address_are_limited<W: Wire>() {
    let limits = ConnectionLimits { per_ip_max: 1, ..ConnectionLimits::default() };
    let stage = stage::<W>(NetSettings { limits, ..NetSettings::default() });
    let mut a = stage.connect().await;
    a.send(&["echo"]).await;
    a.expect(&["echo"]).await;
    stage.connect().await.expect_end().await;
    assert_eq!(stage.metrics.connections_refused_per_ip.load(Relaxed), 1);
    stage.server.limits().set(ConnectionLimits::default());
    let mut b = stage.connect().await;
    b.send(&["echo"]).await;
    b.expect(&["echo"]).await;
}

async fn connections_come_no_faster_than_the_rate<W: Wire>() {
    steady();
    let limits = ConnectionLimits { creation_rate_max: Some(10), ..ConnectionLimits::default() };
    let stage = stage::<W>(NetSettings { limits, ..NetSettings::default() });
    let since = Instant::now();
    for _ in 0..13 {
        let mut client = stage.connect().await;
        client.send(&["echo"]).await;
        client.expect(&["echo"]).await;
    }
    assert!(since.elapsed() >= Duration::from_millis(200), "ten at once, then one each 100 ms");
    assert!(stage.metrics.accept_waits_rate.load(Relaxed) > 0);
}

fn small_pool() -> NetSettings {
    NetSettings { queued_bytes_max: 300_000, ..NetSettings::default() }
}

/// While large requests hold the pool, a large one waits and small ones of other connections pass.
async fn small_requests_pass_a_full_pool_and_large_ones_wait<W: Wire>() {
    let stage = stage::<W>(small_pool());
    let large = format!("keep{}", "x".repeat(250_000));
    let (mut a, mut b, mut c) = (stage.connect().await, stage.connect().await, stage.connect().await);
    a.send(&[large.replacen("keep", "keep:", 1).as_str()]).await;
    assert_eq!(a.receive_bytes().await.len(), 250_005);
    b.send(&[large.as_str()]).await;
    until("the second waits", || stage.metrics.admission_waits.load(Relaxed) == 1).await;
    c.send(&["echo"]).await;
    c.expect(&["echo"]).await;
    // The first connection holds something: even a small request of it waits in line.
    a.send(&["echo"]).await;
    a.expect_silence().await;
    stage.script.drop_kept();
    assert_eq!(b.receive_bytes().await.len(), 250_004);
    a.expect(&["echo"]).await;
    stage.script.drop_kept();
    until("all is given back", || stage.server.admission().bytes() == 0).await;
}

/// What waits in line only because its connection held something passes once it holds nothing, though the
/// pool is still full.
async fn a_small_request_leaves_the_line_when_its_connection_holds_nothing<W: Wire>() {
    let stage = stage::<W>(small_pool());
    let (mut large, mut small) = (stage.connect().await, stage.connect().await);
    small.send(&["keep:a"]).await;
    small.expect(&["keep:a"]).await;
    large.send(&[format!("keep:{}", "x".repeat(299_980)).as_str()]).await;
    assert_eq!(large.receive_bytes().await.len(), 299_985);
    small.send(&["echo of more than what is left"]).await;
    until("it waits", || stage.metrics.admission_waits.load(Relaxed) == 1).await;
    stage.script.drop_kept_below(1000);
    small.expect(&["echo of more than what is left"]).await;
}

async fn a_request_larger_than_the_pool_is_served_alone<W: Wire>() {
    let stage = stage::<W>(small_pool());
    let mut client = stage.connect().await;
    client.send(&["x".repeat(1_000_000).as_str()]).await;
    assert_eq!(client.receive_bytes().await.len(), 1_000_000);
}

async fn a_connection_that_holds_much_is_not_read<W: Wire>() {
    let stage = stage::<W>(NetSettings { connection_queued_bytes_max: 10, ..NetSettings::default() });
    let mut client = stage.connect().await;
    client.send(&["keep:1234567890"]).await;
    client.expect(&["keep:1234567890"]).await;
    client.send(&["echo"]).await;
    client.expect_silence().await;
    stage.script.drop_kept();
    client.expect(&["echo"]).await;
}
