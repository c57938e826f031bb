//! Loads of group coordinators: many commits, one large group, many small groups.
//!
//! - `asks`: the requests; `classic`: the way of a member into its group.

mod asks;
mod classic;

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::time::{Duration, Instant};

use anyhow::{Result, bail, ensure};
use bytes::Bytes;
use ottla_wire::ErrorCode;
use ottla_wire::messages::{
    ConsumerGroupHeartbeatRequest, HeartbeatRequest, LeaveGroupRequest, OffsetCommitRequest,
    consumer_group_heartbeat_request,
};
use serde::Serialize;

use crate::fleet::Fleet;
use crate::histogram::Histogram;
use crate::process::{cpu_seconds, load_average, machine, resident_mib};
use crate::server::{Server, ServerKind, Setup};
use asks::Member;
use classic::{Joining, join_all};

const TOPIC: &str = "bench-groups";
const TOPIC_PARTITIONS: i32 = 1_000;
/// Type of a group's name in FindCoordinator.
const GROUP_KEY: i8 = 0;
const COMMIT_GROUPS: usize = 64;
const COMMIT_CONNECTIONS: usize = 16;
const COMMIT_DEPTH: usize = 100;
const MEMBERS: usize = 1_000;
const GROUPS: usize = 10_000;
const GROUP_CONNECTIONS: usize = 100;
const HEARTBEAT_ROUNDS: usize = 20;
/// Heartbeats of the consumer protocol until every member must have its partitions.
const RECONCILE_ROUNDS_MAX: usize = 400;
const RECONCILE_PAUSE: Duration = Duration::from_millis(50);
/// A group that has not changed for so long is at rest: assignments are made once a second at the most.
const REST: Duration = Duration::from_secs(2);
/// Long enough that the members of a large group come in one rebalance.
const DELAY_MS: u64 = 2_000;

/// One broker.
#[derive(Serialize)]
pub struct Groups {
    machine: String,
    load_average: String,
    server: ServerKind,
    commits: Commits,
    large: Large,
    consumer: Consumer,
    many: Many,
}

/// 64 groups, one partition a commit, 16 connections with 100 requests under way on each.
#[derive(Serialize)]
struct Commits {
    per_second: f64,
    p50_us: f64,
    p99_us: f64,
    cpu_us: f64,
}

/// 1,000 members of one classic group.
#[derive(Serialize)]
struct Large {
    /// From the first request until all have their assignment, without the delay of the first rebalance.
    formed_s: f64,
    /// From a member's leaving until all others have their new assignment.
    rebalanced_s: f64,
    heartbeat_cpu_us: f64,
    resident_mib: f64,
}

/// 1,000 members of one consumer group, with 1,000 partitions.
#[derive(Serialize)]
struct Consumer {
    /// From the first heartbeat until each partition has its owner.
    formed_s: f64,
    heartbeat_cpu_us: f64,
}

/// 10,000 classic groups with one member each.
#[derive(Serialize)]
struct Many {
    formed_s: f64,
    heartbeat_cpu_us: f64,
    resident_mib: f64,
}

/// Measures one kind of broker.
pub fn measure(setup: &Setup, kind: ServerKind, seconds: f64) -> Result<Groups> {
    ensure!(kind != ServerKind::Raw, "the raw server knows no groups");
    let load_average = load_average();
    let at_once = with_delay(setup, 0);
    let server = start(&at_once, kind)?;
    let many = many(&server)?;
    let commits = commits(&server, Duration::try_from_secs_f64(seconds)?)?;
    let consumer = consumer(&server)?;
    drop(server);
    let server = start(&with_delay(setup, DELAY_MS), kind)?;
    let large = large(&server)?;
    Ok(Groups { machine: machine(), load_average, server: kind, commits, large, consumer, many })
}

