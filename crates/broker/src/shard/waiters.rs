//! Who waits for which reply of a core.

use std::collections::VecDeque;

use ottla_replica::ReplyId;

/// Waiters by the id of their reply. Ids are given in order and mostly answered in that order, so nothing is sought.
pub struct Waiters<W> {
    /// In the order of their ids. The first one still waits, if there is any.
    queue: VecDeque<(ReplyId, Option<W>)>,
}

impl<W> Waiters<W> {
    pub fn new() -> Waiters<W> {
        Waiters { queue: VecDeque::new() }
    }

    pub fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    /// Adds a waiter. MUST have a higher id than all before.
    pub fn push(&mut self, id: ReplyId, waiter: W) {
        debug_assert!(self.queue.back().is_none_or(|(last, _)| *last < id), "ids are given in order");
        self.queue.push_back((id, Some(waiter)));
    }

    /// Takes out who waits for a reply, once.
    pub fn take(&mut self, id: ReplyId) -> Option<W> {
        let at = match self.queue.front() {
            Some((first, _)) if *first == id => 0,
            _ => self.queue.binary_search_by_key(&id, |(id, _)| *id).ok()?,
        };
        let waiter = self.queue[at].1.take();
        while self.queue.front().is_some_and(|(_, waiter)| waiter.is_none()) {
            self.queue.pop_front();
        }
        waiter
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
    }
}
