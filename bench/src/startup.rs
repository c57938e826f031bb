//! Start-up and memory: how soon a broker serves, and what it needs when it does nothing.

use std::fmt::Write as _;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use serde::Serialize;

use crate::admin::Admin;
use crate::compare::wall_clock;
use crate::frames::{Batch, Ring};
use crate::load::{self, ProduceLoad};
use crate::process::{cpu_seconds, load_average, machine, resident_mib};
use crate::server::{Server, ServerKind, Setup};
use crate::shape::{PARTITIONS, Topic};

const MANY_TOPIC: &str = "bench-many";
const MANY_PARTITIONS: i32 = 1_000;
/// How long a broker is left alone before it is looked at.
const SETTLE: Duration = Duration::from_secs(3);
const IDLE: Duration = Duration::from_secs(10);
/// The load before memory is looked at again.
const LOAD: Duration = Duration::from_secs(5);
const LOAD_BATCH_BYTES: usize = 128 << 10;
const LOAD_CONNECTIONS: usize = 16;
const LOAD_DEPTH: usize = 5;
/// What fills the many partitions.
const FILL_BATCH_BYTES: usize = 64 << 10;
const FILL_CONNECTIONS: usize = 4;
const FILL_DEPTH: usize = 8;

/// One broker.
#[derive(Serialize)]
pub struct Startup {
    pub machine: String,
    pub load_average: String,
    pub server: ServerKind,
    /// From exec until ApiVersions is answered, on an empty directory (of Kafka: a formatted one).
    pub ready_ms: f64,
    pub idle_resident_mib: f64,
    /// Of one processor.
    pub idle_cpu_percent: f64,
    pub loaded_resident_mib: f64,
    pub loaded_resident_peak_mib: f64,
    /// From CreateTopics with 1,000 partitions until all of them are served.
    pub partitions_served_s: f64,
    /// And until a batch in each of them is acknowledged.
    pub partitions_written_s: f64,
    pub gib: f64,
    pub fill_s: f64,
    /// From exec after a kill -9 until the ends of all partitions, each of them right, are answered.
    pub restart_s: f64,
    /// From exec until ApiVersions is answered.
    pub restart_ready_s: f64,
    pub restarted_resident_mib: f64,
}

/// Measures one kind of broker, with `gib` of data before the restart.
pub fn measure(setup: &Setup, kind: ServerKind, gib: f64) -> Result<Startup> {
    let load_average = load_average();
    let mut server = Server::start(setup, kind)?;
    if kind == ServerKind::Kafka {
        // The first start formats the directory, with a JVM of its own.
        server = Server::start_on(setup, kind, server.stop()?)?;
    }
    let ready_ms = server.ready_after.as_secs_f64() * 1e3;
    thread::sleep(SETTLE);
    let idle_resident_mib = resident_mib(server.pid, "VmRSS")?;
    let idle_cpu_percent = idle_cpu(&server)?;
    put_under_load(setup, &server)?;
    let loaded = (resident_mib(server.pid, "VmRSS")?, resident_mib(server.pid, "VmHWM")?);
    let (partitions_served_s, partitions_written_s) = create_many(&server)?;
    let began = Instant::now();
    let ends = fill(&server, gib)?;
    let fill_s = began.elapsed().as_secs_f64();
    let data = server.kill()?;
    let began = Instant::now();
    let server = Server::start_on(setup, kind, data)?;
    let found = server.await_served(&mut Admin::connect(server.addr)?, MANY_TOPIC, MANY_PARTITIONS)?;
    let restart_s = began.elapsed().as_secs_f64();
    ensure!(found == ends, "the ends of partitions are not what they were before the kill");
    Ok(Startup {
        machine: machine(),
        load_average,
        server: kind,
        ready_ms,
        idle_resident_mib,
        idle_cpu_percent,
        loaded_resident_mib: loaded.0,
        loaded_resident_peak_mib: loaded.1,
        partitions_served_s,
        partitions_written_s,
        gib,
        fill_s,
        restart_s,
        restart_ready_s: server.ready_after.as_secs_f64(),
        restarted_resident_mib: resident_mib(server.pid, "VmRSS")?,
    })
}

