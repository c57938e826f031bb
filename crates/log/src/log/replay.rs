//! Showing what a log holds to who rebuilds the producers: when it is opened, and after a truncation.

use std::collections::BTreeMap;
use std::sync::Arc;

use ottla_wire::batch::{BatchHeader, ControlRecord};
use ottla_wire::messages::ProducerSnapshot;
use ottla_wire::{AbortedTxn, Offset};

use super::{Log, LogError};
use crate::disk::DiskFile;
use crate::segment::Segment;
use crate::segment::cursor::{Cursor, CursorError, Found, WALK_WINDOW, read_control};

/// Who rebuilds the state of the producers from a log.
pub trait Replay {
    /// Comes first: the newest producer snapshot that can be used, if there is one.
    fn snapshot(&mut self, snapshot: Option<ProducerSnapshot>);

    /// Then every batch after the snapshot, in order; for control batches with the control record, if its
    /// kind is known. Answers with the transaction that the batch aborts.
    fn batch(&mut self, header: &BatchHeader, control: Option<ControlRecord>) -> Option<AbortedTxn>;
}

/// Wants no producers: for logs without any, and for tools.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoReplay;

impl Replay for NoReplay {
    fn snapshot(&mut self, _snapshot: Option<ProducerSnapshot>) {}

    fn batch(&mut self, _header: &BatchHeader, _control: Option<ControlRecord>) -> Option<AbortedTxn> {
        None
    }
}

impl Log {
    /// Shows what the log holds, as [`Log::open`] does: for the producers after [`Log::truncate_to`]. Writes
    /// what is queued first.
    pub fn replay(&mut self, replay: &mut dyn Replay) -> Result<(), LogError> {
        self.write()?;
        self.check_online()?;
        self.show(replay).map_err(|error| self.unreadable("read", error))
    }

    fn show(&mut self, replay: &mut dyn Replay) -> Result<(), CursorError> {
        let segments = self.segments();
        let snapshot = self.snapshots.newest_usable(&self.place, self.log_end, self.log_end)?;
        let from = snapshot.as_ref().map_or(segments[0].base, |(offset, _)| *offset);
        replay.snapshot(snapshot.map(|(_, snapshot)| snapshot));
        each_batch(&segments, from, &Met::default(), |_, file, found| {
            // The transaction index was cut with the log: it has what the batch aborts.
            replay.batch(&found.header, read_control(file, found)?);
            Ok(())
        })
    }
}

/// Batches that opening a log has met already, by the base of their segment, so that they need not be read
/// once more.
#[derive(Debug, Default)]
pub(super) struct Met {
    batches: BTreeMap<Offset, Vec<Found>>,
    count: usize,
}

/// Batches that are remembered while a log is opened; of a log with more of them none is. About 6 MiB.
const MET_MAX: usize = 1 << 16;

impl Met {
    pub fn add(&mut self, segment: Offset, found: Found) {
        self.count += 1;
        if self.count <= MET_MAX {
            self.batches.entry(segment).or_default().push(found);
        } else {
            self.batches.clear();
        }
    }

    /// The segment is walked over anew.
    pub fn forget(&mut self, segment: Offset) {
        self.batches.remove(&segment);
    }

    /// All batches of the segment from the one that holds `from` on, and maybe some before them.
    fn from(&self, segment: Offset, from: Offset) -> Option<&[Found]> {
        let batches = self.batches.get(&segment)?;
        let first = batches.first()?;
        (first.position == 0 || first.header.base_offset <= from).then_some(batches)
    }
}

/// Visits the batches from the one that holds `from` on, but for those that reach into the next segment: a
/// file that does not belong there may hold such, even from beyond the log's end.
pub(super) fn each_batch(
    segments: &[Arc<Segment>],
    from: Offset,
    met: &Met,
    mut visit: impl FnMut(&Segment, &dyn DiskFile, &Found) -> Result<(), CursorError>,
) -> Result<(), CursorError> {
    // A segment without a batch may have no file yet.
    for segment in segments.iter().filter(|segment| segment.end() > from && segment.size() > 0) {
        let file = segment.file()?;
        let mut visit = |found: &Found| match found.header.last_offset() < segment.end() {
            true => visit(segment, &*file, found),
            false => Ok(()),
        };
        if let Some(batches) = met.from(segment.base, from) {
            let first = batches.partition_point(|found| found.header.last_offset() < from);
            batches[first..].iter().try_for_each(&mut visit)?;
        } else if let Some(first) = segment.locate(from, segment.size())? {
            let mut cursor = Cursor::new(&file, first.position, segment.size(), WALK_WINDOW);
            while let Some(found) = cursor.next()? {
                visit(&found)?;
            }
        }
    }
    Ok(())
}
