//! How long the metadata log takes: to start, for one proposal, and for many at once.
//!
//! `cargo run --release -p ottla-quorum --example latency -- [folder]`; the folder should be on the disk in
//! question.

use std::error::Error;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use ottla_quorum::{MetadataLog, Quorum, Settings, StateMachine};
use ottla_wire::ids::BrokerId;

const NODE: BrokerId = BrokerId(1);
const SINGLE: usize = 500;
const TOGETHER: usize = 100;
const ROUNDS: usize = 50;

#[derive(Default)]
struct Sum {
    bytes: u64,
}

impl StateMachine for Sum {
    fn apply(&mut self, _index: u64, records: Vec<Bytes>) {
        self.bytes += records.iter().map(|record| record.len() as u64).sum::<u64>();
    }

    fn snapshot(&self) -> Vec<Bytes> {
        vec![Bytes::copy_from_slice(&self.bytes.to_be_bytes())]
    }

    fn restore(&mut self, _index: u64, records: Vec<Bytes>) {
        let bytes: Option<[u8; 8]> = records.first().and_then(|record| record.as_ref().try_into().ok());
        self.bytes = bytes.map_or(0, u64::from_be_bytes);
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let parent = std::env::args().nth(1).map_or_else(std::env::temp_dir, PathBuf::from);
    let dir = tempfile::tempdir_in(parent)?;
    print("one flush of 200 appended bytes", &mut flushes(dir.path())?);

    let began = Instant::now();
    let quorum =
        Arc::new(Quorum::start(dir.path().join("log"), NODE, Settings::default(), Sum::default()).await?);
    println!("first start: {:.1?}", began.elapsed());

    let mut times = Vec::new();
    for _ in 0..SINGLE {
        let began = Instant::now();
        quorum.propose(records()).await?;
        times.push(began.elapsed());
    }
    print("one proposal at a time", &mut times);

    let mut times = Vec::new();
    let began = Instant::now();
    for _ in 0..ROUNDS {
        let tasks: Vec<_> = (0..TOGETHER).map(|_| tokio::spawn(timed(quorum.clone()))).collect();
        for task in tasks {
            times.push(task.await??);
        }
    }
    println!(
        "{TOGETHER} at once: {:.0} proposals/s",
        (ROUNDS * TOGETHER) as f64 / began.elapsed().as_secs_f64()
    );
    print("each of those", &mut times);

    quorum.shutdown().await;
    let mut starts = Vec::new();
    for _ in 0..20 {
        let began = Instant::now();
        let quorum = Quorum::start(dir.path().join("log"), NODE, Settings::default(), Sum::default()).await?;
        starts.push(began.elapsed());
        quorum.shutdown().await;
    }
    print("start again (5,500 proposals in the log)", &mut starts);
    Ok(())
}

async fn timed(quorum: Arc<Quorum>) -> Result<Duration, ottla_quorum::ProposeError> {
    let began = Instant::now();
    quorum.propose(records()).await?;
    Ok(began.elapsed())
}

fn records() -> Vec<Bytes> {
    vec![Bytes::from_static(&[7; 100]), Bytes::from_static(&[8; 60])]
}

fn flushes(dir: &Path) -> Result<Vec<Duration>, std::io::Error> {
    use std::io::Write;
    let mut file = std::fs::File::create(dir.join("flushes"))?;
    let mut times = Vec::new();
    for _ in 0..SINGLE {
        let began = Instant::now();
        file.write_all(&[1; 200])?;
        file.sync_data()?;
        times.push(began.elapsed());
    }
    Ok(times)
}

fn print(what: &str, times: &mut [Duration]) {
    times.sort_unstable();
    let at = |part: usize| times[(times.len() - 1) * part / 100];
    println!("{what}: p50 {:.2?}, p99 {:.2?}, max {:.2?}", at(50), at(99), at(100));
}
