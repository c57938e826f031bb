//! Measures appending, flushing, creating and reopening logs: `cargo run --release --example append_speed --
//! [folder]`.
//!
//! Uses up to 3 GiB of the folder (the system's temporary folder if none is given) and removes what it wrote.

use std::path::Path;
use std::sync::mpsc::{self, Receiver, Sender};
use std::time::{Duration, Instant};

use bytes::Bytes;
use ottla_log::{Cold, DataDir, FlushDone, Flusher, Identity, Log, LogConfig, NoReplay};
use ottla_wire::batch::{AppendBatch, BatchBuilder, BatchHeader, HEADER_LEN};
use ottla_wire::messages::ProducerSnapshot;
use ottla_wire::{LeaderEpoch, Offset, PartitionIndex, Timestamp, Uuid};

type AnyError = Box<dyn std::error::Error>;

const TOPIC_ID: Uuid = Uuid([7; 16]);
const MIB: f64 = (1 << 20) as f64;

fn main() -> Result<(), AnyError> {
    let folder = std::env::args().nth(1).map_or_else(std::env::temp_dir, Into::into);
    let folder = folder.join(format!("ottla-append-speed-{}", std::process::id()));
    let run = measure(&folder);
    std::fs::remove_dir_all(&folder)?;
    run
}

fn measure(folder: &Path) -> Result<(), AnyError> {
    for (size, batches_a_write, total) in [
        (200, 1, 200 << 20),
        (200, 64, 400 << 20),
        (16 << 10, 1, 1 << 30),
        (16 << 10, 16, 1 << 30),
        (1 << 20, 1, 1 << 30),
    ] {
        append(folder, size, batches_a_write, total)?;
    }
    for (size, threads) in [(200, 16), (16 << 10, 16), (1 << 20, 16)] {
        group_commit(folder, size, threads)?;
    }
    tail_reads(folder)?;
    create_and_reopen(folder)
}

fn open(folder: &Path, name: &str) -> Result<DataDir, AnyError> {
    let identity = Identity { node_id: Some(1), cluster_id: Some("speed".to_owned()) };
    Ok(DataDir::open(folder.join(name), &identity)?)
}

/// What this thread has used, which says more than the clock on a machine that others use too.
fn cpu_time() -> Result<Duration, AnyError> {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat")?;
    Ok(Duration::from_nanos(text.split(' ').next().unwrap_or_default().parse()?))
}

fn no_producers() -> ProducerSnapshot {
    ProducerSnapshot::default()
}

/// A batch of about `size` bytes, as a validated batch is before it gets its place.
fn template(size: usize) -> Result<(BatchHeader, Bytes), AnyError> {
    let mut builder = BatchBuilder::new();
    let record = (size.saturating_sub(HEADER_LEN + 10)).min(1000);
    while builder.unpacked_len() + record + 10 <= size || builder.record_count() == 0 {
        builder.push(Timestamp(1_700_000_000_000), None, Some(&vec![b'v'; record]));
    }
    let bytes = builder.build()?;
    Ok((BatchHeader::parse(&bytes)?, bytes.slice(HEADER_LEN..)))
}

fn next(log: &Log, (header, body): &(BatchHeader, Bytes)) -> AppendBatch {
    let header =
        BatchHeader { base_offset: log.log_end(), partition_leader_epoch: LeaderEpoch(0), ..*header };
    AppendBatch { body: body.clone(), header }
}

fn append_one(log: &mut Log, template: &(BatchHeader, Bytes)) -> Result<(), AnyError> {
    let batch = next(log, template);
    if log.roll_due(&batch.header, Timestamp(1_700_000_000_000)) {
        log.roll(&no_producers())?;
    }
    Ok(log.append(batch)?)
}

