//! The state that all coordinators of this broker share: the world, room for loading, counts.

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
    /// The memory of groups in bytes, and whether it was found to be at its limit: see [`super::metered`].
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
