//! From bytes to frames, and back in order.

use std::sync::atomic::Ordering::{Relaxed, SeqCst};
use std::time::Duration;

use crate::stage::{SOON, Wire, framed, stage, until};
use crate::steady::steady;
use ottla_net::NetSettings;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::{Instant, sleep};

crate::on_every_stream! {
    a_frame_may_be_split_anywhere,
    single_bytes_make_frames,
    every_size_arrives_whole,
    frames_of_one_read_are_offered_together_and_answered_with_one_write,
    what_is_left_of_a_read_is_offered_again,
    framed_responses_leave_as_they_are,
    responses_leave_in_order_whatever_is_ready_first,
    responses_of_all_sizes_leave_whole,
    a_frame_may_have_no_response,
    an_impossible_length_ends_the_connection_after_what_came_before,
    an_impossible_length_does_not_overtake_an_answer,
    frames_that_come_while_the_service_is_busy_are_served_next,
    an_error_of_the_service_ends_the_connection_after_the_answers_before,
    a_response_may_end_the_connection,
    a_panic_of_the_service_ends_its_connection_only,
    a_muted_connection_is_neither_read_nor_served,
}

async fn a_frame_may_be_split_anywhere<W: Wire>() {
    let stage = stage::<W>(NetSettings::default());
    let bytes = [framed(b"echo one"), framed(b""), framed(b"echo two")].concat();
    for at in 1..bytes.len() {
        let mut client = stage.connect().await;
        client.send_bytes(&bytes[..at]).await;
        sleep(Duration::from_millis(1)).await;
        client.send_bytes(&bytes[at..]).await;
        client.expect(&["echo one", "", "echo two"]).await;
    }
}

async fn single_bytes_make_frames<W: Wire>() {
    let stage = stage::<W>(NetSettings::default());
    let mut client = stage.connect().await;
    for byte in [framed(b"echo one"), framed(b"echo two")].concat() {
        client.send_bytes(&[byte]).await;
        tokio::task::yield_now().await;
    }
    client.expect(&["echo one", "echo two"]).await;
}

/// Sizes around every threshold of the reader, each followed by a small frame, all in one stream.
async fn every_size_arrives_whole<W: Wire>() {
    let stage = stage::<W>(NetSettings::default());
    let mut sizes = vec![0, 1, 3, 4, 1_000_000, 10_000_000];
    for power in [10, 12, 13, 16, 17, 18, 19, 20] {
        sizes.extend((1 << power) - 6..=(1 << power) + 4);
    }
    let body = |size: usize| (0..size).map(|at| (at % 251) as u8).collect::<Vec<u8>>();
    let client = stage.connect().await;
    let (mut read, mut write) = tokio::io::split(client.stream);
    let sent = sizes.clone();
    let writing = tokio::spawn(async move {
        for size in sent {
            write.write_all(&framed(&body(size))).await.unwrap();
            write.write_all(&framed(b"echo")).await.unwrap();
            write.flush().await.unwrap();
        }
        write
    });
    for size in sizes {
        for expected in [body(size), b"echo".to_vec()] {
            let len = tokio::time::timeout(SOON, read.read_i32()).await.unwrap().unwrap();
            assert_eq!(len as usize, expected.len());
            let mut got = vec![0; expected.len()];
            read.read_exact(&mut got).await.unwrap();
            assert!(got == expected, "a frame of {size} bytes came back changed");
        }
    }
    writing.await.unwrap();
    until("all is given back", || stage.server.admission().bytes() == 0).await;
}

async fn frames_of_one_read_are_offered_together_and_answered_with_one_write<W: Wire>() {
    let stage = stage::<W>(NetSettings::default());
    let mut client = stage.connect().await;
    let words: Vec<String> = (0..100).map(|n| format!("echo {n}")).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    client.send(&words).await;
    client.expect(&words).await;
    assert_eq!(*stage.script.offered.lock().unwrap(), [100]);
    assert_eq!(stage.metrics.writes.load(Relaxed), 1);
    assert_eq!(stage.metrics.reads.load(Relaxed), 1);
    assert_eq!((stage.metrics.requests.load(Relaxed), stage.metrics.responses.load(Relaxed)), (100, 100));
}

async fn what_is_left_of_a_read_is_offered_again<W: Wire>() {
    let stage = stage::<W>(NetSettings::default());
    let mut client = stage.connect().await;
    client.send(&["echo a", "echo b", "later:x", "echo c"]).await;
    stage.script.open_gate("x");
    client.expect(&["echo a", "echo b", "later:x", "echo c"]).await;
    assert_eq!(*stage.script.offered.lock().unwrap(), [4, 2, 1]);
}

/// Responses that come in one piece, small and large, stand among others and count one by one.
async fn framed_responses_leave_as_they_are<W: Wire>() {
    let stage = stage::<W>(NetSettings::default());
    let mut client = stage.connect().await;
    for frame in ["echo one", "framed:3", "echo two", "framed:1000", "echo three"] {
        client.send_bytes(&framed(frame.as_bytes())).await;
    }
    client.expect(&["echo one", "echo", "echo", "echo", "echo two"]).await;
    client.expect(&["echo"; 1000]).await;
    client.expect(&["echo three"]).await;
    assert_eq!(stage.metrics.responses.load(Relaxed), 1_006);
}

