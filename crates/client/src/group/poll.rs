//! The loop of a group's consumer: first what the group wants, then records.

use std::time::Duration;

use super::consumer::GroupConsumer;
use crate::consumer::PartitionRecords;
use crate::error::Error;
use crate::offsets::Commit;
use crate::seam::{self, Instant};

impl GroupConsumer {
    /// Up to `max.poll.records` records of the partitions that it has, or none after `timeout`. Records that
    /// an earlier poll gave count as done: they may be committed now.
    ///
    /// An error is about one partition or request, and polling again goes on with the others; unless the
    /// member cannot go on ([`GroupConsumer::failure`]). Cancel safe: what was not given is given next time,
    /// and a rebalance that was interrupted goes on.
    pub async fn poll(&mut self, timeout: Duration) -> Result<Vec<PartitionRecords>, Error> {
        let _polling = self.member.liveness.polling();
        let deadline = seam::now() + timeout;
        loop {
            // While partitions change hands no records are given, but the owner is not kept longer than it
            // wants either.
            if tokio::time::timeout_at(deadline, self.follow()).await.is_err() {
                return Ok(Vec::new());
            }
            if let Some(error) = self.errors.pop_front().or_else(|| self.failed.clone()) {
                return Err(error);
            }
            let commit_due = self.commit_now_and_then();
            self.start_placing();
            let until = deadline.min(commit_due);
            tokio::select! {
                polled = self.consumer.poll(until.saturating_duration_since(seam::now())) => {
                    let records = polled?;
                    if !records.is_empty() || seam::now() >= deadline {
                        return Ok(records);
                    }
                }
                Some(told) = self.member.told.recv() => self.hear(told),
                Some(placed) = self.placed.join_next() => {
                    // One that panicked is asked again when its partitions are assigned again.
                    if let Ok(placed) = placed {
                        self.place(placed);
                    }
                }
            }
        }
    }

    /// Starts the automatic commit when it is due, one at a time. Gives the time of the next.
    fn commit_now_and_then(&mut self) -> Instant {
        let now = seam::now();
        let interval = self.config.auto_commit_interval;
        if !self.config.enable_auto_commit {
            return now + FAR;
        }
        if let Some(outcome) = self.auto_commit.under_way.as_mut().and_then(Commit::try_outcome) {
            self.auto_commit.under_way = None;
            if let Err(error) = outcome {
                tracing::warn!(group = %self.coordinator.key(), %error, "automatic commit failed");
            }
        }
        if now < self.auto_commit.due {
            return self.auto_commit.due;
        }
        self.auto_commit.due = now + interval;
        let member = self.group_metadata().generation >= 0;
        if member && self.auto_commit.under_way.is_none() {
            let offsets = self.positions(|_| true);
            if !offsets.is_empty() {
                self.auto_commit.under_way = Some(self.commit_offsets_async(offsets));
            }
        }
        self.auto_commit.due.max(now + SOON)
    }
}

/// With an interval of zero, how long a poll that waits for records takes to look again.
const SOON: Duration = Duration::from_millis(10);
/// Later than any poll looks again anyway.
const FAR: Duration = Duration::from_secs(3600);
