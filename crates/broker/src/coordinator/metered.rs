//! The memory that groups take on this broker, over all coordinators.
//!
//! In every turn each coordinator reports its own memory and gets the memory of the others. So one limit
//! holds for the broker, however its coordinators share the groups.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::kit::Kit;

/// The memory counted for one coordinator, for as long as it lives.
pub struct Metered {
    kit: Arc<Kit>,
    bytes: usize,
}

impl Metered {
    pub fn new(kit: &Arc<Kit>) -> Metered {
        Metered { kit: kit.clone(), bytes: 0 }
    }

    /// Sets the memory of this coordinator. Returns the memory of the others.
    pub fn set(&mut self, bytes: usize) -> usize {
        let counted = &self.kit.counts.group_bytes;
        let added = bytes.wrapping_sub(self.bytes);
        let taken = counted.fetch_add(added, Ordering::Relaxed).wrapping_add(added);
        self.bytes = bytes;
        self.tell_if_full(taken);
        taken.saturating_sub(bytes)
    }

    /// Logs when the limit is reached, and when a tenth of it is free again. The gap avoids repeats near the
    /// limit.
    fn tell_if_full(&self, taken: usize) {
        let max = self.kit.world().groups.state_bytes_max;
        let was_full = self.kit.counts.groups_full.load(Ordering::Relaxed);
        let is_full = taken >= if was_full { max - max / 10 } else { max };
        if is_full == was_full || self.kit.counts.groups_full.swap(is_full, Ordering::Relaxed) == is_full {
            return;
        }
        match is_full {
            true => tracing::warn!(
                taken,
                max,
                "groups take all the memory that they may: no new group, member or offset is let in until some are \
                 removed or group.coordinator.state.max.bytes is raised"
            ),
            false => tracing::info!(taken, max, "there is memory for groups again"),
        }
    }
}

impl Drop for Metered {
    fn drop(&mut self) {
        self.set(0);
    }
}
