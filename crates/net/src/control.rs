//! The shared part of a connection: the bytes it holds, the progress of its request, and its waker.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering, Ordering::Relaxed};
use std::task::Waker;
use std::time::Duration;

use tokio::time::Instant;

/// One connection, from the viewpoint of its permits and of the server.
#[derive(Debug)]
pub(crate) struct Control {
    held: AtomicUsize,
    held_max: usize,
    /// The connection wants to be woken when it holds nothing.
    waits_for_none: AtomicBool,
    // A connection is one task from start to end, so its first waker is valid for its life.
    waker: OnceLock<Waker>,
    pace: Pace,
    /// The large request that is arriving has been given up.
    is_given_up: AtomicBool,
}

/// The progress of a large request. Only the connection writes. Readers may see a momentary mixture, which is
/// harmless.
#[derive(Debug)]
struct Pace {
    started: Instant,
    /// Zero: there is no such request.
    arrived: AtomicUsize,
    /// How long the peer has been waited for, in microseconds, without the time since `since`.
    waited: AtomicU64,
    /// The start of the current wait for the peer, in microseconds after `started`. Zero if there is none.
    since: AtomicU64,
}

/// The progress of a large request whose peer is being waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Pending {
    /// Bytes that have come.
    pub(crate) arrived: usize,
    /// How long its peer has been waited for in total.
    pub(crate) waited: Duration,
    /// How long nothing has arrived.
    pub(crate) silent: Duration,
}

impl Control {
    pub(crate) fn new(held_max: usize) -> Control {
        let pace = Pace {
            started: Instant::now(),
            arrived: AtomicUsize::new(0),
            waited: AtomicU64::new(0),
            since: AtomicU64::new(0),
        };
        Control {
            held: AtomicUsize::new(0),
            held_max: held_max.max(1),
            waits_for_none: AtomicBool::new(false),
            waker: OnceLock::new(),
            pace,
            is_given_up: AtomicBool::new(false),
        }
    }

    /// Remembers the task of the connection.
    pub(crate) fn set_waker(&self, waker: &Waker) {
        self.waker.get_or_init(|| waker.clone());
    }

    /// Wakes the connection to check its state.
    pub(crate) fn wake(&self) {
        if let Some(waker) = self.waker.get() {
            waker.wake_by_ref();
        }
    }

    /// The bytes of requests that the connection holds.
    pub(crate) fn held(&self) -> usize {
        self.held.load(Ordering::Acquire)
    }

    /// Whether the connection holds nothing. If it holds something, it is woken once it does not.
    pub(crate) fn holds_none_or_wake(&self) -> bool {
        // Sequentially consistent with `release`: either this sees that nothing is held, or `release` sees
        // the wish.
        self.waits_for_none.store(true, Ordering::SeqCst);
        let none = self.held.load(Ordering::SeqCst) == 0;
        if none {
            self.waits_for_none.store(false, Relaxed);
        }
        none
    }

    /// Whether it holds so much that it is not read.
    pub(crate) fn is_full(&self) -> bool {
        self.held() >= self.held_max
    }

    pub(crate) fn hold(&self, bytes: usize) {
        self.held.fetch_add(bytes, Ordering::AcqRel);
    }

    pub(crate) fn release(&self, bytes: usize) {
        let before = self.held.fetch_sub(bytes, Ordering::SeqCst);
        let held = before - bytes;
        let has_room_again = before >= self.held_max && held < self.held_max;
        if has_room_again || (held == 0 && self.waits_for_none.swap(false, Ordering::SeqCst)) {
            self.wake();
        }
    }

    /// Notes the progress of the large request, if there is one, and whether only its peer is being waited
    /// for.
    pub(crate) fn note_pace(&self, arrived: Option<usize>, awaits_peer: bool, now: Instant) {
        let (pace, arrived) = (&self.pace, arrived.unwrap_or(0));
        let before = pace.arrived.load(Relaxed);
        if arrived == 0 && before == 0 {
            return;
        }
        let now = pace.micros(now);
        let since = pace.since.load(Relaxed);
        if arrived < before {
            // Another request, or none.
            pace.waited.store(0, Relaxed);
            pace.since.store(0, Relaxed);
            self.is_given_up.store(false, Relaxed);
        } else if since > 0 && (arrived > before || !awaits_peer) {
            pace.waited.fetch_add(now.saturating_sub(since), Relaxed);
            pace.since.store(0, Relaxed);
        }
        if arrived > before {
            // It has made progress, so the earlier decision no longer holds.
            self.is_given_up.store(false, Relaxed);
        }
        pace.arrived.store(arrived, Relaxed);
        if awaits_peer && pace.since.load(Relaxed) == 0 {
            pace.since.store(now, Relaxed);
        }
    }

    /// The large request whose peer is being waited for, if there is one.
    pub(crate) fn pending(&self, now: Instant) -> Option<Pending> {
        let (arrived, since) = (self.pace.arrived.load(Relaxed), self.pace.since.load(Relaxed));
        if arrived == 0 || since == 0 {
            return None;
        }
        let silent = self.pace.micros(now).saturating_sub(since);
        let waited = self.pace.waited.load(Relaxed) + silent;
        Some(Pending {
            arrived,
            waited: Duration::from_micros(waited),
            silent: Duration::from_micros(silent),
        })
    }

    /// Ends the connection, unless its large request has arrived meanwhile.
    pub(crate) fn give_up(&self) {
        self.is_given_up.store(true, Relaxed);
        self.wake();
    }

    pub(crate) fn is_given_up(&self) -> bool {
        self.is_given_up.load(Relaxed)
    }
}

impl Pace {
    /// Never zero.
    fn micros(&self, now: Instant) -> u64 {
        let passed = now.saturating_duration_since(self.started).as_micros();
        u64::try_from(passed).unwrap_or(u64::MAX).saturating_add(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Only the time in which the peer could have sent counts against it.
    #[test]
    fn a_peer_is_waited_for_only_while_it_is_its_turn() {
        let control = Control::new(1);
        let at = |millis| control.pace.started + Duration::from_millis(millis);
        let waited = |millis| control.pending(at(millis)).map(|one| (one.arrived, one.waited.as_millis()));
        control.note_pace(None, true, at(0));
        assert_eq!(waited(100), None, "no large request");
        control.note_pace(Some(10), true, at(100));
        assert_eq!(waited(150), Some((10, 50)));
        control.note_pace(Some(10), true, at(160));
        control.note_pace(Some(10), false, at(200));
        assert_eq!(waited(900), None, "it waits in line");
        control.note_pace(Some(30), true, at(1_000));
        assert_eq!(waited(1_020), Some((30, 120)));
        assert_eq!(control.pending(at(1_020)).map(|one| one.silent.as_millis()), Some(20));
        control.give_up();
        control.note_pace(Some(30), true, at(1_025));
        assert!(control.is_given_up());
        control.note_pace(Some(31), true, at(1_026));
        assert!(!control.is_given_up(), "it has gone on");
        control.give_up();
        control.note_pace(Some(5), true, at(1_030));
        assert_eq!((waited(1_040), control.is_given_up()), (Some((5, 10)), false), "the next request");
        control.note_pace(None, true, at(1_050));
        assert_eq!(waited(1_060), None);
    }
}
