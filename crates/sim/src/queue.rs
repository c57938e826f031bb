//! What is going to happen, in order of time; at the same time, in the order in which it was planned.

use std::collections::BTreeMap;

use ottla_wire::Instant;

/// A calendar. Nothing in it depends on anything but what was put in.
#[derive(Debug)]
pub struct Queue<E> {
    planned: BTreeMap<(Instant, u64), E>,
    count: u64,
}

impl<E> Default for Queue<E> {
    fn default() -> Queue<E> {
        Queue { planned: BTreeMap::new(), count: 0 }
    }
}

impl<E> Queue<E> {
    pub fn plan(&mut self, at: Instant, event: E) {
        self.count += 1;
        self.planned.insert((at, self.count), event);
    }

    pub fn take_next(&mut self) -> Option<(Instant, E)> {
        self.planned.pop_first().map(|((at, _), event)| (at, event))
    }
}
