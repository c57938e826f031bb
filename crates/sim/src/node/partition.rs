//! One replica with its log: feeds events to the core and carries its effects out on the files, as a broker's shard does.

mod flush;

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;
use ottla_log::{DataDir, Log, LogConfig, LogError, Recovery, Replay};
use ottla_replica::{
    Append, AppendError, Appended, DeleteError, Durability, Effect, Event, IsrProposal, LeaderReply,
    ProducerTable, Replica, ReplicaConfig, ReplyId, Restored, Restorer, View, WriteMarker,
};
use ottla_wire::batch::{BatchHeader, ControlRecord, Origin};
use ottla_wire::messages::ProducerSnapshot;
use ottla_wire::{AbortedTxn, Instant, LeaderEpoch, Offset, PartitionIndex, Timestamp, TopicId};

use self::flush::Flushing;
use super::convert::likely_marker;
use crate::message::RequestId;
use crate::mutation::Mutation;
use crate::network::Place;

pub const TOPIC: &str = "t";
pub const PARTITION: PartitionIndex = PartitionIndex(0);

/// The times of a turn.
#[derive(Clone, Copy, Debug)]
pub struct Turn {
    pub now: Instant,
    pub wall: Timestamp,
}

/// What leaves a partition after a turn.
#[derive(Debug)]
pub enum Out {
    Reply {
        to: Caller,
        outcome: Result<Appended, AppendError>,
    },
    Deleted {
        to: Caller,
        outcome: Result<Offset, DeleteError>,
    },
    ProposeIsr(IsrProposal),
    Fetch(ottla_replica::FetchRequest),
    StopFetching,
    /// A flush has begun: [`Partition::flushed`] is due after a while.
    Flush(u64),
}

/// Who waits for an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Caller {
    pub place: Place,
    pub request: RequestId,
    pub acks: ottla_replica::Acks,
}

/// A replica and its files.
pub struct Partition {
    core: Replica,
    log: Log,
    dir: DataDir,
    config: ReplicaConfig,
    log_config: LogConfig,
    callers: BTreeMap<ReplyId, Caller>,
    next_reply: u64,
    /// For which epoch a flush is wanted that has not begun.
    flush_wanted: Option<LeaderEpoch>,
    flushing: Option<Flushing>,
    flushes: u64,
    held: Vec<(Caller, Result<Appended, AppendError>)>,
    failed: bool,
    /// A disk that is sound has let us down: that is nobody's fault but ours.
    complaint: Option<String>,
    mutation: Option<Mutation>,
}

/// Rebuilds what the core knows while the log is read.
struct Rebuild(Restorer);

impl Replay for Rebuild {
    fn snapshot(&mut self, snapshot: Option<ProducerSnapshot>) {
        if let Some(snapshot) = snapshot {
            self.0.snapshot(&snapshot);
        }
    }

    fn batch(&mut self, header: &BatchHeader, control: Option<ControlRecord>) -> Option<AbortedTxn> {
        self.0.batch(header, control.as_ref())
    }
}

impl Partition {
    /// Opens the partition's files, or makes them.
    pub fn open(
        dir: &DataDir,
        topic_id: TopicId,
        config: ReplicaConfig,
        log_config: LogConfig,
        mutation: Option<Mutation>,
    ) -> Result<Partition, LogError> {
        let listed =
            dir.partitions().map_err(|error| LogError::Io { doing: "list partitions".to_owned(), error })?;
        let (core, log) = match listed.into_iter().find(|found| found.topic == TOPIC) {
            Some(found) => {
                reopen(dir, topic_id, &config, &log_config, found.recovery, found.high_watermark, mutation)?
            }
            None => {
                let log = Log::create(dir, TOPIC, PARTITION, topic_id, log_config.clone())?;
                (Replica::new(config.clone(), Restored::empty(&config)), log)
            }
        };
        Ok(Partition {
            core,
            log,
            dir: dir.clone(),
            config,
            log_config,
            callers: BTreeMap::new(),
            next_reply: 0,
            flush_wanted: None,
            flushing: None,
            flushes: 0,
            held: Vec::new(),
            failed: false,
            complaint: None,
            mutation,
        })
    }

    pub fn view(&self) -> View {
        self.core.view()
    }

    pub fn log(&self) -> &Log {
        &self.log
    }

    pub fn complaint(&self) -> Option<&String> {
        self.complaint.as_ref()
    }

    pub fn has_failed(&self) -> bool {
        self.failed
    }

    pub fn append(&mut self, turn: Turn, append: Append, to: Caller, out: &mut Vec<Out>) {
        self.roll_for(turn, append.batch.header());
        let reply = self.caller(to);
        let append = Append { reply, origin: Origin::Client, ..append };
        self.turn(turn, Event::Append(append), out);
    }

