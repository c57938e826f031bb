//! Walking over the batch headers of a segment file with a bounded buffer.

use std::io;
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use ottla_wire::Offset;
use ottla_wire::batch::{BatchHeader, BatchView, ControlRecord, HEADER_LEN};

use super::order::{Order, Step};
use crate::disk::{Cold, DiskFile, read_exact, read_up_to};

/// A batch at its place in a segment file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Found {
    pub position: u64,
    pub header: BatchHeader,
}

impl Found {
    pub fn holds(&self, offset: Offset) -> bool {
        (self.header.base_offset..=self.header.last_offset()).contains(&offset)
    }

    /// Position after the batch.
    pub fn end(&self) -> u64 {
        self.position + self.header.total_len() as u64
    }
}

#[derive(Debug, thiserror::Error)]
pub(crate) enum CursorError {
    /// What lies at `position` is not a whole batch.
    #[error("no batch at position {position}: {what}")]
    Corrupt { position: u64, what: String },
    #[error(transparent)]
    Io(#[from] io::Error),
}

impl From<CursorError> for io::Error {
    fn from(error: CursorError) -> io::Error {
        match error {
            CursorError::Io(error) => error,
            corrupt @ CursorError::Corrupt { .. } => io::Error::new(io::ErrorKind::InvalidData, corrupt),
        }
    }
}

/// Window of a look-up, which ends after a few small batches.
pub(crate) const LOOKUP_WINDOW: usize = 4096 + HEADER_LEN;
/// Window of a walk over the headers of much of a file: what a batch has besides its header is not read if it
/// is large.
pub(crate) const WALK_WINDOW: usize = 16 << 10;
/// Window of a walk that reads everything. It fits into a core's own cache.
pub(crate) const SCAN_WINDOW: usize = 256 << 10;
/// A control batch holds one small record.
const CONTROL_BATCH_BYTES_MAX: usize = 64 << 10;

/// Goes from batch to batch between two positions. Reads a window at a time where batches are small, and
/// headers only where they are larger than the window.
#[derive(Debug)]
pub(crate) struct Cursor {
    file: Arc<dyn DiskFile>,
    position: u64,
    end: u64,
    window: usize,
    cold: Cold,
    /// What is known of the offsets of what is still to come, if their order matters.
    order: Option<Order>,
    buffer: Vec<u8>,
    buffer_at: u64,
}

impl Cursor {
    /// `position` MUST be where a batch starts (or `end`).
    pub fn new(file: &Arc<dyn DiskFile>, position: u64, end: u64, window: usize) -> Cursor {
        let (file, cold, buffer) = (Arc::clone(file), Cold::Wait, Vec::new());
        Cursor { file, position, end, window, cold, order: None, buffer, buffer_at: position }
    }

    /// The same cursor, which meets cold pages as `cold` says.
    pub fn when_cold(self, cold: Cold) -> Cursor {
        Cursor { cold, ..self }
    }

    /// The same cursor, for which it is corruption if a batch does not lie within `offsets`, behind the one
    /// before: what guards offsets in the file is only this.
    pub fn in_order(self, offsets: Range<Offset>) -> Cursor {
        Cursor { order: Some(Order::within(offsets)), ..self }
    }

    /// The next batch, or `None` at the end. Its CRC is not checked.
    pub fn next(&mut self) -> Result<Option<Found>, CursorError> {
        if self.position >= self.end {
            return Ok(None);
        }
        let position = self.position;
        let corrupt = |what: String| CursorError::Corrupt { position, what };
        self.fill(HEADER_LEN)?;
        let header = BatchHeader::parse(self.buffered()).map_err(|error| corrupt(error.to_string()))?;
        let found = Found { position, header };
        if found.end() > self.end {
            return Err(corrupt(format!("batch of {} bytes is cut off", header.total_len())));
        }
        if header.base_offset.0 < 0
            || header.last_offset() < header.base_offset
            || header.last_offset().0 == i64::MAX
        {
            return Err(corrupt("offsets are impossible".to_owned()));
        }
        let step = self.order.as_mut().map_or(Ok(Step::On), |order| order.take(&header));
        let step = step.map_err(|error| corrupt(error.to_string()))?;
        self.position = found.end();
        if step == Step::OverGap {
            self.confirm()?;
        }
        Ok(Some(found))
    }