fn append(folder: &Path, size: usize, batches_a_write: usize, total: usize) -> Result<(), AnyError> {
    let dir = open(folder, "append")?;
    let mut log = Log::create(&dir, "t", PartitionIndex(0), TOPIC_ID, LogConfig::default())?;
    let template = template(size)?;
    let count = total / size;
    let (start, cpu) = (Instant::now(), cpu_time()?);
    for _ in 0..count / batches_a_write {
        for _ in 0..batches_a_write {
            append_one(&mut log, &template)?;
        }
        log.write()?;
    }
    let (took, cpu) = (start.elapsed(), cpu_time()? - cpu);
    println!(
        "append+write {size:>8} B, {batches_a_write:>2} batches a write: {:>9.0} batches/s {:>7.0} MiB/s, CPU {:.2} us a batch",
        count as f64 / took.as_secs_f64(),
        log.size() as f64 / MIB / took.as_secs_f64(),
        cpu.as_secs_f64() * 1e6 / count as f64,
    );
    drop(log);
    drop(dir);
    Ok(std::fs::remove_dir_all(folder.join("append"))?)
}

/// Sixteen logs of one owner: each writes while its last flush is under way, and flushes again when that is
/// done.
fn group_commit(folder: &Path, size: usize, threads: usize) -> Result<(), AnyError> {
    const LOGS: usize = 16;
    const BYTES_UNDER_WAY: u64 = 4 << 20;
    let dir = open(folder, "commit")?;
    let flusher = Flusher::start(threads)?;
    let mut logs = Vec::new();
    for i in 0..LOGS {
        logs.push(Log::create(&dir, &format!("t{i}"), PartitionIndex(0), TOPIC_ID, LogConfig::default())?);
    }
    let template = template(size)?;
    let (sender, receiver): (Sender<(usize, FlushDone)>, Receiver<_>) = mpsc::channel();
    let (mut flushes, mut busy, mut unvouched_max) = (0u64, vec![false; LOGS], 0);
    let start = Instant::now();
    let length = Duration::from_secs(3);
    while start.elapsed() < length || busy.contains(&true) {
        for (i, log) in logs.iter_mut().enumerate().filter(|_| start.elapsed() < length) {
            let waiting = (log.written_end().0 - log.durable_end().0) as u64 * size as u64;
            if waiting < BYTES_UNDER_WAY {
                for _ in 0..(64usize << 10).div_ceil(size) {
                    append_one(log, &template)?;
                }
                log.write()?;
            }
            unvouched_max = unvouched_max.max(log.unvouched_bytes());
            if !busy[i]
                && let Some(job) = log.begin_flush(&mut no_producers)
            {
                busy[i] = true;
                let sender = sender.clone();
                let done = Box::new(move |done| drop(sender.send((i, done))));
                if flusher.submit(job, done).is_err() {
                    return Err("too many flushes".into());
                }
            }
        }
        while let Ok((i, done)) = receiver.recv_timeout(Duration::from_micros(200)) {
            logs[i].finish_flush(done);
            (busy[i], flushes) = (false, flushes + 1);
        }
    }
    let took = start.elapsed().as_secs_f64();
    let bytes: u64 = logs.iter().map(Log::size).sum();
    println!(
        "group commit {size:>8} B, {LOGS} logs, {threads} threads: {:>7.0} MiB/s {:>7.0} flushes/s, at most {:.1} MiB unvouched a log",
        bytes as f64 / MIB / took,
        flushes as f64 / took,
        unvouched_max as f64 / MIB
    );
    drop((logs, dir));
    Ok(std::fs::remove_dir_all(folder.join("commit"))?)
}

fn tail_reads(folder: &Path) -> Result<(), AnyError> {
    let dir = open(folder, "reads")?;
    let mut log = Log::create(&dir, "t", PartitionIndex(0), TOPIC_ID, LogConfig::default())?;
    let template = template(200)?;
    for _ in 0..500_000 {
        append_one(&mut log, &template)?;
        if log.log_end().0 % 64 == 0 {
            log.write()?;
        }
    }
    log.write()?;
    let (reader, end) = (log.reader(), log.log_end().0);
    for (what, from) in [("at the tail", end - 10), ("in the middle", end / 2)] {
        const READS: i64 = 200_000;
        let cpu = cpu_time()?;
        let mut bytes = 0;
        for i in 0..READS {
            let upper = log.bound(Offset(end));
            bytes +=
                reader.read(Offset(from + i % 10), 2000, upper, true, Cold::Wait)?.read(Cold::Wait)?.len();
        }
        let each = (cpu_time()? - cpu) / READS as u32;
        println!("read of {} B {what}: CPU {each:?} each", bytes as i64 / READS);
    }
    drop((log, dir));
    Ok(std::fs::remove_dir_all(folder.join("reads"))?)
}

