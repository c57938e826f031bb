//! What the checkpoint files are to say of each log, and what they say.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use ottla_wire::Offset;

use super::checkpoint::TopicPartition;

/// The logs of a directory that the checkpoints tell of.
#[derive(Debug, Default)]
pub(super) struct Slots {
    /// Of logs that are open.
    pub open: BTreeMap<TopicPartition, Arc<Slot>>,
    /// Of logs that were found and not opened yet, so that a checkpoint does not forget them.
    pub found: BTreeMap<TopicPartition, Checkpointed>,
}

/// What the checkpoints say of one log.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Checkpointed {
    pub recovery_point: Offset,
    pub log_start: Offset,
    pub high_watermark: Offset,
}

/// What the checkpoint files are to say of one open log.
#[derive(Debug, Default)]
pub(crate) struct Slot {
    recovery_point: AtomicI64,
    log_start: AtomicI64,
    high_watermark: AtomicI64,
    /// The recovery point that the file on the disk has.
    pub(super) checkpointed: AtomicI64,
}

impl Slot {
    pub fn recovery_point(&self) -> Offset {
        Offset(self.recovery_point.load(Ordering::Acquire))
    }

    pub fn set_recovery_point(&self, offset: Offset) {
        self.recovery_point.store(offset.0, Ordering::Release);
    }

    pub fn log_start(&self) -> Offset {
        Offset(self.log_start.load(Ordering::Acquire))
    }

    pub fn set_log_start(&self, offset: Offset) {
        self.log_start.store(offset.0, Ordering::Release);
    }

    pub fn set_high_watermark(&self, offset: Offset) {
        self.high_watermark.store(offset.0, Ordering::Release);
    }

    /// The recovery point that a crash now would find.
    pub fn checkpointed(&self) -> Offset {
        Offset(self.checkpointed.load(Ordering::Acquire))
    }

    pub(super) fn get(&self) -> Checkpointed {
        Checkpointed {
            recovery_point: self.recovery_point(),
            log_start: self.log_start(),
            high_watermark: Offset(self.high_watermark.load(Ordering::Acquire)),
        }
    }
}

pub(super) type Offsets = BTreeMap<TopicPartition, Offset>;

/// Kafka's names: recovery points, log starts, high watermarks.
pub(super) const CHECKPOINTS: [&str; 3] =
    ["recovery-point-offset-checkpoint", LOG_STARTS, "replication-offset-checkpoint"];

/// Where logs begin whose first records were deleted: nothing else says it.
pub(super) const LOG_STARTS: &str = "log-start-offset-checkpoint";

/// What the three files say.
#[derive(Debug, Default)]
pub(super) struct Written {
    pub files: [Offsets; 3],
}

impl Written {
    pub fn found(&self) -> BTreeMap<TopicPartition, Checkpointed> {
        let mut found: BTreeMap<TopicPartition, Checkpointed> = BTreeMap::new();
        let [recovery_points, log_starts, high_watermarks] = &self.files;
        for (name, offset) in recovery_points {
            found.entry(name.clone()).or_default().recovery_point = *offset;
        }
        for (name, offset) in log_starts {
            found.entry(name.clone()).or_default().log_start = *offset;
        }
        for (name, offset) in high_watermarks {
            found.entry(name.clone()).or_default().high_watermark = *offset;
        }
        found
    }
}

pub(super) fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Every change under these locks is a single insertion or replacement: a panic cannot leave half of one.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
