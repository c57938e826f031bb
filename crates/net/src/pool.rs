//! The bytes that all connections of a server share, and the line for them.
//!
//! Without waiters, taking and returning bytes are two additions. With waiters, everyone stands in line:
//! addresses take turns, and the connections of one address are served in order of arrival. See
//! [`crate::admission`] for the rule.

mod line;

use std::net::IpAddr;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::Instant;

use line::{Given, Line};

/// The fraction of the pool that one address may hold. The rest is for others.
const ADDRESS_SHARE: (usize, usize) = (3, 4);
/// After this long, the first in line continues beyond the limit. Only one may do so.
const PASS_AFTER: Duration = Duration::from_secs(1);

/// The bytes that all connections of a server share.
#[derive(Debug)]
pub(crate) struct Pool {
    limit: usize,
    used: AtomicUsize,
    /// The part of `used` in whole requests. The service returns it without needing more of the pool.
    served: AtomicUsize,
    /// The length of the line.
    waiting: AtomicUsize,
    line: Mutex<Line>,
}

/// What the connections of one address hold of a pool together.
#[derive(Debug)]
pub(crate) struct AddressUse {
    ip: IpAddr,
    held: AtomicUsize,
    pool: Arc<Pool>,
}

impl AddressUse {
    pub(crate) fn new(ip: IpAddr, pool: Arc<Pool>) -> AddressUse {
        AddressUse { ip, held: AtomicUsize::new(0), pool }
    }

    /// Takes `bytes` if they are free and nobody waits for them.
    pub(crate) fn try_take(self: &Arc<AddressUse>, bytes: usize) -> Option<Share> {
        let taken = !self.pool.contended() && self.pool.reserve(self, bytes).is_ok();
        taken.then(|| self.share(bytes, Given::Within))
    }

    /// Stands in line for `bytes`.
    pub(crate) fn wait(self: &Arc<AddressUse>, bytes: usize) -> Turn {
        let mut line = self.pool.line();
        let since = Instant::now();
        let number = line.join(self.clone(), bytes, since);
        // Bytes returned from here on are given to the line. Bytes returned earlier are seen now.
        self.pool.waiting.fetch_add(1, SeqCst);
        self.pool.settle(&mut line, since);
        Turn { pool: self.pool.clone(), number }
    }

    fn share(self: &Arc<AddressUse>, bytes: usize, given: Given) -> Share {
        Share { address: self.clone(), bytes, is_served: false, is_beyond: given == Given::Beyond }
    }
}

/// The reason why there is no room.
enum Full {
    Address,
    Pool,
}

/// How full a pool is, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Fill {
    pub(crate) used: usize,
    /// The part that is whole requests.
    pub(crate) served: usize,
    /// The bytes wanted by those in line, but at most a quarter of the pool.
    pub(crate) wanted: usize,
}

impl Pool {
    pub(crate) fn new(bytes: usize) -> Pool {
        Pool {
            limit: bytes.max(1),
            used: AtomicUsize::new(0),
            served: AtomicUsize::new(0),
            waiting: AtomicUsize::new(0),
            line: Mutex::default(),
        }
    }

    /// Whether someone waits.
    pub(crate) fn contended(&self) -> bool {
        self.waiting.load(SeqCst) > 0
    }

    /// The bytes taken.
    pub(crate) fn used(&self) -> usize {
        self.used.load(SeqCst)
    }

    pub(crate) fn fill(&self) -> Fill {
        let wanted = self.line().wanted();
        Fill {
            used: self.used(),
            served: self.served.load(SeqCst),
            wanted: wanted.min((self.limit / 4).max(1)),
        }
    }

    /// Gives those in line what is available.
    pub(crate) fn settle_line(&self) {
        self.settle(&mut self.line(), Instant::now());
    }

    /// Counts `bytes` if both the pool and the address have room for them. A connection that holds nothing
    /// may take any number.
    fn reserve(&self, address: &AddressUse, bytes: usize) -> Result<(), Full> {
        let add = |max: usize| move |held: usize| (held == 0 || held + bytes <= max).then_some(held + bytes);
        if address.held.fetch_update(SeqCst, SeqCst, add(self.address_limit())).is_err() {
            return Err(Full::Address);
        }
        if self.used.fetch_update(SeqCst, SeqCst, add(self.limit)).is_err() {
            address.held.fetch_sub(bytes, SeqCst);
            return Err(Full::Pool);
        }
        Ok(())
    }

    /// How much of `bytes` would fit now.
    fn room(&self, address: &AddressUse, bytes: usize) -> usize {
        let of_pool = self.limit.saturating_sub(self.used());
        let of_address = self.address_limit().saturating_sub(address.held.load(SeqCst));
        bytes.min(of_pool).min(of_address)
    }

    fn address_limit(&self) -> usize {
        self.limit / ADDRESS_SHARE.1 * ADDRESS_SHARE.0
    }

