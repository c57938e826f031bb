//! Who ends the members' transactions: a transaction coordinator that never forgets.

use std::collections::BTreeMap;

use ottla_coordinator::Producer;
use ottla_wire::{Offset, ProducerEpoch, ProducerId};

/// The producers of a run.
#[derive(Debug, Default)]
pub struct Transactions {
    producers: BTreeMap<ProducerId, State>,
}

/// A producer in its present epoch. Each transaction has its own (KIP-890).
#[derive(Debug, Default)]
struct State {
    epoch: i16,
    ending: Option<Ending>,
}

/// A transaction that is decided.
#[derive(Clone, Copy, Debug)]
struct Ending {
    commit: bool,
    /// Where its marker is in the log, once it was appended.
    marker: Option<Offset>,
}

impl Transactions {
    /// The producer in its present epoch.
    pub fn producer(&mut self, id: ProducerId) -> Producer {
        let state = self.producers.entry(id).or_default();
        Producer { id, epoch: ProducerEpoch(state.epoch) }
    }

    /// Whether the producer may still write in its transaction.
    pub fn is_open(&self, producer: Producer) -> bool {
        self.producers
            .get(&producer.id)
            .is_some_and(|state| state.epoch == producer.epoch.0 && state.ending.is_none())
    }

    /// Decides a transaction. The first decision counts.
    pub fn end(&mut self, producer: Producer, commit: bool) {
        if let Some(state) = self.producers.get_mut(&producer.id)
            && state.epoch == producer.epoch.0
        {
            state.ending.get_or_insert(Ending { commit, marker: None });
        }
    }

    /// A decided transaction that has no marker yet.
    pub fn unmarked(&self) -> Option<(Producer, bool)> {
        self.producers.iter().find_map(|(id, state)| {
            let ending = state.ending.filter(|ending| ending.marker.is_none())?;
            Some((Producer { id: *id, epoch: ProducerEpoch(state.epoch) }, ending.commit))
        })
    }

    pub fn marked(&mut self, producer: Producer, at: Offset) {
        let state = self.producers.get_mut(&producer.id);
        if let Some(ending) = state.and_then(|state| state.ending.as_mut()) {
            ending.marker = Some(at);
        }
    }

    /// The log is committed up to here. Gives the transactions that have ended by that.
    pub fn committed(&mut self, end: Offset) -> Vec<(Producer, bool)> {
        let mut ended = Vec::new();
        for (id, state) in &mut self.producers {
            if let Some(Ending { commit, marker: Some(at) }) = state.ending
                && at < end
            {
                ended.push((Producer { id: *id, epoch: ProducerEpoch(state.epoch) }, commit));
                *state = State { epoch: state.epoch + 1, ending: None };
            }
        }
        ended
    }

    /// The log was cut: markers behind its end must be written again.
    pub fn cut(&mut self, end: Offset) {
        for ending in self.producers.values_mut().filter_map(|state| state.ending.as_mut()) {
            ending.marker = ending.marker.filter(|at| *at < end);
        }
    }
}
