//! The appends of one read from a connection, through the shards and back.
//!
//! All Produce requests from one read form one group. Each shard gets its appends in one message. The
//! connection wakes once, when the last append has its outcome.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

use ottla_partition::AppendOutcome;
use ottla_replica::AppendError;
use tokio::sync::Notify;

/// The outcome of one append.
pub type Outcome = AppendOutcome;

/// The outcomes of a group of appends. The shard that owns the partition sets each one, once.
pub struct AppendGroup {
    outcomes: Box<[OnceLock<Outcome>]>,
    waiting_for: AtomicUsize,
    all_there: Notify,
}

impl AppendGroup {
    /// A group of `len` appends. MUST NOT be empty, because nothing would wake its waiter.
    pub fn new(len: usize) -> Arc<AppendGroup> {
        assert!(len > 0, "a group of no appends is answered at once");
        Arc::new(AppendGroup {
            outcomes: (0..len).map(|_| OnceLock::new()).collect(),
            waiting_for: AtomicUsize::new(len),
            all_there: Notify::new(),
        })
    }

    /// The number of appends.
    pub fn len(&self) -> usize {
        self.outcomes.len()
    }

    /// Waits until every append has its outcome. Only one waiter at a time. Safe to drop and call again.
    pub async fn done(&self) {
        while self.waiting_for.load(Ordering::Acquire) > 0 {
            self.all_there.notified().await;
        }
        // Passes the wake-up on, so that a later caller does not wait for it.
        self.all_there.notify_one();
    }

    /// The outcome of append `index`, once [`AppendGroup::done`] has returned.
    pub fn outcome(&self, index: usize) -> Option<&Outcome> {
        self.outcomes.get(index).and_then(OnceLock::get)
    }

    fn set(&self, index: usize, outcome: Outcome) {
        if self.outcomes[index].set(outcome).is_ok() && self.waiting_for.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.all_there.notify_one();
        }
    }
}

/// The right and the duty to answer one append. If it is dropped (because its shard has ended), the outcome
/// is unknown, so no connection waits forever.
pub struct Ticket {
    group: Arc<AppendGroup>,
    index: usize,
}

impl Ticket {
    pub fn new(group: &Arc<AppendGroup>, index: usize) -> Ticket {
        Ticket { group: group.clone(), index }
    }

    pub fn answer(self, outcome: Outcome) {
        self.group.set(self.index, outcome);
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.group.set(self.index, Err(AppendError::TimedOut));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_lost_ticket_answers_that_the_outcome_is_unknown() {
        let group = AppendGroup::new(1);
        drop(Ticket::new(&group, 0));
        group.done().await;
        assert!(matches!(group.outcome(0), Some(Err(AppendError::TimedOut))));
    }
}
