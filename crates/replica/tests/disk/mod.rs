//! The log of one replica in a test: what its core has written, what of it is safe, and how it is read back.

use bytes::BytesMut;
use ottla_replica::{
    Event, FetchRequest, LeaderReply, ProducerTable, ReplicaConfig, Restored, Restorer, View, ViewRole,
};
use ottla_wire::batch::{AppendBatch, BatchView, ControlRecord, Record};
use ottla_wire::{EpochStart, Offset};

/// How many batches one fetch brings at most.
const FETCH_BATCHES_MAX: usize = 3;

/// More than any record of a test.
const RECORDS_BYTES_MAX: usize = 1024;

#[derive(Default)]
pub struct Disk {
    pub log: Vec<AppendBatch>,
    pub log_start: Offset,
    /// What survives a crash.
    pub durable_end: Offset,
    /// The checkpoint of leader epochs.
    pub epochs: Vec<EpochStart>,
}

impl Disk {
    /// Up to which offset the log reaches.
    pub fn end(&self) -> Offset {
        self.log.last().map_or(self.log_start, |batch| batch.header.next_offset())
    }

    pub fn write(&mut self, batch: AppendBatch) {
        assert!(batch.header.base_offset >= self.end(), "written in order");
        let read_back = BatchView::parse(batch.to_bytes()).unwrap();
        read_back.check_crc().unwrap();
        assert_eq!(*read_back.header(), batch.header, "the header that is written is the one that is told");
        self.log.push(batch);
    }

    /// A disk may flush what was cut off since it was asked.
    pub fn flushed(&mut self, end: Offset) {
        self.durable_end = self.durable_end.max(end.min(self.end()));
    }

    /// Gives the event by which the truncation completes.
    pub fn truncate(&mut self, to: Offset, config: &ReplicaConfig) -> Event {
        self.log.retain(|batch| batch.header.last_offset() < to);
        self.durable_end = self.durable_end.min(self.end());
        Event::Truncated { end: self.end(), producers: self.rebuild(config).0 }
    }

    pub fn restart_at(&mut self, offset: Offset) {
        self.log.clear();
        (self.log_start, self.durable_end) = (offset, offset);
    }

    pub fn move_start(&mut self, start: Offset) {
        self.log_start = start;
        self.log.retain(|batch| batch.header.last_offset() >= start);
    }

    /// What a Fetch handler does with the view and the log.
    pub fn read(&self, view: &View, fetch: &FetchRequest) -> LeaderReply {
        if view.role != ViewRole::Leader || view.leader_epoch != fetch.epoch {
            return LeaderReply::Failed;
        }
        let last = fetch.last_fetched_epoch;
        if let Some(parted) = last.and_then(|last| view.epochs.divergence(last, fetch.offset, view.log_end)) {
            return LeaderReply::Diverged { epoch: parted.epoch, end: parted.end };
        }
        if fetch.offset < view.log_start || fetch.offset > view.log_end {
            return LeaderReply::OutOfRange { start: view.log_start, end: view.log_end };
        }
        let after = self.log.iter().filter(|batch| batch.header.last_offset() >= fetch.offset);
        let records = after.take(FETCH_BATCHES_MAX).fold(BytesMut::new(), |mut bytes, batch| {
            bytes.extend_from_slice(&batch.to_bytes());
            bytes
        });
        let (high_watermark, log_start) = (view.high_watermark, view.log_start);
        LeaderReply::Records { records: records.freeze(), high_watermark, log_start }
    }

    /// The page cache is gone.
    pub fn lose_power(&mut self) {
        self.log.retain(|batch| batch.header.last_offset() < self.durable_end);
    }

    /// What a start finds.
    pub fn restore(&mut self, config: &ReplicaConfig, high_watermark: Offset) -> Restored {
        self.durable_end = self.end();
        let (producers, epochs) = self.rebuild(config);
        Restored {
            log_start: self.log_start,
            log_end: self.end(),
            durable_end: self.end(),
            high_watermark,
            epochs,
            producers,
        }
    }

    fn rebuild(&self, config: &ReplicaConfig) -> (ProducerTable, Vec<EpochStart>) {
        let mut restorer = Restorer::new(config, self.epochs.iter().copied());
        replay(&self.log, &mut restorer);
        let (producers, epochs) = restorer.finish();
        (producers, epochs.entries().to_vec())
    }
}

pub fn replay<'a>(log: impl IntoIterator<Item = &'a AppendBatch>, restorer: &mut Restorer) {
    for batch in log {
        restorer.batch(&batch.header, control(batch).as_ref());
    }
}

/// The value of a batch's first record.
pub fn value(batch: &AppendBatch) -> String {
    String::from_utf8_lossy(&first_record(batch).value.unwrap_or_default()).into_owned()
}

/// The control record of a batch, if it is a control batch.
pub fn control(batch: &AppendBatch) -> Option<ControlRecord> {
    if !batch.header.is_control() {
        return None;
    }
    let record = first_record(batch);
    ControlRecord::parse(record.key.as_ref(), record.value.as_ref()).unwrap()
}

fn first_record(batch: &AppendBatch) -> Record {
    let view = BatchView::parse(batch.to_bytes()).unwrap();
    view.records(RECORDS_BYTES_MAX).unwrap().next().unwrap().unwrap()
}
