//! Buffers of large requests, which are reused.
//!
//! The allocator returns memory of this size to the system. The next request would pay for a page fault and a
//! cleared page every 4 KiB. For a request of 1 MB that is more than all its other work.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use bytes::Bytes;
use ottla_tasks::Tasks;
use tokio::time::Instant;

/// The most memory in buffers that no request uses, for all connections of a server.
pub(crate) const IDLE_BYTES_MAX: usize = 32 << 20;
/// The most memory that is lent before its bytes have arrived, for all connections of a server. Beyond it a
/// buffer has room for twice what has arrived. So announced bytes take no memory, and few of them make
/// requests move.
pub(crate) const AHEAD_BYTES_MAX: usize = 32 << 20;
/// The smallest room of a buffer.
const ROOM_BYTES_MIN: usize = 16 << 10;
/// A larger buffer than this is not kept.
pub(crate) const KEPT_BUFFER_BYTES_MAX: usize = 4 << 20;
/// Sizes between two powers of two: a buffer is at most a quarter larger than its request, which is what
/// admission counts.
const SIZES_PER_DOUBLING: usize = 4;
/// A buffer that has been unused for this long is returned to the system.
const IDLE_MAX: Duration = Duration::from_secs(1);

/// The source of buffers for large requests.
#[derive(Debug, Default)]
pub(crate) struct Buffers {
    state: Mutex<State>,
    /// Room that was lent ahead of its bytes.
    ahead: AtomicUsize,
    tasks: Tasks,
}

#[derive(Debug, Default)]
struct State {
    /// Buffers that no request uses, the longest unused first.
    idle: VecDeque<Idle>,
    idle_bytes: usize,
    /// Buffers that requests use.
    lent: usize,
    /// A task returns unused buffers.
    is_swept: bool,
}

#[derive(Debug)]
struct Idle {
    bytes: Vec<u8>,
    since: Instant,
}

impl Buffers {
    pub(crate) fn new(tasks: Tasks) -> Buffers {
        Buffers { tasks, ..Buffers::default() }
    }

    /// An empty buffer for a request of `len` bytes, of which `arrived` have arrived. It has room for all of
    /// them if a used buffer fits, or if they are at most `fresh`. Otherwise it has room for `fresh` bytes,
    /// or less if too much is lent already. MUST be called within a tokio runtime.
    pub(crate) fn lend(self: &Arc<Buffers>, len: usize, arrived: usize, fresh: usize) -> LargeBuffer {
        let full = size_for(len);
        let room = if len <= fresh { full } else { fresh };
        // A kept buffer has room for everything.
        let most = if full <= KEPT_BUFFER_BYTES_MAX { full } else { room };
        let may_lend = self.count_ahead(most);
        let mut state = self.lock();
        state.lent += 1;
        let kept = if may_lend { state.take(len) } else { None };
        if !std::mem::replace(&mut state.is_swept, true) {
            self.tasks.part("the sweep of buffers", sweep(Arc::downgrade(self)));
        }
        drop(state);
        let room = match &kept {
            Some(kept) => kept.len(),
            None if may_lend => room,
            None => (2 * arrived).max(ROOM_BYTES_MIN).min(room),
        };
        let ahead = if may_lend { room.min(most) } else { 0 };
        self.ahead.fetch_sub(if may_lend { most - ahead } else { 0 }, Relaxed);
        // New memory of this size is zeros already.
        let bytes = kept.unwrap_or_else(|| vec![0; room]);
        LargeBuffer { bytes, filled: 0, ahead, home: self.clone() }
    }

    /// Counts room that is ahead of its bytes, if there is not too much of it.
    fn count_ahead(&self, bytes: usize) -> bool {
        let add = |ahead: usize| (ahead + bytes <= AHEAD_BYTES_MAX).then_some(ahead + bytes);
        self.ahead.fetch_update(Relaxed, Relaxed, add).is_ok()
    }

