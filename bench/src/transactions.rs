//! Loads of the transaction coordinator: producers that begin, write a batch and commit, again and again.

use std::fmt::Write as _;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use bytes::Bytes;
use ottla_wire::batch::BatchBuilder;
use ottla_wire::messages::{
    EndTxnRequest, InitProducerIdRequest, ProduceRequest, ResponseHeader, produce_request,
};
use ottla_wire::primitives::{Reader, Str};
use ottla_wire::protocol::response_header_version;
use ottla_wire::{ApiKey, ErrorCode, Message, ProducerEpoch, ProducerId, Records, Request, Sequence};
use serde::Serialize;

use crate::admin::Admin;
use crate::compare::wall_clock;
use crate::fleet::{Fleet, Next};
use crate::frames::request;
use crate::histogram::Histogram;
use crate::process::{cpu_seconds, load_average, machine};
use crate::server::{Server, ServerKind, Setup};

const TOPIC: &str = "bench-transactions";
const PARTITIONS: i32 = 16;
/// Each with a transactional id and a connection of its own.
const PRODUCERS: usize = 64;
const RECORD_BYTES: usize = 100;
const TIMEOUT_MS: i32 = 60_000;
/// Type of a transactional id in FindCoordinator.
const TRANSACTIONAL_ID_KEY: i8 = 1;
const COORDINATOR_MAX: Duration = Duration::from_secs(60);
/// As Kafka's own client waits before it asks again while the last transaction is being ended.
const RETRY_PAUSE: Duration = Duration::from_millis(20);
/// Times in a row that one request may be put off.
const RETRIES_MAX: u32 = 1_000;
const WARM_UP: Duration = Duration::from_secs(2);
/// Of one transaction.
const RECORDS: [usize; 3] = [1, 10, 100];

/// Transactions of version 2 (KIP-890): a partition is added by writing to it, and each end brings a new
/// epoch.
const INIT_VERSION: i16 = 5;
/// The newest version that names topics.
const PRODUCE_VERSION: i16 = 12;
const END_VERSION: i16 = 5;

/// One broker.
#[derive(Serialize)]
pub struct Transactions {
    machine: String,
    load_average: String,
    server: ServerKind,
    loads: Vec<Load>,
}

/// 64 producers, one partition a transaction.
#[derive(Serialize)]
struct Load {
    records: usize,
    per_second: f64,
    commit_p50_us: f64,
    commit_p99_us: f64,
    cpu_us: f64,
}

/// Measures one kind of broker.
pub fn measure(setup: &Setup, kind: ServerKind, seconds: f64) -> Result<Transactions> {
    ensure!(kind != ServerKind::Raw, "the raw server knows no transactions");
    let load_average = load_average();
    let server = Server::start(setup, kind)?;
    let mut admin = Admin::connect(server.addr)?;
    // Both flush before they acknowledge.
    admin.create_topic(TOPIC, PARTITIONS, &[("flush.messages", "1".to_owned())])?;
    server.await_served(&mut admin, TOPIC, PARTITIONS)?;
    let began = Instant::now();
    let ids = || (0..PRODUCERS).flat_map(|number| RECORDS.map(|records| transactional_id(number, records)));
    while !admin.has_coordinators(TRANSACTIONAL_ID_KEY, ids().collect())? {
        ensure!(
            began.elapsed() < COORDINATOR_MAX,
            "there is no coordinator after {} s",
            COORDINATOR_MAX.as_secs()
        );
        std::thread::sleep(Duration::from_millis(50));
    }
    let time = Duration::try_from_secs_f64(seconds)?;
    let loads = RECORDS.iter().map(|records| load(&server, *records, time)).collect::<Result<_>>()?;
    Ok(Transactions { machine: machine(), load_average, server: kind, loads })
}

impl Transactions {
    pub fn to_text(&self) -> String {
        let mut text =
            format!("{} ({}; load average {})\n", self.server.name(), self.machine, self.load_average);
        for load in &self.loads {
            let _infallible = writeln!(
                text,
                "  {:>4} records each: {:>9.1} transactions/s, commit p50 {:>8.0} us, p99 {:>8.0} us, CPU {:>7.1} us each",
                load.records, load.per_second, load.commit_p50_us, load.commit_p99_us, load.cpu_us
            );
        }
        text
    }
}

fn load(server: &Server, records: usize, time: Duration) -> Result<Load> {
    let mut fleet = Fleet::connect(server.addr, PRODUCERS)?;
    let mut producers: Vec<Producer> = (0..PRODUCERS).map(|number| Producer::new(number, records)).collect();
    run(&mut fleet, &mut producers, Instant::now() + WARM_UP)?;
    producers.iter_mut().for_each(Producer::forget);
    let (cpu, began) = (cpu_seconds(server.pid)?, Instant::now());
    run(&mut fleet, &mut producers, began + time)?;
    let wall = began.elapsed().as_secs_f64();
    let cpu = cpu_seconds(server.pid)? - cpu;
    let committed: u64 = producers.iter().map(|producer| producer.committed).sum();
    ensure!(committed > 0, "no transaction was committed");
    let mut commits = Histogram::default();
    producers.iter().flat_map(|producer| &producer.commits).for_each(|time| commits.record(*time));
    Ok(Load {
        records,
        per_second: committed as f64 / wall,
        commit_p50_us: commits.quantile_us(0.5),
        commit_p99_us: commits.quantile_us(0.99),
        cpu_us: cpu * 1e6 / committed as f64,
    })
}

