//! Groups from one seed: the real coordinator behind its frame, a log that loses what was not committed,
//! members of both protocols, and a network between them.
//!
//! A run brings groups up, lets things go wrong for a while, then makes everything sound and waits until each
//! partition has its owner. All the while the [`invariants`] are watched.
//!
//! - [`run`](mod@run): one run.
//! - [`world`]: the calendar and what happens; [`service`]: the broker's side of it; [`chaos`]: what goes
//!   wrong.
//! - [`settings`]: what a seed makes of it.
//! - [`host`]: the broker that leads the partition ([`crate::leader`]).
//! - [`member`]: clients. [`transactions`]: who ends their transactions. [`topics`]: what they read.
//! - [`invariants`]: what must hold, one promise a file.
//! - [`words`]: what the trace says. [`mutation`]: rules broken on purpose, to see that the invariants
//!   notice.

pub mod chaos;
pub mod host;
pub mod invariants;
pub mod member;
pub mod mutation;
pub mod run;
mod service;
pub mod settings;
pub mod topics;
pub mod transactions;
mod words;
pub mod world;

pub use mutation::Mutation;
pub use run::run;
