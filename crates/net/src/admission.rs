//! Admission by bytes: how much of what peers send may be in memory.
//!
//! The rule. Bytes are admitted for whole requests and given back when the service drops the frame.
//! - What lies in a connection's read buffer is the connection's own: at most [`READ_BUFFER_BYTES`] each. The complete frames
//!   of one read are admitted together.
//! - A request that does not fit the read buffer is admitted in full, before its body is read.
//! - The pool is first come, first served. A request larger than the whole pool takes the whole pool.
//! - A connection that holds nothing may pass what lies in its read buffer even when the pool is empty, also when it is
//!   already in line. So small requests (heartbeats, fetches of followers) get through while large ones fill the pool.
//!
//! No deadlock: who holds bytes of the pool is either with the service, which needs no more of the pool to finish, or is being
//! read, which needs nothing but its peer; and a peer that is too slow while others wait is closed
//! (`contended_read_max`). Responses are not counted here: they are bounded for each connection.
//!
//! The bound: `queued_bytes_max` (or one request of `request_bytes_max` where that is more) and [`READ_BUFFER_BYTES`] twice a
//! connection; and for the buffers of large requests, a quarter more than the requests, and `buffers::IDLE_BYTES_MAX` that
//! no request uses.

use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::Waker;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// The largest read buffer of a connection, which is also what a connection may always have served. In bytes.
pub const READ_BUFFER_BYTES: usize = 64 << 10;

/// The bytes that all connections of a server share.
#[derive(Debug)]
pub(crate) struct Pool {
    free: Arc<Semaphore>,
    limit: u32,
    waiting: Arc<AtomicUsize>,
}

/// A wait for a share of the pool.
pub(crate) type Wait = Pin<Box<dyn Future<Output = Option<OwnedSemaphorePermit>> + Send>>;

impl Pool {
    pub(crate) fn new(bytes: usize) -> Pool {
        let limit = u32::try_from(bytes.clamp(1, Semaphore::MAX_PERMITS)).unwrap_or(u32::MAX);
        Pool { free: Arc::new(Semaphore::new(limit as usize)), limit, waiting: Arc::new(AtomicUsize::new(0)) }
    }

    /// Whether someone waits.
    pub(crate) fn contended(&self) -> bool {
        self.waiting.load(Ordering::Relaxed) > 0
    }

    /// The bytes taken.
    pub(crate) fn used(&self) -> usize {
        self.limit as usize - self.free.available_permits().min(self.limit as usize)
    }

    /// Takes `bytes` if they are free and nobody waits for them.
    pub(crate) fn try_take(&self, bytes: usize) -> Option<OwnedSemaphorePermit> {
        self.free.clone().try_acquire_many_owned(self.share(bytes)).ok()
    }

    /// Waits in line for `bytes`.
    pub(crate) fn wait(&self, bytes: usize) -> Wait {
        let (free, share, waiting) = (self.free.clone(), self.share(bytes), Waiting::enter(&self.waiting));
        Box::pin(async move {
            let taken = free.acquire_many_owned(share).await.ok();
            drop(waiting);
            taken
        })
    }

    fn share(&self, bytes: usize) -> u32 {
        u32::try_from(bytes).unwrap_or(u32::MAX).min(self.limit)
    }
}

struct Waiting(Arc<AtomicUsize>);

