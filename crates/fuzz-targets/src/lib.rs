//! What everything that parses bytes from outside must hold to, as functions of any bytes.
//!
//! A target is a plain function that panics when a law is broken; that nothing else panics is the first law.
//! The same functions run under libFuzzer (`fuzz/`) and over fixed mutations in this crate's tests. A panic
//! here is the report, so `expect` and `assert` are the tools of this crate.
//!
//! - [`message`]: frames, requests, responses, records of the logs of the cluster
//! - [`batch`]: record batches; [`codec`]: what they are packed with
//! - [`log`]: a data directory whose files were damaged; [`quorum`]: the same for the metadata log
//! - [`settings`]: property files, topic settings, addresses
//! - [`damage`]: how bytes say what is to happen to a set of files
//! - [`seeds`], [`mutate`]: good inputs of each target, and bad ones made of them

pub mod batch;
pub mod codec;
pub mod damage;
pub mod log;
pub mod message;
pub mod mutate;
pub mod quorum;
pub mod seeds;
pub mod settings;

/// Something to be fed with bytes.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    /// The name of its file in `fuzz/fuzz_targets/`.
    pub name: &'static str,
    /// Panics if a law is broken.
    pub run: fn(&[u8]),
    /// Inputs that lead deep, for mutations to begin with.
    pub seeds: fn() -> Vec<Vec<u8>>,
    /// How many mutations the tests of this crate try.
    pub rounds: usize,
}

/// Every target.
pub const TARGETS: &[Target] = &[
    Target { name: "frame", run: message::frame, seeds: seeds::frames, rounds: 3000 },
    Target { name: "request", run: message::request, seeds: seeds::requests, rounds: 4000 },
    Target { name: "response", run: message::response, seeds: seeds::responses, rounds: 4000 },
    Target { name: "record", run: message::record, seeds: seeds::records, rounds: 3000 },
    Target { name: "batch", run: batch::batch, seeds: seeds::batches, rounds: 4000 },
    Target { name: "gzip", run: codec::gzip, seeds: seeds::gzip, rounds: 1000 },
    Target { name: "snappy", run: codec::snappy, seeds: seeds::snappy, rounds: 2000 },
    Target { name: "lz4", run: codec::lz4, seeds: seeds::lz4, rounds: 2000 },
    Target { name: "zstd", run: codec::zstd, seeds: seeds::zstd, rounds: 1000 },
    Target { name: "log", run: log::log, seeds: seeds::log, rounds: 1200 },
    Target { name: "quorum", run: quorum::quorum, seeds: seeds::quorum, rounds: 200 },
    Target { name: "properties", run: settings::properties, seeds: seeds::properties, rounds: 400 },
    Target { name: "addresses", run: settings::addresses, seeds: seeds::addresses, rounds: 3000 },
];
