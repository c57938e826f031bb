//! The partition of a broker: the machine that brokers run, on a simulated disk, with flushes that take their
//! time.

use bytes::Bytes;
use ottla_log::{Cold, DataDir, FlushDone, FlushJob, Log, LogConfig, LogError};
use ottla_partition::{AppendOutcome, DeleteOutcome, Due, Ended, Identity, PartitionView, Wish};
use ottla_replica::{Event, LeaderAnswer, LeaderReply, ProducerTable, Replica, ReplicaConfig, View};
use ottla_wire::{PartitionIndex, TopicId};

use crate::message::RequestId;
use crate::mutation::Mutation;
use crate::network::Party;

pub use ottla_partition::Turn;

pub const TOPIC: &str = "t";
pub const PARTITION: PartitionIndex = PartitionIndex(0);

/// The machine, with who waits for it in a simulation.
pub type Machine = ottla_partition::Partition<Caller, Caller>;

/// What leaves a partition after a turn.
#[derive(Debug)]
pub enum Out {
    Reply {
        to: Caller,
        outcome: AppendOutcome,
    },
    Deleted {
        to: Caller,
        outcome: DeleteOutcome,
    },
    Wish(Wish),
    /// A flush has begun: [`Partition::flushed`] is due after a while.
    Flush(u64),
}

/// Who waits for an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Caller {
    pub place: Party,
    pub request: RequestId,
    pub acks: ottla_replica::Acks,
}

/// The flush under way.
struct Flush {
    number: u64,
    work: Work,
}

enum Work {
    ToDo(FlushJob),
    /// The disk was fast, only the news is slow.
    Done(FlushDone),
}

impl Work {
    fn done(self) -> FlushDone {
        match self {
            Work::ToDo(job) => job.run(),
            Work::Done(done) => done,
        }
    }
}

/// A partition of a running broker.
pub struct Partition {
    machine: Machine,
    /// What everybody but the machine sees: the view after its last turn.
    published: PartitionView,
    dir: DataDir,
    replica: ReplicaConfig,
    config: LogConfig,
    flush: Option<Flush>,
    flushes: u64,
    /// Something that is nobody's fault but the machine's.
    complaint: Option<String>,
    mutation: Option<Mutation>,
}

impl Partition {
    /// Opens the partition's files, or makes them.
    pub fn open(
        dir: &DataDir,
        topic_id: TopicId,
        replica: ReplicaConfig,
        config: LogConfig,
        mutation: Option<Mutation>,
    ) -> Result<Partition, LogError> {
        let listed =
            dir.partitions().map_err(|error| LogError::Io { doing: "list partitions".to_owned(), error })?;
        let identity = Identity { topic: TOPIC, topic_id, index: PARTITION };
        let mut found = match listed.into_iter().find(|found| found.topic == TOPIC) {
            Some(there) => {
                let (recovery, high_watermark) = (there.recovery, there.high_watermark);
                ottla_partition::open(dir, identity, &replica, config.clone(), recovery, high_watermark)?
            }
            None => ottla_partition::create(dir, identity, &replica, config.clone())?,
        };
        if mutation == Some(Mutation::ForgetProducers) {
            found.restored.producers = ProducerTable::new(&replica);
        }
        let mut machine = Machine::new(Replica::new(replica.clone(), found.restored), found.log);
        let published = machine.view();
        machine.adopted();
        Ok(Partition {
            machine,
            published,
            dir: dir.clone(),
            replica,
            config,
            flush: None,
            flushes: 0,
            complaint: None,
            mutation,
        })
    }

    pub fn view(&self) -> &View {
        &self.published.replica
    }

    /// The view with its bounds in the files, for readers.
    pub fn published(&self) -> &PartitionView {
        &self.published
    }

    pub fn log(&self) -> &Log {
        self.machine.log()
    }

    pub fn complaint(&self) -> Option<&String> {
        self.complaint.as_ref()
    }

    pub fn has_failed(&self) -> bool {
        self.machine.failure().is_some()
    }

    pub fn is_flushing(&self) -> bool {
        self.machine.is_flushing()
    }

