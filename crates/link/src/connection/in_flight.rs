//! Requests that are written and not answered: answers come in their order, and none may be late.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Mutex, PoisonError};

use bytes::Bytes;
use tokio::sync::{Notify, OwnedSemaphorePermit, oneshot};

use crate::seam::{self, Instant};

/// The connection ended after the request was (perhaps partly) written.
#[derive(Debug)]
pub(super) struct Lost {
    /// It was this request that had no answer in its time.
    pub(super) late: bool,
}

/// Where an answer goes.
pub(super) type Reply = oneshot::Sender<Result<Bytes, Lost>>;

/// Whether a request has left: its sender may take it back until then.
#[derive(Debug, Default)]
pub(super) struct Departure(AtomicU8);

const QUEUED: u8 = 0;
const LEFT: u8 = 1;
const WITHDRAWN: u8 = 2;

impl Departure {
    /// The request is about to be written. False if it was taken back.
    pub(super) fn leave(&self) -> bool {
        self.0.compare_exchange(QUEUED, LEFT, Ordering::AcqRel, Ordering::Acquire).is_ok()
    }

    /// Takes the request back. False if it may have reached the broker.
    pub(super) fn withdraw(&self) -> bool {
        self.0.compare_exchange(QUEUED, WITHDRAWN, Ordering::AcqRel, Ordering::Acquire) != Err(LEFT)
    }
}

/// A request whose answer is to come.
pub(super) struct Unmet {
    pub(super) correlation: i32,
    pub(super) reply: Reply,
    /// When the connection is given up for want of an answer.
    pub(super) late_at: Instant,
    /// Held until the answer has come.
    pub(super) permit: OwnedSemaphorePermit,
}

/// What an answer is not.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Mismatch {
    OutOfOrder,
    NotAskedFor,
}

/// Requests in the order they were written.
#[derive(Default)]
pub(super) struct InFlight {
    queue: Mutex<Queue>,
    /// A request that is late earlier than all before it was added.
    sooner: Notify,
}

#[derive(Default)]
struct Queue {
    unmet: VecDeque<Unmet>,
    /// Not later than any `late_at`.
    look_at: Option<Instant>,
}

impl InFlight {
    pub(super) fn push(&self, unmet: Unmet) {
        let mut queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        if queue.look_at.is_none_or(|at| unmet.late_at < at) {
            queue.look_at = Some(unmet.late_at);
            self.sooner.notify_one();
        }
        queue.unmet.push_back(unmet);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner).unmet.is_empty()
    }

    /// Hands an answer to the request that has waited longest, whose it must be.
    pub(super) fn answer(&self, frame: Bytes) -> Result<(), Mismatch> {
        let first = self.queue.lock().unwrap_or_else(PoisonError::into_inner).unmet.pop_front();
        let correlation = frame.first_chunk().map(|&id| i32::from_be_bytes(id));
        match first {
            Some(first) if correlation == Some(first.correlation) => {
                drop(first.permit);
                // Whoever does not wait any more need not be told; the same holds below.
                let _ = first.reply.send(Ok(frame));
                Ok(())
            }
            Some(first) => {
                let _ = first.reply.send(Err(Lost { late: false }));
                Err(Mismatch::OutOfOrder)
            }
            None => Err(Mismatch::NotAskedFor),
        }
    }

    /// Waits until an answer is late.
    pub(super) async fn late(&self) {
        loop {
            let look_at = self.queue.lock().unwrap_or_else(PoisonError::into_inner).look_at;
            let Some(look_at) = look_at else {
                self.sooner.notified().await;
                continue;
            };
            tokio::select! {
                () = tokio::time::sleep_until(look_at) => {}
                () = self.sooner.notified() => continue,
            }
            // What was waited for may have been answered since.
            let mut queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
            queue.look_at = queue.unmet.iter().map(|unmet| unmet.late_at).min();
            if queue.look_at.is_some_and(|at| at <= seam::now()) {
                return;
            }
        }
    }

    /// Tells all that no answer will come.
    pub(super) fn lose_all(&self) {
        let now = seam::now();
        let unmet = std::mem::take(&mut self.queue.lock().unwrap_or_else(PoisonError::into_inner).unmet);
        for one in unmet {
            let _ = one.reply.send(Err(Lost { late: one.late_at <= now }));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use tokio::sync::Semaphore;

    use super::*;

    fn request(correlation: i32, late_after: Duration) -> (Unmet, oneshot::Receiver<Result<Bytes, Lost>>) {
        let permit = Arc::new(Semaphore::new(1)).try_acquire_owned().unwrap();
        let (reply, answer) = oneshot::channel();
        (Unmet { correlation, reply, late_at: seam::now() + late_after, permit }, answer)
    }

    #[test]
    fn what_was_taken_back_does_not_leave_and_the_other_way_round() {
        let departure = Departure::default();
        assert!(departure.leave() && !departure.withdraw());
        let departure = Departure::default();
        assert!(departure.withdraw() && departure.withdraw() && !departure.leave());
    }

    #[tokio::test(start_paused = true)]
    async fn the_earliest_of_all_that_are_unanswered_counts() {
        let began = seam::now();
        let in_flight = InFlight::default();
        let (slow, _slow) = request(1, Duration::from_secs(60));
        let (quick, quick_answer) = request(2, Duration::from_secs(10));
        let (other, _other) = request(3, Duration::from_secs(20));
        for one in [slow, quick, other] {
            in_flight.push(one);
        }
        in_flight.late().await;
        assert_eq!(began.elapsed(), Duration::from_secs(10));
        in_flight.lose_all();
        assert!(quick_answer.await.unwrap().unwrap_err().late);
    }

    #[tokio::test(start_paused = true)]
    async fn what_was_answered_is_not_late_and_what_came_later_is_seen() {
        let began = seam::now();
        let in_flight = Arc::new(InFlight::default());
        let watched = in_flight.clone();
        let late = tokio::spawn(async move { watched.late().await });
        let (first, answer) = request(1, Duration::from_secs(10));
        in_flight.push(first);
        tokio::time::sleep(Duration::from_secs(5)).await;
        in_flight.answer(Bytes::from_static(&[0, 0, 0, 1, 9])).unwrap();
        assert!(answer.await.unwrap().is_ok() && in_flight.is_empty());
        tokio::time::sleep(Duration::from_secs(20)).await;
        let (second, _answer) = request(2, Duration::from_secs(10));
        in_flight.push(second);
        late.await.unwrap();
        assert_eq!(began.elapsed(), Duration::from_secs(35));
    }

    #[test]
    fn an_answer_must_be_that_of_the_first() {
        let in_flight = InFlight::default();
        assert_eq!(in_flight.answer(Bytes::from_static(&[0, 0, 0, 1])), Err(Mismatch::NotAskedFor));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(async {
            let (one, answer) = request(1, Duration::from_secs(1));
            in_flight.push(one);
            assert_eq!(in_flight.answer(Bytes::from_static(&[0, 0, 0, 2])), Err(Mismatch::OutOfOrder));
            assert!(!answer.await.unwrap().unwrap_err().late);
        });
    }
}
