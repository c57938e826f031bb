//! Retention: old segments go, by time, by size, and because the log's start has moved.

use ottla_wire::messages::ProducerSnapshot;
use ottla_wire::{Offset, Timestamp};

use super::{Log, LogError};
use crate::names::FileKind;
use crate::segment::Segment;

/// What retention has done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Retained {
    /// The log's start now.
    pub log_start: Offset,
    /// Segments that went, and the bytes of their log files.
    pub segments: usize,
    pub bytes: u64,
}

impl Log {
    /// Removes the oldest segments that `retention.ms`, `retention.bytes` or the log's start no longer keep,
    /// never one that reaches beyond `high_watermark`. If all are to go, a new segment is started first. A
    /// log that is compacted and not also deleted loses only what is below its start.
    ///
    /// `producers` is asked for the state after everything that was appended if a segment has to be started.
    pub fn retain(
        &mut self,
        wall: Timestamp,
        high_watermark: Offset,
        producers: &mut dyn FnMut() -> ProducerSnapshot,
    ) -> Result<Retained, LogError> {
        self.write()?;
        let gone =
            self.count_old(wall, high_watermark).map_err(|error| self.fail("apply retention to", error))?;
        let segments = self.segments();
        let mut gone = self.removable(&segments, gone);
        if gone > 0 && gone == segments.len() {
            // Removing the segments syncs the folder first: without the new one a crash would leave an empty
            // log. Where there is no room for it, the others go and make some.
            match self.roll(&producers()) {
                Err(LogError::Full { .. }) => gone -= 1,
                rolled => rolled?,
            }
        }
        let bytes = segments[..gone].iter().map(|segment| segment.size()).sum();
        if gone > 0 {
            let start = self.segments()[gone].base.max(self.log_start());
            self.set_log_start(start);
            self.remove_first(gone).map_err(|error| self.fail("delete segments of", error))?;
        }
        Ok(Retained { log_start: self.log_start(), segments: gone, bytes })
    }

    fn count_old(&self, wall: Timestamp, high_watermark: Offset) -> std::io::Result<usize> {
        let segments = self.segments();
        let mut size: u64 = segments.iter().map(|segment| segment.size()).sum();
        for (at, segment) in segments.iter().enumerate() {
            let next = segments.get(at + 1).map(|next| next.base);
            // It may have no file yet, too.
            if next.is_none() && segment.size() == 0 {
                return Ok(at);
            }
            let below_start = next.is_some_and(|next| next <= self.log_start());
            let left = size - segment.size();
            let old =
                below_start || self.config.delete && (self.is_over(left) || self.is_old(segment, wall)?);
            if !old || next.unwrap_or(self.written_end()) > high_watermark {
                return Ok(at);
            }
            size = left;
        }
        Ok(segments.len())
    }

    /// Whether what is left without a segment is still as much as is to be kept.
    fn is_over(&self, left: u64) -> bool {
        u64::try_from(self.config.retention_bytes).is_ok_and(|bytes| left >= bytes)
    }

    fn is_old(&self, segment: &Segment, wall: Timestamp) -> std::io::Result<bool> {
        if self.config.retention_ms < 0 {
            return Ok(false);
        }
        // Records without a timestamp are as old as the file.
        let newest = match segment.largest_timestamp()? {
            Timestamp::NONE => {
                segment.place.disk.modified(&segment.place.path(segment.base, FileKind::Log))?
            }
            largest => largest,
        };
        Ok(wall.0.saturating_sub(newest.0) > self.config.retention_ms)
    }
}
