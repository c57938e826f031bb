//! Expiry of unused transactional ids.

use std::time::Duration;

use ottla_coordinator::Moment;
use ottla_wire::Timestamp;

use crate::coordinator::{Out, Timer, TxnCoordinator};
use crate::record;

/// The most ids that one step forgets. The records of a step are never split, and other requests wait for it.
pub const EXPIRED_PER_STEP_MAX: usize = 1000;

/// The pause after a step that has left some.
const NEXT_STEP: Duration = Duration::from_millis(10);

impl TxnCoordinator {
    /// Forgets ids that have no open transaction and have not changed for `transactional.id.expiration.ms`.
    pub(crate) fn expire(&mut self, at: &Moment, out: &mut Out) {
        let age_ms = i64::try_from(self.config.id_expiration.as_millis()).unwrap_or(i64::MAX);
        let cutoff = Timestamp(at.wall.0.saturating_sub(age_ms));
        let expired = self.table.idle_since(cutoff, EXPIRED_PER_STEP_MAX);
        for id in &expired {
            out.write(record::tombstone(id));
            self.table.remove(id);
        }
        let more = expired.len() == EXPIRED_PER_STEP_MAX;
        let pause = if more { NEXT_STEP } else { self.config.expiry_interval };
        self.timers.set(Timer::Expiry, at.now + pause);
    }
}