    fn take_back(&self, bytes: Vec<u8>) {
        let mut state = self.lock();
        state.lent -= 1;
        if bytes.len() > KEPT_BUFFER_BYTES_MAX {
            return;
        }
        state.idle_bytes += bytes.len();
        state.idle.push_back(Idle { bytes, since: Instant::now() });
        while state.idle_bytes > IDLE_BYTES_MAX {
            state.drop_oldest();
        }
    }

    /// Returns buffers that have long been unused. False if none are left.
    fn sweep(&self, now: Instant) -> bool {
        let mut state = self.lock();
        while state.idle.front().is_some_and(|idle| now.saturating_duration_since(idle.since) >= IDLE_MAX) {
            state.drop_oldest();
        }
        state.is_swept = state.lent > 0 || !state.idle.is_empty();
        state.is_swept
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing in here panics half-way.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Of the buffers that suit `len` bytes, the one used last: it is likely to be in a processor's cache.
    fn take(&mut self, len: usize) -> Option<Vec<u8>> {
        let sizes = len..=size_for(len);
        let fits = |idle: &Idle| sizes.contains(&idle.bytes.len());
        let at = self.idle.iter().rposition(fits)?;
        let Idle { bytes, .. } = self.idle.remove(at)?;
        self.idle_bytes -= bytes.len();
        Some(bytes)
    }

    fn drop_oldest(&mut self) {
        if let Some(Idle { bytes, .. }) = self.idle.pop_front() {
            self.idle_bytes -= bytes.len();
        }
    }
}

/// The room of a new buffer, chosen so that requests of similar size can share buffers.
fn size_for(len: usize) -> usize {
    let step = len.next_power_of_two() / (2 * SIZES_PER_DOUBLING);
    len.next_multiple_of(step.max(1))
}

async fn sweep(buffers: Weak<Buffers>) {
    loop {
        tokio::time::sleep(IDLE_MAX).await;
        if !buffers.upgrade().is_some_and(|buffers| buffers.sweep(Instant::now())) {
            return;
        }
    }
}

/// A buffer for one request. The frozen bytes return it to its source when they are dropped.
#[derive(Debug)]
pub(crate) struct LargeBuffer {
    /// As long as the room. The unfilled part is zeros, or bytes of an earlier request.
    bytes: Vec<u8>,
    filled: usize,
    /// The part of the room that counts as lent ahead.
    ahead: usize,
    home: Arc<Buffers>,
}

impl LargeBuffer {
    /// Bytes of the request so far.
    pub(crate) fn len(&self) -> usize {
        self.filled
    }

    pub(crate) fn room(&self) -> usize {
        self.bytes.len()
    }

    /// Makes room for `more` bytes beyond the present room.
    pub(crate) fn grow(&mut self, more: usize) {
        let room = self.bytes.len() + more;
        self.bytes.reserve_exact(more);
        self.bytes.resize(room, 0);
    }

    /// What may be filled, from its start on: see [`LargeBuffer::fill`].
    pub(crate) fn rest(&mut self) -> &mut [u8] {
        &mut self.bytes[self.filled..]
    }

    /// The first `len` bytes of the rest belong to the request.
    pub(crate) fn fill(&mut self, len: usize) {
        self.filled = (self.filled + len).min(self.bytes.len());
    }

    fn uncount_ahead(&mut self) {
        self.home.ahead.fetch_sub(std::mem::take(&mut self.ahead), Relaxed);
    }

