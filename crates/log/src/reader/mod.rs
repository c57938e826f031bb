//! Reading a log: by offset, by time, and its aborted transactions, from any thread.

mod plan;
mod time;

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering};

use arc_swap::ArcSwap;
use ottla_wire::batch::BatchHeader;
use ottla_wire::{Offset, Timestamp};

use crate::names::Kind;
use crate::segment::Segment;
use crate::segment::cursor::{Cursor, CursorError, WALK_WINDOW};
use crate::segment::txn_index::AbortedTxn;
pub use plan::ReadPlan;
pub use time::TimestampAndOffset;

/// Where a read ends: before the batch that holds `offset`. The owner of the log computes it once
/// ([`Log::bound`](crate::Log::bound)) and publishes it, so that readers need not search.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Bound {
    pub offset: Offset,
    /// Base offset of the segment that holds the position.
    pub segment_base: Offset,
    /// In the segment's file, in bytes.
    pub position: u64,
}

/// Why a log cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// OFFSET_OUT_OF_RANGE.
    #[error("offset {offset} is not between {start} and {end}")]
    OutOfRange { offset: Offset, start: Offset, end: Offset },
    #[error("{path} at position {position}: {what}")]
    Corrupt { path: PathBuf, position: u64, what: String },
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// Size and bounds of a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SegmentInfo {
    pub base: Offset,
    /// The offset after the last batch.
    pub end: Offset,
    /// Bytes of the `.log` file.
    pub size: u64,
}

/// Reads a log. Cheap to clone; never waits for the writer, and the writer never waits for it.
///
/// Records that are below a given [`Bound`] are there unless the log was truncated or its start moved meanwhile.
#[derive(Clone, Debug)]
pub struct LogReader {
    shared: Arc<Shared>,
}

/// What the owner of a log shows its readers.
#[derive(Debug)]
pub(crate) struct Shared {
    /// By base offset; never empty; the last is the one that grows.
    pub segments: ArcSwap<Vec<Arc<Segment>>>,
    pub log_start: AtomicI64,
    pub max_decompressed_bytes: AtomicUsize,
}

/// How often a read starts over because the segments changed under it.
const RETRIES_MAX: usize = 3;

impl LogReader {
    pub(crate) fn new(shared: Arc<Shared>) -> LogReader {
        LogReader { shared }
    }

    /// The first offset that can be read.
    pub fn log_start(&self) -> Offset {
        Offset(self.shared.log_start.load(Ordering::Acquire))
    }

    /// What a fetch from `offset` gets: the batches from the one that holds `offset` on, up to `max_bytes`, never beyond
    /// `upper` or the end of a segment. The last batch may be cut off, as Kafka does; with `min_one` the first one is
    /// whole even if it is larger than `max_bytes`. An offset at or after `upper`, but not after the log's end, gets an
    /// empty plan.
    pub fn read(
        &self,
        offset: Offset,
        max_bytes: usize,
        upper: Bound,
        min_one: bool,
    ) -> Result<ReadPlan, ReadError> {
        self.retrying(|segments| {
            let (start, end) = (self.log_start(), last(segments).end());
            if offset < start || offset > end.max(upper.offset) {
                return Err(ReadError::OutOfRange { offset, start, end });
            }
            for (segment, limit) in below(segments, offset, upper) {
                if let Some(found) = segment.locate(offset, limit).map_err(|e| of_segment(segment, e))? {
                    let first = found.header.total_len();
                    let wanted = if min_one { max_bytes.max(first) } else { max_bytes };
                    let len = (limit - found.position).min(wanted as u64) as usize;
                    return Ok(ReadPlan::new(segment.file()?, found.position, len, first));
                }
            }
            Ok(ReadPlan::empty())
        })
    }

    /// The headers of the batches from the one that holds `from` on, below `upper`. Reads through a bounded buffer.
    pub fn batches(&self, from: Offset, upper: Bound) -> Batches {
        let segments = self.shared.segments.load_full();
        let mut spans: Vec<_> =
            below(&segments, from, upper).map(|(segment, limit)| (Arc::clone(segment), limit)).collect();
        spans.reverse();
        Batches { from, spans, current: None }
    }

    /// The aborted transactions that have records in `from..to`, in the order of their markers.
    pub fn aborted_transactions(&self, from: Offset, to: Offset) -> Result<Vec<AbortedTxn>, ReadError> {
        self.retrying(|segments| {
            let (mut aborted, mut complete) = (Vec::new(), false);
            for segment in &segments[holding(segments, from)..] {
                segment.txns.visit(|txn| {
                    if txn.last_offset >= from && txn.first_offset < to {
                        aborted.push(txn);
                    }
                    complete = txn.last_stable_offset >= to;
                    !complete
                })?;
                if complete {
                    break;
                }
            }
            Ok(aborted)
        })
    }

