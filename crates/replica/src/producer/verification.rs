//! Transactional writes whose transaction is being confirmed with the coordinator (KIP-890): between the
//! question and the append, a guard makes sure that no marker has ended the transaction in the meantime.

use std::collections::BTreeMap;

use ottla_wire::{Instant, ProducerEpoch, ProducerId, Sequence};

/// How many producers may be under verification in one partition. Above it the oldest question is forgotten:
/// the append that it was for is refused as not verified.
const VERIFICATIONS_MAX: usize = 10_000;

/// Proof that a producer's transaction was verified with its coordinator (KIP-890).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VerificationGuard(u64);

/// One producer under verification.
#[derive(Clone, Debug)]
pub struct Verification {
    pub guard: VerificationGuard,
    /// The lowest sequence that was asked for in this epoch: with nothing else known of the producer, a batch
    /// above it cannot be the first.
    pub lowest_sequence: Sequence,
    pub epoch: ProducerEpoch,
    /// The client bumps its epoch after each transaction (transaction version 2), so its sequences begin at
    /// 0.
    pub bumps_epochs: bool,
    since: Instant,
}

/// Producers under verification, by id. Ordered, since it is small and the oldest guard is looked for.
#[derive(Clone, Debug, Default)]
pub struct Verifications {
    by_producer: BTreeMap<ProducerId, Verification>,
    guards: u64,
}

impl Verifications {
    pub fn get(&self, producer: ProducerId) -> Option<&Verification> {
        self.by_producer.get(&producer)
    }

    /// The guard to be shown at the append; the same one while a question for this producer is open.
    pub fn begin(
        &mut self,
        now: Instant,
        producer: ProducerId,
        epoch: ProducerEpoch,
        sequence: Sequence,
        bumps_epochs: bool,
    ) -> VerificationGuard {
        if let Some(open) = self.by_producer.get_mut(&producer) {
            open.join(epoch, sequence, bumps_epochs);
            return open.guard;
        }
        self.make_room();
        self.guards += 1;
        let guard = VerificationGuard(self.guards);
        let verification = Verification { guard, lowest_sequence: sequence, epoch, bumps_epochs, since: now };
        self.by_producer.insert(producer, verification);
        guard
    }

    pub fn forget(&mut self, producer: ProducerId) {
        if !self.by_producer.is_empty() {
            self.by_producer.remove(&producer);
        }
    }

    pub fn expire(&mut self, silent: impl Fn(Instant) -> bool) {
        self.by_producer.retain(|_, open| !silent(open.since));
    }

    pub fn clear(&mut self) {
        self.by_producer.clear();
    }

    fn make_room(&mut self) {
        if self.by_producer.len() < VERIFICATIONS_MAX {
            return;
        }
        let oldest =
            self.by_producer.iter().min_by_key(|(_, open)| open.guard.0).map(|(&producer, _)| producer);
        if let Some(producer) = oldest {
            self.by_producer.remove(&producer);
        }
    }
}

impl Verification {
    fn join(&mut self, epoch: ProducerEpoch, sequence: Sequence, bumps_epochs: bool) {
        if epoch > self.epoch {
            self.epoch = epoch;
            self.lowest_sequence = sequence;
        } else if epoch == self.epoch {
            self.lowest_sequence = self.lowest_sequence.min(sequence);
        }
        self.bumps_epochs |= bumps_epochs;
    }
}
