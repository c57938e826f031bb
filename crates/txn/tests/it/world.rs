//! A coordinator with its log, its clock, and partitions that take markers when they are told to.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use ottla_coordinator::{Frame, Moment, Record, Refusal, Ticket};
use ottla_txn::producer_ids::HIGH_WATER;
use ottla_txn::transaction::EPOCH_MAX;
use ottla_txn::{
    AddGroup, Call, MarkerOutcome, MarkersAnswer, Outbound, Outcome, Request, Response, Transaction,
    TransactionVersion, TxnConfig, TxnCoordinator, TxnState, WriteMarkers, record,
};
use ottla_wire::messages::add_partitions_to_txn_request::{
    AddPartitionsToTxnTopic, AddPartitionsToTxnTransaction,
};
use ottla_wire::messages::{AddOffsetsToTxnRequest, EndTxnRequest, InitProducerIdRequest};
use ottla_wire::{ErrorCode, Instant, LeaderEpoch, Offset, PartitionIndex, ProducerId, Str, Timestamp, Uuid};

/// Producer id and epoch.
pub type Who = (i64, i16);

pub const COMMIT: Outcome = Outcome::Commit;
pub const ABORT: Outcome = Outcome::Abort;

/// The wall clock at the beginning.
pub const DAWN: Timestamp = Timestamp(1_000_000_000_000);

pub struct World {
    pub frame: Frame<TxnCoordinator>,
    pub config: TxnConfig,
    pub epoch: LeaderEpoch,
    /// What is committed.
    pub log: Vec<Record>,
    /// Whether what is appended is committed at once.
    pub commits: bool,
    /// Whether producer ids come when they are asked for.
    pub supplies: bool,
    /// How many producer ids are asked for and have not come.
    pub wanted: Option<usize>,
    pub next_producer_id: i64,
    /// Requests to write markers that have not been answered, oldest first.
    pub markers: VecDeque<WriteMarkers>,
    pub replies: BTreeMap<Ticket, Response>,
    now: Duration,
    steps: u128,
    tickets: u64,
    /// Batches that were appended and are not committed.
    appended: VecDeque<Vec<Record>>,
}

impl World {
    /// A cluster whose `transaction.version` is this, with nothing in the log.
    pub fn of(version: TransactionVersion) -> World {
        World::with(TxnConfig { transaction_version: version, ..TxnConfig::default() })
    }

    pub fn v2() -> World {
        World::of(TransactionVersion::V2)
    }

    pub fn v1() -> World {
        World::of(TransactionVersion::V1)
    }

    pub fn with(config: TxnConfig) -> World {
        let epoch = LeaderEpoch(0);
        let mut world = World {
            frame: Frame::loading(TxnCoordinator::new(config.clone(), epoch)),
            config,
            epoch,
            log: Vec::new(),
            commits: true,
            supplies: true,
            wanted: None,
            next_producer_id: 1000,
            markers: VecDeque::new(),
            replies: BTreeMap::new(),
            now: Duration::from_secs(1),
            steps: 0,
            tickets: 0,
            appended: VecDeque::new(),
        };
        world.load();
        world
    }

    /// The broker fails and another one takes over, with what is committed. Whatever was asked of the first
    /// is never heard of again.
    pub fn restart(&mut self) {
        self.epoch = LeaderEpoch(self.epoch.0 + 1);
        self.frame = Frame::loading(TxnCoordinator::new(self.config.clone(), self.epoch));
        self.wanted = None;
        self.markers.clear();
        self.replies.clear();
        self.appended.clear();
        self.load();
    }

    fn load(&mut self) {
        for (offset, record) in self.log.iter().enumerate() {
            self.frame.replay(Offset(offset as i64), None, record.clone()).unwrap();
        }
        let at = self.at();
        self.frame.loaded(&at);
        self.pump();
    }

    pub fn at(&mut self) -> Moment {
        self.steps += 1;
        let now = Instant(u64::try_from(self.now.as_nanos()).unwrap());
        Moment { now, wall: self.wall(), uuid: Uuid(self.steps.to_be_bytes()) }
    }

    pub fn wall(&self) -> Timestamp {
        Timestamp(DAWN.0 + i64::try_from(self.now.as_millis()).unwrap())
    }

    /// Appends, commits, and carries out what leaves, until nothing is left to do.
    pub fn pump(&mut self) {
        loop {
            while let Some(batch) = self.frame.next_batch() {
                assert_eq!(batch.producer, None, "no record belongs to a producer's transaction");
                self.appended.push_back(batch.records);
            }
            while self.commits
                && let Some(records) = self.appended.pop_front()
            {
                self.log.extend(records);
                self.frame.committed();
            }
            let released = self.frame.take_released();
            if released.is_empty() {
                break;
            }
            for outbound in released {
                self.carry_out(outbound);
            }
        }
        if self.appended.is_empty() {
            self.check_the_law();
        }
    }