fn create_and_reopen(folder: &Path) -> Result<(), AnyError> {
    const LOGS: i32 = 1000;
    let dir = open(folder, "many")?;
    let (start, cpu) = (Instant::now(), cpu_time()?);
    let mut logs = Vec::new();
    for i in 0..LOGS {
        logs.push(Log::create(&dir, "t", PartitionIndex(i), TOPIC_ID, LogConfig::default())?);
    }
    println!("create {LOGS} logs: {:?}, CPU {:?}", start.elapsed(), cpu_time()? - cpu);
    let template = template(16 << 10)?;
    for log in &mut logs {
        for _ in 0..64 {
            append_one(log, &template)?;
        }
        log.write()?;
    }
    // Dropped without a mark: a crash of the process, with nothing flushed.
    drop((logs, dir));
    let logs = reopen(folder, "after a crash, nothing vouched for")?;

    let flusher = Flusher::start(16)?;
    let start = Instant::now();
    flush_all(logs, &flusher, |log| log.begin_flush(&mut no_producers))?;
    println!("first flush of {LOGS} logs with 1 GiB: {:?}", start.elapsed());
    let logs = reopen(folder, "after a crash, all vouched for")?;
    let dir = logs.0.clone();
    let start = Instant::now();
    flush_all(logs, &flusher, |log| log.close(&no_producers()).ok().flatten())?;
    dir.mark_clean(None)?;
    drop(dir);
    println!("close {LOGS} logs: {:?}", start.elapsed());
    let logs = reopen(folder, "after a clean stop")?;
    let start = Instant::now();
    let dir = logs.0.clone();
    flush_all(logs, &flusher, |log| log.close(&no_producers()).ok().flatten())?;
    dir.mark_clean(None)?;
    println!("close {LOGS} logs that nobody touched: {:?}", start.elapsed());
    Ok(())
}

fn reopen(folder: &Path, what: &str) -> Result<(DataDir, Vec<Log>), AnyError> {
    let (start, cpu) = (Instant::now(), cpu_time()?);
    let dir = open(folder, "many")?;
    let found = dir.partitions()?;
    // As a broker with two cores does it.
    let open_some = |found: &[ottla_log::FoundPartition]| -> Result<(Vec<Log>, u64), String> {
        let (mut logs, mut scanned) = (Vec::new(), 0);
        for found in found {
            let config = LogConfig::default();
            let (topic, recovery) = (&found.topic, found.recovery);
            let opened =
                Log::open(&dir, topic, found.partition, found.topic_id, config, recovery, &mut NoReplay)
                    .map_err(|error| error.to_string())?;
            scanned += opened.scanned_bytes;
            logs.push(opened.log);
        }
        Ok((logs, scanned))
    };
    let (first, second) = found.split_at(found.len() / 2);
    let (mut logs, scanned) = std::thread::scope(|scope| {
        let other = scope.spawn(|| open_some(second));
        let (mut logs, mut scanned) = open_some(first)?;
        let (more, more_scanned) = other.join().map_err(|_| "a thread panicked")??;
        logs.extend(more);
        scanned += more_scanned;
        Ok::<_, String>((logs, scanned))
    })?;
    let took = start.elapsed();
    let cpu = cpu_time()? - cpu;
    let scanned = scanned as f64 / MIB;
    println!(
        "open {} logs {what}: {took:?} (two threads, CPU {cpu:?} each), {scanned:.0} MiB scanned",
        logs.len()
    );
    logs.shrink_to_fit();
    Ok((dir, logs))
}

fn flush_all(
    (dir, mut logs): (DataDir, Vec<Log>),
    flusher: &Flusher,
    job: impl Fn(&mut Log) -> Option<ottla_log::FlushJob>,
) -> Result<(), AnyError> {
    let (sender, receiver) = mpsc::channel();
    for (i, log) in logs.iter_mut().enumerate() {
        if let Some(job) = job(log) {
            let sender = sender.clone();
            if flusher.submit(job, Box::new(move |done| drop(sender.send((i, done))))).is_err() {
                return Err("too many flushes".into());
            }
        }
    }
    drop(sender);
    for (i, done) in receiver {
        logs[i].finish_flush(done);
    }
    dir.checkpoint()?;
    Ok(())
}
