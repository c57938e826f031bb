//! How far the search for offsets that must go has come.

use std::collections::BTreeMap;
use std::time::Duration;

use ottla_wire::Instant;
use ottla_wire::primitives::Str;

/// Groups, topics and offsets that one step looks at. A topic of a group is not split, so that it may be some
/// more.
pub const SWEEP_WORK_MAX: usize = 10_000;

/// Time between two steps of one sweep, in which requests are served.
pub const SWEEP_PAUSE: Duration = Duration::from_millis(10);

/// A pending search, and its progress.
#[derive(Debug, Default)]
pub(super) struct Sweep {
    pub deleted: Deleted,
    /// `None` while no check for expired offsets is under way.
    pub check: Option<Position>,
    /// When the next check begins.
    pub check_due: Instant,
}

/// Topics whose offsets are to go; no more than the cluster had topics.
#[derive(Debug, Default)]
pub(super) struct Deleted {
    /// By name, each with the rank of the last offset that was applied before the topic was deleted.
    pub topics: BTreeMap<Str, u64>,
    /// The last group that is done.
    pub done: Option<Str>,
}

/// How far a check has come: what is up to here is done.
#[derive(Clone, Debug, Default)]
pub(super) struct Position {
    pub group: Option<Str>,
    /// `None` if all of the group is done.
    pub topic: Option<Str>,
}

/// The remaining work of a step.
pub(super) struct Work(usize);

impl Default for Work {
    fn default() -> Work {
        Work(SWEEP_WORK_MAX)
    }
}

impl Work {
    pub fn spend(&mut self, work: usize) {
        self.0 = self.0.saturating_sub(work);
    }

    pub fn is_done(&self) -> bool {
        self.0 == 0
    }
}
