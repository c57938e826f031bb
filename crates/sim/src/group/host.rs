//! The broker that leads the partition: a slot as brokers run it, with the host of a group coordinator, on a
//! simulated disk. The log outlives the broker.

use std::sync::Arc;

use ottla_coordinator::{Frame, Moment, Producer, Refusal, Ticket};
use ottla_group::{Call, GroupConfig, GroupCoordinator, Reply, Request};
use ottla_log::{Cold, DataDir, DirOptions, Identity, LogConfig, MemDisk};
use ottla_partition::{
    Claim, HostEffect, Household, Loaded, Lodger, MarkerRequest, Slot, Turn, Unserved, load,
};
use ottla_replica::{
    Durability, Event, FollowerFetch, LeaderAnswer, LeaderReply, PartitionState, RecoveryState, Replica,
    ReplicaBroker, ReplicaConfig, Standing,
};
use ottla_wire::batch::batches;
use ottla_wire::primitives::Str;
use ottla_wire::{
    BrokerEpoch, BrokerId, Instant, LeaderEpoch, Offset, PartitionEpoch, ProducerEpoch, ProducerId, Sequence,
    Uuid,
};

use super::household::{Core, PARTITION, Resident, SimHousehold, TOPIC};
use super::mutation::Mutation;
use super::topics::SimTopics;
use crate::rng::Rng;

const ME: BrokerId = BrokerId(1);
/// The replica that must hold what is committed, too.
const OTHER: BrokerId = BrokerId(2);
const BROKER_EPOCH: BrokerEpoch = BrokerEpoch(1);

type Machine = Slot<(), (), Resident>;

/// The partition's leader, if a broker leads it now, and what outlives it.
pub struct Host {
    disk: MemDisk,
    machine: Option<Machine>,
    /// Where the log ends that the next leader finds, and up to where it is committed.
    end: Offset,
    committed: Offset,
    /// Which leader this is.
    term: u64,
    partition_epoch: i32,
    config: GroupConfig,
    mutation: Option<Mutation>,
    uuids: Rng,
    released: Vec<Reply>,
    /// What the leader has been through since somebody asked.
    news: News,
}

/// What happens to a coordinator while its broker leads on.
#[derive(Clone, Copy, Debug, Default)]
pub struct News {
    /// Nobody who waits is answered any more.
    pub let_go: bool,
    /// It has loaded its log, and serves.
    pub serves: bool,
}

impl Host {
    pub fn new(config: GroupConfig, mutation: Option<Mutation>, uuids: Rng) -> Host {
        Host {
            disk: MemDisk::new(),
            machine: None,
            end: Offset::ZERO,
            committed: Offset::ZERO,
            term: 0,
            partition_epoch: 0,
            config,
            mutation,
            uuids,
            released: Vec::new(),
            news: News::default(),
        }
    }

    pub fn term(&self) -> u64 {
        self.term
    }

    pub fn core(&self) -> Option<&GroupCoordinator> {
        self.resident()?.host.core().map(|core| &core.inner)
    }

    pub fn config(&self) -> &GroupConfig {
        &self.config
    }

    pub fn is_led(&self) -> bool {
        self.machine.is_some()
    }

    /// Where the log ends, and up to where it is committed.
    pub fn ends(&self) -> (Offset, Offset) {
        (self.end, self.committed)
    }

    /// A broker takes over: it is a follower for a moment, cuts what the leader before has lost, leads, and
    /// reads the log, all of which is committed by then.
    pub fn start(&mut self, turn: Turn, topics: &SimTopics) -> Result<(), String> {
        self.term += 1;
        let kept = self.end;
        let machine = self.open(topics).map_err(|error| error.to_string())?;
        self.machine = Some(machine);
        self.assign(turn, OTHER, &[ME, OTHER]);
        self.end_turn(turn)?;
        if kept < self.end {
            self.cut(turn, kept)?;
        }
        self.assign(turn, ME, &[ME, OTHER]);
        self.end_turn(turn)?;
        self.commit(turn, self.end)?;
        match self.core() {
            Some(_) => Ok(()),
            None => Err("a leader whose log is committed does not serve".to_owned()),
        }
    }

    /// What a coordinator that reads the log knows.
    pub fn load(&self, topics: &SimTopics) -> Result<Frame<Core>, String> {
        let machine = self.machine.as_ref().ok_or("nobody leads")?;
        let log = machine.partition().log();
        let household =
            SimHousehold { config: self.config.clone(), topics: topics.clone(), mutation: self.mutation };
        let frame = Frame::loading(household.create(LeaderEpoch(0)));
        let (frame, _, skipped) = load::read(&log.reader(), log.bound(self.end), frame, log.log_start())
            .map_err(|error| error.to_string())?;
        match skipped.first {
            Some((offset, error)) => Err(format!("the record at {offset}: {error}")),
            None => Ok(frame),
        }
    }

