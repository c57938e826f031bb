//! A disk that waits a moment for what is short.

use std::io;
use std::path::Path;
use std::sync::Arc;

use ottla_wire::Timestamp;

use super::{Disk, DiskFile, Entry, Lock, Open, Space};
use crate::verdict::{PATIENCE, patiently};

/// Any disk, but what fails for want of descriptors or memory is tried again for a moment. Files are as they
/// are: what is open needs little.
#[derive(Debug)]
pub(crate) struct Patient(pub Arc<dyn Disk>);

impl Disk for Patient {
    fn open(&self, path: &Path, how: Open) -> io::Result<Arc<dyn DiskFile>> {
        patiently(PATIENCE, || self.0.open(path, how))
    }

    fn len(&self, path: &Path) -> io::Result<u64> {
        patiently(PATIENCE, || self.0.len(path))
    }

    fn modified(&self, path: &Path) -> io::Result<Timestamp> {
        patiently(PATIENCE, || self.0.modified(path))
    }

    fn read_dir(&self, path: &Path) -> io::Result<Vec<Entry>> {
        patiently(PATIENCE, || self.0.read_dir(path))
    }

    fn create_dir(&self, path: &Path) -> io::Result<()> {
        patiently(PATIENCE, || self.0.create_dir(path))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        patiently(PATIENCE, || self.0.rename(from, to))
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        patiently(PATIENCE, || self.0.remove_file(path))
    }

    fn remove_dir_all(&self, path: &Path) -> io::Result<()> {
        patiently(PATIENCE, || self.0.remove_dir_all(path))
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        patiently(PATIENCE, || self.0.sync_dir(path))
    }

    fn space(&self, path: &Path) -> io::Result<Space> {
        patiently(PATIENCE, || self.0.space(path))
    }

    fn writable(&self, path: &Path) -> io::Result<()> {
        patiently(PATIENCE, || self.0.writable(path))
    }

    fn lock(&self, path: &Path, how: Open) -> io::Result<Lock> {
        patiently(PATIENCE, || self.0.lock(path, how))
    }
}