fn run(fleet: &mut Fleet, producers: &mut [Producer], end: Instant) -> Result<()> {
    let asks: Vec<_> =
        producers.iter_mut().enumerate().map(|(at, one)| Ok((at, one.next()?))).collect::<Result<_>>()?;
    fleet.exchange(asks, |at, frame| {
        let producer = &mut producers[at];
        producer.answered(frame)?;
        Ok(match producer.retries {
            0 if producer.step == Step::Write && Instant::now() >= end => Next::Rest,
            0 => Next::Ask(producer.next()?),
            _ => Next::AskLater(producer.next()?, RETRY_PAUSE),
        })
    })
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Init,
    Write,
    Commit,
}

/// One producer and what it does next.
struct Producer {
    id: Str,
    partition: i32,
    records: usize,
    step: Step,
    producer_id: i64,
    epoch: i16,
    /// The next sequence number: it begins anew with each epoch.
    sequence: i32,
    retries: u32,
    asked_at: Instant,
    committed: u64,
    commits: Vec<Duration>,
}

impl Producer {
    fn new(number: usize, records: usize) -> Producer {
        Producer {
            id: transactional_id(number, records),
            partition: number as i32 % PARTITIONS,
            records,
            step: Step::Init,
            producer_id: -1,
            epoch: -1,
            sequence: 0,
            retries: 0,
            asked_at: Instant::now(),
            committed: 0,
            commits: Vec::new(),
        }
    }

    /// Begins to count.
    fn forget(&mut self) {
        (self.committed, self.commits) = (0, Vec::new());
    }

    fn next(&mut self) -> Result<Bytes> {
        if self.retries == 0 {
            self.asked_at = Instant::now();
        }
        match self.step {
            Step::Init => {
                let body = InitProducerIdRequest {
                    transactional_id: Some(self.id.clone()),
                    transaction_timeout_ms: TIMEOUT_MS,
                    producer_id: self.producer_id,
                    producer_epoch: self.epoch,
                    ..Default::default()
                };
                request(ApiKey::InitProducerId, INIT_VERSION, 0, &body)
            }
            Step::Write => self.write(),
            Step::Commit => {
                let body = EndTxnRequest {
                    transactional_id: self.id.clone(),
                    producer_id: self.producer_id,
                    producer_epoch: self.epoch,
                    committed: true,
                };
                request(ApiKey::EndTxn, END_VERSION, 0, &body)
            }
        }
    }

    fn write(&self) -> Result<Bytes> {
        let (id, epoch) = (ProducerId(self.producer_id), ProducerEpoch(self.epoch));
        let mut batch = BatchBuilder::new().producer(id, epoch, Sequence(self.sequence)).transactional();
        for _ in 0..self.records {
            batch.push(wall_clock(), None, Some(&[7; RECORD_BYTES]));
        }
        let data = produce_request::PartitionProduceData {
            index: self.partition,
            records: Some(Records::Bytes(batch.build()?)),
        };
        let topic = produce_request::TopicProduceData {
            name: TOPIC.into(),
            partition_data: vec![data],
            ..Default::default()
        };
        let body = ProduceRequest {
            transactional_id: Some(self.id.clone()),
            acks: -1,
            timeout_ms: TIMEOUT_MS,
            topic_data: vec![topic],
        };
        request(ApiKey::Produce, PRODUCE_VERSION, 0, &body)
    }

    fn answered(&mut self, frame: Bytes) -> Result<()> {
        let step = self.step;
        self.take_answer(frame)?;
        self.retries = if self.step == step { self.retries + 1 } else { 0 };
        ensure!(self.retries < RETRIES_MAX, "{step:?} is put off for ever");
        Ok(())
    }

    fn take_answer(&mut self, frame: Bytes) -> Result<()> {
        match self.step {
            Step::Init => {
                let answer = decode::<InitProducerIdRequest>(frame, INIT_VERSION)?;
                if is_done("InitProducerId", answer.error_code)? {
                    (self.producer_id, self.epoch) = (answer.producer_id, answer.producer_epoch);
                    (self.sequence, self.step) = (0, Step::Write);
                }
            }
            Step::Write => {
                let answer = decode::<ProduceRequest>(frame, PRODUCE_VERSION)?;
                let partition = answer.responses.first().and_then(|topic| topic.partition_responses.first());
                let partition = partition.context("no answer for the partition")?;
                if is_done("Produce", partition.error_code)? {
                    self.sequence += self.records as i32;
                    self.step = Step::Commit;
                }
            }
            Step::Commit => {
                let answer = decode::<EndTxnRequest>(frame, END_VERSION)?;
                if is_done("EndTxn", answer.error_code)? {
                    (self.producer_id, self.epoch) = (answer.producer_id, answer.producer_epoch);
                    (self.sequence, self.step) = (0, Step::Write);
                    self.committed += 1;
                    self.commits.push(self.asked_at.elapsed());
                }
            }
        }
        Ok(())
    }
}

fn transactional_id(number: usize, records: usize) -> Str {
    format!("transactions-{records}-{number}").into()
}

/// Whether a request was done; one that may be repeated was not.
fn is_done(what: &str, code: i16) -> Result<bool> {
    match ErrorCode::from_code(code) {
        Some(ErrorCode::None) => Ok(true),
        Some(
            ErrorCode::ConcurrentTransactions
            | ErrorCode::CoordinatorLoadInProgress
            | ErrorCode::CoordinatorNotAvailable
            | ErrorCode::NotCoordinator
            | ErrorCode::NotEnoughReplicas,
        ) => Ok(false),
        other => bail!("{what}: {other:?}"),
    }
}

fn decode<R: Request>(frame: Bytes, version: i16) -> Result<R::Response> {
    let mut reader = Reader::new(frame);
    ResponseHeader::decode(&mut reader, response_header_version(R::KEY, version))?;
    Ok(R::Response::decode(&mut reader, version)?)
}
