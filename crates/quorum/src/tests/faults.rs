//! The disk fails under a running quorum.

use std::sync::atomic::{AtomicBool, Ordering};

use std::time::Duration;

use bytes::Bytes;

use super::{NODE, eventually, record, start, tiny};
use crate::disk::Disk;
use crate::{MetadataLog, ProposeError, Quorum, Settings, StateMachine};

/// Proposals fail, the node stops leading, and after a restart on a sound disk everything acknowledged is
/// there.
async fn fails_and_recovers(fault: fn(&Disk) -> &AtomicBool) {
    let dir = tempfile::tempdir().unwrap();
    let disk = Disk::default();
    let (quorum, _) = start(dir.path(), &disk, &Settings::default()).await.unwrap();
    assert_eq!(quorum.propose(record("kept")).await, Ok(1));

    fault(&disk).store(true, Ordering::SeqCst);
    let failed = quorum.propose(record("unknown")).await;
    assert!(matches!(failed, Err(ProposeError::Storage(_))), "{failed:?}");
    let mut leadership = quorum.leadership();
    let stopped = leadership.wait_for(|leadership| !leadership.me && leadership.leader.is_none()).await;
    assert!(stopped.is_ok());

    fault(&disk).store(false, Ordering::SeqCst);
    let still = quorum.propose(record("never retried")).await;
    assert!(matches!(still, Err(ProposeError::Storage(_))), "{still:?}");
    quorum.shutdown().await;

    let (quorum, recorder) = start(dir.path(), &disk, &Settings::default()).await.unwrap();
    // A failed proposal may or may not be there. Those refused afterwards are not.
    assert!(
        [vec!["kept"], vec!["kept", "unknown"]]
            .contains(&recorder.texts().iter().map(String::as_str).collect())
    );
    let next = recorder.applied().len() as u64 + 1;
    assert_eq!(quorum.propose(record("again")).await, Ok(next));
    quorum.shutdown().await;
}

/// Proposals wait for room, and nothing is lost; a stop does not wait.
#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_is_waited_for() {
    let dir = tempfile::tempdir().unwrap();
    let disk = Disk::default();
    let (quorum, _) = start(dir.path(), &disk, &tiny()).await.unwrap();
    for round in 0..8 {
        disk.faults.full.store(true, Ordering::SeqCst);
        let mut waiting = std::pin::pin!(quorum.propose(record(format!("record {round}"))));
        let early = tokio::time::timeout(Duration::from_millis(50), &mut waiting).await;
        assert!(early.is_err(), "{early:?}");
        disk.faults.full.store(false, Ordering::SeqCst);
        assert_eq!(waiting.await, Ok(round + 1));
    }
    disk.faults.full.store(true, Ordering::SeqCst);
    let late = tokio::time::timeout(Duration::from_millis(50), quorum.propose(record("unknown"))).await;
    assert!(late.is_err(), "{late:?}");
    quorum.shutdown().await;

    let disk = Disk::default();
    let (quorum, recorder) = start(dir.path(), &disk, &tiny()).await.unwrap();
    let texts = recorder.texts();
    assert_eq!(texts[..8], (0..8).map(|round| format!("record {round}")).collect::<Vec<_>>());
    assert_eq!(quorum.propose(record("again")).await, Ok(texts.len() as u64 + 1));
    quorum.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_flush_stops_the_quorum() {
    fails_and_recovers(|disk| &disk.faults.sync).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disk_that_fails_at_the_start_is_an_error() {
    let dir = tempfile::tempdir().unwrap();
    let disk = Disk::default();
    disk.faults.sync.store(true, Ordering::SeqCst);
    assert!(start(dir.path(), &disk, &Settings::default()).await.is_err());
    disk.faults.sync.store(false, Ordering::SeqCst);
    let (quorum, _) = start(dir.path(), &disk, &Settings::default()).await.unwrap();
    assert_eq!(quorum.propose(record("works")).await, Ok(1));
    quorum.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_that_cannot_be_written_stops_the_quorum() {
    let dir = tempfile::tempdir().unwrap();
    // The log stays in its first file, so that only the snapshot needs a name.
    let settings = Settings { segment_bytes: 1 << 20, ..tiny() };
    let (quorum, _) = start(dir.path(), &Disk::default(), &settings).await.unwrap();
    for i in 0..200 {
        // A folder where the snapshot's file should go.
        let _ = std::fs::create_dir(dir.path().join(format!("{i:020}.snapshot.tmp")));
    }
    for i in 0..100 {
        // The last ones may be refused.
        let _ = quorum.propose(record(format!("record {i}"))).await;
    }
    let leadership = quorum.leadership();
    eventually("it has stopped", || !leadership.borrow().me).await;
    let result = quorum.propose(record("too late")).await;
    assert!(matches!(result, Err(ProposeError::Storage(_))), "{result:?}");
    quorum.shutdown().await;
}

struct Panics;

impl StateMachine for Panics {
    fn apply(&mut self, _index: u64, _records: Vec<Bytes>) {
        panic!("as the test wants");
    }

    fn snapshot(&self) -> Vec<Bytes> {
        Vec::new()
    }

    fn restore(&mut self, _index: u64, _records: Vec<Bytes>) {}
}

#[tokio::test(flavor = "multi_thread")]
async fn a_state_machine_that_panics_stops_the_quorum_instead_of_hanging_it() {
    let dir = tempfile::tempdir().unwrap();
    let quorum = Quorum::start(dir.path(), NODE, Settings::default(), Panics).await.unwrap();
    let failed = quorum.propose(record("boom")).await;
    assert!(matches!(failed, Err(ProposeError::Storage(_))), "{failed:?}");
    quorum.shutdown().await;
}