impl Startup {
    pub fn to_text(&self) -> String {
        let mut text =
            format!("{} ({}; load average {})\n", self.server.name(), self.machine, self.load_average);
        let restarted =
            format!("restart after kill -9 with {} GiB in {MANY_PARTITIONS} partitions", self.gib);
        let lines = [
            ("ready on an empty directory, ms", self.ready_ms),
            ("idle RSS, MiB", self.idle_resident_mib),
            ("idle CPU, % of a core", self.idle_cpu_percent),
            ("RSS after load, MiB", self.loaded_resident_mib),
            ("RSS at the most, MiB", self.loaded_resident_peak_mib),
            ("1,000 partitions created and served, s", self.partitions_served_s),
            ("1,000 partitions created and written to, s", self.partitions_written_s),
            (&restarted, f64::NAN),
            ("  filling, s", self.fill_s),
            ("  answers ApiVersions, s", self.restart_ready_s),
            ("  all partitions served with right ends, s", self.restart_s),
            ("  RSS then, MiB", self.restarted_resident_mib),
        ];
        for (name, value) in lines {
            let value = if value.is_nan() { String::new() } else { format!("{value:.3}") };
            let _infallible = writeln!(text, "  {name:58} {value:>10}");
        }
        text
    }
}

fn idle_cpu(server: &Server) -> Result<f64> {
    let (before, began) = (cpu_seconds(server.pid)?, Instant::now());
    thread::sleep(IDLE);
    Ok((cpu_seconds(server.pid)? - before) / began.elapsed().as_secs_f64() * 100.0)
}

fn put_under_load(setup: &Setup, server: &Server) -> Result<()> {
    server.create(Topic::Cached, setup.segment_bytes)?;
    let topic = Topic::Cached.name();
    let batch = Batch::of_len(LOAD_BATCH_BYTES, wall_clock())?;
    let ring = Arc::new(Ring::new(topic, PARTITIONS, &batch, LOAD_DEPTH)?);
    let clients = ProduceLoad::connect(server.addr, topic, &ring, LOAD_CONNECTIONS, LOAD_DEPTH)?;
    load::measure(clients, Duration::ZERO, LOAD, || Ok(()))?;
    Ok(())
}

/// Until all partitions are served, and until each has taken a batch; in seconds.
fn create_many(server: &Server) -> Result<(f64, f64)> {
    let mut admin = Admin::connect(server.addr)?;
    let batch = Batch::of_len(100, wall_clock())?;
    let began = Instant::now();
    admin.create_topic(MANY_TOPIC, MANY_PARTITIONS, &[("flush.messages", i64::MAX.to_string())])?;
    server.await_served(&mut admin, MANY_TOPIC, MANY_PARTITIONS)?;
    let served = began.elapsed().as_secs_f64();
    let mut missing: Vec<i32> = (0..MANY_PARTITIONS).collect();
    while !missing.is_empty() {
        missing = admin.produce_to(MANY_TOPIC, &missing, &batch.bytes)?;
    }
    Ok((served, began.elapsed().as_secs_f64()))
}

/// Fills all partitions evenly. Gives their ends.
fn fill(server: &Server, gib: f64) -> Result<Vec<i64>> {
    let batch = Batch::of_len(FILL_BATCH_BYTES, wall_clock())?;
    let ring = Arc::new(Ring::new(MANY_TOPIC, MANY_PARTITIONS, &batch, FILL_DEPTH)?);
    let requests = (gib * f64::from(1 << 30) / FILL_BATCH_BYTES as f64) as u64;
    load::run(ProduceLoad::connect(server.addr, MANY_TOPIC, &ring, FILL_CONNECTIONS, FILL_DEPTH)?, requests)?;
    server.await_served(&mut Admin::connect(server.addr)?, MANY_TOPIC, MANY_PARTITIONS)
}
