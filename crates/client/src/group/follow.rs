//! What a consumer does when its share changes: one change after another, each in steps that survive a poll
//! which is dropped half-way.

use std::collections::BTreeSet;

use super::consumer::GroupConsumer;
use super::driver::{Command, Told};
use super::listener::Rebalance;
use super::membership::{Change, Ticket};
use crate::cluster::TopicPartition;
use crate::error::Error;
use crate::offsets::{Commit, Offsets};

/// A change that is being carried out.
pub(super) struct Step {
    ticket: Ticket,
    change: Change,
    stage: Stage,
}

enum Stage {
    New,
    /// Committing positions before partitions are given up.
    Committing(Commit),
    /// The listener is to be told.
    Telling,
    /// Committing what the listener wanted.
    CommittingMore(Commit),
    Told,
}

impl Step {
    /// What was to be given up in peace is lost by now, unless that has been told already.
    fn overtaken(&mut self) {
        if let (Change::Revoke(partitions), Stage::New | Stage::Committing(_) | Stage::Telling) =
            (&mut self.change, &self.stage)
        {
            self.change = Change::Lose(std::mem::take(partitions));
        }
    }
}

impl GroupConsumer {
    pub(super) fn hear(&mut self, told: Told) {
        match told {
            Told::Change { incarnation, ticket, change } => {
                // Told before it unsubscribed.
                if incarnation == self.incarnation {
                    if let Change::Lose(_) = change {
                        self.steps.iter_mut().for_each(Step::overtaken);
                    }
                    self.steps.push_back(Step { ticket, change, stage: Stage::New });
                }
            }
            Told::Report(error) => self.errors.push_back(error),
            Told::Failed(error) => self.failed = Some(error),
            Told::Closed => {}
        }
    }

    /// Carries out all changes that have been told. Cancel safe.
    pub(super) async fn follow(&mut self) {
        loop {
            while let Ok(told) = self.member.told.try_recv() {
                self.hear(told);
            }
            let Some(mut step) = self.steps.pop_front() else { return };
            match &mut step.stage {
                Stage::New => step.stage = self.before(&step.change),
                Stage::Telling => step.stage = self.tell(&step.change),
                Stage::Committing(_) | Stage::CommittingMore(_) => {
                    // Put back before anything is waited for: this may be dropped there.
                    self.steps.push_front(step);
                    self.await_commit().await;
                    continue;
                }
                Stage::Told => {
                    self.finish(step);
                    continue;
                }
            }
            self.steps.push_front(step);
        }
    }

    async fn await_commit(&mut self) {
        let Some(step) = self.steps.front_mut() else { return };
        let (Stage::Committing(commit) | Stage::CommittingMore(commit)) = &mut step.stage else { return };
        if let Err(error) = commit.await {
            tracing::warn!(group = %self.coordinator.key(), %error, "committing during a rebalance failed");
        }
        step.stage = match step.stage {
            Stage::Committing(_) => Stage::Telling,
            Stage::New | Stage::Telling | Stage::CommittingMore(_) | Stage::Told => Stage::Told,
        };
    }

    fn before(&mut self, change: &Change) -> Stage {
        match change {
            Change::Revoke(partitions) if self.config.enable_auto_commit => {
                let offsets = self.positions(|of| partitions.contains(of));
                Stage::Committing(self.commit_offsets_async(offsets))
            }
            Change::Assign(new) => {
                let all: Vec<TopicPartition> = self
                    .consumer
                    .assignment()
                    .chain(new)
                    .cloned()
                    .collect::<BTreeSet<_>>()
                    .into_iter()
                    .collect();
                self.consumer.assign_unplaced(all);
                Stage::Telling
            }
            Change::Revoke(_) | Change::Lose(_) => Stage::Telling,
        }
    }

    fn tell(&mut self, change: &Change) -> Stage {
        let commit = match change {
            Change::Revoke(partitions) => self.call(How::Revoked, &self.held(partitions)),
            Change::Lose(partitions) => self.call(How::Lost, &self.held(partitions)),
            Change::Assign(partitions) => {
                let new: Vec<TopicPartition> = partitions.iter().cloned().collect();
                self.call(How::Assigned, &new)
            }
        };
        if commit.is_empty() { Stage::Told } else { Stage::CommittingMore(self.commit_offsets_async(commit)) }
    }

    fn finish(&mut self, step: Step) {
        match step.change {
            Change::Revoke(partitions) | Change::Lose(partitions) => {
                let kept = self.consumer.assignment().filter(|of| !partitions.contains(of));
                let kept: Vec<TopicPartition> = kept.cloned().collect();
                self.consumer.assign_unplaced(kept);
            }
            Change::Assign(_) => {}
        }
        if self.member.commands.try_send(Command::Done(step.ticket)).is_err() {
            // The task has ended: there is nobody to tell.
            tracing::debug!("a change of the assignment was carried out too late");
        }
    }

    /// Those of these partitions that it has.
    fn held(&self, partitions: &BTreeSet<TopicPartition>) -> Vec<TopicPartition> {
        self.consumer.assignment().filter(|of| partitions.contains(of)).cloned().collect()
    }

    /// Gives what the listener wants committed. What is given up must be something; a rebalance that brings
    /// nothing is over all the same.
    fn call(&mut self, how: How, partitions: &[TopicPartition]) -> Offsets {
        let Some(listener) = &mut self.listener else { return Offsets::new() };
        let mut rebalance = Rebalance { consumer: &mut self.consumer, commit: Offsets::new() };
        match how {
            How::Assigned => listener.assigned(&mut rebalance, partitions),
            How::Revoked if !partitions.is_empty() => listener.revoked(&mut rebalance, partitions),
            How::Lost if !partitions.is_empty() => listener.lost(&mut rebalance, partitions),
            How::Revoked | How::Lost => {}
        }
        rebalance.commit
    }

    /// Before it leaves the group: commits, tells the listener, and has nothing any more.
    pub(super) async fn give_up_all(&mut self) -> Result<(), Error> {
        let all: Vec<TopicPartition> = self.consumer.assignment().cloned().collect();
        let member = self.group_metadata().generation >= 0;
        let mut offsets = Offsets::new();
        if member && self.config.enable_auto_commit {
            offsets = self.positions(|_| true);
        }
        let how = if member { How::Revoked } else { How::Lost };
        // What the listener wants committed is later, and better known.
        offsets.extend(self.call(how, &all));
        // Also when there is nothing to commit: those that were asked for before come first.
        let outcome = self.commit_offsets_async(offsets).await;
        self.consumer.assign([]);
        outcome
    }
}

#[derive(Clone, Copy)]
enum How {
    Assigned,
    Revoked,
    Lost,
}