    fn count_beyond(&self, address: &AddressUse, bytes: usize) {
        address.held.fetch_add(bytes, SeqCst);
        self.used.fetch_add(bytes, SeqCst);
    }

    fn give_back(&self, address: &AddressUse, bytes: usize) {
        if bytes == 0 {
            return;
        }
        address.held.fetch_sub(bytes, SeqCst);
        self.used.fetch_sub(bytes, SeqCst);
        if self.contended() {
            self.settle_line();
        }
    }

    fn settle(&self, line: &mut Line, now: Instant) {
        while let Some(number) = self.next_that_fits(line) {
            line.give(number, Given::Within);
            self.waiting.fetch_sub(1, SeqCst);
        }
        let Some((number, waiter)) = line.front() else { return };
        // Without a whole request nobody returns anything: all wait for each other.
        let is_stuck = self.served.load(SeqCst) == 0;
        if !line.passed && (is_stuck || now.saturating_duration_since(waiter.since) >= PASS_AFTER) {
            self.count_beyond(&waiter.address, waiter.bytes);
            line.passed = true;
            line.give(number, Given::Beyond);
            self.waiting.fetch_sub(1, SeqCst);
        }
    }

    /// The next waiter to be served, once its bytes are counted: the first of the address whose turn it is.
    /// An address at its share is skipped. Everyone else waits for the one whose turn it is.
    fn next_that_fits(&self, line: &Line) -> Option<u64> {
        for (number, waiter) in line.turns() {
            match self.reserve(&waiter.address, waiter.bytes) {
                Ok(()) => return Some(number),
                Err(Full::Address) => {}
                Err(Full::Pool) => return None,
            }
        }
        None
    }

    fn line(&self) -> MutexGuard<'_, Line> {
        // Every change is complete before anything that could panic.
        self.line.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A place in the line, which is left when this is dropped.
#[derive(Debug)]
pub(crate) struct Turn {
    pool: Arc<Pool>,
    number: u64,
}

impl Turn {
    /// Ready, once, with what was waited for.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Share> {
        let mut line = self.pool.line();
        line.wake(self.number, cx.waker());
        match line.take_given(self.number) {
            Some((waiter, given)) => Poll::Ready(waiter.address.share(waiter.bytes, given)),
            None => Poll::Pending,
        }
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let mut line = self.pool.line();
        let given = match line.take_given(self.number) {
            Some((waiter, given)) => Some(waiter.address.share(waiter.bytes, given)),
            None => {
                if line.leave(self.number) {
                    self.pool.waiting.fetch_sub(1, SeqCst);
                }
                None
            }
        };
        self.pool.settle(&mut line, Instant::now());
        drop(line);
        // It locks the line again.
        drop(given);
    }
}

/// Bytes of the pool, given back when dropped.
#[derive(Debug)]
pub(crate) struct Share {
    address: Arc<AddressUse>,
    bytes: usize,
    is_served: bool,
    /// May exceed the limit.
    is_beyond: bool,
}

impl Share {
    /// Nothing, to begin with.
    pub(crate) fn none(address: &Arc<AddressUse>) -> Share {
        address.share(0, Given::Within)
    }

    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Takes up to `bytes` more, but at least `least`, if they are free and nobody waits. False if it took
    /// nothing.
    pub(crate) fn try_grow(&mut self, bytes: usize, least: usize) -> bool {
        let more = if self.is_beyond {
            self.address.pool.count_beyond(&self.address, bytes);
            bytes
        } else {
            let room = self.address.pool.room(&self.address, bytes);
            if room < least
                || self.address.pool.contended()
                || self.address.pool.reserve(&self.address, room).is_err()
            {
                return false;
            }
            room
        };
        self.bytes += more;
        true
    }

    /// Adds what another holds.
    pub(crate) fn join(&mut self, mut other: Share) {
        self.bytes += std::mem::take(&mut other.bytes);
        self.is_beyond |= std::mem::take(&mut other.is_beyond);
    }

    /// Gives back what is above `bytes`.
    pub(crate) fn shrink_to(&mut self, bytes: usize) {
        if self.bytes > bytes {
            let more = self.bytes - bytes;
            self.bytes = bytes;
            self.address.pool.give_back(&self.address, more);
        }
    }