impl Groups {
    pub fn to_text(&self) -> String {
        let mut text =
            format!("{} ({}; load average {})\n", self.server.name(), self.machine, self.load_average);
        let lines = [
            ("offset commits, a second", self.commits.per_second),
            ("  p50, us", self.commits.p50_us),
            ("  p99, us", self.commits.p99_us),
            ("  CPU, us each", self.commits.cpu_us),
            ("1,000 members in a classic group: formed, s", self.large.formed_s),
            ("  one leaves: all others have their assignment, s", self.large.rebalanced_s),
            ("  CPU of a heartbeat, us", self.large.heartbeat_cpu_us),
            ("  RSS, MiB", self.large.resident_mib),
            ("1,000 members in a consumer group: formed, s", self.consumer.formed_s),
            ("  CPU of a heartbeat, us", self.consumer.heartbeat_cpu_us),
            ("10,000 classic groups: formed, s", self.many.formed_s),
            ("  CPU of a heartbeat, us", self.many.heartbeat_cpu_us),
            ("  RSS, MiB", self.many.resident_mib),
        ];
        for (name, value) in lines {
            let _infallible = writeln!(text, "  {name:58} {value:>10.3}");
        }
        text
    }
}

fn with_delay(setup: &Setup, ms: u64) -> Setup {
    let mut setup = setup.clone();
    setup.common.push(format!("group.initial.rebalance.delay.ms={ms}"));
    setup
}

/// A broker whose coordinators are there.
fn start(setup: &Setup, kind: ServerKind) -> Result<Server> {
    let server = Server::start(setup, kind)?;
    let mut admin = crate::admin::Admin::connect(server.addr)?;
    admin.create_topic(TOPIC, TOPIC_PARTITIONS, &[])?;
    server.await_served(&mut admin, TOPIC, TOPIC_PARTITIONS)?;
    let began = Instant::now();
    let groups = || (0..COMMIT_GROUPS).map(|group| format!("commits-{group}").into()).collect();
    while !(admin.has_coordinators(GROUP_KEY, groups())? && admin.serves_groups(groups())?) {
        ensure!(began.elapsed() < Duration::from_secs(60), "there is no coordinator after a minute");
        std::thread::sleep(Duration::from_millis(50));
    }
    Ok(server)
}

fn commits(server: &Server, time: Duration) -> Result<Commits> {
    let mut fleet = Fleet::connect(server.addr, COMMIT_CONNECTIONS)?;
    let frames: Vec<Bytes> = (0..COMMIT_GROUPS)
        .map(|group| asks::commit(&format!("commits-{group}"), TOPIC, group as i32, 42))
        .collect::<Result<_>>()?;
    let mut warm_up = true;
    let mut end = Instant::now() + Duration::from_secs(1);
    let (mut count, mut turn) = (0u64, 0usize);
    let (mut cpu, mut began) = (0.0, Instant::now());
    for _ in 0..2 {
        let asks = (0..COMMIT_CONNECTIONS * COMMIT_DEPTH)
            .map(|at| (at % COMMIT_CONNECTIONS, frames[at % COMMIT_GROUPS].clone()));
        fleet.exchange(asks, |_, frame| {
            let answer = asks::answer::<OffsetCommitRequest>(frame)?;
            let codes = answer.topics.iter().flat_map(|topic| &topic.partitions).map(|one| one.error_code);
            for code in codes {
                let loading = code == ErrorCode::CoordinatorLoadInProgress.code() && warm_up;
                ensure!(code == 0 || loading, "OffsetCommit: error {code}");
            }
            count += 1;
            turn += 1;
            Ok((Instant::now() < end).then(|| frames[turn % COMMIT_GROUPS].clone()))
        })?;
        if warm_up {
            (warm_up, count, fleet.latencies) = (false, 0, Histogram::default());
            (cpu, began) = (cpu_seconds(server.pid)?, Instant::now());
            end = began + time;
        }
    }
    let wall = began.elapsed().as_secs_f64();
    Ok(Commits {
        per_second: count as f64 / wall,
        p50_us: fleet.latencies.quantile_us(0.5),
        p99_us: fleet.latencies.quantile_us(0.99),
        cpu_us: (cpu_seconds(server.pid)? - cpu) * 1e6 / count as f64,
    })
}

