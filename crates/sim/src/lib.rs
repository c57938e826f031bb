//! A whole cluster in one process, from one seed: three brokers with the real cores and the real log on a
//! simulated disk, a controller, a network, and clients. Time is a number, chance is a seed: the same seed
//! does the same again.
//!
//! A run brings the cluster up, lets things go wrong for a while, then makes everything sound and waits until
//! it has come to rest. All the while the [`invariants`] are watched. What fails has a seed; the seed is the
//! bug report.
//!
//! - [`run`]: one run, and its report.
//! - [`world`]: the calendar and what happens.
//! - [`settings`], [`faults`]: what a seed makes of the cluster, and what goes wrong in it.
//! - [`node`]: brokers; [`controller`]: the controller; [`client`]: producers, consumers, an admin.
//! - [`invariants`]: what must hold, one promise a file.
//! - [`mutation`]: rules broken on purpose, to see that the invariants notice.
//! - [`group`], [`txn`]: worlds of their own, for consumer groups and for transactions; [`leader`]: the
//!   partitions in them.
//! - [`network`], [`message`], [`queue`], [`rng`], [`trace`]: what the rest stands on.

pub mod client;
pub mod controller;
pub mod faults;
pub mod group;
pub mod invariants;
pub mod leader;
pub mod message;
pub mod mutation;
pub mod network;
pub mod node;
pub mod queue;
pub mod rng;
pub mod run;
pub mod settings;
pub mod trace;
pub mod txn;
pub mod world;

pub use mutation::Mutation;
pub use run::{Options, Report, run};
