//! Random proposals, snapshots, restarts and crashes against a list of what was acknowledged.

use bytes::Bytes;
use proptest::prelude::*;

use super::{Applied, Recorder, all_at_once, start};
use crate::disk::Disk;
use crate::{MetadataLog, Quorum, Settings};

#[derive(Clone, Debug)]
enum Step {
    /// One proposal with records of these sizes.
    Propose(Vec<usize>),
    /// This many at once.
    Together(u8),
    Restart,
    Crash,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => proptest::collection::vec(0..200_usize, 0..4).prop_map(Step::Propose),
        2 => (1..20_u8).prop_map(Step::Together),
        1 => Just(Step::Restart),
        1 => Just(Step::Crash),
    ]
}

async fn run(steps: Vec<Step>, settings: Settings) {
    let dir = tempfile::tempdir().unwrap();
    let disk = Disk::default();
    let mut model = Applied::new();
    let (mut quorum, mut recorder) = start(dir.path(), &disk, &settings).await.unwrap();
    for (i, step) in steps.into_iter().enumerate() {
        match step {
            Step::Propose(sizes) => {
                let records: Vec<Bytes> =
                    sizes.iter().map(|size| Bytes::from(vec![i as u8; *size])).collect();
                model.push((quorum.propose(records.clone()).await.unwrap(), records));
            }
            Step::Together(count) => together(&quorum, i, count, &mut model).await,
            Step::Restart => {
                quorum.shutdown().await;
                (quorum, recorder) = start(dir.path(), &disk, &settings).await.unwrap();
            }
            Step::Crash => {
                drop(quorum);
                (quorum, recorder) = start(dir.path(), &disk, &settings).await.unwrap();
            }
        }
        check(&recorder, &quorum, &model);
    }
    quorum.shutdown().await;
}

async fn together(quorum: &Quorum, i: usize, count: u8, model: &mut Applied) {
    let propose = |n| async move {
        let records = vec![Bytes::from(vec![i as u8, n])];
        (quorum.propose(records.clone()).await.unwrap(), records)
    };
    let mut answers = all_at_once((0..count).map(propose)).await;
    answers.sort_unstable_by_key(|(index, _)| *index);
    model.extend(answers);
}

fn check(recorder: &Recorder, quorum: &Quorum, model: &Applied) {
    assert_eq!(&recorder.applied(), model);
    assert_eq!(*quorum.applied().borrow(), model.len() as u64);
    assert!(quorum.leadership().borrow().me);
}

proptest! {
    #![proptest_config(super::cases(24))]

    #[test]
    fn what_is_acknowledged_is_applied_once_in_order_for_good(
        steps in proptest::collection::vec(step(), 1..25),
        snapshot_bytes in 50..2_000_u64,
        keep_bytes in 0..500_u64,
        segment_bytes in 1..1_000_u64,
    ) {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        runtime.block_on(run(steps, Settings { snapshot_bytes, keep_bytes, segment_bytes, ..Settings::default() }));
    }
}