    /// The broker is gone. Of what was not committed, a part is in the log of the next one.
    pub fn crash(&mut self, rng: &mut Rng) -> Result<(), String> {
        let Some(machine) = self.machine.take() else { return Ok(()) };
        let log = machine.partition().log();
        let mut ends = vec![self.committed];
        if self.committed < log.written_end() {
            let bound = log.bound(log.written_end());
            let run = log.reader().read(self.committed, usize::MAX, bound, true, Cold::Wait);
            let run = run
                .map_err(|error| error.to_string())?
                .read(Cold::Wait)
                .map_err(|error| error.to_string())?;
            ends.extend(batches(run).flatten().map(|batch| batch.header().next_offset()));
        }
        self.end = ends[rng.index(ends.len())];
        self.released.clear();
        self.news = News::default();
        Ok(())
    }

    /// The replicas are too few for a while: what is appended now is refused, and the coordinator loads anew.
    pub fn fail_append(&mut self, turn: Turn) -> Result<(), String> {
        self.assign(turn, ME, &[ME]);
        self.end_turn(turn)
    }

    /// The partition can be written to, or cannot.
    pub fn set_writable(&mut self, turn: Turn, writable: bool) -> Result<(), String> {
        self.assign(turn, ME, if writable { &[ME, OTHER] } else { &[ME] });
        self.end_turn(turn)
    }

    pub fn handle(&mut self, at: &Moment, ticket: Ticket, call: Call) -> Result<(), Unserved> {
        let Some(machine) = &mut self.machine else {
            return Err(Unserved::Refused(Refusal::NotCoordinator));
        };
        let (residents, partition) = machine.lodgers_mut();
        let claim = match &call.request {
            Request::TxnOffsetCommit(request) => {
                let (id, epoch) = (ProducerId(request.producer_id), ProducerEpoch(request.producer_epoch));
                let (sequence, bumps_epochs) = (Sequence::NONE, false);
                let claim = Claim { producer: Producer { id, epoch }, sequence, bumps_epochs };
                partition.check_claim(&claim, None, false)
            }
            _ => Ok(()),
        };
        residents[0].host.ask(at, ticket, call, claim)
    }

    pub fn topics_changed(&mut self, at: &Moment, topics: &SimTopics, deleted: &[Str]) {
        if let Some(resident) = self.resident_mut() {
            resident.host.household_mut().topics = topics.clone();
            resident.host.learn(at, deleted);
        }
    }

    pub fn tick(&mut self, turn: Turn) {
        let uuids = &mut self.uuids;
        if let Some(machine) = &mut self.machine {
            machine.tick_lodgers(turn, &mut || uuid(uuids));
        }
    }

    pub fn next_deadline(&self) -> Option<Instant> {
        self.resident()?.next_deadline()
    }

    /// Writes a marker, behind what its transaction may have written. Says where it is in the log; `None` if
    /// it is not taken.
    pub fn write_marker(&mut self, turn: Turn, producer: Producer, commit: bool) -> Option<Offset> {
        let machine = self.machine.as_mut()?;
        let (coordinator_epoch, transaction_version) = (0, 0);
        let deadline = Instant(u64::MAX);
        let marker = MarkerRequest { producer, commit, coordinator_epoch, transaction_version, deadline };
        // Takes what the coordinator has written to the log, so that the marker's place is known.
        machine.write_lodgers(turn);
        let at = machine.partition().log().log_end();
        machine.write_marker(turn, &marker, ());
        (machine.partition().log().log_end() > at).then_some(at)
    }

    /// The other replica holds the log up to here.
    pub fn commit(&mut self, turn: Turn, end: Offset) -> Result<(), String> {
        let epoch = self.epoch(ME);
        if let Some(machine) = &mut self.machine {
            let (broker, broker_epoch) = (OTHER, BROKER_EPOCH);
            let log_start = Offset::ZERO;
            let fetch = FollowerFetch { broker, broker_epoch, epoch, offset: end, log_start };
            machine.partition_mut().step(turn, Event::FollowerFetched(fetch));
            machine.partition_mut().touch();
        }
        self.end_turn(turn)
    }

    /// Ends the leader's turn, as often as there is more to write, and does what the coordinator wants.
    pub fn end_turn(&mut self, turn: Turn) -> Result<(), String> {
        loop {
            let uuids = &mut self.uuids;
            let Some(machine) = &mut self.machine else { return Ok(()) };
            let (mut again, view) = {
                let ended = machine.end_turn(turn, &mut || uuid(uuids));
                (ended.again, ended.partition.map(|partition| partition.view.replica))
            };
            if let Some(view) = view {
                self.end = view.log_end;
                self.committed = self.committed.max(view.high_watermark);
            }
            if let Some(error) = machine.partition().failure() {
                return Err(format!("the log refuses what it should take: {error}"));
            }
            let effects: Vec<_> = machine.lodgers_mut().0[0].host.take_effects().collect();
            for effect in effects {
                match effect {
                    HostEffect::Load(wanted) => {
                        read(machine, wanted)?;
                        again = true;
                    }
                    HostEffect::Serves { .. } => self.news.serves = true,
                    HostEffect::LetGo => {
                        self.released.clear();
                        self.news.let_go = true;
                    }
                    HostEffect::Say(replies) => self.released.extend(replies),
                }
            }
            if !again {
                return Ok(());
            }
        }
    }

