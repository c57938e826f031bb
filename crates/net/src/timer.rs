//! One timer for all the deadlines of a connection.

use std::pin::Pin;
use std::task::Context;

use tokio::time::{Instant, Sleep, sleep_until};

/// Wakes its task at the nearest deadline. Deadlines mostly move away with every byte, so the timer is only
/// ever brought forward. If it rings too early, the owner checks its deadlines again.
pub(crate) struct Timer {
    sleep: Pin<Box<Sleep>>,
}

impl Timer {
    pub(crate) fn new(now: Instant) -> Timer {
        Timer { sleep: Box::pin(sleep_until(now)) }
    }

    /// Makes sure that the task is woken at `deadline` or before.
    pub(crate) fn wake_by(&mut self, cx: &mut Context<'_>, deadline: Instant) {
        if self.sleep.is_elapsed() || deadline < self.sleep.deadline() {
            self.sleep.as_mut().reset(deadline);
        }
        if self.sleep.as_mut().poll(cx).is_ready() {
            cx.waker().wake_by_ref();
        }
    }
}