    /// Bytes of all `.log` files.
    pub fn size(&self) -> u64 {
        self.shared.segments.load().iter().map(|segment| segment.size()).sum()
    }

    /// The segments, oldest first.
    pub fn segments(&self) -> Vec<SegmentInfo> {
        let segments = self.shared.segments.load();
        let info = |s: &Arc<Segment>| SegmentInfo { base: s.base, end: s.end(), size: s.size() };
        segments.iter().map(info).collect()
    }

    /// Runs `read`, again if it failed and the segments are not what they were: a file that was truncated or deleted
    /// under a reader is no error.
    fn retrying<T>(&self, read: impl Fn(&[Arc<Segment>]) -> Result<T, ReadError>) -> Result<T, ReadError> {
        let mut segments = self.shared.segments.load_full();
        for _ in 0..RETRIES_MAX {
            match read(&segments) {
                Err(error) => {
                    let now = self.shared.segments.load_full();
                    if Arc::ptr_eq(&now, &segments) {
                        return Err(error);
                    }
                    segments = now;
                }
                done => return done,
            }
        }
        read(&segments)
    }
}

/// Headers of batches, from [`LogReader::batches`]. Ends after an error.
#[derive(Debug)]
pub struct Batches {
    from: Offset,
    /// What is still to be walked, the next one last.
    spans: Vec<(Arc<Segment>, u64)>,
    current: Option<(Arc<Segment>, Cursor)>,
}

impl Batches {
    fn advance(&mut self) -> Result<Option<BatchHeader>, ReadError> {
        loop {
            if let Some((segment, cursor)) = &mut self.current {
                match cursor.next().map_err(|error| of_segment(segment, error))? {
                    Some(found) => return Ok(Some(found.header)),
                    None => self.current = None,
                }
            }
            let Some((segment, limit)) = self.spans.pop() else { return Ok(None) };
            let found = segment.locate(self.from, limit).map_err(|error| of_segment(&segment, error))?;
            if let Some(found) = found {
                let cursor = Cursor::new(&segment.file()?, found.position, limit, WALK_WINDOW);
                self.current = Some((segment, cursor));
            }
        }
    }
}

impl Iterator for Batches {
    type Item = Result<BatchHeader, ReadError>;

    fn next(&mut self) -> Option<Self::Item> {
        let next = self.advance();
        if next.is_err() {
            self.spans.clear();
            self.current = None;
        }
        next.transpose()
    }
}

impl Shared {
    pub fn new(segments: Vec<Arc<Segment>>, log_start: Offset, max_decompressed_bytes: usize) -> Shared {
        assert!(!segments.is_empty(), "a log has a segment");
        Shared {
            segments: ArcSwap::from_pointee(segments),
            log_start: AtomicI64::new(log_start.0),
            max_decompressed_bytes: AtomicUsize::new(max_decompressed_bytes),
        }
    }
}

fn last(segments: &[Arc<Segment>]) -> &Arc<Segment> {
    let Some(last) = segments.last() else { unreachable!("a log has a segment") };
    last
}

/// Index of the segment that holds `offset`.
fn holding(segments: &[Arc<Segment>], offset: Offset) -> usize {
    segments.partition_point(|segment| segment.base <= offset).saturating_sub(1)
}

/// The segments that have something in `from..upper`, each with the position at which it is to be left.
fn below(
    segments: &[Arc<Segment>],
    from: Offset,
    upper: Bound,
) -> impl Iterator<Item = (&Arc<Segment>, u64)> {
    let segments = if from < upper.offset { &segments[holding(segments, from)..] } else { &[] };
    segments.iter().take_while(move |segment| segment.base <= upper.segment_base).map(move |segment| {
        let limit = if segment.base == upper.segment_base { upper.position } else { u64::MAX };
        (segment, limit.min(segment.size()))
    })
}

fn of_segment(segment: &Segment, error: CursorError) -> ReadError {
    match error {
        CursorError::Io(error) => ReadError::Io(error),
        CursorError::Corrupt { position, what } => {
            let path = segment.place.path(segment.base, Kind::Log);
            ReadError::Corrupt { path, position, what }
        }
    }
}

/// A timestamp that no record has.
const NO_TIMESTAMP: Timestamp = Timestamp::NONE;
