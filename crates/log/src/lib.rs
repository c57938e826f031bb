//! The files of partitions: Kafka's own layout, written by one owner and read by anyone.
//!
//! - [`DataDir`]: a data directory, its lock, identity, checkpoints and [`Health`].
//! - [`Log`]: one partition's files. It has one owner, which appends, writes, rolls, flushes, truncates and
//!   retains.
//! - [`LogReader`]: what the owner hands out. Reads by offset and by time, without a lock.
//! - [`Replay`]: who wants to see the batches that are on disk when a log is opened.
//! - [`Flusher`]: threads that make logs durable, many at once.
//! - [`Disk`]: the seam to the file system; [`MemDisk`] loses, tears, fills up and fails.
//! - [`Verdict`]: what an error of the file system means.
//!
//! Everything is synchronous. What an owner does between [`Log::append`] and an acknowledgement is: `append`
//! (no I/O), [`Log::write`] (one write to the page cache), [`Log::begin_flush`] (a job for the [`Flusher`]),
//! [`Log::finish_flush`] (the durable end moves).

mod config;
mod dir;
mod disk;
mod flush;
mod health;
mod log;
mod names;
mod reader;
mod room;
mod segment;
mod verdict;

pub use config::LogConfig;
pub use dir::{
    CheckedDir, DataDir, DirOptions, FoundPartition, Identity, MetaProperties, OpenError, Progress, Recovery,
};
pub use disk::{Cold, Disk, DiskFile, Entry, Faults, Lock, LockGuard, MemDisk, Open, RealDisk, Space};
pub use flush::{FLUSHES_WAITING_MAX, FlushDone, FlushId, FlushJob, Flusher};
pub use health::{Failure, Health};
pub use log::{Log, LogError, NoReplay, Opened, Replay, Retained, UNVOUCHED_BYTES_AIM};
pub use reader::{Batches, Bound, LogReader, ReadError, ReadPlan, SegmentInfo, TimestampAndOffset};
pub use room::{Level, RESERVE_BYTES, Reading, Room, Writer};
pub use verdict::{Verdict, patiently, sync_failed};
