//! Whether a data directory may still be used.

use std::fmt;
use std::io;
use std::sync::{Arc, OnceLock};

use crate::verdict::Verdict;

/// Whether a data directory is online. Clones share the state.
///
/// A failed write or fsync takes the directory offline for good: after a failed fsync the kernel may have
/// dropped the pages, so that a second try would report success for data that is lost.
#[derive(Clone, Debug, Default)]
pub struct Health {
    failed: Arc<OnceLock<Failure>>,
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

impl Health {
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
            Verdict::Full | Verdict::Offline => self.fail(doing, error),
        }
    }

    /// As [`judge`](Self::judge), for the directory's own files: what cannot be done to those is nobody's
    /// mistake.
    pub(crate) fn judge_own(&self, doing: impl fmt::Display, error: &io::Error) {
        match Verdict::of(error) {
            Verdict::Again => tracing::warn!(%doing, %error, "failed, and is tried again"),
            Verdict::Fails | Verdict::Full | Verdict::Offline => self.fail(doing, error),
        }
    }

    /// Takes the directory offline. Only the first failure is kept and logged.
    fn fail(&self, doing: impl fmt::Display, error: &io::Error) {
        let failure = Failure { doing: doing.to_string(), error: error.to_string() };
        if self.failed.set(failure).is_ok() {
            tracing::error!(%doing, %error, "data directory is offline: replace the disk or free space, then restart");
        }
    }
}