    pub fn take_released(&mut self) -> Vec<Reply> {
        std::mem::take(&mut self.released)
    }

    pub fn take_news(&mut self) -> News {
        std::mem::take(&mut self.news)
    }

    /// The leader of the time before has less than this log: it is cut to that.
    fn cut(&mut self, turn: Turn, kept: Offset) -> Result<(), String> {
        let (epoch, asked) = (self.epoch(OTHER), self.end);
        if let Some(machine) = &mut self.machine {
            let latest = machine.partition().view().replica.epochs.latest().unwrap_or(LeaderEpoch::NONE);
            let reply = LeaderReply::Diverged { epoch: latest, end: kept };
            let partition = machine.partition_mut();
            partition.leader_answered(turn, LeaderAnswer { epoch, offset: asked, reply });
            partition.touch();
        }
        self.end_turn(turn)?;
        match self.end == kept {
            true => Ok(()),
            false => Err(format!("the log was to end at {kept}, and ends at {}", self.end)),
        }
    }

    /// Each term is that of a follower first, then of a leader.
    fn epoch(&self, leader: BrokerId) -> LeaderEpoch {
        LeaderEpoch(2 * self.term as i32 + i32::from(leader == ME))
    }

    fn assign(&mut self, turn: Turn, leader: BrokerId, isr: &[BrokerId]) {
        let leader_epoch = self.epoch(leader);
        let Some(machine) = &mut self.machine else { return };
        self.partition_epoch += 1;
        let replica =
            |broker| ReplicaBroker { broker, epoch: Some(BROKER_EPOCH), standing: Standing::Active };
        let state = PartitionState {
            leader: Some(leader),
            leader_epoch,
            partition_epoch: PartitionEpoch(self.partition_epoch),
            isr: isr.to_vec(),
            elr: Vec::new(),
            last_known_elr: Vec::new(),
            replicas: vec![replica(ME), replica(OTHER)],
            recovery: RecoveryState::Recovered,
        };
        let partition = machine.partition_mut();
        partition.step(turn, Event::Assigned(state));
        partition.touch();
    }

    fn open(&self, topics: &SimTopics) -> Result<Machine, Box<dyn std::error::Error>> {
        let identity = Identity { node_id: Some(ME.0), cluster_id: Some("sim".to_owned()) };
        let options =
            DirOptions { disk: Arc::new(self.disk.clone()), background: false, ..DirOptions::default() };
        let dir = DataDir::open_with("/data", &identity, options)?;
        let config = ReplicaConfig {
            min_isr: 2,
            durability: Durability::PageCache,
            verify_transactions: false,
            ..ReplicaConfig::new(ME)
        };
        let identity = ottla_partition::Identity { topic: TOPIC, topic_id: Uuid([9; 16]), index: PARTITION };
        let log = LogConfig { flush_messages: i64::MAX, ..LogConfig::default() };
        let found = match dir.partitions()?.pop() {
            Some(there) => {
                ottla_partition::open(&dir, identity, &config, log, there.recovery, self.committed)?
            }
            None => ottla_partition::create(&dir, identity, &config, log)?,
        };
        let partition = ottla_partition::Partition::new(Replica::new(config, found.restored), found.log);
        let (config, mutation) = (self.config.clone(), self.mutation);
        let household = SimHousehold { config, topics: topics.clone(), mutation };
        let hasty = self.mutation == Some(Mutation::AnswerBeforeCommit);
        Ok(Slot::new(partition, vec![Resident { host: ottla_partition::Host::new(household), hasty }]))
    }

    fn resident(&self) -> Option<&Resident> {
        self.machine.as_ref()?.lodgers().first()
    }

    fn resident_mut(&mut self) -> Option<&mut Resident> {
        self.machine.as_mut()?.lodgers_mut().0.first_mut()
    }
}

/// Reads the log for the coordinator.
fn read(machine: &mut Machine, wanted: ottla_partition::Load<Core>) -> Result<(), String> {
    let log = machine.partition().log();
    let (reader, bound, start) = (log.reader(), log.bound(log.written_end()), log.log_start());
    let (residents, partition) = machine.lodgers_mut();
    let host = &mut residents[0].host;
    let new = || (Frame::loading(host.household().create(wanted.epoch)), start);
    let (frame, from) = wanted.begun.unwrap_or_else(new);
    let (frame, end, skipped) = load::read(&reader, bound, frame, from).map_err(|error| error.to_string())?;
    if let Some((offset, error)) = skipped.first {
        return Err(format!("the record at {offset} cannot be replayed: {error}"));
    }
    let loaded = Loaded { generation: wanted.generation, frame, end };
    host.loaded(loaded, partition.log().log_end());
    Ok(())
}

fn uuid(rng: &mut Rng) -> Uuid {
    Uuid((u128::from(rng.draw()) << 64 | u128::from(rng.draw())).to_be_bytes())
}