    /// For what needs no distortion.
    pub fn machine(&mut self) -> &mut Machine {
        &mut self.machine
    }

    pub fn leader_answered(&mut self, turn: Turn, mut answer: LeaderAnswer) {
        if self.mutation == Some(Mutation::IgnoreDivergence)
            && let LeaderReply::Diverged { .. } = answer.reply
        {
            let (high_watermark, log_start) = (self.view().high_watermark, self.view().log_start);
            answer.reply = LeaderReply::Records { records: Bytes::new(), high_watermark, log_start };
        }
        self.machine.leader_answered(turn, answer);
    }

    pub fn configure(&mut self, turn: Turn, replica: ReplicaConfig) {
        if replica != self.replica {
            self.replica = replica.clone();
            self.machine.configure(turn, replica, self.config.clone());
        }
    }

    /// Time has passed. What a broker's data directory does in the background it does now, if it is time for
    /// that.
    pub fn tick(&mut self, turn: Turn, due: Due) {
        self.machine.tick(turn, due);
        if due.retention && !self.has_failed() {
            // A failure takes the directory offline, which the process looks at.
            let _offline = self.dir.checkpoint();
            self.dir.look_for_room(turn.now);
            self.dir.do_chores();
        }
    }

    /// What the flush under way makes durable is what was written when it began, not what was when it ends.
    pub fn run_flush(&mut self) {
        if let Some(Flush { number, work }) = self.flush.take() {
            self.flush = Some(Flush { number, work: Work::Done(work.done()) });
        }
    }

    /// A flush has come back.
    pub fn flushed(&mut self, turn: Turn, number: u64) {
        if let Some(flush) = self.flush.take_if(|flush| flush.number == number) {
            self.machine.flushed(turn, flush.work.done());
        }
    }

    /// Ends the turn of the machine, and lets everybody see and hear what came of it.
    pub fn end_turn(&mut self, turn: Turn, out: &mut Vec<Out>) {
        let Ended { view, appends, deletions, wishes, flush } = self.machine.end_turn(turn);
        self.published = view;
        out.extend(appends.map(|(to, outcome)| Out::Reply { to, outcome }));
        out.extend(deletions.map(|(to, outcome)| Out::Deleted { to, outcome }));
        out.extend(wishes.map(Out::Wish));
        let begun = flush.is_some();
        if let Some(job) = flush {
            self.flushes += 1;
            self.flush = Some(Flush { number: self.flushes, work: Work::ToDo(job) });
            out.push(Out::Flush(self.flushes));
        }
        self.examine();
        if begun && self.mutation == Some(Mutation::AckBeforeFlush) {
            let (epoch, end) = (self.view().leader_epoch, self.view().log_end);
            self.machine.step(turn, Event::Flushed { epoch, end });
            self.end_turn(turn, out);
        }
    }

    /// Leaves the files as a clean stop does.
    pub fn close(mut self, turn: Turn) -> Result<(), LogError> {
        if let Some(job) = self.machine.close()? {
            self.machine.flushed(turn, job.run());
        }
        match self.machine.failure() {
            Some(error) => Err(LogError::Offline(error.to_string())),
            None => Ok(()),
        }
    }

    /// What must never be seen of a machine on a disk that is sound.
    fn examine(&mut self) {
        if self.complaint.is_some() || !self.dir.health().is_online() {
            return;
        }
        self.complaint = match self.machine.failure() {
            Some(error) => Some(format!("the log refuses what it should take: {error}")),
            None => self.overgrown(),
        };
    }

    /// A segment that is larger than it may be, and not for the sake of a single batch.
    fn overgrown(&self) -> Option<String> {
        let reader = self.log().reader();
        let segments = reader.segments();
        let large = segments.iter().rev().take(2).find(|segment| segment.size > self.config.segment_bytes)?;
        let bound = self.log().bound(large.end);
        let first = reader.read(large.base, 1, bound, true, Cold::Wait).ok()?.first_batch_len();
        let (base, size) = (large.base, large.size);
        (size > first as u64).then(|| format!("the segment at {base} has grown to {size} bytes"))
    }
}
