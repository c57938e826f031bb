//! The line for the bytes of a pool: addresses take turns, and the connections of one address are served in
//! order of arrival.

use std::collections::{BTreeMap, VecDeque};
use std::net::IpAddr;
use std::ops::Bound::{Excluded, Unbounded};
use std::sync::Arc;
use std::task::Waker;

use tokio::time::Instant;

use super::AddressUse;

#[derive(Debug, Default)]
pub(super) struct Line {
    last: u64,
    /// By their arrival.
    waiters: BTreeMap<u64, Waiter>,
    /// Waiters that have been given nothing yet, by address.
    addresses: BTreeMap<IpAddr, VecDeque<u64>>,
    /// The address that had the last turn.
    turn: Option<IpAddr>,
    /// A waiter has gone beyond the limit, and still holds its bytes.
    pub passed: bool,
}

#[derive(Debug)]
pub(super) struct Waiter {
    pub bytes: usize,
    pub address: Arc<AddressUse>,
    pub since: Instant,
    waker: Option<Waker>,
    given: Option<Given>,
}

/// How a waiter's bytes were given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Given {
    Within,
    /// Beyond the limit, if necessary.
    Beyond,
}

impl Line {
    /// Goes to the end of the line. Returns the number there.
    pub fn join(&mut self, address: Arc<AddressUse>, bytes: usize, since: Instant) -> u64 {
        self.last += 1;
        self.addresses.entry(address.ip).or_default().push_back(self.last);
        self.waiters.insert(self.last, Waiter { bytes, address, since, waker: None, given: None });
        self.last
    }

    /// The bytes that all waiters want.
    pub fn wanted(&self) -> usize {
        self.waiting().map(|(_, waiter)| waiter.bytes).sum()
    }

    /// The waiter that came first.
    pub fn front(&self) -> Option<(u64, &Waiter)> {
        self.waiting().next()
    }

    /// The first waiter of each address, beginning with the address whose turn it is.
    pub fn turns(&self) -> impl Iterator<Item = (u64, &Waiter)> {
        let after = self.turn.map_or(Unbounded, Excluded);
        let turns = self.addresses.range((after, Unbounded)).chain(&self.addresses);
        let numbers = turns.filter_map(|(_, numbers)| numbers.front());
        numbers.filter_map(|number| Some((*number, self.waiters.get(number)?)))
    }

    /// Tells a waiter that its bytes were counted.
    pub fn give(&mut self, number: u64, given: Given) {
        let Some(waiter) = self.waiters.get_mut(&number) else { return };
        waiter.given = Some(given);
        let (ip, waker) = (waiter.address.ip, waiter.waker.take());
        self.turn = Some(ip);
        self.pass_over(ip, number);
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// Sets the waker for when the waiter is given something.
    pub fn wake(&mut self, number: u64, waker: &Waker) {
        if let Some(waiter) = self.waiters.get_mut(&number).filter(|waiter| waiter.given.is_none()) {
            waiter.waker = Some(waker.clone());
        }
    }

    /// Takes a waiter that was given something out of the line.
    pub fn take_given(&mut self, number: u64) -> Option<(Waiter, Given)> {
        let given = self.waiters.get(&number)?.given?;
        self.waiters.remove(&number).map(|waiter| (waiter, given))
    }

    /// A waiter leaves without anything. False if it was not in line.
    pub fn leave(&mut self, number: u64) -> bool {
        let Some(waiter) = self.waiters.remove(&number) else { return false };
        self.pass_over(waiter.address.ip, number);
        true
    }

    fn waiting(&self) -> impl Iterator<Item = (u64, &Waiter)> {
        let waiting = self.waiters.iter().filter(|(_, waiter)| waiter.given.is_none());
        waiting.map(|(number, waiter)| (*number, waiter))
    }

    fn pass_over(&mut self, ip: IpAddr, number: u64) {
        if let Some(numbers) = self.addresses.get_mut(&ip) {
            numbers.retain(|one| *one != number);
            if numbers.is_empty() {
                self.addresses.remove(&ip);
            }
        }
    }
}
