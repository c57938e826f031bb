//! Whether a data directory may still be used, and whether there is room in it.

use std::fmt;
use std::io;
use std::sync::{Arc, OnceLock};

use crate::room::{RESERVE_BYTES, Room};
use crate::verdict::Verdict;

/// Whether a data directory is online. Clones share the state.
///
/// A failed write or fsync takes the directory offline for good: after a failed fsync the kernel may have
/// dropped the pages, so that a second try would report success for data that is lost.
#[derive(Clone, Debug)]
pub struct Health {
    failed: Arc<OnceLock<Failure>>,
    room: Room,
}

/// Why a data directory went offline.
#[derive(Clone, Debug)]
pub struct Failure {
    /// What was being done.
    pub doing: String,
    /// What the operating system said.
    pub error: String,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.doing, self.error)
    }
}

impl Default for Health {
    fn default() -> Health {
        Health::new(RESERVE_BYTES)
    }
}

impl Health {
    /// Of a directory in which `reserve` bytes are kept free.
    pub(crate) fn new(reserve: u64) -> Health {
        Health { failed: Arc::default(), room: Room::new(reserve) }
    }

    /// The room that is left.
    pub fn room(&self) -> &Room {
        &self.room
    }

    /// True until the first failure.
    pub fn is_online(&self) -> bool {
        self.failed.get().is_none()
    }

    /// The first failure, if there was one.
    pub fn failure(&self) -> Option<&Failure> {
        self.failed.get()
    }

    /// Something failed whose failure can be told: takes the directory offline if the disk is no good.
    pub fn judge(&self, doing: impl fmt::Display, error: &io::Error) {
        match Verdict::of(error) {
            Verdict::Fails | Verdict::Again => tracing::warn!(%doing, %error, "failed"),
            Verdict::Full => self.is_full(doing, error),
            Verdict::Offline => self.fail(doing, error),
        }
    }

    /// As [`judge`](Self::judge), for the directory's own files: what cannot be done to those is nobody's
    /// mistake.
    pub(crate) fn judge_own(&self, doing: impl fmt::Display, error: &io::Error) {
        match Verdict::of(error) {
            Verdict::Again => tracing::warn!(%doing, %error, "failed, and is tried again"),
            Verdict::Full => self.is_full(doing, error),
            Verdict::Fails | Verdict::Offline => self.fail(doing, error),
        }
    }

    /// A flush failed. No sync of it is tried again, whatever the reason.
    pub(crate) fn judge_flush(&self, error: &io::Error) {
        match Verdict::of(error) {
            Verdict::Fails | Verdict::Again => tracing::warn!(%error, "a flush failed"),
            Verdict::Full | Verdict::Offline => self.fail("flush", error),
        }
    }

    /// Something failed halfway that cannot be tried again: takes the directory offline.
    pub(crate) fn give_up(&self, doing: impl fmt::Display, error: &io::Error) {
        self.fail(doing, error);
    }

    /// There is no room: nothing is lost by that, and what failed is tried again when there is.
    fn is_full(&self, doing: impl fmt::Display, error: &io::Error) {
        if !self.room.is_full() {
            tracing::warn!(%doing, %error, "no room on the disk");
        }
        self.room.refused();
    }

    /// Takes the directory offline. Only the first failure is kept and logged.
    fn fail(&self, doing: impl fmt::Display, error: &io::Error) {
        let failure = Failure { doing: doing.to_string(), error: error.to_string() };
        if self.failed.set(failure).is_ok() {
            tracing::error!(%doing, %error, "data directory is offline: replace the disk or free space, then restart");
        }
    }
}
