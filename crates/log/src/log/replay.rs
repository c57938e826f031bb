//! Showing what a log holds to who rebuilds the producers: when it is opened, and after a truncation.

use std::sync::Arc;

use ottla_wire::Offset;
use ottla_wire::batch::{BatchHeader, ControlRecord};
use ottla_wire::messages::ProducerSnapshot;

use super::{Log, LogError};
use crate::disk::DiskFile;
use crate::segment::Segment;
use crate::segment::cursor::{Cursor, CursorError, Found, WALK_WINDOW, read_control};
use crate::segment::txn_index::AbortedTxn;

/// Who rebuilds the state of the producers from a log.
pub trait Replay {
    /// Comes first: the newest producer snapshot that can be used, if there is one.
    fn snapshot(&mut self, snapshot: Option<ProducerSnapshot>);

    /// Then every batch after the snapshot, in order; for control batches with the control record, if its kind is known.
    /// Answers with the transaction that the batch aborts.
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
    /// Shows what the log holds, as [`Log::open`] does: for the producers after [`Log::truncate_to`]. Writes what is
    /// queued first.
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
        each_batch(&segments, from, |_, file, found| {
            // The transaction index was cut with the log: it has what the batch aborts.
            replay.batch(&found.header, read_control(file, found)?);
            Ok(())
        })
    }
}

/// Visits the batches from the one that holds `from` on, but for those that reach into the next segment: a file that does
/// not belong there may hold such, even from beyond the log's end.
pub(super) fn each_batch(
    segments: &[Arc<Segment>],
    from: Offset,
    mut visit: impl FnMut(&Segment, &dyn DiskFile, &Found) -> Result<(), CursorError>,
) -> Result<(), CursorError> {
    for segment in segments.iter().filter(|segment| segment.end() > from) {
        let Some(first) = segment.locate(from, segment.size())? else { continue };
        let file = segment.file()?;
        let mut cursor = Cursor::new(&file, first.position, segment.size(), WALK_WINDOW);
        while let Some(found) = cursor.next()? {
            if found.header.last_offset() < segment.end() {
                visit(segment, &*file, &found)?;
            }
        }
    }
    Ok(())
}
