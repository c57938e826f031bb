//! The room that is left in a data directory: who may still write, and what is said about it.
//!
//! Appends stop before the disk is full, so that what keeps a broker going can always be written:
//! checkpoints, the metadata log, deletions, and for a while what coordinators write. Between two looks at
//! the volume what is appended is counted, so that a fast producer does not run past the reserve.

mod gauge;

use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU8, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use ottla_wire::Instant;

use crate::disk::Space;
use gauge::Gauge;
pub use gauge::{Level, Reading};

/// What is kept free by default: `log.dir.reserve.bytes`.
pub const RESERVE_BYTES: u64 = 256 << 20;

/// Who wants to append.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Writer {
    /// A producer; for a follower, the leader.
    Client,
    /// The broker itself, for its coordinators: it may use three quarters of the reserve.
    Broker,
}

/// The room of one data directory. Clones share it.
#[derive(Clone, Debug)]
pub struct Room {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    level: AtomicU8,
    /// Bytes that may be appended before the reserve is touched, since the last look.
    credit: AtomicI64,
    /// How far below zero the broker itself may go.
    floor: AtomicI64,
    /// The disk has refused a write not long ago.
    refuses: AtomicBool,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    gauge: Gauge,
    reading: Option<Reading>,
    /// Since the last look.
    refused: bool,
}

impl Room {
    /// Before the first look there is room.
    pub(crate) fn new(reserve: u64) -> Room {
        let state = State { gauge: Gauge::new(reserve), reading: None, refused: false };
        Room {
            shared: Arc::new(Shared {
                level: AtomicU8::new(Level::Free as u8),
                credit: AtomicI64::new(i64::MAX),
                floor: AtomicI64::new(0),
                refuses: AtomicBool::new(false),
                state: Mutex::new(state),
            }),
        }
    }

    /// Takes room for an append; false if there is none.
    pub fn take(&self, bytes: u64, writer: Writer) -> bool {
        let shared = &*self.shared;
        let floor = match writer {
            Writer::Client if self.is_full() => return false,
            Writer::Client => 0,
            Writer::Broker if shared.refuses.load(Ordering::Relaxed) => return false,
            Writer::Broker => shared.floor.load(Ordering::Relaxed),
        };
        let bytes = i64::try_from(bytes).unwrap_or(i64::MAX);
        let taken = shared.credit.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |credit| {
            credit.checked_sub(bytes).filter(|left| *left >= floor)
        });
        if taken.is_err() {
            self.used_up();
        }
        taken.is_ok()
    }

    /// Whether appends of clients are refused.
    pub fn is_full(&self) -> bool {
        self.shared.level.load(Ordering::Relaxed) == Level::Full as u8
    }

    /// Whether the broker itself may write a little.
    pub fn is_left_for_broker(&self) -> bool {
        let shared = &*self.shared;
        let credit = shared.credit.load(Ordering::Relaxed);
        !shared.refuses.load(Ordering::Relaxed) && credit >= shared.floor.load(Ordering::Relaxed)
    }

    /// What was found at the last look.
    pub fn reading(&self) -> Option<Reading> {
        self.lock().reading
    }

    /// The disk has refused a write for want of room.
    pub(crate) fn refused(&self) {
        self.shared.refuses.store(true, Ordering::Relaxed);
        self.lock().refused = true;
        self.used_up();
    }

    /// What the volume of `dir` says of itself. To be told every second or so.
    pub(crate) fn measured(&self, now: Instant, dir: &Path, space: Space) {
        let mut state = self.lock();
        let before = state.reading.map_or(Level::Free, |reading| reading.level);
        let refused = std::mem::take(&mut state.refused);
        let reading = state.gauge.measured(now, space, refused);
        state.reading = Some(reading);
        self.shared.refuses.store(state.gauge.refuses(now), Ordering::Relaxed);
        let credit = i128::from(space.usable) - i128::from(reading.reserve);
        self.shared.credit.store(i64::try_from(credit).unwrap_or(i64::MAX), Ordering::Relaxed);
        let floor = i64::try_from(reading.reserve / 4 * 3).unwrap_or(i64::MAX);
        self.shared.floor.store(-floor, Ordering::Relaxed);
        self.shared.level.store(reading.level as u8, Ordering::Relaxed);
        drop(state);
        if reading.level != before {
            tell(dir, before, &reading);
        }
    }

    fn used_up(&self) {
        self.lock().gauge.used_up();
        self.shared.level.store(Level::Full as u8, Ordering::Relaxed);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // A panic leaves a gauge that was told less than it could have been.
        self.shared.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn tell(dir: &Path, before: Level, reading: &Reading) {
    let (dir, Space { total, usable }, reserve) = (dir.display(), reading.space, reading.reserve);
    let full_in_s = reading.full_in.map(|time| time.as_secs());
    match reading.level {
        Level::Full => tracing::error!(%dir, total, usable, reserve,
            "the disk is full: appends are refused (clients try again) until there is room; reads, deletions and \
             retention go on. Free space, lower retention.ms or retention.bytes, or make the volume larger"),
        Level::Low if before == Level::Free => tracing::warn!(%dir, total, usable, reserve, full_in_s,
            "the disk is filling up: appends will be refused when less than the reserve is left"),
        Level::Low | Level::Free if before == Level::Full => {
            tracing::info!(%dir, total, usable, "the disk has room again: appends go on");
        }
        Level::Low | Level::Free => tracing::info!(%dir, total, usable, "the disk has room"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    fn room(usable: u64) -> Room {
        let room = Room::new(4 * MIB);
        room.measured(Instant(0), "/data".as_ref(), Space { total: 1000 * MIB, usable });
        room
    }

    #[test]
    fn what_is_appended_between_two_looks_is_counted() {
        let room = room(10 * MIB);
        assert!(room.take(4 * MIB, Writer::Client) && room.take(2 * MIB, Writer::Client));
        assert!(!room.take(1, Writer::Client), "the rest is reserve");
        assert!(room.is_full(), "at once");
        assert!(room.take(3 * MIB, Writer::Broker) && !room.take(1, Writer::Broker), "three quarters of it");
        room.measured(Instant(1), "/data".as_ref(), Space { total: 1000 * MIB, usable: 100 * MIB });
        assert!(room.take(MIB, Writer::Client));
    }

    #[test]
    fn after_a_write_was_refused_nobody_writes() {
        let room = room(100 * MIB);
        room.refused();
        assert!(!room.take(1, Writer::Client) && !room.take(1, Writer::Broker));
        assert!(room.is_full() && !room.is_left_for_broker());
    }
}
