//! Time and chance: monotonic time and dice are those of connections; the wall clock is read only here, to
//! stamp records.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

pub(crate) use ottla_link::seam::{Dice, Instant, now};
use ottla_wire::Timestamp;

/// The wall-clock time now, as records carry it.
pub(crate) fn wall_clock() -> Timestamp {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
    Timestamp(i64::try_from(since_epoch.as_millis()).unwrap_or(i64::MAX))
}
