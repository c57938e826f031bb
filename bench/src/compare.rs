//! Runs the loads: all servers side by side, one after the other in each round, so that what the machine does
//! besides hits all of them.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::Result;
use ottla_wire::Timestamp;
use serde::Serialize;

use crate::frames::{Batch, Ring};
use crate::load::{self, FetchLoad, Measured, ProduceLoad, Stored};
use crate::process;
use crate::report::Summary;
use crate::server::{Server, ServerKind, Setup};
use crate::shape::{self, Against, PARTITIONS, STORED_BATCH_BYTES, Shape, Topic};

/// Requests under way while the stored topic is filled.
const FILL_DEPTH: usize = 8;

/// How to measure.
#[derive(Clone, Debug)]
pub struct Plan {
    pub warm_up: Duration,
    pub time: Duration,
    /// Counted ones; one more goes before them, in which caches, compilers and files become what they will
    /// be.
    pub rounds: usize,
    /// What fetches read, in all partitions together.
    pub stored_bytes: u64,
}

/// Who is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Contender {
    pub kind: ServerKind,
    /// The raw server handles the frames of a read together.
    pub coalesced: bool,
}

impl Contender {
    pub fn label(self) -> &'static str {
        if self.coalesced { "raw coalesced" } else { self.kind.name() }
    }

    pub fn is(self, against: Against) -> bool {
        match against {
            Against::Raw => self.kind == ServerKind::Raw && !self.coalesced,
            Against::Coalesced => self.coalesced,
            Against::Kafka => self.kind == ServerKind::Kafka,
        }
    }
}

/// One measurement.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct Sample {
    pub mib_per_second: f64,
    pub requests_per_second: f64,
    pub p50_us: f64,
    pub p99_us: f64,
    pub p999_us: f64,
    /// Of the server, user and system.
    pub cpu_seconds_per_gib: f64,
    pub cpu_us_per_request: f64,
    /// Processors that the server kept busy.
    pub cpu_cores: f64,
}

/// Servers that are running, for all shapes of a run: so every topic is there once, and its page cache is
/// used again.
pub struct Arena {
    servers: Vec<Server>,
    plan: Plan,
    stored: Option<Stored>,
}

impl Arena {
    pub fn start(setup: &Setup, kinds: &[ServerKind], plan: Plan, shapes: &[&Shape]) -> Result<Arena> {
        let mut servers = Vec::new();
        for kind in kinds {
            let server = Server::start(setup, *kind)?;
            eprintln!("{} is process {} at {}", kind.name(), server.pid, server.addr);
            for topic in Topic::ALL {
                if shapes.iter().any(|shape| shape.topic == topic) {
                    server.create(topic, setup.segment_bytes)?;
                }
            }
            servers.push(server);
        }
        Ok(Arena { servers, plan, stored: None })
    }

    /// Measures every server in every round.
    pub fn run(&mut self, shape: &'static Shape) -> Result<Summary> {
        if shape.topic == Topic::Stored && self.stored.is_none() {
            self.stored = Some(self.fill()?);
        }
        let ring = match shape.kind {
            shape::ShapeKind::Fetch => None,
            shape::ShapeKind::Produce => Some(Batch::of_len(shape.bytes, wall_clock())?),
        };
        let contenders = self.contenders(shape);
        let mut samples = vec![Vec::new(); contenders.len()];
        for round in 0..=self.plan.rounds {
            for (contender, samples) in contenders.iter().zip(&mut samples) {
                let sample = self.measure(shape, *contender, ring.as_ref())?;
                eprintln!(
                    "{} round {round}: {:13} {:8.1} MiB/s {:9.3} us/request",
                    shape.name,
                    contender.label(),
                    sample.mib_per_second,
                    sample.cpu_us_per_request
                );
                if round > 0 {
                    samples.push(sample);
                }
            }
        }
        Ok(Summary::new(shape, contenders.into_iter().zip(samples).collect()))
    }

    fn contenders(&self, shape: &Shape) -> Vec<Contender> {
        let coalesced = shape.targets.iter().any(|target| target.against == Against::Coalesced);
        let mut contenders = Vec::new();
        for server in &self.servers {
            contenders.push(Contender { kind: server.kind, coalesced: false });
            if server.kind == ServerKind::Raw && coalesced {
                contenders.push(Contender { kind: server.kind, coalesced: true });
            }
        }
        contenders
    }

    fn measure(&self, shape: &Shape, contender: Contender, batch: Option<&Batch>) -> Result<Sample> {
        let Some(server) = self.servers.iter().find(|server| server.kind == contender.kind) else {
            anyhow::bail!("{} is not running", contender.label())
        };
        let cpu = || process::cpu_seconds(server.pid);
        let Plan { warm_up, time, .. } = self.plan;
        let measured = match (batch, self.stored) {
            (Some(batch), _) => {
                let topic = if contender.coalesced { Topic::Coalesced } else { shape.topic };
                // No connection may overtake the ring that it goes round.
                let ring = Arc::new(Ring::new(topic.name(), PARTITIONS, batch, shape.depth)?);
                let clients =
                    ProduceLoad::connect(server.addr, topic.name(), &ring, shape.connections, shape.depth)?;
                load::measure(clients, warm_up, time, cpu)?
            }
            (None, Some(stored)) => {
                let topic = shape.topic.name();
                let clients = FetchLoad::connect(
                    server.addr,
                    topic,
                    stored,
                    shape.connections,
                    PARTITIONS,
                    shape.bytes,
                )?;
                load::measure(clients, warm_up, time, cpu)?
            }
            (None, None) => anyhow::bail!("nothing is stored that could be fetched"),
        };
        Ok(sample(&measured))
    }

    /// Fills the topic that is fetched from, on every server.
    fn fill(&self) -> Result<Stored> {
        let batch = Batch::of_len(STORED_BATCH_BYTES, wall_clock())?;
        let batches = (self.plan.stored_bytes / PARTITIONS as u64 / STORED_BATCH_BYTES as u64).max(64);
        let topic = Topic::Stored.name();
        let ring = Arc::new(Ring::new(topic, PARTITIONS, &batch, FILL_DEPTH)?);
        for server in &self.servers {
            load::run(
                ProduceLoad::connect(server.addr, topic, &ring, 1, FILL_DEPTH)?,
                batches * PARTITIONS as u64,
            )?;
        }
        Ok(Stored { batches: batches as i64, batch_len: batch.bytes.len(), batch_records: batch.records })
    }
}

fn sample(measured: &Measured<f64>) -> Sample {
    let Measured { tally, wall, before, after } = measured;
    let (seconds, cpu) = (wall.as_secs_f64(), after - before);
    let mib = tally.bytes as f64 / f64::from(1 << 20);
    Sample {
        mib_per_second: mib / seconds,
        requests_per_second: tally.requests as f64 / seconds,
        p50_us: tally.latencies.quantile_us(0.5),
        p99_us: tally.latencies.quantile_us(0.99),
        p999_us: tally.latencies.quantile_us(0.999),
        cpu_seconds_per_gib: cpu / (mib / 1_024.0),
        cpu_us_per_request: cpu * 1e6 / tally.requests as f64,
        cpu_cores: cpu / seconds,
    }
}

/// Milliseconds since 1970.
pub fn wall_clock() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}
