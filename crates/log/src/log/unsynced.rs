//! Files of a log that wait to be synced and do not grow any more: those of closed segments, and producer
//! snapshots.
//!
//! They are held open, because a file that is opened anew may not tell of an error that it had before. So
//! what leaves the log MUST be forgotten here: a deleted file that is held keeps its space and its pages.

use std::collections::BTreeMap;
use std::ops::RangeBounds;
use std::sync::Arc;

use ottla_wire::Offset;

use crate::disk::DiskFile;
use crate::segment::Segment;

/// By the base of the segment, or the offset of the snapshot.
#[derive(Debug, Default)]
pub(super) struct Unsynced {
    segments: BTreeMap<Offset, SegmentFiles>,
    snapshots: BTreeMap<Offset, Arc<dyn DiskFile>>,
}

#[derive(Debug)]
struct SegmentFiles {
    log: Arc<dyn DiskFile>,
    indexes: Vec<Arc<dyn DiskFile>>,
}

/// What a flush is to sync.
#[derive(Debug, Default)]
pub(super) struct ToSync {
    /// Log files, oldest first.
    pub logs: Vec<Arc<dyn DiskFile>>,
    /// After them and the file of the segment that grows.
    pub others: Vec<Arc<dyn DiskFile>>,
}

impl Unsynced {
    /// A segment was closed; its indexes are in their files.
    pub fn add_segment(&mut self, segment: &Segment, log: Arc<dyn DiskFile>) {
        self.segments.insert(segment.base, SegmentFiles { log, indexes: segment.open_indexes() });
    }

    pub fn add_snapshot(&mut self, offset: Offset, file: Arc<dyn DiskFile>) {
        self.snapshots.insert(offset, file);
    }

    /// Closed segments that wait.
    pub fn segments(&self) -> usize {
        self.segments.len()
    }

    pub fn forget_segments(&mut self, bases: impl RangeBounds<Offset>) {
        self.segments.retain(|base, _| !bases.contains(base));
    }

    pub fn forget_snapshot(&mut self, offset: Offset) {
        self.snapshots.remove(&offset);
    }

    /// Everything that waits.
    pub fn take(&mut self) -> ToSync {
        let mut taken = ToSync::default();
        for files in std::mem::take(&mut self.segments).into_values() {
            taken.logs.push(files.log);
            taken.others.extend(files.indexes);
        }
        taken.others.extend(std::mem::take(&mut self.snapshots).into_values());
        taken
    }
}