fn large(server: &Server) -> Result<Large> {
    const GROUP: &str = "large";
    let mut fleet = Fleet::connect(server.addr, MEMBERS)?;
    let mut members: Vec<Joining> =
        (0..MEMBERS).map(|_| Joining::new(GROUP.to_owned(), Member::default())).collect();
    let began = Instant::now();
    join_all(&mut fleet, &mut members)?;
    let formed_s = began.elapsed().as_secs_f64() - Duration::from_millis(DELAY_MS).as_secs_f64();
    // A member that came late has made the others join again: only when all agree is the group formed.
    let generation = members.iter().map(|one| one.member.generation).max();
    ensure!(
        members.iter().all(|one| Some(one.member.generation) == generation),
        "the group was formed in more than one rebalance: more than the delay was needed"
    );
    let all: Vec<(usize, String, Member)> =
        members.iter().enumerate().map(|(at, one)| (at, GROUP.to_owned(), one.member.clone())).collect();
    let heartbeat_cpu_us = heartbeats(server, &mut fleet, &all)?;
    let resident_mib = resident_mib(server.pid, "VmRSS")?;
    let rebalanced_s = one_leaves(&mut fleet, GROUP, members)?;
    Ok(Large { formed_s, rebalanced_s, heartbeat_cpu_us, resident_mib })
}

/// The last member leaves, all others learn of it by a heartbeat and join again.
fn one_leaves(fleet: &mut Fleet, group: &str, mut members: Vec<Joining>) -> Result<f64> {
    let Some(leaving) = members.pop() else { bail!("a group without members") };
    let began = Instant::now();
    let frame = asks::leave(group, &leaving.member)?;
    fleet.exchange([(members.len(), frame)], |_, frame| {
        let answer = asks::answer::<LeaveGroupRequest>(frame)?;
        ensure!(answer.error_code == 0, "LeaveGroup: error {}", answer.error_code);
        Ok(None)
    })?;
    let mut told: BTreeSet<usize> = BTreeSet::new();
    let asks: Vec<_> = members
        .iter()
        .enumerate()
        .map(|(at, one)| Ok((at, asks::heartbeat(group, &one.member)?)))
        .collect::<Result<_>>()?;
    fleet.exchange(asks, |at, frame| {
        if !told.insert(at) {
            return members[at].answered(frame);
        }
        let answer = asks::answer::<HeartbeatRequest>(frame)?;
        let code = ErrorCode::from_code(answer.error_code);
        ensure!(code == Some(ErrorCode::RebalanceInProgress), "Heartbeat while rebalancing: {code:?}");
        members[at].begin().map(Some)
    })?;
    Ok(began.elapsed().as_secs_f64())
}

