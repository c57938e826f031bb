//! A read that is planned and not done: a span of a file.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use ottla_wire::Offset;
use ottla_wire::batch::{BatchHeader, HEADER_LEN};

use crate::disk::{Cold, DiskFile, read_up_to};
use crate::segment::order::{Order, Step};

/// A span of a segment file that holds batches. The file stays readable while the plan lives, even if the
/// segment is deleted.
#[derive(Clone, Debug)]
pub struct ReadPlan {
    file: Option<Arc<dyn DiskFile>>,
    position: u64,
    len: usize,
    first_batch_len: usize,
    /// Where the offsets of its batches lie.
    offsets: Range<Offset>,
}

impl ReadPlan {
    pub(crate) fn new(
        file: Arc<dyn DiskFile>,
        position: u64,
        len: usize,
        first_batch_len: usize,
        offsets: Range<Offset>,
    ) -> ReadPlan {
        ReadPlan { file: Some(file), position, len, first_batch_len, offsets }
    }

    /// Nothing to read.
    pub fn empty() -> ReadPlan {
        let offsets = Offset::ZERO..Offset::ZERO;
        ReadPlan { file: None, position: 0, len: 0, first_batch_len: 0, offsets }
    }

    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Bytes to read.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Where in the file they start.
    pub fn position(&self) -> u64 {
        self.position
    }

    /// Bytes of the first batch, of which the plan may hold only a part.
    pub fn first_batch_len(&self) -> usize {
        self.first_batch_len
    }

    /// The file, for `sendfile`. `None` if the plan is empty or the disk is simulated.
    pub fn file(&self) -> Option<&Arc<File>> {
        self.file.as_ref()?.as_std()
    }

    /// Reads the bytes. They end before a batch that is out of order, which a read that begins there reports.
    /// Fewer than planned also if the log was truncated meanwhile. With [`Cold::Refuse`] the error is
    /// [`WouldBlock`](io::ErrorKind::WouldBlock) where not all of them are in memory.
    pub fn read(&self, cold: Cold) -> io::Result<Bytes> {
        let Some(file) = &self.file else { return Ok(Bytes::new()) };
        let mut bytes = Vec::new();
        read_up_to(&**file, &mut bytes, self.len..self.len, self.position, cold)?;
        bytes.truncate(self.len);
        bytes.truncate(in_order(&bytes, self.offsets.clone()));
        Ok(Bytes::from(bytes))
    }
}

/// Length of the part of `bytes` whose batches are in order. The last one may be cut off.
fn in_order(bytes: &[u8], offsets: Range<Offset>) -> usize {
    let mut order = Order::within(offsets);
    let (mut at, mut over_gap) = (0, None);
    while bytes.len().saturating_sub(at) >= HEADER_LEN {
        let Ok(header) = BatchHeader::parse(&bytes[at..]) else { return at };
        match order.take(&header) {
            Ok(step) => over_gap = (step == Step::OverGap).then_some(at),
            Err(_) => return over_gap.unwrap_or(at),
        }
        at += header.total_len();
    }
    // What follows the last one is not here to confirm it: a read that begins there looks.
    over_gap.unwrap_or(bytes.len())
}
