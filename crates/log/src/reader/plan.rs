//! A read that is planned and not done: a span of a file.

use std::fs::File;
use std::io;
use std::sync::Arc;

use bytes::Bytes;

use crate::disk::{DiskFile, read_up_to};

/// A span of a segment file that holds batches. The file stays readable while the plan lives, even if the segment is
/// deleted.
#[derive(Clone, Debug)]
pub struct ReadPlan {
    file: Option<Arc<dyn DiskFile>>,
    position: u64,
    len: usize,
    first_batch_len: usize,
}

impl ReadPlan {
    pub(crate) fn new(
        file: Arc<dyn DiskFile>,
        position: u64,
        len: usize,
        first_batch_len: usize,
    ) -> ReadPlan {
        ReadPlan { file: Some(file), position, len, first_batch_len }
    }

    /// Nothing to read.
    pub fn empty() -> ReadPlan {
        ReadPlan { file: None, position: 0, len: 0, first_batch_len: 0 }
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

    /// Reads the bytes. Fewer than planned if the log was truncated meanwhile.
    pub fn read(&self) -> io::Result<Bytes> {
        let Some(file) = &self.file else { return Ok(Bytes::new()) };
        let mut bytes = Vec::new();
        read_up_to(&**file, &mut bytes, self.len, self.position)?;
        bytes.truncate(self.len);
        Ok(Bytes::from(bytes))
    }
}
