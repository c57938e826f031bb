//! A quorum of one, stopped and started again.

use std::path::{Path, PathBuf};

use bytes::Bytes;
use ottla_wire::ids::BrokerId;

use super::{NODE, Recorder, all_at_once, eventually, record, start, tiny};
use crate::disk::Disk;
use crate::{Leadership, MetadataLog, PROPOSAL_BYTES_MAX, ProposeError, Quorum, Settings, StartError};

fn files(dir: &Path, extension: &str) -> Vec<PathBuf> {
    Disk::default().list(dir, extension).unwrap()
}

async fn first_files_are_purged(dir: &Path) {
    eventually("the log's first files are purged", || {
        files(dir, "log").first().is_some_and(|path| !path.ends_with("00000000000000000001.log"))
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_start_leads_and_applies_in_order() {
    let dir = tempfile::tempdir().unwrap();
    let (quorum, recorder) = start(dir.path(), &Disk::default(), &Settings::default()).await.unwrap();
    let leadership = *quorum.leadership().borrow();
    assert_eq!(leadership, Leadership { leader: Some(NODE), epoch: 1, me: true });
    for i in 1..=5 {
        assert_eq!(quorum.propose(record(format!("r{i}"))).await, Ok(i));
        assert_eq!(*quorum.applied().borrow(), i);
    }
    assert_eq!(quorum.propose(vec![]).await, Ok(6), "a proposal may be empty");
    assert_eq!(recorder.texts(), ["r1", "r2", "r3", "r4", "r5", ""]);
    quorum.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_replays_the_log_and_continues_the_index() {
    let dir = tempfile::tempdir().unwrap();
    for round in 0..4_u64 {
        let (quorum, recorder) = start(dir.path(), &Disk::default(), &Settings::default()).await.unwrap();
        assert_eq!(recorder.applied().len() as u64, round, "everything is applied when it has started");
        assert_eq!(*quorum.applied().borrow(), round);
        assert_eq!(quorum.propose(record(format!("{round}"))).await, Ok(round + 1));
        quorum.shutdown().await;
    }
    assert!(files(dir.path(), "snapshot").is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn snapshots_replace_the_log_and_a_restart_begins_from_one() {
    let dir = tempfile::tempdir().unwrap();
    let (quorum, before) = start(dir.path(), &Disk::default(), &tiny()).await.unwrap();
    for i in 1..=200 {
        assert_eq!(quorum.propose(record(format!("record {i}"))).await, Ok(i));
    }
    first_files_are_purged(dir.path()).await;
    quorum.shutdown().await;
    assert!((1..=2).contains(&files(dir.path(), "snapshot").len()));
    assert!(files(dir.path(), "tmp").is_empty());
    let log: u64 = files(dir.path(), "log").iter().map(|path| path.metadata().unwrap().len()).sum();
    assert!(log < 200 * 30, "most of the log is gone: {log}");

    let (quorum, after) = start(dir.path(), &Disk::default(), &tiny()).await.unwrap();
    assert_eq!(after.applied(), before.applied());
    assert_eq!(quorum.propose(record("next")).await, Ok(201));
    quorum.shutdown().await;
}

/// The runtime ends in the middle of everything, as in a crash. Everything acknowledged is there afterwards.
#[test]
fn a_crash_loses_nothing_that_was_acknowledged() {
    let dir = tempfile::tempdir().unwrap();
    let mut acknowledged = 0;
    for round in 0..5 {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let (quorum, last) = runtime.block_on(async {
            let (quorum, recorder) = start(dir.path(), &Disk::default(), &tiny()).await.unwrap();
            assert!(recorder.applied().len() as u64 >= acknowledged, "round {round}");
            let mut last = 0;
            for i in 0..20 {
                last = quorum.propose(record(format!("{round}.{i}"))).await.unwrap();
            }
            (quorum, last)
        });
        runtime.shutdown_background();
        drop(quorum);
        acknowledged = last;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dropped_quorum_lets_go_of_its_folder() {
    let dir = tempfile::tempdir().unwrap();
    for i in 1..=3 {
        let (quorum, _) = start(dir.path(), &Disk::default(), &Settings::default()).await.unwrap();
        assert_eq!(quorum.propose(record("x")).await, Ok(i));
        drop(quorum);
    }
}

/// On one thread no flush can begin before all of them are proposed.
#[tokio::test]
async fn concurrent_proposals_share_flushes_and_keep_their_order() {
    let dir = tempfile::tempdir().unwrap();
    let disk = Disk::default();
    let (quorum, recorder) = start(dir.path(), &disk, &Settings::default()).await.unwrap();
    let syncs = || disk.faults.syncs.load(std::sync::atomic::Ordering::SeqCst);
    let before = syncs();
    let mut answers = all_at_once((0..100).map(|i| quorum.propose(record(format!("{i:03}"))))).await;
    answers.sort_unstable_by_key(|answer| answer.clone().ok());
    assert_eq!(answers, (1..=100).map(Ok).collect::<Vec<_>>());
    let texts = recorder.texts();
    assert!(texts.is_sorted(), "{texts:?}");
    assert!(syncs() - before <= 10, "{} flushes for 100 proposals", syncs() - before);
    quorum.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_proposal_meant_for_another_epoch_is_not_applied() {
    let dir = tempfile::tempdir().unwrap();
    let (quorum, recorder) = start(dir.path(), &Disk::default(), &Settings::default()).await.unwrap();
    let epoch = quorum.leadership().borrow().epoch;
    assert_eq!(quorum.propose_in(epoch, record("now")).await, Ok(1));
    let refused = quorum.propose_in(epoch + 1, record("other")).await;
    assert!(matches!(refused, Err(ProposeError::NotLeader { .. })), "{refused:?}");
    assert_eq!(quorum.propose(record("then")).await, Ok(2), "it took no index");
    assert_eq!(recorder.texts(), ["now", "then"]);
    quorum.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_proposal_over_the_limit_is_refused_and_one_at_the_limit_survives_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let (quorum, _) = start(dir.path(), &Disk::default(), &Settings::default()).await.unwrap();
    let size = PROPOSAL_BYTES_MAX - 4;
    let over = vec![Bytes::from(vec![0; size + 1])];
    assert_eq!(quorum.propose(over).await, Err(ProposeError::TooLarge { bytes: PROPOSAL_BYTES_MAX + 1 }));
    let most = vec![Bytes::from(vec![1; size])];
    assert_eq!(quorum.propose(most.clone()).await, Ok(1));
    quorum.shutdown().await;
    let (quorum, recorder) = start(dir.path(), &Disk::default(), &Settings::default()).await.unwrap();
    assert_eq!(recorder.applied(), [(1, most)]);
    quorum.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_shutdown_proposals_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let (quorum, _) = start(dir.path(), &Disk::default(), &Settings::default()).await.unwrap();
    quorum.shutdown().await;
    assert_eq!(quorum.propose(record("late")).await, Err(ProposeError::ShuttingDown));
    let mut leadership = quorum.leadership();
    assert!(leadership.wait_for(|leadership| !leadership.me && leadership.leader.is_none()).await.is_ok());
    quorum.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_is_refused_while_in_use_and_to_another_node() {
    let dir = tempfile::tempdir().unwrap();
    let (quorum, _) = start(dir.path(), &Disk::default(), &Settings::default()).await.unwrap();
    let other = Quorum::start(dir.path(), NODE, Settings::default(), Recorder::default()).await;
    assert!(matches!(other.err(), Some(StartError::InUse { .. })));
    quorum.shutdown().await;
    let other = Quorum::start(dir.path(), BrokerId(2), Settings::default(), Recorder::default()).await;
    match other.err() {
        Some(StartError::NotVoter { node, voters, .. }) => {
            assert_eq!((node, voters), (BrokerId(2), vec![NODE]))
        }
        other => panic!("{other:?}"),
    }
}

/// The first start crashed between its two files.
#[tokio::test(flavor = "multi_thread")]
async fn a_first_start_that_was_interrupted_is_finished() {
    let dir = tempfile::tempdir().unwrap();
    let (quorum, _) = start(dir.path(), &Disk::default(), &Settings::default()).await.unwrap();
    quorum.shutdown().await;
    std::fs::remove_file(dir.path().join("vote")).unwrap();
    let (quorum, _) = start(dir.path(), &Disk::default(), &Settings::default()).await.unwrap();
    assert_eq!(quorum.propose(record("x")).await, Ok(1));
    quorum.shutdown().await;
    // Later no crash can remove the vote.
    std::fs::remove_file(dir.path().join("vote")).unwrap();
    let refused = start(dir.path(), &Disk::default(), &Settings::default()).await;
    assert!(matches!(refused.err(), Some(StartError::Damaged { .. })));
}

/// A refused start changes nothing, not even an interrupted write. Once the damage is repaired, everything is
/// there.
#[tokio::test(flavor = "multi_thread")]
async fn a_start_that_is_refused_loses_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let (quorum, _) = start(dir.path(), &Disk::default(), &Settings::default()).await.unwrap();
    quorum.propose(record("x")).await.unwrap();
    quorum.shutdown().await;
    let (log, vote) = (files(dir.path(), "log").pop().unwrap(), dir.path().join("vote"));
    let (whole, voted) = (std::fs::read(&log).unwrap(), std::fs::read(&vote).unwrap());
    let mut torn = whole.clone();
    torn.extend_from_slice(&whole[whole.len() - 9..]);
    std::fs::write(&log, &torn).unwrap();
    std::fs::write(&vote, &voted[1..]).unwrap();
    let refused = start(dir.path(), &Disk::default(), &Settings::default()).await;
    assert!(matches!(refused.err(), Some(StartError::Damaged { file, .. }) if file == vote));
    assert_eq!(std::fs::read(&vote).unwrap(), voted[1..]);
    assert_eq!(std::fs::read(&log).unwrap(), torn);
    std::fs::write(&vote, &voted).unwrap();
    let (quorum, recorder) = start(dir.path(), &Disk::default(), &Settings::default()).await.unwrap();
    assert_eq!(recorder.texts(), ["x"]);
    quorum.shutdown().await;
}

/// The log is not complete without its snapshot.
#[tokio::test(flavor = "multi_thread")]
async fn a_log_whose_snapshot_is_gone_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let (quorum, _) = start(dir.path(), &Disk::default(), &tiny()).await.unwrap();
    for i in 0..200 {
        quorum.propose(record(format!("record {i}"))).await.unwrap();
    }
    first_files_are_purged(dir.path()).await;
    quorum.shutdown().await;
    for snapshot in files(dir.path(), "snapshot") {
        std::fs::remove_file(snapshot).unwrap();
    }
    let refused = start(dir.path(), &Disk::default(), &tiny()).await;
    assert!(matches!(refused.err(), Some(StartError::Damaged { .. })));
}
