//! What is measured: the table of loads, and the topics they use.

/// Partitions of every topic of the loads.
pub const PARTITIONS: i32 = 16;

/// Length of the batches that are stored for fetches: whole ones fill every fetch size of the table.
pub const STORED_BATCH_BYTES: usize = 16 << 10;

/// A load: what each request carries, how many connections, and how many requests of each are under way.
pub struct Shape {
    /// As on the command line.
    pub name: &'static str,
    pub kind: ShapeKind,
    /// Length of the one batch of a Produce request; what a Fetch request asks for.
    pub bytes: usize,
    pub connections: usize,
    pub depth: usize,
    pub topic: Topic,
    pub targets: &'static [Target],
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ShapeKind {
    Produce,
    Fetch,
}

/// The topics. The raw server knows by their names what to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Topic {
    /// Acknowledged when in the page cache; small segments, short retention.
    Cached,
    /// As [`Topic::Cached`]; the raw server handles all frames of a read together.
    Coalesced,
    /// Acknowledged when flushed; small segments, short retention.
    Flushed,
    /// Filled once, and fetched from.
    Stored,
}

impl Topic {
    pub const ALL: [Topic; 4] = [Topic::Cached, Topic::Coalesced, Topic::Flushed, Topic::Stored];

    pub fn name(self) -> &'static str {
        match self {
            Topic::Cached => "bench-cached",
            Topic::Coalesced => "bench-coalesced",
            Topic::Flushed => "bench-flushed",
            Topic::Stored => "bench-stored",
        }
    }

    /// Whether old segments are deleted while the load runs.
    pub fn is_retained_briefly(self) -> bool {
        self != Topic::Stored
    }
}

/// What Ottla is held to.
pub struct Target {
    pub metric: Metric,
    pub against: Against,
    /// The ratio to the other one MUST NOT be worse than this.
    pub limit: f64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Metric {
    /// CPU time of the server for the same work: less is better.
    Cpu,
    /// Bytes in a second: more is better.
    Rate,
    /// Median latency: less is better.
    P50,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Against {
    Raw,
    Coalesced,
    Kafka,
}

const fn cpu(against: Against, limit: f64) -> Target {
    Target { metric: Metric::Cpu, against, limit }
}

/// All loads.
pub const SHAPES: [Shape; 8] = [
    Shape {
        name: "produce-16k",
        kind: ShapeKind::Produce,
        bytes: 16 << 10,
        connections: 16,
        depth: 5,
        topic: Topic::Cached,
        targets: &[cpu(Against::Raw, 1.5)],
    },
    Shape {
        name: "produce-128k",
        kind: ShapeKind::Produce,
        bytes: 128 << 10,
        connections: 16,
        depth: 5,
        topic: Topic::Cached,
        targets: &[cpu(Against::Raw, 1.4)],
    },
    Shape {
        name: "produce-1000k",
        kind: ShapeKind::Produce,
        bytes: 1_000_000,
        connections: 4,
        depth: 5,
        topic: Topic::Cached,
        targets: &[cpu(Against::Raw, 1.4)],
    },
    Shape {
        name: "produce-200b",
        kind: ShapeKind::Produce,
        bytes: 200,
        connections: 16,
        depth: 100,
        topic: Topic::Cached,
        targets: &[cpu(Against::Raw, 2.5), cpu(Against::Coalesced, 2.5)],
    },
    Shape {
        name: "fetch-1m",
        kind: ShapeKind::Fetch,
        bytes: 1 << 20,
        connections: 4,
        depth: 1,
        topic: Topic::Stored,
        targets: &[cpu(Against::Kafka, 1.0)],
    },
    Shape {
        name: "fetch-64k",
        kind: ShapeKind::Fetch,
        bytes: 64 << 10,
        connections: 4,
        depth: 1,
        topic: Topic::Stored,
        targets: &[cpu(Against::Raw, 2.0), cpu(Against::Kafka, 2.0)],
    },
    Shape {
        name: "flush-128k",
        kind: ShapeKind::Produce,
        bytes: 128 << 10,
        connections: 16,
        depth: 5,
        topic: Topic::Flushed,
        targets: &[Target { metric: Metric::Rate, against: Against::Raw, limit: 0.6 }],
    },
    Shape {
        name: "flush-16k-1",
        kind: ShapeKind::Produce,
        bytes: 16 << 10,
        connections: 1,
        depth: 1,
        topic: Topic::Flushed,
        targets: &[Target { metric: Metric::P50, against: Against::Raw, limit: 1.5 }],
    },
];