fn consumer(server: &Server) -> Result<Consumer> {
    use consumer_group_heartbeat_request::TopicPartitions;
    const GROUP: &str = "consumers";
    let mut fleet = Fleet::connect(server.addr, GROUP_CONNECTIONS)?;
    let name = |at: usize| format!("member-{at:04}");
    let mut epochs = vec![0; MEMBERS];
    let mut owned: Vec<Option<Vec<TopicPartitions>>> = vec![None; MEMBERS];
    let began = Instant::now();
    let (mut rest, mut formed_s) = (None, 0.0);
    for round in 0.. {
        ensure!(round < RECONCILE_ROUNDS_MAX, "the group does not come to rest");
        let asks: Vec<(usize, Bytes)> = (0..MEMBERS)
            .map(|at| {
                let frame = asks::consumer_heartbeat(GROUP, TOPIC, &name(at), epochs[at], owned[at].clone())?;
                Ok((at % GROUP_CONNECTIONS, frame))
            })
            .collect::<Result<_>>()?;
        // The answers of a connection come in order, and so do its members.
        let mut answered = vec![0usize; GROUP_CONNECTIONS];
        fleet.exchange(asks, |connection, frame| {
            let at = connection + answered[connection] * GROUP_CONNECTIONS;
            answered[connection] += 1;
            let answer = asks::answer::<ConsumerGroupHeartbeatRequest>(frame)?;
            ensure!(answer.error_code == 0, "ConsumerGroupHeartbeat: error {}", answer.error_code);
            epochs[at] = answer.member_epoch;
            if let Some(assignment) = answer.assignment {
                let topics = assignment.topic_partitions.into_iter();
                let topics =
                    topics.map(|one| TopicPartitions { topic_id: one.topic_id, partitions: one.partitions });
                owned[at] = Some(topics.collect());
            }
            Ok(None)
        })?;
        let assigned = owned.iter().flatten().flatten().map(|topic| topic.partitions.len()).sum::<usize>();
        let agreed = epochs.iter().all(|epoch| *epoch == epochs[0]);
        if assigned != TOPIC_PARTITIONS as usize || !agreed {
            rest = None;
        } else {
            let (epoch, since) = *rest.get_or_insert((epochs[0], Instant::now()));
            if epoch != epochs[0] {
                rest = None;
            } else if since.elapsed() > REST {
                formed_s = since.saturating_duration_since(began).as_secs_f64();
                break;
            }
        }
        std::thread::sleep(RECONCILE_PAUSE);
    }
    let frames: Vec<(usize, Bytes)> = (0..MEMBERS)
        .map(|at| {
            let frame = asks::consumer_heartbeat(GROUP, TOPIC, &name(at), epochs[at], None)?;
            Ok((at % GROUP_CONNECTIONS, frame))
        })
        .collect::<Result<_>>()?;
    let heartbeat_cpu_us = rounds(server, &mut fleet, &frames, |frame| {
        Ok(asks::answer::<ConsumerGroupHeartbeatRequest>(frame)?.error_code)
    })?;
    Ok(Consumer { formed_s, heartbeat_cpu_us })
}

fn many(server: &Server) -> Result<Many> {
    let mut fleet = Fleet::connect(server.addr, GROUP_CONNECTIONS)?;
    let began = Instant::now();
    let mut all = Vec::with_capacity(GROUPS);
    for first in (0..GROUPS).step_by(fleet.len()) {
        let mut members: Vec<Joining> = (first..first + fleet.len())
            .map(|number| Joining::new(format!("many-{number}"), Member::default()))
            .collect();
        join_all(&mut fleet, &mut members)?;
        let members = members.into_iter().enumerate();
        all.extend(members.map(|(at, one)| (at, format!("many-{}", first + at), one.member)));
    }
    let formed_s = began.elapsed().as_secs_f64();
    let heartbeat_cpu_us = heartbeats(server, &mut fleet, &all)?;
    Ok(Many { formed_s, heartbeat_cpu_us, resident_mib: resident_mib(server.pid, "VmRSS")? })
}

/// What the server pays for a heartbeat that changes nothing.
fn heartbeats(server: &Server, fleet: &mut Fleet, members: &[(usize, String, Member)]) -> Result<f64> {
    let frames: Vec<(usize, Bytes)> = members
        .iter()
        .map(|(at, group, member)| Ok((*at, asks::heartbeat(group, member)?)))
        .collect::<Result<_>>()?;
    rounds(server, fleet, &frames, |frame| Ok(asks::answer::<HeartbeatRequest>(frame)?.error_code))
}

/// Sends the frames several times over; gives the server's CPU time for each.
fn rounds(
    server: &Server,
    fleet: &mut Fleet,
    frames: &[(usize, Bytes)],
    error_of: impl Fn(Bytes) -> Result<i16>,
) -> Result<f64> {
    let cpu = cpu_seconds(server.pid)?;
    for _ in 0..HEARTBEAT_ROUNDS {
        fleet.exchange(frames.iter().cloned(), |_, frame| {
            let code = error_of(frame)?;
            ensure!(code == 0, "a heartbeat was answered with error {code}");
            Ok(None)
        })?;
    }
    Ok((cpu_seconds(server.pid)? - cpu) * 1e6 / (HEARTBEAT_ROUNDS * frames.len()) as f64)
}
