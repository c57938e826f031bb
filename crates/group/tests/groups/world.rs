//! A coordinator in its frame, with a log that takes its records and a clock that the test moves.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use ottla_coordinator::{Batch, Frame, Moment, Producer, Record, Ticket};
use ottla_group::{
    Call, Caller, GroupConfig, GroupCoordinator, GroupRecord, Request, Response, TopicFacts, Topics,
};
use ottla_wire::messages::{ConsumerGroupDescribeResponse, DeleteGroupsResponse, DescribeGroupsResponse};
use ottla_wire::primitives::{Message, Str, encode_to_bytes};
use ottla_wire::{Instant, Offset, Timestamp, TopicId, Uuid};

/// When the clock of every test starts.
const BEGINNING: Timestamp = Timestamp(1_700_000_000_000);

/// What the log holds.
#[derive(Clone, Debug)]
pub enum Entry {
    Record {
        producer: Option<Producer>,
        record: Record,
    },
    /// A transaction has ended.
    Marker {
        producer: Producer,
        commit: bool,
    },
}

/// A coordinator and what surrounds it.
pub struct World {
    frame: Frame<GroupCoordinator>,
    config: GroupConfig,
    topics: TestTopics,
    since_beginning: Duration,
    log: Vec<Entry>,
    /// Appended and not committed yet: see [`World::hold`].
    uncommitted: Vec<Batch>,
    holding: bool,
    tickets: u64,
    steps: u128,
    /// The version of each request that is not answered yet.
    versions: BTreeMap<Ticket, i16>,
    answers: BTreeMap<Ticket, Response>,
}

impl World {
    pub fn new(config: GroupConfig) -> World {
        let topics = TestTopics::default();
        let core = GroupCoordinator::new(config.clone(), Arc::new(topics.clone()));
        let mut world = World {
            frame: Frame::loading(core),
            config,
            topics,
            since_beginning: Duration::ZERO,
            log: Vec::new(),
            uncommitted: Vec::new(),
            holding: false,
            tickets: 0,
            steps: 0,
            versions: BTreeMap::new(),
            answers: BTreeMap::new(),
        };
        let at = world.moment();
        world.frame.loaded(&at);
        world.work_off();
        world
    }

    /// A coordinator that finds `log`.
    pub fn with_log(config: GroupConfig, log: Vec<Entry>) -> World {
        let mut world = World::new(config);
        world.log = log;
        world.reload();
        world
    }

    pub fn now(&self) -> Instant {
        Instant(0) + self.since_beginning
    }

    pub fn wall(&self) -> Timestamp {
        Timestamp(BEGINNING.0 + self.since_beginning.as_millis() as i64)
    }

    /// Asks. The answer may come at once or later.
    pub fn ask(&mut self, caller: &Caller, request: Request) -> Ticket {
        self.tickets += 1;
        let ticket = Ticket(self.tickets);
        self.versions.insert(ticket, caller.version);
        let at = self.moment();
        let call = Call { caller: caller.clone(), request };
        self.frame.handle(&at, ticket, call).expect("the coordinator serves");
        self.work_off();
        ticket
    }

    /// Asks what is answered at once.
    pub fn call(&mut self, caller: &Caller, request: Request) -> Response {
        let ticket = self.ask(caller, request);
        self.answer(ticket).expect("answered at once")
    }

    /// The answer, if there is one. It is given once.
    pub fn answer(&mut self, ticket: Ticket) -> Option<Response> {
        self.answers.remove(&ticket)
    }

    /// Lets time pass, with every timer at its moment.
    pub fn advance(&mut self, by: Duration) {
        let end = self.since_beginning + by;
        while let Some(deadline) = self.frame.next_deadline().map(|at| at.since(Instant(0)))
            && deadline <= end
        {
            self.since_beginning = deadline.max(self.since_beginning);
            let at = self.moment();
            self.frame.tick(&at);
            self.work_off();
        }
        self.since_beginning = end;
    }