    /// The bytes, for sharing. The last slice returns the buffer.
    pub(crate) fn freeze(mut self) -> Bytes {
        self.uncount_ahead();
        Bytes::from_owner(self)
    }
}

impl AsRef<[u8]> for LargeBuffer {
    fn as_ref(&self) -> &[u8] {
        &self.bytes[..self.filled]
    }
}

impl Drop for LargeBuffer {
    fn drop(&mut self) {
        self.uncount_ahead();
        self.home.take_back(std::mem::take(&mut self.bytes));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LEN: usize = 1 << 20;

    fn idle(buffers: &Buffers) -> (usize, usize) {
        let state = buffers.lock();
        (state.idle.len(), state.idle_bytes)
    }

    /// A buffer is kept while a slice of it lives, then used again for requests of about its size, and for no
    /// others.
    #[tokio::test]
    async fn a_buffer_is_used_again() {
        let buffers = Arc::<Buffers>::default();
        let mut first = buffers.lend(LEN, 0, LEN);
        first.rest()[..7].copy_from_slice(b"request");
        first.fill(7);
        let (at, room) = (first.bytes.as_ptr(), first.room());
        let slice = first.freeze().slice(3..5);
        assert_eq!((&slice[..], idle(&buffers)), (&b"ue"[..], (0, 0)));
        drop(slice);
        assert_eq!(idle(&buffers), (1, room));
        let others = [LEN / 4 * 3, room + 1].map(|other| buffers.lend(other, 0, other));
        assert!(others.iter().all(|other| other.bytes.as_ptr() != at));
        let again = buffers.lend(LEN - 10, 0, 0);
        assert_eq!((again.bytes.as_ptr(), again.len()), (at, 0));
    }

    #[test]
    fn room_is_at_most_a_quarter_more_than_asked() {
        for len in (1..5_000).chain([LEN - 1, LEN, LEN + 1, 1_000_000]) {
            assert!((len..=len + len / 4).contains(&size_for(len)), "{len}: {}", size_for(len));
            assert_eq!(size_for(size_for(len)), size_for(len));
        }
    }

    /// However many requests there were at once, the kept memory is bounded, for each buffer and in total.
    #[tokio::test]
    async fn little_is_kept() {
        let buffers = Arc::<Buffers>::default();
        let lent: Vec<_> = (0..100).map(|_| buffers.lend(LEN, 0, LEN)).collect();
        drop(lent);
        let (count, bytes) = idle(&buffers);
        assert!(count >= 16 && bytes <= IDLE_BYTES_MAX, "{count} buffers of {bytes} bytes");
        drop(buffers.lend(KEPT_BUFFER_BYTES_MAX + 1, 0, usize::MAX));
        assert_eq!(idle(&buffers), (count, bytes));
    }

    /// Unused buffers are returned, and a task checks as long as there are any.
    #[tokio::test]
    async fn unused_buffers_are_given_back() {
        let buffers = Arc::<Buffers>::default();
        let later = |times: u32| Instant::now() + times * IDLE_MAX;
        let lent = buffers.lend(LEN, 0, LEN);
        assert!(buffers.lock().is_swept);
        assert!(buffers.sweep(later(1)), "one is lent, and will come back");
        drop(lent);
        assert!(buffers.sweep(Instant::now()));
        assert_eq!(idle(&buffers).0, 1);
        assert!(!buffers.sweep(later(1)));
        assert_eq!(idle(&buffers), (0, 0));
        assert!(!buffers.lock().is_swept, "the next one starts a task again");
    }

    /// Announced bytes that do not arrive take a bounded part of memory, and peers that send still get room.
    #[tokio::test]
    async fn little_is_lent_ahead() {
        let buffers = Arc::<Buffers>::default();
        let lent: Vec<_> = (0..1_000).map(|_| buffers.lend(LEN, 100, LEN)).collect();
        let full = lent.iter().filter(|one| one.room() == LEN).count();
        assert_eq!(full, AHEAD_BYTES_MAX / LEN);
        assert!(lent[full..].iter().all(|one| one.room() == ROOM_BYTES_MIN));
        assert_eq!(buffers.lend(LEN, LEN / 4, LEN).room(), LEN / 2, "twice what has arrived");
        drop(lent);
        let mut whole = buffers.lend(LEN, 0, LEN);
        whole.fill(LEN);
        let _whole = whole.freeze();
        assert_eq!(buffers.ahead.load(Relaxed), 0);
    }
}