impl Waiting {
    fn enter(count: &Arc<AtomicUsize>) -> Waiting {
        count.fetch_add(1, Ordering::Relaxed);
        Waiting(count.clone())
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// What others may touch of a connection: the bytes it holds, and its waker.
#[derive(Debug)]
pub(crate) struct Control {
    held: AtomicUsize,
    held_max: usize,
    /// The connection wants to know when it holds nothing.
    waits_for_none: AtomicBool,
    // A connection is one task from start to end, so its first waker is good for its life.
    waker: OnceLock<Waker>,
}

impl Control {
    pub(crate) fn new(held_max: usize) -> Control {
        Control {
            held: AtomicUsize::new(0),
            held_max: held_max.max(1),
            waits_for_none: AtomicBool::new(false),
            waker: OnceLock::new(),
        }
    }

    /// Remembers the task of the connection.
    pub(crate) fn set_waker(&self, waker: &Waker) {
        self.waker.get_or_init(|| waker.clone());
    }

    /// Lets the connection look around.
    pub(crate) fn wake(&self) {
        if let Some(waker) = self.waker.get() {
            waker.wake_by_ref();
        }
    }

    /// The bytes of requests that the connection holds.
    pub(crate) fn held(&self) -> usize {
        self.held.load(Ordering::Acquire)
    }

    /// Whether the connection holds nothing; if it does, it is woken once it does not.
    pub(crate) fn holds_none_or_wake(&self) -> bool {
        // Sequentially consistent with `release`: either this sees that nothing is held, or that sees the wish.
        self.waits_for_none.store(true, Ordering::SeqCst);
        let none = self.held.load(Ordering::SeqCst) == 0;
        if none {
            self.waits_for_none.store(false, Ordering::Relaxed);
        }
        none
    }

    /// Whether it holds so much that it is not read.
    pub(crate) fn is_full(&self) -> bool {
        self.held() >= self.held_max
    }

    fn release(&self, bytes: usize) {
        let before = self.held.fetch_sub(bytes, Ordering::SeqCst);
        let held = before - bytes;
        let has_room_again = before >= self.held_max && held < self.held_max;
        if has_room_again || (held == 0 && self.waits_for_none.swap(false, Ordering::SeqCst)) {
            self.wake();
        }
    }
}

/// A share of the admission pool; given back when the last clone is dropped.
#[derive(Clone, Debug)]
pub struct Permit(#[expect(dead_code, reason = "held for its drop")] Option<Arc<Grant>>);

impl Permit {
    pub(crate) fn none() -> Permit {
        Permit(None)
    }

    /// Counts `bytes` for `control`; `share` is what the pool gave for them, if it had to.
    pub(crate) fn grant(bytes: usize, share: Option<OwnedSemaphorePermit>, control: &Arc<Control>) -> Permit {
        control.held.fetch_add(bytes, Ordering::AcqRel);
        Permit(Some(Arc::new(Grant { bytes, _share: share, control: control.clone() })))
    }
}

#[derive(Debug)]
struct Grant {
    bytes: usize,
    _share: Option<OwnedSemaphorePermit>,
    control: Arc<Control>,
}

impl Drop for Grant {
    fn drop(&mut self) {
        // The pool's share first: the connection that is woken may want it.
        self._share = None;
        self.control.release(self.bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_larger_than_the_pool_takes_all_of_it() {
        let pool = Pool::new(100);
        let taken = pool.try_take(1_000).unwrap();
        assert_eq!(pool.used(), 100);
        assert!(pool.try_take(1).is_none());
        drop(taken);
        assert_eq!(pool.used(), 0);
    }

    #[tokio::test]
    async fn the_pool_is_first_come_first_served() {
        let pool = Pool::new(100);
        let taken = pool.try_take(50).unwrap();
        let mut large = tokio::spawn(pool.wait(80));
        tokio::task::yield_now().await;
        assert!(pool.contended());
        assert!(pool.try_take(10).is_none(), "a small one must not overtake the large one for ever");
        drop(taken);
        let large = (&mut large).await.unwrap().unwrap();
        assert!(!pool.contended());
        drop(large);
        assert_eq!(pool.used(), 0);
    }

    #[test]
    fn a_permit_is_given_back_with_its_last_clone() {
        let (pool, control) = (Pool::new(100), Arc::new(Control::new(10)));
        let permit = Permit::grant(40, pool.try_take(40), &control);
        let other = permit.clone();
        drop(permit);
        assert!(control.is_full());
        assert_eq!((pool.used(), control.held()), (40, 40));
        drop(other);
        assert_eq!((pool.used(), control.held()), (0, 0));
    }
}
