//! Kafka's bytes: messages, error codes, record batches, checksums and compression.
//!
//! Pure data: no sockets, no files, no clock. Everything here that reads bytes treats them as hostile: a
//! length is checked against what remains before anything is allocated, nesting is bounded, and nothing
//! panics.
//!
//! - [`ids`]: the newtypes that every room shares (offsets, epochs, ids, times).
//! - [`facts`]: what a log records beside its batches.
//! - [`InternalTopic`]: the topics that a cluster keeps for itself.
//! - [`primitives`]: reader, writer and the field types of messages.
//! - [`messages`]: every request, response and record, generated from `schema/` when the crate is built.
//! - [`protocol`]: the table of API keys, versions and listeners, and the error codes.
//! - [`batch`]: record batch v2: view, validation, building, control records.
//! - [`compress`]: the codecs, each with a cap on what it may unpack.

pub mod batch;
pub mod compress;
pub mod facts;
pub mod ids;
mod internal_topic;
pub mod messages;
pub mod primitives;
pub mod protocol;

pub use facts::{AbortedTxn, EpochStart};
pub use ids::*;
pub use internal_topic::InternalTopic;
pub use primitives::{Message, Records, Request, Str};
pub use protocol::{ApiKey, ErrorCode, Listener};
