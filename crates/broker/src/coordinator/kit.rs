//! The state that all coordinators of this broker share: the world, room for loading, counts, and the memory
//! of all groups.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

use arc_swap::{ArcSwap, Guard};
use tokio::sync::Semaphore;

use super::world::World;

/// The most coordinators that load at the same time. It keeps a disk busy, but leaves memory and threads to
/// clients.
const LOADS_MAX: usize = 4;

/// The state that all coordinators in the shards share.
pub struct Kit {
    world: ArcSwap<World>,
    pub loads: Semaphore,
    pub counts: Counts,
}

/// Counters of all coordinators.
#[derive(Default)]
pub struct Counts {
    /// Partitions whose coordinator is being loaded.
    pub loading: AtomicU64,
    /// Partitions whose coordinator serves.
    pub active: AtomicU64,
    /// The number of loads, and the time they took in total.
    pub loads: AtomicU64,
    pub load_micros: AtomicU64,
    /// The memory of groups in bytes, and whether it was found to be at its limit: see [`Metered`].
    pub group_bytes: AtomicUsize,
    pub groups_full: AtomicBool,
}

impl Kit {
    pub fn new(world: World) -> Kit {
        Kit {
            world: ArcSwap::from_pointee(world),
            loads: Semaphore::new(LOADS_MAX),
            counts: Counts::default(),
        }
    }

    pub fn world(&self) -> Guard<Arc<World>> {
        self.world.load()
    }

    pub fn set_world(&self, world: Arc<World>) {
        self.world.store(world);
    }
}

/// Adds one to a gauge for as long as it lives.
pub struct Counted {
    kit: Arc<Kit>,
    which: fn(&Counts) -> &AtomicU64,
}

impl Counted {
    pub fn new(kit: &Arc<Kit>, which: fn(&Counts) -> &AtomicU64) -> Counted {
        which(&kit.counts).fetch_add(1, Ordering::Relaxed);
        Counted { kit: kit.clone(), which }
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        (self.which)(&self.kit.counts).fetch_sub(1, Ordering::Relaxed);
    }
}

/// The memory counted for one group coordinator, for as long as it lives.
///
/// In every turn each coordinator reports its own memory and gets the memory of the others. So one limit
/// holds for the broker, however its coordinators share the groups.
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
