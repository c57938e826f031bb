//! One producer: its epoch, the batches it is remembered by, its open transaction.

use ottla_wire::batch::BatchHeader;
use ottla_wire::{Instant, Offset, ProducerEpoch, Sequence, Timestamp};

/// How many batches of a producer are remembered. Kafka keeps five (KIP-98): a client has at most five
/// requests in flight.
pub const REMEMBERED_BATCHES: usize = 5;

/// A batch that was appended, as remembered to recognize it when it is sent again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RememberedBatch {
    pub last_sequence: Sequence,
    pub last_offset: Offset,
    /// Records in the batch, less one.
    pub offset_delta: i32,
    /// The batch's largest timestamp (with `LogAppendTime`: when it was appended).
    pub timestamp: Timestamp,
}

impl RememberedBatch {
    /// Of a batch whose offsets are assigned.
    pub fn of(header: &BatchHeader) -> RememberedBatch {
        RememberedBatch {
            last_sequence: header.last_sequence(),
            last_offset: header.last_offset(),
            offset_delta: header.last_offset_delta,
            timestamp: header.max_timestamp,
        }
    }

    pub fn first_sequence(&self) -> Sequence {
        match self.last_sequence {
            Sequence::NONE => Sequence::NONE,
            last => last.plus(-self.offset_delta),
        }
    }

    pub fn base_offset(&self) -> Offset {
        self.last_offset.plus(-i64::from(self.offset_delta))
    }
}

/// What is known of one producer.
#[derive(Clone, Debug)]
pub struct Entry {
    pub epoch: ProducerEpoch,
    /// Of the transaction coordinator that wrote the last marker; -1 if none did.
    pub coordinator_epoch: i32,
    /// Of its newest record, as the producer says.
    pub last_timestamp: Timestamp,
    /// When something of it was last appended; `None` if all of it was read from the log, which does not say.
    pub heard: Option<Instant>,
    /// First offset of the transaction that is open.
    pub txn_first: Option<Offset>,
    /// How many records up to the last one are known to have been appended without a gap in this epoch; what
    /// is further back may never have arrived, so a repeat of it cannot be called a duplicate.
    pub known: i32,
    batches: [RememberedBatch; REMEMBERED_BATCHES],
    remembered: u8,
}

const FORGOTTEN: RememberedBatch = RememberedBatch {
    last_sequence: Sequence::NONE,
    last_offset: Offset(-1),
    offset_delta: 0,
    timestamp: Timestamp::NONE,
};

impl Entry {
    pub fn new(epoch: ProducerEpoch) -> Entry {
        Entry {
            epoch,
            coordinator_epoch: -1,
            last_timestamp: Timestamp::NONE,
            heard: None,
            txn_first: None,
            known: 0,
            batches: [FORGOTTEN; REMEMBERED_BATCHES],
            remembered: 0,
        }
    }

    /// The remembered batches, oldest first.
    pub fn batches(&self) -> &[RememberedBatch] {
        &self.batches[..usize::from(self.remembered)]
    }

    pub fn last_sequence(&self) -> Sequence {
        self.batches().last().map_or(Sequence::NONE, |batch| batch.last_sequence)
    }

    /// The remembered batch with exactly these sequences.
    pub fn find(&self, first: Sequence, last: Sequence) -> Option<&RememberedBatch> {
        self.batches().iter().find(|batch| batch.last_sequence == last && batch.first_sequence() == first)
    }

    /// Whether `first` comes next after the last record.
    pub fn follows(&self, first: Sequence) -> bool {
        match self.last_sequence() {
            Sequence::NONE => first == Sequence(0),
            last => first == last.plus(1),
        }
    }

    /// Whether all of these sequences are known to have been appended in this epoch.
    pub fn surely_appended(&self, last: Sequence, count: i32) -> bool {
        if self.last_sequence() == Sequence::NONE {
            return false;
        }
        let back = self.last_sequence().plus(0i32.wrapping_sub(last.0));
        back.0.checked_add(count).is_some_and(|reach| reach <= self.known)
    }

    /// A data batch of this producer was appended.
    pub fn appended(&mut self, epoch: ProducerEpoch, batch: RememberedBatch) {
        self.enter(epoch);
        self.last_timestamp = batch.timestamp;
        self.append(batch);
    }

    /// An end-transaction marker was appended. Returns where the transaction that it ended began.
    pub fn ended(
        &mut self,
        epoch: ProducerEpoch,
        coordinator_epoch: i32,
        timestamp: Timestamp,
    ) -> Option<Offset> {
        self.enter(epoch);
        self.coordinator_epoch = coordinator_epoch;
        self.last_timestamp = timestamp;
        self.txn_first.take()
    }

    /// Puts back one row of a snapshot; rows come oldest batch first. A batch without offset stands for none,
    /// and the newest batch once more only says when the producer was last heard.
    pub fn restore(&mut self, epoch: ProducerEpoch, batch: RememberedBatch) {
        self.enter(epoch);
        self.last_timestamp = batch.timestamp;
        let newest = self.batches().last().map_or(Offset(-1), |newest| newest.last_offset);
        if batch.last_offset > newest {
            self.append(batch);
        }
    }

    fn append(&mut self, batch: RememberedBatch) {
        let count = batch.offset_delta.saturating_add(1);
        let goes_on = self.follows(batch.first_sequence());
        self.known = if goes_on { self.known.saturating_add(count) } else { count };
        let length = usize::from(self.remembered);
        if length < REMEMBERED_BATCHES {
            self.batches[length] = batch;
            self.remembered += 1;
        } else {
            self.batches.rotate_left(1);
            self.batches[REMEMBERED_BATCHES - 1] = batch;
        }
    }

    /// Another epoch starts its sequences at 0: what is remembered of the last one would only mislead.
    fn enter(&mut self, epoch: ProducerEpoch) {
        if self.epoch != epoch {
            self.epoch = epoch;
            self.remembered = 0;
            self.known = 0;
        }
    }
}
