//! Deadlines. A coordinator has many, but is only woken for the next one.

use std::collections::{BTreeMap, BTreeSet};

use ottla_wire::Instant;

/// Deadlines by time and by timer, of type `T`.
#[derive(Debug)]
pub struct Timers<T> {
    by_time: BTreeSet<(Instant, T)>,
    by_timer: BTreeMap<T, Instant>,
}

impl<T> Default for Timers<T> {
    fn default() -> Timers<T> {
        Timers { by_time: BTreeSet::new(), by_timer: BTreeMap::new() }
    }
}

impl<T: Clone + Ord> Timers<T> {
    /// Sets a deadline, instead of an earlier one for the same timer.
    pub fn set(&mut self, timer: T, at: Instant) {
        self.cancel(&timer);
        self.by_timer.insert(timer.clone(), at);
        self.by_time.insert((at, timer));
    }

    pub fn cancel(&mut self, timer: &T) {
        if let Some((timer, at)) = self.by_timer.remove_entry(timer) {
            self.by_time.remove(&(at, timer));
        }
    }

    pub fn is_set(&self, timer: &T) -> bool {
        self.by_timer.contains_key(timer)
    }

    /// The timers that are set, in their own order, starting at `first`.
    pub fn from(&self, first: &T) -> impl Iterator<Item = &T> {
        self.by_timer.range(first..).map(|(timer, _)| timer)
    }

    pub fn len(&self) -> usize {
        self.by_timer.len()
    }

    pub fn is_empty(&self) -> bool {
        self.by_timer.is_empty()
    }

    /// The next deadline.
    pub fn next(&self) -> Option<Instant> {
        self.by_time.first().map(|(at, _)| *at)
    }

    /// Removes one timer that is due.
    pub fn pop_due(&mut self, now: Instant) -> Option<T> {
        if self.next()? > now {
            return None;
        }
        let (_, timer) = self.by_time.pop_first()?;
        self.by_timer.remove(&timer);
        Some(timer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timers_come_in_the_order_of_their_deadlines_once_each() {
        let mut timers = Timers::default();
        timers.set("late", Instant(30));
        timers.set("moved", Instant(5));
        timers.set("soon", Instant(10));
        timers.set("moved", Instant(20));
        timers.set("never", Instant(1));
        timers.cancel(&"never");
        assert_eq!(timers.next(), Some(Instant(10)));
        assert_eq!(timers.pop_due(Instant(9)), None);
        assert_eq!(timers.pop_due(Instant(20)), Some("soon"));
        assert_eq!(timers.pop_due(Instant(20)), Some("moved"));
        assert_eq!(timers.pop_due(Instant(20)), None);
        assert_eq!(timers.next(), Some(Instant(30)));
    }
}