    /// Another broker takes over: it knows the log and nothing else. Who waits for an answer waits in vain.
    pub fn reload(&mut self) {
        let core = GroupCoordinator::new(self.config.clone(), Arc::new(self.topics.clone()));
        self.frame = Frame::loading(core);
        self.uncommitted.clear();
        self.versions.clear();
        self.answers.clear();
        for (offset, entry) in self.log.clone().into_iter().enumerate() {
            match entry {
                Entry::Record { producer, record } => {
                    let offset = Offset(offset as i64);
                    self.frame.replay(offset, producer, record).expect("what was written is read");
                }
                Entry::Marker { producer, commit } => self.frame.end_transaction(producer, commit),
            }
        }
        let at = self.moment();
        self.frame.loaded(&at);
        self.work_off();
    }

    /// The partition cannot be written to, or can be again.
    pub fn set_writable(&mut self, writable: bool) {
        let at = self.moment();
        self.frame.set_writable(&at, writable);
        self.work_off();
    }

    /// Appends are not committed for now, so nothing that hangs on them leaves.
    pub fn hold(&mut self) {
        self.holding = true;
    }

    /// Everything appended is committed.
    pub fn release(&mut self) {
        self.holding = false;
        self.work_off();
    }

    /// A transaction's marker is written.
    pub fn end_transaction(&mut self, producer: Producer, commit: bool) {
        self.log.push(Entry::Marker { producer, commit });
        self.frame.end_transaction(producer, commit);
        self.work_off();
    }

    /// The topics of the cluster become what `change` makes of them.
    pub fn change_topics(&mut self, change: impl FnOnce(&mut TestTopics)) {
        let before = self.topics.clone();
        change(&mut self.topics);
        let gone = |facts: &&TopicFacts| self.topics.by_id(facts.id).is_none();
        let deleted: Vec<Str> =
            before.by_name.values().filter(gone).map(|facts| facts.name.clone()).collect();
        let topics = Arc::new(self.topics.clone());
        let at = self.moment();
        self.frame.act(|core, out| core.topics_changed(&at, topics, &deleted, out));
        self.work_off();
    }

    pub fn configure(&mut self, change: impl FnOnce(&mut GroupConfig)) {
        change(&mut self.config);
        self.frame.core_mut().configure(self.config.clone());
    }

    pub fn set_others_bytes(&mut self, bytes: usize) {
        self.frame.core_mut().set_others_bytes(bytes);
    }

    pub fn topics(&self) -> &TestTopics {
        &self.topics
    }

    /// Sets `group.max.size` and gives what it was.
    pub fn set_size(&mut self, len: usize) -> usize {
        let before = self.config.classic_size_max;
        self.configure(|config| config.classic_size_max = len);
        before
    }

    /// When the coordinator wants to be woken.
    pub fn next_deadline(&self) -> Option<Instant> {
        self.frame.next_deadline()
    }

    pub fn core(&self) -> &GroupCoordinator {
        self.frame.core()
    }

    pub fn log(&self) -> &[Entry] {
        &self.log
    }

    /// The records written since the log had `from` entries, read.
    pub fn written_since(&self, from: usize) -> Vec<GroupRecord> {
        self.log[from..].iter().filter_map(Entry::record).collect()
    }