    fn carry_out(&mut self, outbound: Outbound) {
        match outbound {
            Outbound::Reply { to, response } => {
                assert!(self.replies.insert(to, response).is_none(), "a request is answered once");
            }
            Outbound::WriteMarkers(markers) => self.markers.push_back(markers),
            Outbound::WantProducerIds { count } => {
                assert_eq!(self.wanted.replace(count), None, "ids are asked for once");
                if self.supplies {
                    self.supply(count);
                }
            }
        }
    }

    /// Hands in so many producer ids.
    pub fn supply(&mut self, count: usize) {
        self.wanted = None;
        let first = self.next_producer_id;
        self.next_producer_id += count as i64;
        let at = self.at();
        let ids: Vec<ProducerId> = (first..self.next_producer_id).map(ProducerId).collect();
        self.frame.act(|core, out| core.producer_ids(&at, ids, out));
        self.pump();
    }

    /// What is known of each id is what its last record says, as far as the version of that can say it.
    fn check_the_law(&self) {
        let mut told: BTreeMap<_, _> =
            self.log.iter().map(|record| (record.key.clone(), record.clone())).collect();
        told.retain(|_, record| record.value.is_some());
        for (id, lived) in self.frame.core().transactions() {
            let is_told = [TransactionVersion::V0, TransactionVersion::V1].into_iter().any(|version| {
                let lived = record::set(id, lived, version);
                told.get(&lived.key) == Some(&lived)
            });
            assert!(is_told, "the state is what the records say: {id} {lived:?}");
        }
        assert_eq!(self.frame.core().transactions().count(), told.len(), "nothing else is known");
    }

    /// `transaction.version` is raised or lowered while the cluster runs.
    pub fn set_version(&mut self, version: TransactionVersion) {
        self.config.transaction_version = version;
        self.frame.core_mut().set_config(self.config.clone());
    }

    /// Asks, and does not wait for the answer.
    pub fn ask(&mut self, version: i16, request: Request) -> Result<Ticket, Refusal> {
        let at = self.at();
        self.tickets += 1;
        let ticket = Ticket(self.tickets);
        self.frame.handle(&at, ticket, Call { version, request })?;
        self.pump();
        Ok(ticket)
    }

    pub fn call(&mut self, version: i16, request: Request) -> Response {
        let ticket = self.ask(version, request).unwrap();
        self.replies.remove(&ticket).expect("an answer at once")
    }

    pub fn init_with(&mut self, version: i16, request: InitProducerIdRequest) -> Result<Who, ErrorCode> {
        match self.call(version, Request::InitProducerId(request)) {
            Response::InitProducerId(r) => outcome(r.error_code, (r.producer_id, r.producer_epoch)),
            other => panic!("{other:?}"),
        }
    }

    /// A new producer begins.
    pub fn init(&mut self, id: &str) -> Result<Who, ErrorCode> {
        self.init_with(5, init_request(id, (-1, -1)))
    }

    /// A producer goes on.
    pub fn init_as(&mut self, id: &str, who: Who) -> Result<Who, ErrorCode> {
        self.init_with(5, init_request(id, who))
    }

    /// The version of EndTxn that a client of this cluster sends; AddPartitionsToTxn has the same break one
    /// earlier.
    fn speaks_v2(&self) -> bool {
        self.config.transaction_version.bumps_epochs()
    }

    pub fn add_at(&mut self, version: i16, id: &str, who: Who, partitions: &[(&str, i32)]) -> ErrorCode {
        let codes = self.add_codes(version, add_request(id, who, false, partitions));
        assert!(codes.windows(2).all(|pair| pair[0] == pair[1]), "all or none: {codes:?}");
        codes[0]
    }

    pub fn add(&mut self, id: &str, who: Who, partitions: &[(&str, i32)]) -> ErrorCode {
        let version = if self.speaks_v2() { 5 } else { 3 };
        self.add_at(version, id, who, partitions)
    }

    pub fn verify(&mut self, id: &str, who: Who, partitions: &[(&str, i32)]) -> Vec<ErrorCode> {
        self.add_codes(5, add_request(id, who, true, partitions))
    }

    fn add_codes(&mut self, version: i16, request: AddPartitionsToTxnTransaction) -> Vec<ErrorCode> {
        let id = request.transactional_id.clone();
        match self.call(version, Request::AddPartitionsToTxn(request)) {
            Response::AddPartitionsToTxn(result) => {
                assert_eq!(result.transactional_id, id);
                let partitions = result.topic_results.iter().flat_map(|topic| &topic.results_by_partition);
                partitions.map(|partition| code(partition.partition_error_code)).collect()
            }
            other => panic!("{other:?}"),
        }
    }

    pub fn add_offsets_at(&mut self, version: i16, id: &str, who: Who, partition: i32) -> ErrorCode {
        let request = AddOffsetsToTxnRequest {
            transactional_id: Str::from(id),
            producer_id: who.0,
            producer_epoch: who.1,
            group_id: Str::from("group"),
        };
        let request = Request::AddOffsetsToTxn(AddGroup { request, partition: PartitionIndex(partition) });
        match self.call(version, request) {
            Response::AddOffsetsToTxn(response) => code(response.error_code),
            other => panic!("{other:?}"),
        }
    }