    /// From here on it belongs to a whole request, which the service returns in any case.
    pub(crate) fn is_whole(&mut self) {
        if !std::mem::replace(&mut self.is_served, true) {
            self.address.pool.served.fetch_add(self.bytes, SeqCst);
        }
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        if self.is_served {
            self.address.pool.served.fetch_sub(self.bytes, SeqCst);
        }
        self.address.pool.give_back(&self.address, self.bytes);
        if self.is_beyond {
            let mut line = self.address.pool.line();
            line.passed = false;
            self.address.pool.settle(&mut line, Instant::now());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use super::*;

    fn address(pool: &Arc<Pool>, last: u8) -> Arc<AddressUse> {
        Arc::new(AddressUse::new(IpAddr::from([10, 0, 0, last]), pool.clone()))
    }

    /// A pool of 100 bytes, and two addresses.
    fn pool() -> (Arc<Pool>, Arc<AddressUse>, Arc<AddressUse>) {
        let pool = Arc::new(Pool::new(100));
        let (a, b) = (address(&pool, 1), address(&pool, 2));
        (pool, a, b)
    }

    fn poll(turn: &mut Turn) -> Poll<Share> {
        turn.poll(&mut Context::from_waker(Waker::noop()))
    }

    /// The share of a turn that must be over.
    fn given(turn: &mut Turn) -> Share {
        match poll(turn) {
            Poll::Ready(share) => share,
            Poll::Pending => panic!("still in line"),
        }
    }

    fn whole(mut share: Share) -> Share {
        share.is_whole();
        share
    }

    #[test]
    fn who_holds_nothing_may_take_more_than_there_is() {
        let (pool, a, b) = pool();
        let all = a.try_take(1_000).unwrap();
        assert_eq!(pool.used(), 1_000);
        assert!(b.try_take(1).is_none());
        drop(all);
        assert_eq!(pool.used(), 0);
    }

    #[test]
    fn nobody_overtakes_a_larger_one_for_ever() {
        let (pool, a, b) = pool();
        let taken = whole(a.try_take(50).unwrap());
        let mut large = b.wait(80);
        assert!(pool.contended() && poll(&mut large).is_pending());
        assert!(a.try_take(10).is_none());
        drop(taken);
        let large = given(&mut large);
        assert_eq!((pool.used(), pool.contended()), (80, false));
        drop(large);
        assert_eq!(pool.used(), 0);
    }

    /// However many of one address stand in line, another address is next.
    #[test]
    fn addresses_take_turns() {
        let (pool, a, b) = pool();
        let _served = whole(address(&pool, 3).try_take(10).unwrap());
        let taken = whole(address(&pool, 4).try_take(90).unwrap());
        let mut of_a: Vec<Turn> = (0..5).map(|_| a.wait(40)).collect();
        let mut of_b = b.wait(40);
        drop(taken);
        let first = given(&mut of_a[0]);
        let other = given(&mut of_b);
        assert!(of_a[1..].iter_mut().all(|turn| poll(turn).is_pending()));
        drop((first, other));
    }

    #[test]
    fn an_address_leaves_a_part_to_others() {
        let (_, a, b) = pool();
        let most = whole(a.try_take(70).unwrap());
        let mut more = a.wait(10);
        assert!(poll(&mut more).is_pending(), "its share is 75");
        let mut other = b.wait(25);
        drop(whole(given(&mut other)));
        assert!(poll(&mut more).is_pending());
        drop(most);
        assert_eq!(given(&mut more).bytes(), 10);
    }

    /// Everything taken belongs to requests that are still arriving. One of them continues, and the next one
    /// after it.
    #[test]
    fn one_goes_beyond_the_limit_when_all_wait_for_each_other() {
        let (pool, a, b) = pool();
        let (mut first, mut second) = (a.try_take(50).unwrap(), b.try_take(50).unwrap());
        let (mut for_first, mut for_second) = (a.wait(10), b.wait(10));
        first.join(given(&mut for_first));
        assert!(poll(&mut for_second).is_pending(), "one at a time");
        assert!(first.try_grow(500, 1));
        assert_eq!(pool.used(), 610);
        drop(whole(first));
        second.join(given(&mut for_second));
        assert_eq!(pool.used(), 60);
    }

    /// Requests in service are returned without help, so nobody goes beyond the limit for them unless it
    /// takes long.
    #[tokio::test(start_paused = true)]
    async fn who_is_first_for_long_goes_beyond_the_limit() {
        let (pool, a, b) = pool();
        let _served = whole(a.try_take(100).unwrap());
        let (mut first, mut second) = (b.wait(10), b.wait(10));
        assert!(poll(&mut first).is_pending());
        tokio::time::advance(PASS_AFTER).await;
        pool.settle_line();
        let _first = given(&mut first);
        assert!(poll(&mut second).is_pending());
    }

    #[test]
    fn who_leaves_the_line_lets_the_next_one_go() {
        let (pool, a, b) = pool();
        let _served = whole(a.try_take(50).unwrap());
        let large = b.wait(80);
        let mut small = b.wait(40);
        assert!(poll(&mut small).is_pending());
        drop(large);
        drop(given(&mut small));
        assert_eq!((pool.used(), pool.contended()), (50, false));
        // A given share that is not taken is returned.
        let unpolled = b.wait(40);
        assert_eq!(pool.used(), 90);
        drop(unpolled);
        assert_eq!(pool.used(), 50);
    }
}
