//! What a leader demands of a batch or a marker before it appends it (KIP-98, KIP-360, KIP-890).

use ottla_wire::batch::{BatchHeader, Origin};
use ottla_wire::{Instant, Offset, ProducerEpoch, ProducerId, Sequence};

use super::entry::{Entry, RememberedBatch};
use super::table::ProducerTable;
use super::verification::VerificationGuard;
use crate::error::AppendError;
use crate::event::WriteMarker;

/// A batch that may be appended, or need not be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Checked {
    /// It comes next.
    New,
    /// It was appended before.
    Repeated(RememberedBatch),
}

impl ProducerTable {
    /// Whether a batch may be appended as far as its producer is concerned. `verify`: transactional writes
    /// need proof.
    pub(crate) fn check(
        &self,
        header: &BatchHeader,
        origin: Origin,
        verified: Option<VerificationGuard>,
        verify: bool,
    ) -> Result<Checked, AppendError> {
        if !header.has_producer() {
            return Ok(Checked::New);
        }
        let entry = self.entries.get(&header.producer_id);
        if origin == Origin::Client
            && let Some(repeated) = entry.and_then(|entry| repeated(entry, header))
        {
            return Ok(Checked::Repeated(repeated));
        }
        if verify && header.is_transactional() && !header.is_control() {
            self.check_verified(header, verified)?;
        }
        match entry {
            Some(entry) => {
                check_epoch(entry, header)?;
                if origin == Origin::Client {
                    self.check_lowest(header)?;
                    check_sequence(entry, header)?;
                }
                if entry.txn_first.is_some() && !header.is_transactional() {
                    return Err(AppendError::NotTransactional { producer: header.producer_id });
                }
            }
            None if !self.has_room() => return Err(AppendError::TooManyProducers { limit: self.limit() }),
            // Records of this producer may have been deleted long ago: any sequence will do.
            None if origin == Origin::Client => self.check_lowest(header)?,
            None => {}
        }
        Ok(Checked::New)
    }

    /// Whether an end-transaction marker may be appended.
    pub(crate) fn check_marker(&self, marker: &WriteMarker) -> Result<(), AppendError> {
        let Some(entry) = self.entries.get(&marker.producer) else {
            return if self.has_room() {
                Ok(())
            } else {
                Err(AppendError::TooManyProducers { limit: self.limit() })
            };
        };
        let (found, current) = (marker.producer_epoch, entry.epoch);
        let old = if marker.transaction_version >= 2 { found <= current } else { found < current };
        // The marker again, its answer having been lost (KAFKA-19999): there is nothing left to end, so it
        // does no harm.
        let again = found == current && entry.txn_first.is_none();
        if old && !again {
            return Err(AppendError::InvalidProducerEpoch { producer: marker.producer, found, current });
        }
        if marker.coordinator_epoch < entry.coordinator_epoch {
            let (found, current) = (marker.coordinator_epoch, entry.coordinator_epoch);
            return Err(AppendError::CoordinatorFenced { producer: marker.producer, found, current });
        }
        Ok(())
    }

    /// A transactional write is to be confirmed with its coordinator: the guard to show at the append. `None`
    /// when a transaction of this producer and epoch is open here, which is proof enough.
    pub(crate) fn begin_verification(
        &mut self,
        now: Instant,
        producer: ProducerId,
        epoch: ProducerEpoch,
        sequence: Sequence,
        bumps_epochs: bool,
    ) -> Option<VerificationGuard> {
        if self.has_open(producer, epoch) {
            return None;
        }
        Some(self.verifications.begin(now, producer, epoch, sequence, bumps_epochs))
    }

    fn has_open(&self, producer: ProducerId, epoch: ProducerEpoch) -> bool {
        self.open_of(producer, epoch).is_some()
    }

    fn open_of(&self, producer: ProducerId, epoch: ProducerEpoch) -> Option<Offset> {
        self.entries.get(&producer).filter(|entry| entry.epoch == epoch)?.txn_first
    }

    fn check_verified(
        &self,
        header: &BatchHeader,
        shown: Option<VerificationGuard>,
    ) -> Result<(), AppendError> {
        match self.is_verified(header.producer_id, header.producer_epoch, shown) {
            true => Ok(()),
            false => Err(AppendError::NotVerified { producer: header.producer_id }),
        }
    }

    /// What [`ProducerTable::check`] would say of a coordinator's batch.
    pub(crate) fn check_claim(
        &self,
        producer: ProducerId,
        epoch: ProducerEpoch,
        shown: Option<VerificationGuard>,
        verify: bool,
    ) -> Result<(), AppendError> {
        match self.entries.get(&producer) {
            Some(entry) if epoch < entry.epoch => {
                let (found, current) = (epoch, entry.epoch);
                return Err(AppendError::InvalidProducerEpoch { producer, found, current });
            }
            None if !self.has_room() => return Err(AppendError::TooManyProducers { limit: self.limit() }),
            Some(_) | None => {}
        }
        if verify && !self.is_verified(producer, epoch, shown) {
            return Err(AppendError::NotVerified { producer });
        }
        Ok(())
    }

    /// Whether the transaction of this producer and epoch is open here, or was confirmed under the guard that
    /// is shown.
    fn is_verified(
        &self,
        producer: ProducerId,
        epoch: ProducerEpoch,
        shown: Option<VerificationGuard>,
    ) -> bool {
        let held = self.verifications.get(producer).map(|open| open.guard);
        self.has_open(producer, epoch) || (shown.is_some() && shown == held)
    }

    /// While a verification is open, several batches may wait for it: the one with the lowest sequence goes
    /// first. A producer that bumps its epoch after each transaction begins at 0 where nothing is known of
    /// it.
    fn check_lowest(&self, header: &BatchHeader) -> Result<(), AppendError> {
        let Some(open) = self.verifications.get(header.producer_id) else { return Ok(()) };
        let unknown = self.entries.get(&header.producer_id).is_none_or(|entry| entry.batches().is_empty());
        let found = header.base_sequence;
        if found > open.lowest_sequence || (open.bumps_epochs && unknown && found != Sequence(0)) {
            return Err(AppendError::OutOfOrderSequence {
                producer: header.producer_id,
                found,
                last: Sequence::NONE,
            });
        }
        Ok(())
    }
}

fn repeated(entry: &Entry, header: &BatchHeader) -> Option<RememberedBatch> {
    if entry.epoch != header.producer_epoch {
        return None;
    }
    entry.find(header.base_sequence, header.last_sequence()).copied()
}

fn check_epoch(entry: &Entry, header: &BatchHeader) -> Result<(), AppendError> {
    let (producer, found, current) = (header.producer_id, header.producer_epoch, entry.epoch);
    if found < current {
        return Err(AppendError::InvalidProducerEpoch { producer, found, current });
    }
    Ok(())
}

fn check_sequence(entry: &Entry, header: &BatchHeader) -> Result<(), AppendError> {
    let (producer, found) = (header.producer_id, header.base_sequence);
    if header.producer_epoch != entry.epoch {
        let first = found == Sequence(0);
        return if first {
            Ok(())
        } else {
            Err(AppendError::OutOfOrderSequence { producer, found, last: Sequence::NONE })
        };
    }
    if entry.follows(found) {
        return Ok(());
    }
    let count = header.last_offset_delta.saturating_add(1);
    if entry.surely_appended(header.last_sequence(), count) {
        return Err(AppendError::DuplicateSequence { producer, found });
    }
    Err(AppendError::OutOfOrderSequence { producer, found, last: entry.last_sequence() })
}