    pub fn write_marker(&mut self, turn: Turn, marker: WriteMarker, to: Caller, out: &mut Vec<Out>) {
        // As large as a marker gets; what it holds does not matter for whether it fits.
        let likely = likely_marker(self.log.log_end(), &marker, turn.wall);
        self.roll_for(turn, &likely);
        let reply = self.caller(to);
        self.turn(turn, Event::WriteMarker(WriteMarker { reply, ..marker }), out);
    }

    pub fn delete_records(
        &mut self,
        turn: Turn,
        request: ottla_replica::DeleteRecords,
        to: Caller,
        out: &mut Vec<Out>,
    ) {
        let reply = self.caller(to);
        self.turn(turn, Event::DeleteRecords(ottla_replica::DeleteRecords { reply, ..request }), out);
    }

    pub fn leader_answered(
        &mut self,
        turn: Turn,
        mut answer: ottla_replica::LeaderAnswer,
        out: &mut Vec<Out>,
    ) {
        if let LeaderReply::Records { records, .. } = &mut answer.reply {
            if let Ok(first) = BatchHeader::parse(records)
                && first.base_offset >= self.log.log_end()
            {
                self.roll_for(turn, &first);
            }
            *records = self.fitting(records);
        }
        if self.mutation == Some(Mutation::IgnoreDivergence)
            && let LeaderReply::Diverged { .. } = answer.reply
        {
            let view = self.core.view();
            answer.reply = LeaderReply::Records {
                records: Bytes::new(),
                high_watermark: view.high_watermark,
                log_start: view.log_start,
            };
        }
        self.turn(turn, Event::LeaderAnswered(answer), out);
    }

    pub fn configure(&mut self, turn: Turn, config: ReplicaConfig, out: &mut Vec<Out>) {
        if config != self.config {
            self.config = config.clone();
            self.turn(turn, Event::Configured(config), out);
        }
    }

    /// Time has passed.
    pub fn tick(&mut self, turn: Turn, out: &mut Vec<Out>) {
        if self.log.flush_due(turn.now) && self.config.durability == Durability::PageCache {
            self.flush_wanted.get_or_insert(self.core.view().leader_epoch);
        }
        self.turn(turn, Event::Tick, out);
    }

    /// Housekeeping that a broker does now and then: retention, and a checkpoint that vouches for what is flushed.
    pub fn keep_house(&mut self, turn: Turn, vouch: bool, out: &mut Vec<Out>) {
        if self.failed {
            return;
        }
        let (core, high_watermark) = (&self.core, self.core.view().high_watermark);
        match self.log.retain(turn.wall, high_watermark, &mut || core.snapshot_producers()) {
            Ok(retained) if retained.log_start > self.core.view().log_start => {
                self.turn(turn, Event::LogStartMoved(retained.log_start), out);
            }
            Ok(_) => {}
            Err(error) => self.storage_failed(turn, &error, out),
        }
        if vouch && self.flushing.is_none() {
            let core = &self.core;
            if let Some(job) = self.log.begin_vouch(&mut || core.snapshot_producers()) {
                self.start(self.core.view().leader_epoch, job, out);
            }
        }
        if let Err(error) = self.dir.checkpoint() {
            self.storage_failed(turn, &LogError::Offline(error.to_string()), out);
        }
        self.dir.do_chores();
    }

    /// Leaves the files as a clean stop does.
    pub fn close(mut self) -> Result<(), LogError> {
        if let Some(job) = self.log.close(&self.core.snapshot_producers())? {
            self.finish(job.run())?;
        }
        Ok(())
    }

    pub fn is_flushing(&self) -> bool {
        self.flushing.is_some()
    }

    /// Feeds one event, carries out what comes of it, writes, and lets the answers go.
    pub fn turn(&mut self, turn: Turn, event: Event, out: &mut Vec<Out>) {
        let mut events = VecDeque::from([event]);
        while let Some(event) = events.pop_front() {
            if let Err(error) = self.step(turn, event, &mut events, out) {
                self.storage_failed(turn, &error, out);
                return;
            }
        }
        if let Err(error) = self.log.write() {
            return self.storage_failed(turn, &error, out);
        }
        self.let_go(out);
        self.log.set_high_watermark(self.core.view().high_watermark);
        self.begin_flush(turn, out);
    }

