//! Finding records by their timestamps.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use ottla_wire::batch::{BatchHeader, BatchView, Stamp};
use ottla_wire::{LeaderEpoch, Offset, Timestamp};

use super::{Bound, LogReader, NO_TIMESTAMP, ReadError, Span, below, of_segment};
use crate::disk::{Cold, read_exact};
use crate::names::FileKind;
use crate::segment::Segment;
use crate::segment::cursor::{Cursor, Found, LOOKUP_WINDOW, SCAN_WINDOW};

/// A record found by its time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimestampAndOffset {
    pub timestamp: Timestamp,
    pub offset: Offset,
    pub leader_epoch: LeaderEpoch,
}

impl LogReader {
    /// The first record at or after `timestamp`, inside compressed batches too, below `upper`.
    pub fn find_timestamp(
        &self,
        timestamp: Timestamp,
        upper: Bound,
    ) -> Result<Option<TimestampAndOffset>, ReadError> {
        self.retrying(|segments| {
            let start = self.log_start();
            for span in below(segments, start, upper) {
                if span.segment.largest_timestamp()? < timestamp {
                    continue;
                }
                if let Some(found) = self.find_in(&span, start, timestamp)? {
                    return Ok(Some(found));
                }
            }
            Ok(None)
        })
    }

    /// The record with the largest timestamp (the first, if several have it) below `upper`; `None` if no
    /// record has one.
    pub fn max_timestamp(&self, upper: Bound) -> Result<Option<TimestampAndOffset>, ReadError> {
        self.retrying(|segments| {
            let start = self.log_start();
            let mut largest: Option<(Timestamp, &Arc<Segment>, Found)> = None;
            for span in below(segments, start, upper) {
                let so_far = largest.map_or(NO_TIMESTAMP, |(timestamp, ..)| timestamp);
                if span.segment.largest_timestamp()? <= so_far {
                    continue;
                }
                if let Some(found) = largest_in(&span, start, upper.offset)?
                    && found.header.max_timestamp > so_far
                {
                    largest = Some((found.header.max_timestamp, span.segment, found));
                }
            }
            let Some((timestamp, segment, found)) = largest else { return Ok(None) };
            self.record_in(segment, &found, |stamp| stamp.timestamp >= timestamp)
        })
    }

    fn find_in(
        &self,
        span: &Span<&Arc<Segment>>,
        start: Offset,
        timestamp: Timestamp,
    ) -> Result<Option<TimestampAndOffset>, ReadError> {
        // Before this offset every timestamp is smaller.
        let segment = span.segment;
        let indexed = segment.times.floor(timestamp.0)?;
        let from = indexed.map_or(segment.base, |entry| segment.base.plus(i64::from(entry.value))).max(start);
        walk(span, from, |found| {
            if found.header.max_timestamp < timestamp {
                return Ok(None);
            }
            self.record_in(segment, found, |stamp| stamp.timestamp >= timestamp && stamp.offset >= start)
        })
    }

    /// The first record of a batch for which `wanted` holds.
    fn record_in(
        &self,
        segment: &Segment,
        found: &Found,
        wanted: impl Fn(&Stamp) -> bool,
    ) -> Result<Option<TimestampAndOffset>, ReadError> {
        let corrupt = |what: String| ReadError::Corrupt {
            path: segment.place.path(segment.base, FileKind::Log),
            position: found.position,
            what,
        };
        let file = segment.file()?;
        // A length that is damaged may reach to the end of the segment, which is no size for a buffer.
        if !Cursor::new(&file, found.position, found.end(), SCAN_WINDOW).crc_matches(found)? {
            return Err(corrupt("the CRC is wrong".to_owned()));
        }
        let mut bytes = vec![0; found.header.total_len()];
        read_exact(&*file, &mut bytes, found.position)?;
        let view = BatchView::parse(Bytes::from(bytes)).map_err(|error| corrupt(error.to_string()))?;
        let max = self.shared.max_decompressed_bytes.load(Ordering::Relaxed);
        for stamp in view.stamps(max).map_err(|error| corrupt(error.to_string()))? {
            let stamp = stamp.map_err(|error| corrupt(error.to_string()))?;
            if wanted(&stamp) {
                let Stamp { offset, timestamp } = stamp;
                let leader_epoch = found.header.partition_leader_epoch;
                return Ok(Some(TimestampAndOffset { timestamp, offset, leader_epoch }));
            }
        }
        Ok(None)
    }
}

/// The first batch with the largest timestamp of a part of a segment.
fn largest_in(span: &Span<&Arc<Segment>>, start: Offset, upper: Offset) -> Result<Option<Found>, ReadError> {
    let segment = span.segment;
    let mut from = segment.base;
    // The newest entries may be above what is asked for; an older one says what is largest up to its offset.
    for i in (0..segment.times.len()).rev() {
        let offset = segment.base.plus(i64::from(segment.times.get(i)?.value));
        if offset < upper {
            from = if offset >= start { offset } else { start };
            break;
        }
    }
    let mut largest: Option<Found> = None;
    walk(span, from.max(start), |found| {
        let so_far = largest.map_or(NO_TIMESTAMP, |largest| largest.header.max_timestamp);
        if found.header.max_timestamp > so_far {
            largest = Some(*found);
        }
        Ok(None::<()>)
    })?;
    Ok(largest)
}

/// Shows the batches from the one that holds `from` on, until `visit` finds what it wants.
fn walk<T>(
    span: &Span<&Arc<Segment>>,
    from: Offset,
    mut visit: impl FnMut(&Found) -> Result<Option<T>, ReadError>,
) -> Result<Option<T>, ReadError> {
    let Some(first) = span.locate(from, Cold::Wait)? else { return Ok(None) };
    let mut cursor = span.walk(&first, LOOKUP_WINDOW)?;
    while let Some(found) = cursor.next().map_err(|error| of_segment(span.segment, error))? {
        if has_records(&found.header)
            && let Some(wanted) = visit(&found)?
        {
            return Ok(Some(wanted));
        }
    }
    Ok(None)
}

/// A batch that compaction has emptied has nothing to find.
fn has_records(header: &BatchHeader) -> bool {
    header.record_count > 0
}
