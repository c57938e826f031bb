//! Tests of the room as a whole.

mod cluster;
mod faults;
mod journal;
mod model;
mod restart;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use ottla_wire::ids::BrokerId;

use crate::disk::Disk;
use crate::{CheckedFolder, Quorum, Settings, StartError, StateMachine};

pub(crate) const NODE: BrokerId = BrokerId(1);

/// A state machine that remembers everything that was applied, with its index.
#[derive(Clone, Default)]
pub(crate) struct Recorder(Arc<Mutex<Applied>>);

/// Proposals with their indexes.
pub(crate) type Applied = Vec<(u64, Vec<Bytes>)>;

impl Recorder {
    pub(crate) fn applied(&self) -> Applied {
        self.0.lock().unwrap().clone()
    }

    /// The first record of each proposal, as text.
    pub(crate) fn texts(&self) -> Vec<String> {
        let text = |record: Option<&Bytes>| String::from_utf8_lossy(record.map_or(b"", |r| r)).into_owned();
        self.applied().iter().map(|(_, records)| text(records.first())).collect()
    }
}

impl StateMachine for Recorder {
    fn apply(&mut self, index: u64, records: Vec<Bytes>) {
        let mut applied = self.0.lock().unwrap();
        assert_eq!(index, applied.last().map_or(0, |(last, _)| *last) + 1, "indexes have no gaps");
        applied.push((index, records));
    }

    fn snapshot(&self) -> Vec<Bytes> {
        // A count, then the records of each proposal.
        let applied = self.0.lock().unwrap();
        let mut out = Vec::new();
        for (_, records) in applied.iter() {
            out.push(Bytes::copy_from_slice(&(records.len() as u32).to_be_bytes()));
            out.extend(records.iter().cloned());
        }
        out
    }

    fn restore(&mut self, index: u64, records: Vec<Bytes>) {
        let mut applied = Vec::new();
        let mut records = records.into_iter();
        while let Some(count) = records.next() {
            let count = u32::from_be_bytes(count.as_ref().try_into().unwrap()) as usize;
            let proposal: Vec<Bytes> = records.by_ref().take(count).collect();
            assert_eq!(proposal.len(), count);
            applied.push((applied.len() as u64 + 1, proposal));
        }
        assert_eq!(applied.len() as u64, index);
        *self.0.lock().unwrap() = applied;
    }
}

pub(crate) fn record(text: impl AsRef<str>) -> Vec<Bytes> {
    vec![Bytes::copy_from_slice(text.as_ref().as_bytes())]
}

/// Settings under which snapshots, purges and new files come after a few records.
pub(crate) fn tiny() -> Settings {
    Settings { snapshot_bytes: 300, keep_bytes: 100, segment_bytes: 200, ..Settings::default() }
}

/// Starts alone, with a new recorder. Waits while a crashed one still holds the folder.
pub(crate) async fn start(
    dir: &Path,
    disk: &Disk,
    settings: &Settings,
) -> Result<(Quorum, Recorder), StartError> {
    loop {
        let recorder = Recorder::default();
        let machine = Box::new(recorder.clone());
        match start_alone(disk.clone(), dir.to_path_buf(), settings.clone(), machine).await {
            Err(StartError::InUse { .. }) => tokio::time::sleep(Duration::from_millis(1)).await,
            result => return result.map(|quorum| (quorum, recorder)),
        }
    }
}

async fn start_alone(
    disk: Disk,
    dir: PathBuf,
    settings: Settings,
    machine: Box<dyn StateMachine>,
) -> Result<Quorum, StartError> {
    let voters = BTreeSet::from([NODE]);
    CheckedFolder::of(disk, dir, NODE, voters, settings, machine).await?.start().await
}

/// The same cases every time.
pub(crate) fn cases(count: u32) -> proptest::test_runner::Config {
    use proptest::test_runner::{Config, RngSeed};
    Config { cases: count, rng_seed: RngSeed::Fixed(1), failure_persistence: None, ..Config::default() }
}

/// Polls all of them in order until all are done, like one task with many proposals. Results come in order of
/// completion.
pub(crate) async fn all_at_once<T>(futures: impl IntoIterator<Item = impl Future<Output = T>>) -> Vec<T> {
    let mut waiting: Vec<_> = futures.into_iter().map(Box::pin).collect();
    let mut done = Vec::new();
    std::future::poll_fn(|context| {
        waiting.retain_mut(|future| match future.as_mut().poll(context) {
            Poll::Ready(result) => {
                done.push(result);
                false
            }
            Poll::Pending => true,
        });
        if waiting.is_empty() { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
    done
}

/// Waits until something becomes true. A busy machine may take its time.
pub(crate) async fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = std::time::Instant::now() + Duration::from_secs(60);
    while !condition() {
        assert!(std::time::Instant::now() < deadline, "not in time: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
