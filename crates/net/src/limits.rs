//! How many connections there may be, and how fast they may come.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::{Instant, sleep};

use crate::metrics::NetMetrics;
use crate::pool::{AddressUse, Pool};
use crate::settings::ConnectionLimits;

/// Counts the connections of a server.
pub(crate) struct Limiter {
    counts: Mutex<Counts>,
    changed: Notify,
    descriptors_max: usize,
    metrics: Arc<NetMetrics>,
    pool: Arc<Pool>,
}

struct Counts {
    limits: ConnectionLimits,
    open: usize,
    per_ip: BTreeMap<IpAddr, FromIp>,
    tokens: Tokens,
}

/// The connections of one address.
struct FromIp {
    open: usize,
    memory: Arc<AddressUse>,
}

/// A place of a connection; free again when dropped.
pub(crate) struct ConnectionPlace {
    limiter: Arc<Limiter>,
    ip: IpAddr,
    memory: Arc<AddressUse>,
}

impl ConnectionPlace {
    /// What the connections of its address hold of the admission pool.
    pub(crate) fn address(&self) -> Arc<AddressUse> {
        self.memory.clone()
    }
}

/// Why a connection is closed at once.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Refused {
    /// There are as many connections from the address as it may have.
    FromIp { max: usize },
    /// There are as many connections as the process has descriptors for.
    Descriptors { max: usize },
}

impl Limiter {
    pub(crate) fn new(
        limits: ConnectionLimits,
        descriptors_max: usize,
        metrics: Arc<NetMetrics>,
        pool: Arc<Pool>,
    ) -> Limiter {
        let tokens = Tokens { left: limits.creation_rate_max.unwrap_or(0).into(), at: Instant::now() };
        Limiter {
            counts: Mutex::new(Counts { limits, open: 0, per_ip: BTreeMap::new(), tokens }),
            changed: Notify::new(),
            descriptors_max,
            metrics,
            pool,
        }
    }

    /// Changes the limits; open connections stay.
    pub(crate) fn set(&self, limits: ConnectionLimits) {
        self.counts().limits = limits;
        self.changed.notify_waiters();
    }

    /// Waits until there may be one more connection.
    pub(crate) async fn room(&self) {
        let mut waited = false;
        loop {
            let changed = self.changed.notified();
            let mut changed = std::pin::pin!(changed);
            changed.as_mut().enable();
            {
                let counts = self.counts();
                if counts.open < counts.limits.connections_max {
                    return;
                }
            }
            if !std::mem::replace(&mut waited, true) {
                self.metrics.accept_waits_connections.fetch_add(1, Relaxed);
            }
            changed.await;
        }
    }

    /// Waits for the turn of one more connection by the creation rate, and takes it.
    pub(crate) async fn turn(&self) {
        let mut waited = false;
        loop {
            let wait = {
                let counts = &mut *self.counts();
                match counts.limits.creation_rate_max {
                    None => return,
                    Some(rate) => counts.tokens.take(rate, Instant::now()),
                }
            };
            let Err(wait) = wait else { return };
            if !std::mem::replace(&mut waited, true) {
                self.metrics.accept_waits_rate.fetch_add(1, Relaxed);
            }
            sleep(wait).await;
        }
    }

    /// Takes a place for a connection from `ip`. Waits if another listener has just taken the last one.
    pub(crate) async fn enter(self: &Arc<Limiter>, ip: IpAddr) -> Result<ConnectionPlace, Refused> {
        let ip = ip.to_canonical();
        loop {
            {
                let counts = &mut *self.counts();
                if counts.open >= self.descriptors_max {
                    return Err(Refused::Descriptors { max: self.descriptors_max });
                }
                let max = counts.limits.per_ip_overrides.get(&ip).unwrap_or(&counts.limits.per_ip_max);
                let max = *max;
                if counts.per_ip.get(&ip).is_some_and(|from| from.open >= max) || max == 0 {
                    return Err(Refused::FromIp { max });
                }
                if counts.open < counts.limits.connections_max {
                    counts.open += 1;
                    let new = || FromIp { open: 0, memory: Arc::new(AddressUse::new(ip, self.pool.clone())) };
                    let from = counts.per_ip.entry(ip).or_insert_with(new);
                    from.open += 1;
                    return Ok(ConnectionPlace { limiter: self.clone(), ip, memory: from.memory.clone() });
                }
            }
            self.room().await;
        }
    }