async fn responses_leave_in_order_whatever_is_ready_first<W: Wire>() {
    let stage = stage::<W>(NetSettings::default());
    let mut client = stage.connect().await;
    client.send(&["later:a", "later:b", "echo c"]).await;
    client.send(&["later:d"]).await;
    until("all are served while the first is pending", || stage.script.served().len() == 4).await;
    stage.script.open_gate("d");
    stage.script.open_gate("b");
    client.expect_silence().await;
    stage.script.open_gate("a");
    client.expect(&["later:a", "later:b", "echo c", "later:d"]).await;
    assert_eq!(stage.metrics.writes.load(Relaxed), 1, "what is ready together leaves together");
}

/// Copied parts, parts sent from where they are, and more of them than one send takes.
async fn responses_of_all_sizes_leave_whole<W: Wire>() {
    let stage = stage::<W>(NetSettings { send_buffer_bytes: Some(20_000), ..NetSettings::default() });
    let mut client = stage.connect().await;
    let sizes = [0, 2047, 2048, 2049, 1, 5000, 3000, 100_000].repeat(100);
    let words: Vec<String> = sizes.iter().map(|size| format!("many:{size}")).collect();
    client.send(&words.iter().map(String::as_str).collect::<Vec<_>>()).await;
    for size in sizes {
        let body = client.receive_bytes().await;
        assert!(body.len() == size && body.iter().all(|byte| *byte == b'm'), "the response of {size} bytes");
    }
}

async fn a_frame_may_have_no_response<W: Wire>() {
    let stage = stage::<W>(NetSettings::default());
    let mut client = stage.connect().await;
    client.send(&["none", "echo a", "none", "none"]).await;
    client.send(&["echo b"]).await;
    client.expect(&["echo a", "echo b"]).await;
}

async fn an_impossible_length_ends_the_connection_after_what_came_before<W: Wire>() {
    let stage = stage::<W>(NetSettings { request_bytes_max: 1000, ..NetSettings::default() });
    for (prefix, kind) in [
        (i32::MAX, "request_too_large"),
        (1001, "request_too_large"),
        (-1, "negative_length"),
        (i32::MIN, "negative_length"),
    ] {
        let mut client = stage.connect().await;
        let before = stage.closed(kind);
        let bytes = [framed(b"echo"), prefix.to_be_bytes().to_vec(), vec![0; 100]].concat();
        client.send_bytes(&bytes).await;
        client.expect(&["echo"]).await;
        client.expect_end().await;
        until(kind, || stage.closed(kind) == before + 1).await;
    }
    let mut client = stage.connect().await;
    client.send(&["x".repeat(1000).as_str()]).await;
    assert_eq!(client.receive().await.len(), 1000);
}

/// The bad length is read while the service is busy with the frame before it.
async fn an_impossible_length_does_not_overtake_an_answer<W: Wire>() {
    let stage = stage::<W>(NetSettings::default());
    let mut client = stage.connect().await;
    client.send(&["slow:100"]).await;
    until("it is being served", || stage.script.pending.load(SeqCst) == 1).await;
    client.send_bytes(&[255; 8]).await;
    client.expect(&["slow:100"]).await;
    client.expect_end().await;
    until("it is counted", || stage.closed("negative_length") == 1).await;
}

/// What comes while the service is busy is read ahead, and served after it.
async fn frames_that_come_while_the_service_is_busy_are_served_next<W: Wire>() {
    let stage = stage::<W>(NetSettings::default());
    let mut client = stage.connect().await;
    for _ in 0..3 {
        client.send(&["slow:30", "echo a"]).await;
        until("it is being served", || stage.script.pending.load(SeqCst) == 1).await;
        client.send(&["echo b", "echo c"]).await;
        client.expect(&["slow:30", "echo a", "echo b", "echo c"]).await;
    }
}

async fn an_error_of_the_service_ends_the_connection_after_the_answers_before<W: Wire>() {
    let stage = stage::<W>(NetSettings::default());
    let mut client = stage.connect().await;
    client.send(&["later:a", "error", "echo never"]).await;
    until("two are served", || stage.script.served().len() == 2).await;
    stage.script.open_gate("a");
    client.expect(&["later:a"]).await;
    client.expect_end().await;
    until("the session is closed", || stage.script.closed.load(SeqCst) == 1).await;
    assert_eq!(stage.closed("refused"), 1);
}

async fn a_response_may_end_the_connection<W: Wire>() {
    let stage = stage::<W>(NetSettings::default());
    let mut client = stage.connect().await;
    client.send(&["echo a", "close", "echo never"]).await;
    client.expect(&["echo a", "close"]).await;
    client.expect_end().await;
    until("it is counted", || stage.closed("responded") == 1).await;
}

async fn a_panic_of_the_service_ends_its_connection_only<W: Wire>() {
    let stage = stage::<W>(NetSettings::default());
    let mut other = stage.connect().await;
    let mut client = stage.connect().await;
    other.send(&["echo"]).await;
    other.expect(&["echo"]).await;
    client.send(&["later:x", "panic"]).await;
    client.expect_end().await;
    until("the session is closed", || stage.script.closed.load(SeqCst) == 1).await;
    other.send(&["echo"]).await;
    other.expect(&["echo"]).await;
    assert_eq!(stage.metrics.connections_open.load(Relaxed), 1);
}

async fn a_muted_connection_is_neither_read_nor_served<W: Wire>() {
    steady();
    let stage = stage::<W>(NetSettings::default());
    let mut client = stage.connect().await;
    let since = Instant::now();
    client.send(&["mute:1000"]).await;
    client.expect(&["mute:1000"]).await;
    assert!(since.elapsed() < Duration::from_millis(900), "the response itself leaves at once");
    client.send(&["echo"]).await;
    client.expect(&["echo"]).await;
    assert!(since.elapsed() >= Duration::from_millis(1000));
    assert_eq!(stage.metrics.mutes.load(Relaxed), 1);
}