    /// What compaction leaves of the log, and is not a tombstone: the last committed record of each key, in
    /// the order of keys.
    pub fn compacted(&self) -> Vec<GroupRecord> {
        let mut latest = BTreeMap::new();
        let mut open: BTreeMap<Producer, Vec<(usize, Record)>> = BTreeMap::new();
        for (at, entry) in self.log.iter().enumerate() {
            match entry {
                Entry::Record { producer: Some(producer), record } => {
                    open.entry(*producer).or_default().push((at, record.clone()));
                }
                Entry::Record { producer: None, record } => {
                    latest.insert(record.key.clone(), (at, record.clone()));
                }
                Entry::Marker { producer, commit } => {
                    let ended = open.remove(producer).unwrap_or_default();
                    for (at, record) in ended.into_iter().filter(|_| *commit) {
                        if latest.get(&record.key).is_none_or(|(later, _)| *later < at) {
                            latest.insert(record.key.clone(), (at, record));
                        }
                    }
                }
            }
        }
        let kept = latest.into_values().map(|(_, record)| record).filter(|record| record.value.is_some());
        kept.map(|record| GroupRecord::decode(record).expect("readable")).collect()
    }

    /// The law of coordinators: what the log says is what a coordinator that reads it knows, and what this
    /// one knows of every group that is not in the middle of a change.
    pub fn check_against_log(&self) {
        let mut other = World::with_log(self.config.clone(), Vec::new());
        other.topics = self.topics.clone();
        other.since_beginning = self.since_beginning;
        other.log = self.log.clone();
        other.reload();
        let written = other.log.len() > self.log.len();
        assert!(
            !written,
            "a coordinator that takes over has nothing to add: {:?}",
            &other.log[self.log.len()..]
        );

        let sorted = |records: Vec<GroupRecord>| {
            let by_key = records.into_iter().map(|record| (record.encode().key, record));
            by_key.collect::<BTreeMap<_, _>>().into_values().collect::<Vec<_>>()
        };
        let replayed = other.core().records();
        let lived = self.core().records();
        // What was about to move (a group that had just become classic) moves at once after loading.
        let moves = replayed.in_motion.difference(&lived.in_motion).next();
        assert_eq!(moves, None, "nothing else moves after loading");
        let settled = |record: &GroupRecord| !replayed.in_motion.contains(&group_of(record));
        let compacted: Vec<_> = self.compacted().into_iter().filter(settled).collect();
        let found: Vec<_> = replayed.records.iter().filter(|record| settled(record)).cloned().collect();
        assert_eq!(sorted(found), compacted, "replayed, and the compacted log");
        let settled = |record: &GroupRecord| !lived.in_motion.contains(&group_of(record));
        let expected: Vec<_> = replayed.records.into_iter().filter(settled).collect();
        let found: Vec<_> = lived.records.iter().filter(|record| settled(record)).cloned().collect();
        assert_eq!(sorted(found), sorted(expected), "lived, and replayed");
    }

    fn moment(&mut self) -> Moment {
        self.steps += 1;
        Moment { now: self.now(), wall: self.wall(), uuid: Uuid(self.steps.to_be_bytes()) }
    }

    /// Appends what is to be appended, commits it unless held, and takes the answers that may leave.
    fn work_off(&mut self) {
        while let Some(batch) = self.frame.next_batch() {
            self.uncommitted.push(batch);
        }
        if !self.holding {
            for batch in std::mem::take(&mut self.uncommitted) {
                let producer = batch.producer;
                let entries = batch.records.into_iter().map(|record| Entry::Record { producer, record });
                self.log.extend(entries);
                self.frame.committed();
            }
        }
        // This checks, in builds for tests, that every change of a group was counted.
        self.frame.core().bytes();
        for reply in self.frame.take_released() {
            let version = self.versions.remove(&reply.to).expect("a request is answered once");
            check_encodes(&reply.response, version);
            self.answers.insert(reply.to, reply.response);
        }
    }
}

impl Entry {
    pub fn record(&self) -> Option<GroupRecord> {
        match self {
            Entry::Record { record, .. } => Some(GroupRecord::decode(record.clone()).expect("readable")),
            Entry::Marker { .. } => None,
        }
    }
}

