//! What was flushed is there after the next start: nothing of it is lost, nothing of it is changed, and
//! nothing comes back that was cut off before the flush.

use std::collections::BTreeMap;

use bytes::Bytes;
use ottla_wire::Offset;
use ottla_wire::batch::batches;

use super::ledger::Ledger;
use super::promise::Invariant;
use super::scene::{Scene, Sight, Verdict};
use crate::node::partition::Partition;
use crate::node::read_all;

/// Keeps a copy of what is flushed of each broker's log.
#[derive(Default)]
pub struct WhatIsFlushedStays {
    copies: BTreeMap<usize, Copy>,
}

#[derive(Default)]
struct Copy {
    process: u64,
    /// Flushed batches, by base offset.
    flushed: BTreeMap<Offset, Bytes>,
    end: Offset,
}

impl Invariant for WhatIsFlushedStays {
    fn name(&self) -> &'static str {
        "what is flushed stays"
    }

    fn is_about_records(&self) -> bool {
        false
    }

    fn turn(&mut self, sight: &Sight<'_>, _: &Scene<'_>, _: &Ledger) -> Verdict {
        let copy = self.copies.entry(sight.node).or_default();
        let (view, log) = (sight.view, sight.partition.log());
        // One whose disk has failed counts on nothing any more.
        if view.durable_end > log.durable_end() && !sight.partition.has_failed() {
            return Err(format!(
                "broker {} counts on {} of {}",
                sight.node + 1,
                view.durable_end,
                log.durable_end()
            ));
        }
        if copy.process != sight.process {
            copy.process = sight.process;
            copy.compare(sight)?;
        }
        if sight.partition.has_failed() {
            copy.keep_between(view.log_start, view.durable_end);
            return Ok(());
        }
        copy.follow(sight.partition)
    }
}

impl Copy {
    /// The first turn of a process: its log was read from the disk, and may have been cut since, on purpose.
    fn compare(&self, sight: &Sight<'_>) -> Verdict {
        let (view, broker) = (sight.view, sight.node + 1);
        if view.log_end < self.end && view.log_end.0 < self.end.0 && !may_have_cut(sight) {
            return Err(format!(
                "broker {broker} had flushed up to {} and found up to {}",
                self.end, view.log_end
            ));
        }
        for run in read_all(sight.partition, view.log_start, view.log_end)? {
            for batch in batches(run).map_while(Result::ok) {
                let header = batch.header();
                let known =
                    self.flushed.get(&header.base_offset).filter(|_| header.next_offset() <= self.end);
                if known.is_some_and(|known| known != batch.bytes()) {
                    return Err(format!(
                        "broker {broker} found another batch than it had flushed: {header:?}"
                    ));
                }
            }
        }
        Ok(())
    }

    /// The disk has failed, perhaps while the log was being cut: what the core had given up may be there or
    /// not.
    fn keep_between(&mut self, start: Offset, end: Offset) {
        self.flushed.retain(|base, _| *base >= start && *base < end);
        self.end = if start > self.end { Offset::ZERO } else { self.end.min(end) };
    }

    /// Takes in what was flushed since.
    fn follow(&mut self, partition: &Partition) -> Verdict {
        let log = partition.log();
        let (end, start) = (log.durable_end(), log.log_start());
        if end < self.end {
            self.flushed.split_off(&end);
            self.end = end;
        }
        self.flushed = self.flushed.split_off(&start);
        let from = self.end.max(start);
        if from < end {
            for run in read_all(partition, from, end)? {
                for batch in batches(run).map_while(Result::ok) {
                    self.flushed.insert(batch.header().base_offset, batch.bytes().clone());
                }
            }
        }
        self.end = end;
        Ok(())
    }
}

/// The first turn of a process may be one in which it becomes a follower without any epochs, and cuts its
/// log.
fn may_have_cut(sight: &Sight<'_>) -> bool {
    sight.view.role == ottla_replica::ViewRole::Follower && sight.view.epochs.latest().is_none()
}
