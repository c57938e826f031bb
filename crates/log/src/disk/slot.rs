//! A place for an open file that is opened at first need.

use std::io;
use std::path::Path;
use std::sync::Arc;

use arc_swap::ArcSwapOption;

use super::{Cold, Disk, DiskFile, Open};

/// A file that is opened when it is first asked for and can be let go of, so that a broker with a hundred
/// thousand segments does not need as many descriptors.
#[derive(Debug, Default)]
pub(crate) struct FileSlot {
    file: ArcSwapOption<Arc<dyn DiskFile>>,
}

impl FileSlot {
    /// The open file. Two callers at once may both open it; one of the two descriptors goes when its user is
    /// done.
    pub fn get(
        &self,
        disk: &dyn Disk,
        path: impl FnOnce() -> Box<Path>,
        how: Open,
    ) -> io::Result<Arc<dyn DiskFile>> {
        if let Some(file) = &*self.file.load() {
            return Ok(Arc::clone(file));
        }
        let file = disk.open(&path(), how)?;
        self.file.store(Some(Arc::new(Arc::clone(&file))));
        Ok(file)
    }

    /// As [`FileSlot::get`], for reading. Opening a file may have to wait for the disk, too.
    pub fn get_if(
        &self,
        disk: &dyn Disk,
        path: impl FnOnce() -> Box<Path>,
        cold: Cold,
    ) -> io::Result<Arc<dyn DiskFile>> {
        match (self.open_file(), cold) {
            (Some(file), _) => Ok(file),
            (None, Cold::Refuse) => Err(io::ErrorKind::WouldBlock.into()),
            (None, Cold::Wait) => self.get(disk, path, Open::Write),
        }
    }

    /// The file if it is open.
    pub fn open_file(&self) -> Option<Arc<dyn DiskFile>> {
        self.file.load().as_deref().cloned()
    }

    /// Lets go of the descriptor; those who hold the file keep it.
    pub fn close(&self) {
        self.file.store(None);
    }
}
