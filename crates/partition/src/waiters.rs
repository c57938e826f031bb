//! The waiters for the replies of a core.

use std::collections::VecDeque;

use ottla_replica::ReplyId;

/// The most answered entries that are kept before the queue is compacted, unless more are waiting.
const ANSWERED_MAX: usize = 64;

/// Waiters by the id of their reply. Ids are assigned in order and mostly answered in order, so there is no
/// search.
#[derive(Debug)]
pub struct Waiters<W> {
    /// By id. The first entry still waits, if there is any.
    queue: VecDeque<(ReplyId, Option<W>)>,
    /// The number of answered entries in the queue. They are behind one that waits longer.
    answered: usize,
}

impl<W> Waiters<W> {
    pub fn new() -> Waiters<W> {
        Waiters { queue: VecDeque::new(), answered: 0 }
    }

    pub fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    /// Adds a waiter. MUST have a higher id than all before.
    pub fn push(&mut self, id: ReplyId, waiter: W) {
        debug_assert!(self.queue.back().is_none_or(|(last, _)| *last < id), "ids are given in order");
        self.queue.push_back((id, Some(waiter)));
    }

    /// Removes the waiter for a reply.
    pub fn take(&mut self, id: ReplyId) -> Option<W> {
        let at = match self.queue.front() {
            Some((first, _)) if *first == id => 0,
            _ => self.queue.binary_search_by_key(&id, |(id, _)| *id).ok()?,
        };
        let waiter = self.queue[at].1.take()?;
        self.answered += 1;
        while self.queue.front().is_some_and(|(_, waiter)| waiter.is_none()) {
            self.queue.pop_front();
            self.answered -= 1;
        }
        if self.answered > ANSWERED_MAX.max(self.queue.len() / 2) {
            self.queue.retain(|(_, waiter)| waiter.is_some());
            self.answered = 0;
        }
        Some(waiter)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replies_come_in_any_order_and_once() {
        let mut waiters = Waiters::new();
        for id in [3, 5, 6, 9] {
            waiters.push(ReplyId(id), id);
        }
        assert_eq!(waiters.take(ReplyId(5)), Some(5));
        assert_eq!((waiters.take(ReplyId(5)), waiters.take(ReplyId(4))), (None, None));
        assert_eq!(waiters.take(ReplyId(3)), Some(3));
        assert_eq!(waiters.queue.len(), 2, "what was answered behind the first goes with it");
        assert_eq!(waiters.take(ReplyId(9)), Some(9));
        assert_eq!(waiters.take(ReplyId(6)), Some(6));
        assert!(waiters.is_empty());
        assert_eq!(waiters.answered, 0);
    }

    /// A long wait (acks=all with a slow replica) holds no memory for later entries (acks=1).
    #[test]
    fn what_is_answered_behind_one_that_waits_takes_little() {
        let mut waiters = Waiters::new();
        waiters.push(ReplyId(0), 0);
        for id in 1..10_000 {
            waiters.push(ReplyId(id), id);
            assert_eq!(waiters.take(ReplyId(id)), Some(id));
            assert!(waiters.queue.len() <= 2 + ANSWERED_MAX, "{} places after {id}", waiters.queue.len());
        }
        assert_eq!(waiters.take(ReplyId(0)), Some(0));
        assert!(waiters.is_empty());
        assert_eq!(waiters.answered, 0);
    }
}
