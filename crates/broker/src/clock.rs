//! The one place where the broker reads clocks.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use ottla_wire::{Instant, Timestamp};

/// Monotonic and wall-clock time. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Clock {
    started: std::time::Instant,
}

impl Clock {
    /// A clock whose monotonic time starts now.
    pub fn start() -> Clock {
        Clock { started: std::time::Instant::now() }
    }

    /// Monotonic time.
    pub fn now(&self) -> Instant {
        Instant(u64::try_from(self.started.elapsed().as_nanos()).unwrap_or(u64::MAX))
    }

    /// Wall-clock time.
    pub fn wall(&self) -> Timestamp {
        let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
        Timestamp(i64::try_from(since_1970.as_millis()).unwrap_or(i64::MAX))
    }
}
