//! Record batches of format 2 (magic 2): the unit in which records are sent, stored and read.
//!
//! - [`BatchHeader`]: the 61 bytes before the records.
//! - [`BatchView`]: one batch in a frame or a file, read without copying; [`batches`] goes through a run of
//!   them.
//! - [`validate`]: what a leader asks of a batch before it appends it. Only it makes a [`ValidatedBatch`].
//! - [`ValidatedBatch::assign`]: gives a batch its place in the log without touching the records.
//! - [`recompress`]: for topics that choose the codec.
//! - [`BatchBuilder`]: for clients, coordinators, compaction and tests.
//! - [`ControlRecord`]: what transactions and leaders write between the records of clients.

mod append;
mod attributes;
mod builder;
mod control;
mod error;
mod header;
mod record;
mod validate;
mod varint;
mod view;

pub use append::{AppendBatch, ValidatedBatch, recompress};
pub use attributes::{Attributes, TimestampType};
pub use builder::BatchBuilder;
pub use control::{ControlKind, ControlRecord, end_txn_marker};
pub use error::{BatchError, HeaderFault, RecordError, RecordFault};
pub use header::{BatchHeader, HEADER_LEN, LOG_OVERHEAD, MAGIC};
pub use record::{Header, Record};
pub use validate::{BatchLimits, Origin, RECORD_ERRORS_MAX, SCRATCH_KEEP_BYTES, Scratch, validate};
pub use view::{BatchView, Batches, RecordIter, Stamp, Stamps, batches};