    fn step(
        &mut self,
        turn: Turn,
        event: Event,
        events: &mut VecDeque<Event>,
        out: &mut Vec<Out>,
    ) -> Result<(), LogError> {
        let mut effects = Vec::new();
        self.core.step(turn.now, turn.wall, event, &mut effects);
        for effect in effects {
            match effect {
                Effect::Write(batch) => {
                    if self.log.roll_due(&batch.header, turn.wall) {
                        return Err(LogError::SegmentFull {
                            base_offset: batch.header.base_offset,
                            segment: self.log.log_start(),
                        });
                    }
                    self.log.append(batch)?;
                }
                Effect::Flush { epoch, end } if self.mutation == Some(Mutation::AckBeforeFlush) => {
                    events.push_back(Event::Flushed { epoch, end });
                }
                Effect::Flush { epoch, .. } => self.flush_wanted = Some(epoch),
                Effect::Truncate { to } => events.push_back(self.truncate(to)?),
                Effect::RestartAt(offset) => self.log.restart_at(offset)?,
                Effect::MoveLogStart(start) => {
                    self.log.write()?;
                    self.log.move_start(start)?;
                }
                Effect::Reply { to, outcome } => {
                    if let Some(caller) = self.callers.remove(&to) {
                        self.held.push((caller, outcome));
                    }
                }
                Effect::DeleteReplied { to, outcome } => {
                    self.log.write()?;
                    self.dir.checkpoint().map_err(|error| LogError::Offline(error.to_string()))?;
                    if let Some(caller) = self.callers.remove(&to) {
                        out.push(Out::Deleted { to: caller, outcome });
                    }
                }
                Effect::ProposeIsr(proposal) => out.push(Out::ProposeIsr(proposal)),
                Effect::Fetch(fetch) => out.push(Out::Fetch(fetch)),
                Effect::StopFetching => out.push(Out::StopFetching),
                Effect::EpochsChanged => self.log.store_epochs(self.core.epochs().entries()),
                Effect::Aborted(txn) => self.log.append_aborted(txn),
            }
        }
        Ok(())
    }

    /// Cuts the log and rebuilds the producers from what is left. A flush may be under way: its outcome comes as ever.
    fn truncate(&mut self, to: Offset) -> Result<Event, LogError> {
        let end = self.log.truncate_to(to)?;
        let mut rebuild = Rebuild(Restorer::new(&self.config, []));
        self.log.replay(&mut rebuild)?;
        let (producers, _) = rebuild.0.finish();
        Ok(Event::Truncated { end, producers })
    }

    fn let_go(&mut self, out: &mut Vec<Out>) {
        out.extend(self.held.drain(..).map(|(to, outcome)| Out::Reply { to, outcome }));
    }

    /// Nothing that this turn promised may leave as a success.
    fn storage_failed(&mut self, turn: Turn, error: &LogError, out: &mut Vec<Out>) {
        if self.dir.health().is_online() {
            self.complaint.get_or_insert_with(|| format!("the log refuses what it should take: {error}"));
        }
        self.failed = true;
        for (_, outcome) in &mut self.held {
            *outcome = outcome.and(Err(AppendError::Storage));
        }
        let mut effects = Vec::new();
        self.core.step(turn.now, turn.wall, Event::StorageFailed, &mut effects);
        for effect in effects {
            if let Effect::Reply { to, outcome } = effect
                && let Some(caller) = self.callers.remove(&to)
            {
                self.held.push((caller, outcome));
            }
        }
        self.let_go(out);
    }

    fn roll_for(&mut self, turn: Turn, next: &BatchHeader) {
        if !self.failed && self.log.roll_due(next, turn.wall) {
            // A failure shows at the write.
            let _ = self.log.roll(&self.core.snapshot_producers());
        }
    }

    /// As much of a run as goes into the segment that grows: in the middle of a run no segment can be started, since the
    /// core is already past it when the log gets to it.
    fn fitting(&self, records: &Bytes) -> Bytes {
        let size = self.log.reader().segments().last().map_or(0, |segment| segment.size);
        let (mut at, mut first) = (0, true);
        while let Ok(header) = BatchHeader::parse(&records[at..]) {
            let next = at + header.total_len();
            let full = size + next as u64 > self.log_config.segment_bytes;
            if next > records.len() || (full && !first) {
                break;
            }
            (at, first) = (next, false);
        }
        // What remains of a cut batch goes along: the core has to cope with it.
        if at == records.len()
            || BatchHeader::parse(&records[at..]).is_ok_and(|next| at + next.total_len() <= records.len())
        {
            return records.slice(..at);
        }
        records.clone()
    }

    fn caller(&mut self, to: Caller) -> ReplyId {
        self.next_reply += 1;
        let reply = ReplyId(self.next_reply);
        self.callers.insert(reply, to);
        reply
    }
}

fn reopen(
    dir: &DataDir,
    topic_id: TopicId,
    config: &ReplicaConfig,
    log_config: &LogConfig,
    recovery: Recovery,
    high_watermark: Offset,
    mutation: Option<Mutation>,
) -> Result<(Replica, Log), LogError> {
    let mut rebuild = Rebuild(Restorer::new(config, []));
    let mut opened =
        Log::open(dir, TOPIC, PARTITION, Some(topic_id), log_config.clone(), recovery, &mut rebuild)?;
    if opened.epochs_learnt {
        opened.log.store_epochs(&opened.epochs);
    }
    let (mut producers, _) = rebuild.0.finish();
    if mutation == Some(Mutation::ForgetProducers) {
        producers = ProducerTable::new(config);
    }
    let restored = Restored {
        log_start: opened.log.log_start(),
        log_end: opened.log.log_end(),
        durable_end: opened.log.durable_end(),
        high_watermark,
        epochs: opened.epochs,
        producers,
    };
    Ok((Replica::new(config.clone(), restored), opened.log))
}
