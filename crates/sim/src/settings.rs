//! What kind of cluster a seed makes.

use ottla_replica::Durability;

use crate::rng::Rng;

/// Brokers, each with a replica of the one partition.
pub const BROKERS: usize = 3;

/// What is drawn once, at the beginning of a run.
#[derive(Clone, Debug)]
pub struct Settings {
    pub min_isr: u32,
    /// With the page cache rule nothing but processes dies: Kafka promises no more there.
    pub durability: Durability,
    /// Eligible leader replicas (KIP-966).
    pub elr: bool,
    /// `unclean.leader.election.enable`: from the first unclean election on, nothing is promised about
    /// records.
    pub unclean: bool,
    /// A broker that was killed proves with its last epoch that it lost nothing it acknowledged.
    pub keeps_epoch: bool,
    pub log_append_time: bool,
    pub segment_bytes: u64,
    /// -1: for ever.
    pub retention_bytes: i64,
    /// DeleteRecords requests.
    pub deletes: bool,
    /// `min.insync.replicas` changes under way.
    pub changes_min_isr: bool,
    /// A read of a follower brings about this much.
    pub fetch_bytes: usize,
    /// How long things go wrong.
    pub chaos_ms: u64,
    pub producers: Vec<ProducerKind>,
}

/// What a producer promises itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProducerKind {
    /// Sends each batch with this `acks`, and may send it again.
    Plain(i16),
    /// acks=all, numbered, five batches in flight, never gives up.
    Idempotent,
    /// The same in transactions (version 2: each has its own epoch).
    Transactional,
}

impl Settings {
    pub fn draw(rng: &mut Rng) -> Settings {
        let flushed = !rng.chance(250);
        let mut producers = vec![ProducerKind::Idempotent, ProducerKind::Plain(-1)];
        if rng.chance(600) {
            producers.push(ProducerKind::Transactional);
        }
        if rng.chance(400) {
            producers.push(ProducerKind::Plain(rng.pick(&[0, 1])));
        }
        if rng.chance(300) {
            producers.push(rng.pick(&[ProducerKind::Idempotent, ProducerKind::Transactional]));
        }
        Settings {
            min_isr: rng.pick(&[1, 2, 2]),
            durability: if flushed { Durability::Flushed } else { Durability::PageCache },
            elr: rng.chance(700),
            unclean: rng.chance(100),
            keeps_epoch: flushed && rng.chance(500),
            log_append_time: rng.chance(200),
            segment_bytes: rng.pick(&[1_500, 6_000, 1 << 20]),
            retention_bytes: rng.pick(&[-1, -1, 6_000]),
            deletes: rng.chance(300),
            changes_min_isr: rng.chance(150),
            fetch_bytes: rng.pick(&[300, 2_000, 64 << 10]),
            chaos_ms: rng.between(5_000, 20_000),
            producers,
        }
    }
}
