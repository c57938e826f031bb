//! Acknowledgements that wait: acks=1 for this replica's own log, acks=all for the high watermark.

use std::collections::VecDeque;

use ottla_wire::{Instant, Offset};

use crate::effect::{Appended, Effect};
use crate::error::AppendError;
use crate::event::ReplyId;

/// Someone who waits to hear that a batch is safe.
#[derive(Clone, Copy, Debug)]
pub(super) struct Waiter {
    pub reply: ReplyId,
    pub deadline: Instant,
    pub appended: Appended,
}

impl Waiter {
    /// Released once what it waits for has passed its last record.
    fn is_due(&self, reached: Offset) -> bool {
        self.appended.last_offset < reached
    }

    pub fn answer(&self, outcome: Result<Appended, AppendError>) -> Effect {
        Effect::Reply { to: self.reply, outcome }
    }
}

/// All who wait on one leader. The leader refuses appends above `waiters_max`.
#[derive(Debug, Default)]
pub(super) struct Waiters {
    local: Queue,
    in_sync: Queue,
}

impl Waiters {
    pub fn len(&self) -> usize {
        self.local.waiting.len() + self.in_sync.waiting.len()
    }

    pub fn wait_local(&mut self, waiter: Waiter) {
        self.local.push(waiter);
    }

    pub fn wait_in_sync(&mut self, waiter: Waiter) {
        self.in_sync.push(waiter);
    }

    pub fn release_local(&mut self, counted_end: Offset, effects: &mut Vec<Effect>) {
        while let Some(waiter) = self.local.pop_due(counted_end) {
            effects.push(waiter.answer(Ok(waiter.appended)));
        }
    }

    pub fn release_in_sync(&mut self, high_watermark: Offset, effects: &mut Vec<Effect>) {
        while let Some(waiter) = self.in_sync.pop_due(high_watermark) {
            effects.push(waiter.answer(Ok(waiter.appended)));
        }
    }

    /// What acks=all asks for cannot be promised any more, though the batches may yet be replicated.
    pub fn fail_in_sync(&mut self, why: AppendError, effects: &mut Vec<Effect>) {
        effects.extend(self.in_sync.waiting.drain(..).map(|waiter| waiter.answer(Err(why))));
    }

    /// Nothing is in the log from `end` on.
    pub fn fail_from(&mut self, end: Offset, why: AppendError, effects: &mut Vec<Effect>) {
        for queue in [&mut self.local, &mut self.in_sync] {
            let kept = queue.waiting.partition_point(|waiter| waiter.is_due(end));
            effects.extend(queue.waiting.drain(kept..).map(|waiter| waiter.answer(Err(why))));
        }
    }

    /// Whoever has waited long enough does not know whether its batch is safe, and is told so.
    pub fn expire(&mut self, now: Instant, effects: &mut Vec<Effect>) {
        self.local.expire(now, effects);
        self.in_sync.expire(now, effects);
    }

    pub fn fail(self, why: AppendError, effects: &mut Vec<Effect>) {
        let all = self.local.waiting.iter().chain(&self.in_sync.waiting);
        effects.extend(all.map(|waiter| waiter.answer(Err(why))));
    }
}

/// Waiters in order of their last offsets.
#[derive(Debug)]
struct Queue {
    waiting: VecDeque<Waiter>,
    /// No deadline is before this one, so most ticks need not look.
    deadline: Instant,
}

impl Default for Queue {
    fn default() -> Queue {
        Queue { waiting: VecDeque::new(), deadline: Instant(u64::MAX) }
    }
}

impl Queue {
    fn push(&mut self, waiter: Waiter) {
        self.deadline = self.deadline.min(waiter.deadline);
        let last = waiter.appended.last_offset;
        if self.waiting.back().is_none_or(|back| back.appended.last_offset <= last) {
            self.waiting.push_back(waiter);
        } else {
            // A repeated batch waits for an offset that others may wait for, too.
            let at = self.waiting.partition_point(|other| other.appended.last_offset <= last);
            self.waiting.insert(at, waiter);
        }
    }

    fn pop_due(&mut self, reached: Offset) -> Option<Waiter> {
        if self.waiting.front()?.is_due(reached) { self.waiting.pop_front() } else { None }
    }

    fn expire(&mut self, now: Instant, effects: &mut Vec<Effect>) {
        if now < self.deadline {
            return;
        }
        let mut next = Instant(u64::MAX);
        self.waiting.retain(|waiter| {
            let over = waiter.deadline <= now;
            if over {
                effects.push(waiter.answer(Err(AppendError::TimedOut)));
            } else {
                next = next.min(waiter.deadline);
            }
            !over
        });
        self.deadline = next;
    }
}