    pub fn end_at(&mut self, version: i16, id: &str, who: Who, how: Outcome) -> Result<Who, ErrorCode> {
        match self.call(version, Request::EndTxn(end_request(id, who, how))) {
            Response::EndTxn(r) => outcome(r.error_code, (r.producer_id, r.producer_epoch)),
            other => panic!("{other:?}"),
        }
    }

    pub fn end(&mut self, id: &str, who: Who, how: Outcome) -> Result<Who, ErrorCode> {
        let version = if self.speaks_v2() { 5 } else { 4 };
        self.end_at(version, id, who, how)
    }

    /// One whole transaction with one partition. Gives the producer of the next one.
    pub fn transact(&mut self, id: &str, who: Who, how: Outcome) -> Who {
        assert_eq!(self.add(id, who, &[("t", 0)]), ErrorCode::None);
        let next = self.end(id, who, how).unwrap();
        self.markers_written();
        assert_eq!(self.state(id), TxnState::Complete(how));
        if next == (-1, -1) { who } else { next }
    }

    /// A producer that has the last epoch that clients are given. Asking for each of them would take long.
    pub fn with_last_epoch(&mut self, id: &str) -> Who {
        self.init(id).unwrap();
        let last = Transaction { epoch: EPOCH_MAX, ..self.transaction(id).clone() };
        self.log.push(record::set(&Str::from(id), &last, self.config.transaction_version));
        self.restart();
        self.who(id)
    }

    /// The producer id that the next one to need one gets, if the coordinator has just begun.
    pub fn next_spare(&self) -> i64 {
        self.next_producer_id - HIGH_WATER as i64
    }

    pub fn transaction(&self, id: &str) -> &Transaction {
        let found = self.frame.core().transactions().find(|(known, _)| **known == id);
        found.map(|(_, transaction)| transaction).expect("a known transactional id")
    }

    pub fn state(&self, id: &str) -> TxnState {
        self.transaction(id).state
    }

    pub fn who(&self, id: &str) -> Who {
        let transaction = self.transaction(id);
        (transaction.producer_id.0, transaction.epoch.0)
    }

    /// The oldest request to write markers.
    pub fn next_markers(&mut self) -> WriteMarkers {
        self.markers.pop_front().expect("markers that are to be written")
    }

    pub fn answer_markers(&mut self, asked: &WriteMarkers, outcome: impl Fn(&str, i32) -> MarkerOutcome) {
        let partitions = asked.partitions.iter();
        let answer = MarkersAnswer {
            transactional_id: asked.transactional_id.clone(),
            token: asked.token,
            partitions: partitions.map(|(t, p)| (t.clone(), PartitionIndex(p), outcome(t, p))).collect(),
        };
        let at = self.at();
        self.frame.act(|core, out| core.markers_answered(&at, &answer, out));
        self.pump();
    }

    /// Every marker that is asked for is written.
    pub fn markers_written(&mut self) {
        while let Some(asked) = self.markers.pop_front() {
            self.answer_markers(&asked, |_, _| MarkerOutcome::Done);
        }
    }

    /// Time passes; whatever is due meanwhile happens when it is due.
    pub fn after(&mut self, time: Duration) {
        let end = self.now + time;
        while let Some(due) =
            self.frame.next_deadline().map(|due| Duration::from_nanos(due.0)).filter(|&due| due <= end)
        {
            self.now = self.now.max(due);
            let at = self.at();
            self.frame.tick(&at);
            self.pump();
        }
        self.now = end;
    }
}

pub fn init_request(id: &str, who: Who) -> InitProducerIdRequest {
    InitProducerIdRequest {
        transactional_id: Some(Str::from(id)),
        transaction_timeout_ms: 60_000,
        producer_id: who.0,
        producer_epoch: who.1,
        ..InitProducerIdRequest::default()
    }
}

pub fn add_request(
    id: &str,
    who: Who,
    verify_only: bool,
    partitions: &[(&str, i32)],
) -> AddPartitionsToTxnTransaction {
    let topic = |&(name, partition): &(&str, i32)| AddPartitionsToTxnTopic {
        name: Str::from(name),
        partitions: vec![partition],
    };
    AddPartitionsToTxnTransaction {
        transactional_id: Str::from(id),
        producer_id: who.0,
        producer_epoch: who.1,
        verify_only,
        topics: partitions.iter().map(topic).collect(),
    }
}

pub fn end_request(id: &str, who: Who, how: Outcome) -> EndTxnRequest {
    EndTxnRequest {
        transactional_id: Str::from(id),
        producer_id: who.0,
        producer_epoch: who.1,
        committed: how.is_commit(),
    }
}

pub fn code(number: i16) -> ErrorCode {
    ErrorCode::from_code(number).expect("a known error code")
}

fn outcome(error: i16, who: Who) -> Result<Who, ErrorCode> {
    match code(error) {
        ErrorCode::None => Ok(who),
        error => {
            assert_eq!(who, (-1, -1), "an error tells of no producer");
            Err(error)
        }
    }
}
