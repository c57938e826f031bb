//! The broker that leads the partition, and the log, which outlives it.

use std::sync::Arc;

use ottla_coordinator::{Coordinator, Frame, Moment, Producer, Record, Refusal, ReplayError, Ticket};
use ottla_group::{Call, GroupConfig, GroupCoordinator, Reply};
use ottla_wire::primitives::Str;
use ottla_wire::{Instant, Offset};

use super::mutation::Mutation;
use super::topics::SimTopics;
use crate::rng::Rng;

/// What is appended as a whole or not at all.
#[derive(Clone, Debug)]
pub enum Appended {
    Batch {
        producer: Option<Producer>,
        records: Vec<Record>,
    },
    /// A transaction has ended.
    Marker {
        producer: Producer,
        commit: bool,
    },
}

/// A coordinator, if a broker leads the partition now, and the log.
pub struct Host {
    frame: Option<Frame<GroupCoordinator>>,
    log: Vec<Appended>,
    /// How much of the log is committed.
    committed: usize,
    /// Which leader this is.
    term: u64,
    config: GroupConfig,
    mutation: Option<Mutation>,
    writable: bool,
    /// Topics that were deleted while nothing could be written; `Some` if any have changed.
    unheard: Option<Vec<Str>>,
}

impl Host {
    pub fn new(config: GroupConfig, mutation: Option<Mutation>) -> Host {
        Host {
            frame: None,
            log: Vec::new(),
            committed: 0,
            term: 0,
            config,
            mutation,
            writable: true,
            unheard: None,
        }
    }

    pub fn term(&self) -> u64 {
        self.term
    }

    pub fn core(&self) -> Option<&GroupCoordinator> {
        self.frame.as_ref().map(Frame::core)
    }

    pub fn config(&self) -> &GroupConfig {
        &self.config
    }

    pub fn is_led(&self) -> bool {
        self.frame.is_some()
    }

    /// Length of the log in units of [`Appended`], and how much of that is committed.
    pub fn ends(&self) -> (usize, usize) {
        (self.log.len(), self.committed)
    }

    /// A broker takes over: it reads the log, all of which is committed by then.
    pub fn start(&mut self, at: &Moment, topics: &SimTopics) -> Result<(), ReplayError> {
        self.term += 1;
        let mut frame = Frame::loading(self.load(topics)?);
        frame.loaded(at);
        self.committed = self.log.len();
        self.frame = Some(frame);
        (self.writable, self.unheard) = (true, None);
        Ok(())
    }

    /// What a coordinator that reads the log knows.
    pub fn load(&self, topics: &SimTopics) -> Result<GroupCoordinator, ReplayError> {
        let mut core = GroupCoordinator::new(self.config.clone(), Arc::new(topics.clone()));
        let mut offset = Offset(0);
        for appended in &self.log {
            match appended {
                Appended::Batch { producer, records } => {
                    for record in records {
                        offset = offset.plus(1);
                        let forgotten =
                            self.mutation == Some(Mutation::ForgetTombstones) && record.value.is_none();
                        if !forgotten {
                            core.replay(offset, *producer, record.clone())?;
                        }
                    }
                }
                Appended::Marker { producer, commit } => {
                    let commit = *commit || self.mutation == Some(Mutation::TakeAbortsForCommits);
                    core.end_transaction(*producer, commit);
                }
            }
        }
        Ok(core)
    }

    /// The broker is gone. Of what was not committed, a part is in the log of the next one.
    pub fn crash(&mut self, rng: &mut Rng) {
        self.frame = None;
        let kept = rng.between(self.committed as u64, self.log.len() as u64);
        self.log.truncate(kept as usize);
    }

    /// An append went wrong; the frame gives up, and the leader loads anew.
    pub fn fail_append(&mut self, rng: &mut Rng) {
        if let Some(frame) = &mut self.frame {
            frame.fail();
            assert!(frame.is_broken(), "a frame whose append failed serves no more");
        }
        self.crash(rng);
    }

    /// The partition can be written to, or cannot. A coordinator that can write again is told what became of the topics.
    pub fn set_writable(&mut self, at: &Moment, topics: &SimTopics, writable: bool) {
        let Some(frame) = &mut self.frame else { return };
        frame.set_writable(at, writable);
        self.writable = writable;
        if writable && let Some(deleted) = self.unheard.take() {
            self.topics_changed(at, topics, &deleted);
        }
    }

    pub fn handle(&mut self, at: &Moment, ticket: Ticket, call: Call) -> Result<(), Refusal> {
        match &mut self.frame {
            Some(frame) => frame.handle(at, ticket, call),
            None => Err(Refusal::NotCoordinator),
        }
    }

    pub fn topics_changed(&mut self, at: &Moment, topics: &SimTopics, deleted: &[Str]) {
        if self.frame.is_some() && !self.writable {
            self.unheard.get_or_insert_default().extend_from_slice(deleted);
            return;
        }
        let topics = Arc::new(topics.clone());
        if let Some(frame) = &mut self.frame {
            frame.act(|core, out| core.topics_changed(at, topics, deleted, out));
        }
    }

    pub fn tick(&mut self, at: &Moment) {
        if let Some(frame) = &mut self.frame {
            frame.tick(at);
        }
    }

    pub fn next_deadline(&self) -> Option<Instant> {
        self.frame.as_ref().and_then(Frame::next_deadline)
    }

    /// Takes the batches of the frame to the log.
    pub fn append(&mut self) {
        let Some(frame) = &mut self.frame else { return };
        while let Some(batch) = frame.next_batch() {
            self.log.push(Appended::Batch { producer: batch.producer, records: batch.records });
            if self.mutation == Some(Mutation::AnswerBeforeCommit) {
                frame.committed();
            }
        }
    }

    /// Writes a marker, behind what its transaction may have written. Says where it is in the log; `None` if nobody leads.
    pub fn append_marker(&mut self, producer: Producer, commit: bool) -> Option<usize> {
        self.append();
        self.frame.as_ref()?;
        self.log.push(Appended::Marker { producer, commit });
        Some(self.log.len() - 1)
    }

    /// The log is committed up to here.
    pub fn commit(&mut self, end: usize) {
        let Some(frame) = &mut self.frame else { return };
        for appended in &self.log[self.committed..end.max(self.committed)] {
            match appended {
                Appended::Batch { .. } if self.mutation == Some(Mutation::AnswerBeforeCommit) => {}
                Appended::Batch { .. } => frame.committed(),
                Appended::Marker { producer, commit } => frame.end_transaction(*producer, *commit),
            }
        }
        self.committed = end.max(self.committed);
    }

    pub fn take_released(&mut self) -> Vec<Reply> {
        self.frame.as_mut().map(Frame::take_released).unwrap_or_default()
    }
}