/// An answer MUST be one that the version of its request can hold.
fn check_encodes(response: &Response, version: i16) {
    fn check<M: Message>(message: &M, version: i16) {
        let version = version.clamp(M::MIN_VERSION, M::MAX_VERSION);
        encode_to_bytes(message, version).unwrap_or_else(|error| panic!("{} {version}: {error}", M::NAME));
    }
    match response {
        Response::JoinGroup(message) => check(message, version),
        Response::SyncGroup(message) => check(message, version),
        Response::Heartbeat(message) => check(message, version),
        Response::LeaveGroup(message) => check(message, version),
        Response::ConsumerGroupHeartbeat(message) => check(message, version),
        Response::OffsetCommit(message) => check(message, version),
        Response::TxnOffsetCommit(message) => check(message, version),
        Response::OffsetDelete(message) => check(message, version),
        Response::ListGroups(message) => check(message, version),
        Response::DescribeGroup(group) => {
            let groups = vec![group.clone()];
            check(&DescribeGroupsResponse { groups, ..Default::default() }, version);
        }
        Response::ConsumerGroupDescribe(group) => {
            let groups = vec![group.clone()];
            check(&ConsumerGroupDescribeResponse { groups, ..Default::default() }, version);
        }
        Response::DeleteGroup(result) => {
            let results = vec![result.clone()];
            check(&DeleteGroupsResponse { results, ..Default::default() }, version);
        }
        // One group of several, put together by the API file; history is not on the wire.
        Response::OffsetFetch(_) | Response::History(_) => {}
    }
}

/// The group that a record is about.
pub fn group_of(record: &GroupRecord) -> Str {
    match record {
        GroupRecord::Offset { key, .. } => key.group.clone(),
        GroupRecord::Group { key, .. } => key.group.clone(),
        GroupRecord::ConsumerGroup { key, .. } => key.group_id.clone(),
        GroupRecord::ConsumerGroupPartitions { key, .. } => key.group_id.clone(),
        GroupRecord::ConsumerGroupMember { key, .. } => key.group_id.clone(),
        GroupRecord::TargetAssignment { key, .. } => key.group_id.clone(),
        GroupRecord::TargetAssignmentMember { key, .. } => key.group_id.clone(),
        GroupRecord::CurrentAssignment { key, .. } => key.group_id.clone(),
        GroupRecord::RegularExpression { key, .. } => key.group_id.clone(),
    }
}

/// Topics that a test makes up.
#[derive(Clone, Debug, Default)]
pub struct TestTopics {
    by_name: BTreeMap<Str, TopicFacts>,
    racks: BTreeMap<(TopicId, i32), Vec<Str>>,
    made: u128,
}

impl TestTopics {
    /// Makes a topic, or gives it so many partitions.
    pub fn set(&mut self, name: &str, partitions: i32) -> TopicId {
        if let Some(facts) = self.by_name.get_mut(name) {
            facts.partitions = partitions;
            return facts.id;
        }
        self.made += 1;
        let id = Uuid((self.made << 64).to_be_bytes());
        self.by_name.insert(name.into(), TopicFacts { id, name: name.into(), partitions });
        id
    }

    pub fn delete(&mut self, name: &str) {
        self.by_name.remove(name);
    }

    pub fn set_racks(&mut self, name: &str, partition: i32, racks: &[&str]) {
        let id = self.by_name[name].id;
        self.racks.insert((id, partition), racks.iter().map(|rack| Str::from(*rack)).collect());
    }
}

impl Topics for TestTopics {
    fn by_name(&self, name: &str) -> Option<TopicFacts> {
        self.by_name.get(name).cloned()
    }

    fn by_id(&self, id: TopicId) -> Option<TopicFacts> {
        self.by_name.values().find(|facts| facts.id == id).cloned()
    }

    fn each_name(&self, visit: &mut dyn FnMut(&Str)) {
        self.by_name.keys().for_each(visit);
    }

    fn racks(&self, id: TopicId, partition: i32) -> Vec<Str> {
        self.racks.get(&(id, partition)).cloned().unwrap_or_default()
    }
}
