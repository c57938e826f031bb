//! Reading a log: by offset, by time, and its aborted transactions, from any thread.

mod plan;
mod time;

use std::io;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering};

use arc_swap::ArcSwap;
use ottla_wire::batch::BatchHeader;
use ottla_wire::{AbortedTxn, Offset, Timestamp};

use crate::disk::Cold;
use crate::names::FileKind;
use crate::segment::Segment;
use crate::segment::cursor::{Cursor, CursorError, Found, WALK_WINDOW};
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
    /// Only with [`Cold::Refuse`]: what the read needs is not in memory.
    #[error("the disk has to be waited for")]
    WouldBlock,
    #[error(transparent)]
    Io(io::Error),
}

impl From<io::Error> for ReadError {
    fn from(error: io::Error) -> ReadError {
        match error.kind() {
            io::ErrorKind::WouldBlock => ReadError::WouldBlock,
            _ => ReadError::Io(error),
        }
    }
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
/// What guards offsets in the files is only their order: a batch that does not lie in its segment, or not
/// behind the one before it, is [`ReadError::Corrupt`], so that no reader is led back.
///
/// Records that are below a given [`Bound`] are there unless the log was truncated or its start moved
/// meanwhile.
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

    /// What a fetch from `offset` gets: the batches from the one that holds `offset` on, up to `max_bytes`,
    /// never beyond `upper` or the end of a segment. The last batch may be cut off, as Kafka does; with
    /// `min_one` the first one is whole even if it is larger than `max_bytes`. An offset at or after `upper`,
    /// but not after the log's end, gets an empty plan.
    pub fn read(
        &self,
        offset: Offset,
        max_bytes: usize,
        upper: Bound,
        min_one: bool,
        cold: Cold,
    ) -> Result<ReadPlan, ReadError> {
        self.retrying(|segments| {
            let (start, end) = (self.log_start(), last(segments).end());
            if offset < start || offset > end.max(upper.offset) {
                return Err(ReadError::OutOfRange { offset, start, end });
            }
            for span in below(segments, offset, upper) {
                if let Some(found) = span.locate(offset, cold)? {
                    let first = found.header.total_len();
                    let wanted = if min_one { max_bytes.max(first) } else { max_bytes };
                    let len = (span.limit - found.position).min(wanted as u64) as usize;
                    let offsets = found.header.base_offset..span.offsets.end;
                    return Ok(ReadPlan::new(
                        span.segment.file_if(cold)?,
                        found.position,
                        len,
                        first,
                        offsets,
                    ));
                }
            }
            Ok(ReadPlan::empty())
        })
    }

    /// The headers of the batches from the one that holds `from` on, below `upper`. Reads through a bounded
    /// buffer.
    pub fn batches(&self, from: Offset, upper: Bound) -> Batches {
        let segments = self.shared.segments.load_full();
        let mut spans: Vec<_> = below(&segments, from, upper).map(Span::keep).collect();
        spans.reverse();
        Batches { from, spans, current: None }
    }

    /// The aborted transactions that have records in `from..to`, in the order of their markers.
    pub fn aborted_transactions(
        &self,
        from: Offset,
        to: Offset,
        cold: Cold,
    ) -> Result<Vec<AbortedTxn>, ReadError> {
        self.retrying(|segments| {
            let (mut aborted, mut complete) = (Vec::new(), false);
            for segment in &segments[holding(segments, from)..] {
                segment.txns.visit(cold, |txn| {
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

    /// Runs `read`, again if it failed and the segments are not what they were: a file that was truncated or
    /// deleted under a reader is no error.
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
    spans: Vec<Span<Arc<Segment>>>,
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
            let Some(span) = self.spans.pop() else { return Ok(None) };
            if let Some(found) = span.locate(self.from, Cold::Wait)? {
                let cursor = span.walk(&found, WALK_WINDOW)?;
                self.current = Some((span.segment, cursor));
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

/// What a reader may see of a segment.
#[derive(Debug)]
struct Span<S> {
    segment: S,
    /// The position at which the segment is to be left.
    limit: u64,
    /// Where the offsets of all batches below the limit lie.
    offsets: Range<Offset>,
}

impl Span<&Arc<Segment>> {
    fn keep(self) -> Span<Arc<Segment>> {
        Span { segment: Arc::clone(self.segment), limit: self.limit, offsets: self.offsets }
    }
}

impl<S: AsRef<Segment>> Span<S> {
    /// The first batch that holds `offset` or a later one.
    fn locate(&self, offset: Offset, cold: Cold) -> Result<Option<Found>, ReadError> {
        let segment = self.segment.as_ref();
        let found = segment.locate_within(offset, self.limit, &self.offsets, cold);
        found.map_err(|error| of_segment(segment, error))
    }

    /// Goes over the batches from `first` on.
    fn walk(&self, first: &Found, window: usize) -> io::Result<Cursor> {
        let file = self.segment.as_ref().file()?;
        let offsets = first.header.base_offset..self.offsets.end;
        Ok(Cursor::new(&file, first.position, self.limit, window).in_order(offsets))
    }
}

/// The segments that have something in `from..upper`.
fn below(segments: &[Arc<Segment>], from: Offset, upper: Bound) -> impl Iterator<Item = Span<&Arc<Segment>>> {
    let segments = if from < upper.offset { &segments[holding(segments, from)..] } else { &[] };
    segments.iter().take_while(move |segment| segment.base <= upper.segment_base).map(move |segment| {
        let limit = if segment.base == upper.segment_base { upper.position } else { u64::MAX };
        let limit = limit.min(segment.size()); // before the end is loaded, which is then beyond it
        Span { segment, limit, offsets: segment.base..segment.end() }
    })
}

fn of_segment(segment: &Segment, error: CursorError) -> ReadError {
    match error {
        CursorError::Io(error) => error.into(),
        CursorError::Corrupt { position, what } => {
            let path = segment.place.path(segment.base, FileKind::Log);
            ReadError::Corrupt { path, position, what }
        }
    }
}

/// A timestamp that no record has.
const NO_TIMESTAMP: Timestamp = Timestamp::NONE;
