//! The files of the metadata log, damaged: it starts with what was acknowledged up to some point, or it
//! refuses and leaves the folder to a person.

use std::fs;
use std::path::Path;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use ottla_quorum::{MetadataLog, Quorum, Settings, StartError, StateMachine};
use ottla_wire::BrokerId;
use tempfile::TempDir;
use tokio::runtime::{Builder, Runtime};

use crate::damage::{Files, damage};

const NODE: BrokerId = BrokerId(1);

/// How long a start may take, and a proposal.
const PATIENCE: Duration = Duration::from_secs(60);

/// Proposals that were acknowledged before the damage: `record 0` and so on.
const PROPOSALS: u64 = 40;

/// A byte that says whether the folder has a snapshot, then a script of damage ([`crate::damage`]) to its
/// files.
pub fn quorum(data: &[u8]) {
    let Some((&kind, script)) = data.split_first() else { return };
    let settings = settings(kind % 2 == 1);
    let mut files = acknowledged(kind % 2 == 1).clone();
    damage(&mut files, script);
    let dir = folder(&files);
    runtime().block_on(async {
        let machine = Machine::default();
        let quorum = match start(dir.path(), &settings, &machine).await {
            Ok(quorum) => quorum,
            Err(StartError::Damaged { .. } | StartError::NotVoter { .. } | StartError::NotAlone { .. }) => {
                check_left_alone(&files, &read(dir.path()));
                return;
            }
            Err(error) => panic!("{error}"),
        };
        let mut applied = machine.applied();
        let expected: Vec<Bytes> = (0..applied.len() as u64).map(record).collect();
        assert_eq!(applied, expected, "what is there was acknowledged, in order");
        let new = Bytes::from_static(b"new");
        let index = quorum.propose(vec![new.clone()]).await.expect("it leads");
        assert_eq!(index, applied.len() as u64 + 1);
        applied.push(new);
        assert_eq!(machine.applied(), applied);
        quorum.shutdown().await;

        let machine = Machine::default();
        let quorum = start(dir.path(), &settings, &machine).await;
        let quorum = quorum.unwrap_or_else(|error| panic!("the second start: {error}"));
        assert_eq!(machine.applied(), applied, "another start changes nothing");
        quorum.shutdown().await;
    });
}

/// A folder that is refused is as it was, but that the unfinished write at the end of a file may be gone.
fn check_left_alone(before: &Files, after: &Files) {
    assert!(before.keys().eq(after.keys()), "a file came or went: {:?}", after.keys());
    for (name, bytes) in after {
        assert!(before[name].starts_with(bytes), "{name} is another one");
    }
}

/// Everything that was applied, each proposal one record.
#[derive(Clone, Default)]
struct Machine(Arc<Mutex<Vec<Bytes>>>);

impl Machine {
    fn applied(&self) -> Vec<Bytes> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl StateMachine for Machine {
    fn apply(&mut self, index: u64, records: Vec<Bytes>) {
        let mut applied = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        applied.extend(records);
        assert_eq!(applied.len() as u64, index, "no proposal is left out");
    }

    fn snapshot(&self) -> Vec<Bytes> {
        self.applied()
    }

    fn restore(&mut self, index: u64, records: Vec<Bytes>) {
        assert_eq!(records.len() as u64, index);
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = records;
    }
}

/// A folder with all proposals in it, with a snapshot and few log files or with the log alone.
fn acknowledged(snapshots: bool) -> &'static Files {
    static FILES: [OnceLock<Files>; 2] = [const { OnceLock::new() }; 2];
    FILES[usize::from(snapshots)].get_or_init(|| {
        let dir = folder(&Files::new());
        runtime().block_on(async {
            let quorum = start(dir.path(), &settings(snapshots), &Machine::default()).await;
            let quorum = quorum.unwrap_or_else(|error| panic!("{error}"));
            for i in 0..PROPOSALS {
                quorum.propose(vec![record(i)]).await.expect("it leads");
            }
            quorum.shutdown().await;
        });
        read(dir.path())
    })
}

fn record(i: u64) -> Bytes {
    Bytes::from(format!("record {i}"))
}

fn settings(snapshots: bool) -> Settings {
    let short = Settings {
        segment_bytes: 400,
        heartbeat_interval: Duration::from_millis(20),
        election_timeout: Duration::from_millis(60),
        ..Settings::default()
    };
    match snapshots {
        true => Settings { snapshot_bytes: 300, keep_bytes: 100, ..short },
        false => short,
    }
}

async fn start(dir: &Path, settings: &Settings, machine: &Machine) -> Result<Quorum, StartError> {
    let start = Quorum::start(dir, NODE, settings.clone(), machine.clone());
    tokio::time::timeout(PATIENCE, start).await.expect("a start ends")
}

fn runtime() -> Runtime {
    Builder::new_current_thread().enable_all().build().expect("a runtime")
}

fn folder(files: &Files) -> TempDir {
    let dir = tempfile::tempdir().expect("a temporary folder");
    for (name, bytes) in files {
        fs::write(dir.path().join(name), bytes).expect("a disk that works");
    }
    dir
}

/// Every file but the lock, which is empty.
fn read(dir: &Path) -> Files {
    let mut files = Files::new();
    for entry in fs::read_dir(dir).expect("a folder") {
        let path = entry.expect("a folder").path();
        let name = path.file_name().and_then(|name| name.to_str()).expect("our names are text").to_owned();
        let bytes = fs::read(&path).expect("a file");
        if !name.contains("lock") {
            files.insert(name, bytes);
        }
    }
    files
}