    /// If order matters: the batch that [`Cursor::next`] gave last is where it says only if the next one is
    /// behind it.
    pub fn confirm(&mut self) -> Result<(), CursorError> {
        if self.order.is_none() || self.position >= self.end {
            return Ok(());
        }
        let position = self.position;
        self.fill(HEADER_LEN)?;
        let next = BatchHeader::parse(self.buffered()).ok();
        match self.order.as_ref().zip(next).map(|(order, next)| order.check(&next)) {
            Some(Err(error)) => Err(CursorError::Corrupt { position, what: error.to_string() }),
            Some(Ok(())) | None => Ok(()),
        }
    }

    /// Whether the CRC of `found`, which MUST be the batch that [`Cursor::next`] gave last, is right.
    pub fn crc_matches(&mut self, found: &Found) -> io::Result<bool> {
        /// The CRC covers the attributes and all that follows.
        const FROM: u64 = 21;
        self.position = found.position + FROM;
        let mut crc = 0;
        while self.position < found.end() {
            self.fill(1)?;
            let rest = (found.end() - self.position) as usize;
            let part = self.buffered();
            let part = &part[..part.len().min(rest)];
            if part.is_empty() {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            crc = crc32c::crc32c_append(crc, part);
            self.position += part.len() as u64;
        }
        Ok(crc == found.header.crc)
    }

    /// Makes at least `need` bytes from the position on available, or as many as there are. Nothing is read
    /// twice.
    fn fill(&mut self, need: usize) -> io::Result<()> {
        let need = need.min((self.end - self.position) as usize);
        let kept = self.buffered().len();
        if kept >= need {
            return Ok(());
        }
        // After a jump over a batch larger than the window the next one is likely to be large as well.
        let jumped = self.position > self.buffer_at + self.window as u64;
        let len = if jumped { need } else { self.window.max(need) };
        self.buffer.drain(..self.buffer.len() - kept);
        self.buffer_at = self.position;
        let len = len.min((self.end - self.position) as usize);
        read_up_to(&*self.file, &mut self.buffer, need..len, self.position, self.cold)
    }

    fn buffered(&self) -> &[u8] {
        let skip = self.position.wrapping_sub(self.buffer_at);
        usize::try_from(skip).ok().and_then(|skip| self.buffer.get(skip..)).unwrap_or_default()
    }
}

/// The control record of a control batch; `None` for any other batch and for kinds that are not known.
pub(crate) fn read_control(file: &dyn DiskFile, found: &Found) -> Result<Option<ControlRecord>, CursorError> {
    if !found.header.is_control() {
        return Ok(None);
    }
    let corrupt = |what: String| CursorError::Corrupt { position: found.position, what };
    let len = found.header.total_len();
    if len > CONTROL_BATCH_BYTES_MAX {
        return Err(corrupt(format!("control batch of {len} bytes")));
    }
    let mut bytes = vec![0; len];
    read_exact(file, &mut bytes, found.position)?;
    let view = BatchView::parse(Bytes::from(bytes)).map_err(|error| corrupt(error.to_string()))?;
    let mut records = view.records(CONTROL_BATCH_BYTES_MAX).map_err(|error| corrupt(error.to_string()))?;
    match records.next() {
        None => Ok(None),
        Some(record) => {
            let record = record.map_err(|error| corrupt(error.to_string()))?;
            ControlRecord::parse(record.key.as_ref(), record.value.as_ref())
                .map_err(|error| corrupt(error.to_string()))
        }
    }
}
