//! One replica with its disk: it carries out what its core wants, and tells of it.

use bytes::BytesMut;
use ottla_replica::{
    Durability, Effect, Event, FetchRequest, IsrProposal, LeaderReply, ProducerTable, Replica, ReplicaConfig,
    Restored, Restorer, ViewRole,
};
use ottla_wire::batch::AppendBatch;
use ottla_wire::{EpochStart, Instant, LeaderEpoch, Offset, Timestamp};

use crate::batch::control;
use crate::tell::{self, Seen};

/// How many batches one fetch brings at most.
const FETCH_BATCHES_MAX: usize = 3;

pub struct Node {
    pub replica: Replica,
    pub alive: bool,
    /// What its core waits for.
    pub fetch: Option<FetchRequest>,
    pub proposal: Option<IsrProposal>,
    pub flush: Option<(LeaderEpoch, Offset)>,
    config: ReplicaConfig,
    log: Vec<AppendBatch>,
    log_start: Offset,
    durable_end: Offset,
    epochs: Vec<EpochStart>,
}

/// When something happens, and the names of the requests.
#[derive(Clone, Copy)]
pub struct Scene<'a> {
    pub now: Instant,
    pub wall: Timestamp,
    pub names: &'a [String],
}

impl Node {
    pub fn empty(config: ReplicaConfig) -> Node {
        Node {
            replica: Replica::new(config.clone(), Restored::empty(&config)),
            alive: true,
            fetch: None,
            proposal: None,
            flush: None,
            config,
            log: Vec::new(),
            log_start: Offset::ZERO,
            durable_end: Offset::ZERO,
            epochs: Vec::new(),
        }
    }

    /// Feeds an event, carries out what comes of it, and tells of both that and what readers see.
    pub fn step(&mut self, scene: Scene<'_>, event: Event, out: &mut Vec<String>) {
        if !self.alive {
            return;
        }
        let mut events = vec![event];
        while let Some(event) = events.pop() {
            let before = Seen::of(&self.replica);
            let mut effects = Vec::new();
            self.replica.step(scene.now, scene.wall, event, &mut effects);
            for effect in effects {
                let told = tell::effect(&effect, scene.names, self.replica.epochs());
                out.push(format!("{}: {told}", self.config.broker));
                events.extend(self.carry_out(effect));
            }
            let changes = before.changes(&Seen::of(&self.replica));
            out.extend(changes.iter().map(|change| format!("{}: {change}", self.config.broker)));
        }
    }

    /// What a Fetch handler does with the view and the log.
    pub fn read(&self, fetch: &FetchRequest) -> LeaderReply {
        let view = self.replica.view();
        if !self.alive || view.role != ViewRole::Leader || view.leader_epoch != fetch.epoch {
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

    /// kill -9. Where records count once they are flushed, the page cache is lost, too.
    pub fn crash(&mut self) {
        if self.config.durability == Durability::Flushed {
            self.log.retain(|batch| batch.header.last_offset() < self.durable_end);
        }
        (self.alive, self.fetch, self.proposal, self.flush) = (false, None, None, None);
    }

    /// From what is left of the log. The high watermark was never checkpointed.
    pub fn start(&mut self) {
        let (producers, epochs) = self.rebuild();
        self.durable_end = self.end();
        let restored = Restored {
            log_start: self.log_start,
            log_end: self.end(),
            durable_end: self.end(),
            high_watermark: self.log_start,
            epochs,
            producers,
        };
        self.replica = Replica::new(self.config.clone(), restored);
        self.alive = true;
    }

    pub fn whole(&self) -> Vec<String> {
        tell::whole(&self.replica, &self.log)
    }

    pub fn flushed(&mut self, end: Offset) {
        self.durable_end = self.durable_end.max(end.min(self.end()));
    }

    fn end(&self) -> Offset {
        self.log.last().map_or(self.log_start, |batch| batch.header.next_offset())
    }

    /// Returns the event by which an effect completes at once.
    fn carry_out(&mut self, effect: Effect) -> Option<Event> {
        match effect {
            Effect::Write(batch) => self.log.push(batch),
            Effect::Flush { epoch, end } => self.flush = Some((epoch, end)),
            Effect::Truncate { to } => {
                self.log.retain(|batch| batch.header.last_offset() < to);
                self.durable_end = self.durable_end.min(self.end());
                return Some(Event::Truncated { end: self.end(), producers: self.rebuild().0 });
            }
            Effect::RestartAt(offset) => {
                self.log.clear();
                (self.log_start, self.durable_end) = (offset, offset);
            }
            Effect::MoveLogStart(start) => {
                self.log_start = start;
                self.log.retain(|batch| batch.header.last_offset() >= start);
            }
            Effect::ProposeIsr(proposal) => self.proposal = Some(proposal),
            Effect::Fetch(fetch) => self.fetch = Some(fetch),
            Effect::StopFetching => self.fetch = None,
            Effect::EpochsChanged => self.epochs = self.replica.epochs().entries().to_vec(),
            Effect::Reply { .. } | Effect::DeleteReplied { .. } | Effect::Aborted(_) => {}
        }
        None
    }

    fn rebuild(&self) -> (ProducerTable, Vec<EpochStart>) {
        let mut restorer = Restorer::new(&self.config, self.epochs.iter().copied());
        for batch in &self.log {
            restorer.batch(&batch.header, control(batch).as_ref());
        }
        let (producers, epochs) = restorer.finish();
        (producers, epochs.entries().to_vec())
    }
}
