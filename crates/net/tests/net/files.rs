//! Responses that hold parts of files.

use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use crate::stage::{Stage, Wire, stage, until};
use ottla_net::NetSettings;
use tokio::time::sleep;

crate::on_every_stream! {
    file_parts_are_sent_whole_and_in_order,
    cold_pages_are_read_first,
    a_file_that_is_too_short_ends_the_connection,
}

const FILE_BYTES: usize = 5_000_003;

fn pattern() -> Vec<u8> {
    (0..FILE_BYTES).map(|at| (at % 241) as u8).collect()
}

/// A stage whose file holds the pattern, and whose sockets take little at a time.
fn with_file<W: Wire>(promised: usize) -> Stage<W> {
    let stage = stage::<W>(NetSettings { send_buffer_bytes: Some(40_000), ..NetSettings::default() });
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(&pattern()).unwrap();
    file.sync_all().unwrap();
    *stage.script.file.lock().unwrap() = Some((Arc::new(file), promised));
    stage
}

fn expected(from: usize) -> Vec<u8> {
    let pattern = pattern();
    [b"head", &pattern[from..], b"middle", &pattern[..10]].concat()
}

/// A small send buffer makes every send partial; a pause of the reader fills all buffers.
async fn file_parts_are_sent_whole_and_in_order<W: Wire>() {
    let stage = with_file::<W>(FILE_BYTES);
    let mut client = stage.connect().await;
    client.send(&["echo before", "file:0", "echo between", "file:4999999", "echo after"]).await;
    sleep(Duration::from_millis(50)).await;
    client.expect(&["echo before"]).await;
    assert!(client.receive_bytes().await == expected(0));
    client.expect(&["echo between"]).await;
    assert!(client.receive_bytes().await == expected(4_999_999));
    client.expect(&["echo after"]).await;
    let by_the_kernel = if W::SENDS_FILES { FILE_BYTES + 10 + 4 + 10 } else { 0 };
    assert_eq!(stage.metrics.file_bytes_out.load(Relaxed), by_the_kernel as u64);
}

/// Pages that were dropped from memory are read by a blocking thread, and the same bytes come.
async fn cold_pages_are_read_first<W: Wire>() {
    let stage = with_file::<W>(FILE_BYTES);
    let (file, _) = stage.script.file.lock().unwrap().clone().unwrap();
    rustix::fs::fadvise(&*file, 0, None, rustix::fs::Advice::DontNeed).unwrap();
    let mut client = stage.connect().await;
    client.send(&["file:7"]).await;
    assert!(client.receive_bytes().await == expected(7));
}

/// The length of the response is on its way already: all that can be done is to close.
async fn a_file_that_is_too_short_ends_the_connection<W: Wire>() {
    let stage = with_file::<W>(FILE_BYTES + 1);
    let mut client = stage.connect().await;
    client.send(&["file:4999999"]).await;
    client.expect_end_within(4 + 4 + 4).await;
    until("it is counted", || stage.closed("io") == 1).await;
}