    /// Waits until there is no connection.
    pub(crate) async fn empty(&self) {
        loop {
            let changed = self.changed.notified();
            let mut changed = std::pin::pin!(changed);
            changed.as_mut().enable();
            if self.open() == 0 {
                return;
            }
            changed.await;
        }
    }

    pub(crate) fn open(&self) -> usize {
        self.counts().open
    }

    fn counts(&self) -> MutexGuard<'_, Counts> {
        // Nothing can panic between two changes of the counts, so they are whole whatever happened to a
        // holder.
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for ConnectionPlace {
    fn drop(&mut self) {
        {
            let counts = &mut *self.limiter.counts();
            counts.open -= 1;
            if let Some(from) = counts.per_ip.get_mut(&self.ip) {
                from.open -= 1;
                if from.open == 0 {
                    counts.per_ip.remove(&self.ip);
                }
            }
        }
        self.limiter.changed.notify_waiters();
    }
}

/// A bucket that holds one second's worth of connections.
struct Tokens {
    left: f64,
    at: Instant,
}

impl Tokens {
    /// Takes one, or says how long it takes until there is one.
    fn take(&mut self, rate: u32, now: Instant) -> Result<(), Duration> {
        let rate = f64::from(rate.max(1));
        let passed = now.saturating_duration_since(self.at).as_secs_f64();
        self.left = (self.left + passed * rate).min(rate);
        self.at = now;
        if self.left >= 1.0 {
            self.left -= 1.0;
            Ok(())
        } else {
            Err(Duration::from_secs_f64((1.0 - self.left) / rate))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limiter(limits: ConnectionLimits) -> Arc<Limiter> {
        Arc::new(Limiter::new(limits, 4, Arc::default(), Arc::new(Pool::new(1))))
    }

    #[tokio::test]
    async fn an_address_has_its_own_limit() {
        let (a, b) = (IpAddr::from([10, 0, 0, 1]), IpAddr::from([10, 0, 0, 2]));
        let limits = ConnectionLimits {
            per_ip_max: 1,
            per_ip_overrides: BTreeMap::from([(b, 2)]),
            ..ConnectionLimits::default()
        };
        let limiter = limiter(limits);
        let first = limiter.enter(a).await.unwrap_or_else(|_| unreachable!());
        assert_eq!(limiter.enter(a).await.err(), Some(Refused::FromIp { max: 1 }));
        let _b = (limiter.enter(b).await.unwrap_or_else(|_| unreachable!()), limiter.enter(b).await.ok());
        let IpAddr::V4(b) = b else { unreachable!() };
        let mapped = limiter.enter(b.to_ipv6_mapped().into()).await;
        assert_eq!(
            mapped.err(),
            Some(Refused::FromIp { max: 2 }),
            "the same host through a dual-stack listener"
        );
        drop(first);
        assert!(limiter.enter(a).await.is_ok());
    }

    /// Whatever the settings say: files need descriptors, too.
    #[tokio::test]
    async fn connections_leave_descriptors_for_files() {
        let limiter = limiter(ConnectionLimits::default());
        let mut places = Vec::new();
        for host in 1..=4 {
            places.push(limiter.enter(IpAddr::from([10, 0, 0, host])).await.ok());
        }
        let fifth = IpAddr::from([10, 0, 0, 5]);
        assert_eq!(limiter.enter(fifth).await.err(), Some(Refused::Descriptors { max: 4 }));
        places.pop();
        assert!(limiter.enter(fifth).await.is_ok());
    }

    #[tokio::test]
    async fn a_raised_limit_lets_the_waiting_in() {
        let limiter = limiter(ConnectionLimits { connections_max: 0, ..ConnectionLimits::default() });
        let waiting = tokio::spawn({
            let limiter = limiter.clone();
            async move { limiter.room().await }
        });
        tokio::task::yield_now().await;
        assert!(!waiting.is_finished());
        limiter.set(ConnectionLimits::default());
        waiting.await.unwrap();
    }

    #[test]
    fn tokens_allow_one_second_of_connections_at_once_and_then_the_rate() {
        let start = Instant::now();
        let mut tokens = Tokens { left: 10.0, at: start };
        assert_eq!((0..20).filter(|_| tokens.take(10, start).is_ok()).count(), 10);
        assert_eq!(tokens.take(10, start), Err(Duration::from_millis(100)));
        assert!(tokens.take(10, start + Duration::from_millis(101)).is_ok());
        assert_eq!((0..20).filter(|_| tokens.take(10, start + Duration::from_secs(60)).is_ok()).count(), 10);
    }
}
