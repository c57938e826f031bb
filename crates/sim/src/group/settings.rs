//! What kind of groups a seed makes.

use std::time::Duration;

use ottla_group::GroupConfig;
use ottla_group::config::Migration;
use ottla_wire::primitives::Str;

use crate::rng::Rng;

/// How long a member may be silent, or take to give something up.
pub const SESSION: Duration = Duration::from_secs(4);
pub const REBALANCE: Duration = Duration::from_secs(5);

/// How often members say that they live.
pub const HEARTBEAT: Duration = Duration::from_secs(1);

/// Partitions of a topic are at most this many.
pub const PARTITIONS_MAX: u64 = 4;

/// What is drawn once, at the beginning of a run.
#[derive(Clone, Debug)]
pub struct Settings {
    pub config: GroupConfig,
    /// Every topic that may exist in the run, with its partitions at first; 0 if it does not exist yet.
    pub topics: Vec<(Str, i32)>,
    pub members: Vec<MemberSettings>,
    /// How long things go wrong.
    pub chaos_ms: u64,
    /// Of a thousand messages.
    pub lost: u64,
    pub slow: u64,
    pub duplicated: u64,
    /// Administrators delete offsets and groups.
    pub deletes: bool,
    /// Topics come, grow and go.
    pub changes_topics: bool,
    /// Members come back with the other protocol.
    pub migrates: bool,
}

/// One member, through all its processes.
#[derive(Clone, Debug)]
pub struct MemberSettings {
    pub group: Str,
    pub subscription: Vec<Str>,
    pub protocol: Protocol,
    pub instance: Option<Str>,
    /// Commits in transactions.
    pub transactional: bool,
}

/// Which protocol a member speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    Classic,
    Consumer,
}

impl Settings {
    pub fn draw(rng: &mut Rng) -> Settings {
        let names: Vec<Str> = (0..rng.between(1, 3)).map(|n| Str::from(format!("topic-{n}"))).collect();
        let topics = names.iter().map(|name| {
            let partitions = if rng.chance(800) { rng.between(1, PARTITIONS_MAX) as i32 } else { 0 };
            (name.clone(), partitions)
        });
        let topics = topics.collect();
        let groups = rng.between(1, 2);
        let migrates = rng.chance(500);
        let mut members = Vec::new();
        for group in 0..groups {
            // Without migration a group speaks one protocol.
            let common = rng.pick(&[Protocol::Classic, Protocol::Consumer]);
            for _ in 0..rng.between(1, 4) {
                let protocol =
                    if migrates { rng.pick(&[Protocol::Classic, Protocol::Consumer]) } else { common };
                let instance = rng.chance(250).then(|| Str::from(format!("instance-{}", members.len())));
                let mut subscription: Vec<Str> = names.iter().filter(|_| rng.chance(800)).cloned().collect();
                if subscription.is_empty() {
                    subscription.push(names[0].clone());
                }
                members.push(MemberSettings {
                    group: Str::from(format!("group-{group}")),
                    subscription,
                    protocol,
                    instance,
                    transactional: rng.chance(300),
                });
            }
        }
        Settings {
            config: config(rng),
            topics,
            members,
            chaos_ms: rng.between(8_000, 25_000),
            lost: rng.pick(&[0, 20, 60]),
            slow: rng.pick(&[0, 50, 200]),
            duplicated: rng.pick(&[0, 50]),
            deletes: rng.chance(300),
            changes_topics: rng.chance(500),
            migrates,
        }
    }
}

fn config(rng: &mut Rng) -> GroupConfig {
    GroupConfig {
        initial_rebalance_delay: Duration::from_millis(rng.pick(&[0, 500])),
        session_timeout_min: Duration::from_secs(1),
        consumer_session_timeout: SESSION,
        consumer_heartbeat_interval: HEARTBEAT,
        assignment_interval: Duration::from_millis(rng.pick(&[0, 1000])),
        migration: Migration::Bidirectional,
        assignors: vec![Str::from_static(rng.pick(&["uniform", "range"]))],
        ..GroupConfig::default()
    }
}
