//! What coordinators send to other brokers: markers to the leaders of partitions, questions to the
//! coordinators of transactions.
//!
//! One request is under way to each broker; what comes meanwhile goes together in the next. So a thousand
//! transactions that end at once are a few requests, and a broker that is slow keeps nobody else waiting. The
//! order of one broker's items is kept.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use ottla_wire::{BrokerId, Instant};

use crate::backoff::Backoff;

/// How much is sent and kept.
#[derive(Clone, Copy, Debug)]
pub struct PostLimits {
    /// Items in one request.
    pub request_max: usize,
    /// Items that wait for one broker. Beyond them the sender is told to try again.
    pub waiting_max: usize,
    /// After a request that was not answered.
    pub backoff: Backoff,
}

impl Default for PostLimits {
    fn default() -> PostLimits {
        PostLimits {
            request_max: 1_000,
            waiting_max: 100_000,
            backoff: Backoff { first: Duration::from_millis(20), most: Duration::from_secs(1) },
        }
    }
}

/// What waits for other brokers.
#[derive(Debug)]
pub struct Posts<T> {
    limits: PostLimits,
    brokers: BTreeMap<BrokerId, Post<T>>,
}

#[derive(Debug)]
struct Post<T> {
    waiting: VecDeque<T>,
    under_way: bool,
    failures: u32,
    not_before: Instant,
}

impl<T> Default for Post<T> {
    fn default() -> Post<T> {
        Post { waiting: VecDeque::new(), under_way: false, failures: 0, not_before: Instant(0) }
    }
}

impl<T> Posts<T> {
    pub fn new(limits: PostLimits) -> Posts<T> {
        Posts { limits, brokers: BTreeMap::new() }
    }

    /// Adds an item for a broker; gives it back if too many wait there.
    pub fn add(&mut self, to: BrokerId, item: T) -> Result<(), T> {
        let post = self.brokers.entry(to).or_default();
        if post.waiting.len() >= self.limits.waiting_max {
            return Err(item);
        }
        post.waiting.push_back(item);
        Ok(())
    }

    /// The next request to be sent: to whom, and what. Ask again until there is none; tell each time what
    /// came of it ([`Posts::ended`]).
    pub fn next_request(&mut self, now: Instant) -> Option<(BrokerId, Vec<T>)> {
        let is_due = |post: &Post<T>| !post.under_way && !post.waiting.is_empty() && now >= post.not_before;
        let (to, post) = self.brokers.iter_mut().find(|(_, post)| is_due(post))?;
        post.under_way = true;
        let count = post.waiting.len().min(self.limits.request_max);
        Some((*to, post.waiting.drain(..count).collect()))
    }

    /// A request has come to its end: answered, or not. What becomes of its items is their sender's concern.
    pub fn ended(&mut self, now: Instant, to: BrokerId, is_answered: bool) {
        let Some(post) = self.brokers.get_mut(&to) else { return };
        post.under_way = false;
        if is_answered {
            (post.failures, post.not_before) = (0, now);
            if post.waiting.is_empty() {
                self.brokers.remove(&to);
            }
        } else {
            post.failures = post.failures.saturating_add(1);
            post.not_before = now + self.limits.backoff.after(post.failures);
        }
    }

    /// What waits for a broker that is gone or is not the one to ask any more: it is to be sent elsewhere.
    pub fn take_back(&mut self, from: BrokerId) -> Vec<T> {
        match self.brokers.get_mut(&from) {
            // Who is under way comes back by itself.
            Some(post) if post.under_way => post.waiting.drain(..).collect(),
            Some(_) => self.brokers.remove(&from).map(|post| post.waiting.into()).unwrap_or_default(),
            None => Vec::new(),
        }
    }

    /// When time alone makes something to do.
    pub fn wake_at(&self, now: Instant) -> Option<Instant> {
        let waits = |post: &&Post<T>| !post.under_way && !post.waiting.is_empty() && post.not_before > now;
        self.brokers.values().filter(waits).map(|post| post.not_before).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: BrokerId = BrokerId(1);
    const B: BrokerId = BrokerId(2);

    fn posts() -> Posts<i32> {
        Posts::new(PostLimits { request_max: 3, waiting_max: 5, ..PostLimits::default() })
    }

    fn after(ms: u64) -> Instant {
        Instant(0) + Duration::from_millis(ms)
    }

    #[test]
    fn what_comes_meanwhile_goes_together_and_in_order() {
        let mut posts = posts();
        posts.add(A, 1).unwrap();
        posts.add(B, 10).unwrap();
        assert_eq!(posts.next_request(after(0)), Some((A, vec![1])));
        assert_eq!(posts.next_request(after(0)), Some((B, vec![10])));
        for item in 2..=5 {
            posts.add(A, item).unwrap();
        }
        assert_eq!(posts.next_request(after(0)), None);
        posts.ended(after(1), A, true);
        assert_eq!(posts.next_request(after(1)), Some((A, vec![2, 3, 4])));
        posts.ended(after(2), A, true);
        assert_eq!(posts.next_request(after(2)), Some((A, vec![5])));
        posts.ended(after(3), A, true);
        posts.ended(after(3), B, true);
        assert!(posts.brokers.is_empty());
    }

    #[test]
    fn a_broker_that_does_not_answer_keeps_nobody_else_waiting() {
        let mut posts = posts();
        let mut now = after(0);
        for ms in [20, 40, 80] {
            posts.add(A, 1).unwrap();
            posts.add(B, 10).unwrap();
            let mut sent = Vec::new();
            while let Some((to, _)) = posts.next_request(now) {
                posts.ended(now, to, to == B);
                sent.push(to);
            }
            assert_eq!(sent, [A, B]);
            posts.add(A, 2).unwrap();
            assert_eq!(posts.next_request(now), None);
            assert_eq!(posts.wake_at(now), Some(now + Duration::from_millis(ms)));
            now = now + Duration::from_millis(ms);
        }
        assert_eq!(posts.wake_at(now), None);
    }

    #[test]
    fn what_waits_has_a_limit_and_can_be_taken_back() {
        let mut posts = posts();
        posts.add(A, 0).unwrap();
        posts.next_request(after(0)).unwrap();
        for item in 1..=5 {
            posts.add(A, item).unwrap();
        }
        assert_eq!(posts.add(A, 6), Err(6));
        assert_eq!(posts.take_back(A), [1, 2, 3, 4, 5]);
        assert_eq!(posts.next_request(after(0)), None, "one is still under way");
        posts.add(A, 7).unwrap();
        posts.ended(after(1), A, true);
        assert_eq!(posts.next_request(after(1)), Some((A, vec![7])));
        assert!(posts.take_back(B).is_empty());
    }
}
