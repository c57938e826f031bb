//! What there is to count.

use std::collections::BTreeMap;

use ottla_wire::primitives::Str;

/// What a scrape is made of.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Metrics {
    pub node: NodeFacts,
    pub requests: RequestFacts,
    pub net: NetFacts,
    /// Pieces of work that have panicked, by name.
    pub panics: Vec<(&'static str, u64)>,
    /// In the order of their names.
    pub topics: Vec<TopicFacts>,
    pub dirs: Vec<DirFacts>,
    pub groups: GroupFacts,
    pub transactions: TxnFacts,
    pub levels: LevelFacts,
}

/// Who the broker is.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct NodeFacts {
    pub id: i32,
    pub cluster_id: Str,
    pub version: &'static str,
    /// When the process started, in seconds since 1970.
    pub started_s: f64,
}

/// The requests that were served, and what they brought.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RequestFacts {
    /// Upper bounds of the buckets, in seconds.
    pub bounds_s: &'static [f64],
    pub apis: Vec<ApiFacts>,
    /// Bytes of batches that were appended for producers.
    pub produced_bytes: u64,
    /// Bytes of records that were sent to consumers.
    pub fetched_bytes: u64,
    /// Batches that were refused, for whatever reason.
    pub batches_refused: u64,
    /// Offsets that groups have committed, one for each partition.
    pub offsets_committed: u64,
}

/// Requests of one API, and how long they took.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ApiFacts {
    pub name: &'static str,
    /// Requests in each bucket (not cumulative), the one without a bound last.
    pub buckets: Vec<u64>,
    /// All latencies added up.
    pub seconds: f64,
}

/// What the connection layer counts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NetFacts {
    pub connections_open: u64,
    pub connections_accepted: u64,
    /// Connections that have ended, by reason.
    pub connections_closed: Vec<(&'static str, u64)>,
    pub connections_refused_per_ip: u64,
    pub connections_refused_descriptors: u64,
    pub accept_waits_connections: u64,
    pub accept_waits_rate: u64,
    pub accept_errors: u64,
    pub requests: u64,
    pub responses: u64,
    pub bytes_in: u64,
    pub bytes_out: u64,
    pub file_bytes_out: u64,
    pub reads: u64,
    pub writes: u64,
    pub cold_reads: u64,
    pub admission_waits: u64,
    pub mutes: u64,
}

/// The partitions of one topic that this broker holds, added up.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TopicFacts {
    pub name: Str,
    /// Partitions held here.
    pub partitions: u64,
    /// Of those, the ones that this broker leads.
    pub leading: u64,
    /// Led here, with fewer in-sync replicas than there are replicas.
    pub under_replicated: u64,
    /// Led here, with fewer in-sync replicas than `min.insync.replicas`.
    pub under_min_isr: u64,
    /// Held here, of a topic that asks for compaction, which is not carried out yet.
    pub uncompacted: u64,
    /// Held here, with no leader known or their log failed.
    pub offline: u64,
    /// Size of the logs in bytes.
    pub log_bytes: u64,
    /// Log end offsets added up: it grows by one for each record.
    pub end_offsets: u64,
}

impl TopicFacts {
    /// Adds the numbers of another topic.
    pub fn add(&mut self, other: &TopicFacts) {
        self.partitions += other.partitions;
        self.leading += other.leading;
        self.under_replicated += other.under_replicated;
        self.under_min_isr += other.under_min_isr;
        self.uncompacted += other.uncompacted;
        self.offline += other.offline;
        self.log_bytes += other.log_bytes;
        self.end_offsets += other.end_offsets;
    }
}

/// One data directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DirFacts {
    pub path: String,
    pub online: bool,
    /// Bytes of its file system: all, and those that can still be written. `None` if it does not say.
    pub space: Option<(u64, u64)>,
    /// `None` before it was looked at.
    pub room: Option<RoomFacts>,
}

/// The room in a data directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RoomFacts {
    /// Appends are refused.
    pub full: bool,
    /// They are, or will be soon.
    pub low: bool,
    /// What is kept free.
    pub reserve: u64,
    /// When it will be full, if it fills up.
    pub full_in_s: Option<u64>,
}

/// The groups whose coordinators are on this broker.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct GroupFacts {
    /// Groups by kind and state.
    pub groups: BTreeMap<(Str, Str), u64>,
    pub members: u64,
    pub rebalances: u64,
    /// Offsets that are committed, all of them.
    pub offsets: u64,
    /// Memory that they take, all together.
    pub state_bytes: usize,
    /// Of partitions that are led here too, the first by group, topic and partition.
    pub lags: Vec<Lag>,
    pub coordinators: CoordinatorFacts,
}

/// How far a group is behind the end of a partition.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Lag {
    pub group: Str,
    pub topic: Str,
    pub partition: i32,
    pub records: i64,
}

/// The coordinators of this broker.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct CoordinatorFacts {
    pub loading: u64,
    pub active: u64,
    pub loads: u64,
    pub load_s: f64,
}

/// The transactional ids whose coordinators are on this broker, and what transactions do to its partitions.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TxnFacts {
    /// Transactional ids by state.
    pub ids: BTreeMap<Str, u64>,
    /// Age of the oldest transaction that has not ended.
    pub oldest_s: f64,
    /// How long the last stable offset of a partition led here has stood behind the high watermark; the
    /// longest.
    pub held_s: f64,
}

/// How full things are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LevelFacts {
    /// Bytes of requests that are being read or served.
    pub admitted_bytes: usize,
    pub fetch_sessions: usize,
    /// How far the metadata log is applied and published.
    pub metadata_index: u64,
}
