//! The broker that leads a partition: a slot as brokers run it, on a simulated disk, with the host of a
//! coordinator where one lives in the partition. The log outlives the broker, and another broker holds it,
//! too.
//!
//! What disks and replicas do is the matter of the world of brokers ([`crate::world`]). Here the broker
//! fails as a whole, and its follower holds what it is told to.
//!
//! - [`resident`]: the coordinator, and where it breaks rules on purpose.
//! - [`groups`]: what that of groups knows of the world.

pub mod groups;
pub mod resident;

use std::sync::Arc;

use ottla_coordinator::{Coordinator, Frame, Moment, Refusal, Ticket};
use ottla_log::{Cold, DataDir, DirOptions, Identity, LogConfig, MemDisk};
use ottla_partition::{
    AppendOutcome, Host, HostEffect, Household, Load, Loaded, MarkerRequest, Slot, Turn, Unserved, load,
};
use ottla_replica::{
    AppendError, Durability, Event, FollowerFetch, LeaderAnswer, LeaderReply, PartitionState, RecoveryState,
    Replica, ReplicaBroker, ReplicaConfig, Standing,
};
use ottla_wire::batch::{BatchView, batches};
use ottla_wire::{BrokerEpoch, BrokerId, Instant, LeaderEpoch, Offset, PartitionEpoch, PartitionIndex, Uuid};

use crate::rng::Rng;
use resident::Resident;

const ME: BrokerId = BrokerId(1);
/// The replica that must hold what is committed, too.
const OTHER: BrokerId = BrokerId(2);
const BROKER_EPOCH: BrokerEpoch = BrokerEpoch(1);

/// What happens to a partition waits for nobody: who wants to know looks at [`Leader::take_outcome`].
pub type Partition = ottla_partition::Partition<(), ()>;
type Machine<H> = Slot<(), (), Resident<H>>;
type Core<H> = <H as Household>::Core;
type Outbound<H> = <Core<H> as Coordinator>::Outbound;

/// The rules of a partition.
#[derive(Clone, Copy, Debug)]
pub struct Rules {
    pub topic: &'static str,
    pub verify_transactions: bool,
    /// A broken rule: whatever the coordinator appends counts as committed.
    pub hasty: bool,
}

/// The partition's leader, if a broker leads it now, and what outlives it.
pub struct Leader<H: Household> {
    rules: Rules,
    disk: MemDisk,
    machine: Option<Machine<H>>,
    /// Where the log ends that the next leader finds, and up to where it is committed.
    end: Offset,
    committed: Offset,
    /// Which leader this is.
    term: u64,
    partition_epoch: i32,
    uuids: Rng,
    outcome: Option<AppendOutcome>,
    released: Vec<Outbound<H>>,
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

impl<H: Household> Leader<H> {
    pub fn new(rules: Rules, uuids: Rng) -> Leader<H> {
        Leader {
            rules,
            disk: MemDisk::new(),
            machine: None,
            end: Offset::ZERO,
            committed: Offset::ZERO,
            term: 0,
            partition_epoch: 0,
            uuids,
            outcome: None,
            released: Vec::new(),
            news: News::default(),
        }
    }

    pub fn term(&self) -> u64 {
        self.term
    }

    pub fn is_led(&self) -> bool {
        self.machine.is_some()
    }

    /// Where the log ends, and up to where it is committed.
    pub fn ends(&self) -> (Offset, Offset) {
        (self.end, self.committed)
    }

    /// The coordinator, while it serves.
    pub fn core(&self) -> Option<&Core<H>> {
        self.host()?.core()
    }

    pub fn partition(&self) -> Option<&Partition> {
        self.machine.as_ref().map(Slot::partition)
    }

    /// For what happens to the partition itself. The turn is to be ended.
    pub fn partition_mut(&mut self) -> Option<&mut Partition> {
        self.machine.as_mut().map(Slot::partition_mut)
    }

    /// A broker takes over: it is a follower for a moment, cuts what the leader before has lost, leads, and
    /// reads the log, all of which is committed by then. `home` is that of the coordinator, if one lives
    /// here.
    pub fn start(&mut self, turn: Turn, home: Option<H>) -> Result<(), String> {
        self.term += 1;
        let (kept, serves) = (self.end, home.is_some());
        let machine = self.open(home).map_err(|error| error.to_string())?;
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
            None if serves => Err("a leader whose log is committed does not serve".to_owned()),
            _ => Ok(()),
        }
    }

    /// What a coordinator that reads the log knows.
    pub fn load(&self, home: &H) -> Result<Frame<Core<H>>, String> {
        let machine = self.machine.as_ref().ok_or("nobody leads")?;
        let wanted = Load { epoch: LeaderEpoch(0), generation: Default::default(), begun: None };
        read(machine.partition(), home, wanted).map(|loaded| loaded.frame)
    }

    /// The batches that lie in the log.
    pub fn batches(&self) -> Result<Vec<BatchView>, String> {
        let log = self.partition().ok_or("nobody leads")?.log();
        let (bound, mut from, mut found) = (log.bound(log.written_end()), log.log_start(), Vec::new());
        while from < bound.offset {
            let plan = log.reader().read(from, usize::MAX, bound, true, Cold::Wait);
            let plan = plan.map_err(|error| error.to_string())?;
            let run = plan.read(Cold::Wait).map_err(|error| error.to_string())?;
            for batch in batches(run) {
                let batch = batch.map_err(|error| format!("the batch at {from}: {error}"))?;
                from = batch.header().next_offset();
                found.push(batch);
            }
        }
        Ok(found)
    }

    /// The broker is gone. Of what was not committed, a part is in the log of the next one. `lost` says how
    /// many batches are not that should be, if a rule is broken.
    pub fn crash(&mut self, rng: &mut Rng, lost: usize) -> Result<(), String> {
        if !self.is_led() {
            return Ok(());
        }
        let ends = self.batches()?.into_iter().map(|batch| batch.header().next_offset());
        let ends: Vec<Offset> = [Offset::ZERO].into_iter().chain(ends).collect();
        let committed = ends.partition_point(|end| *end < self.committed);
        let kept = committed + rng.index(ends.len() - committed);
        self.end = ends[kept.saturating_sub(lost)];
        self.committed = self.committed.min(self.end);
        self.machine = None;
        self.outcome = None;
        self.released.clear();
        self.news = News::default();
        Ok(())
    }

    /// The partition can be written to, or cannot: then the replicas are too few, what is appended is
    /// refused, and a coordinator that has something to say loads anew.
    pub fn set_writable(&mut self, turn: Turn, writable: bool) -> Result<(), String> {
        self.assign(turn, ME, if writable { &[ME, OTHER] } else { &[ME] });
        self.end_turn(turn)
    }

    /// Asks the coordinator. `claim` says whether the partition takes what it writes for whoever asks.
    pub fn ask(
        &mut self,
        at: &Moment,
        ticket: Ticket,
        request: <Core<H> as Coordinator>::Request,
        claim: Result<(), AppendError>,
    ) -> Result<(), Unserved> {
        let nobody = Err(Unserved::Refused(Refusal::NotCoordinator));
        self.host_mut().map_or(nobody, |host| host.ask(at, ticket, request, claim))
    }

    pub fn tick(&mut self, turn: Turn) {
        let uuids = &mut self.uuids;
        if let Some(machine) = &mut self.machine {
            machine.tick_lodgers(turn, &mut || uuid(uuids));
        }
    }

    pub fn next_deadline(&self) -> Option<Instant> {
        self.machine.as_ref()?.lodgers().iter().filter_map(ottla_partition::Lodger::next_deadline).min()
    }

    /// Writes a marker, behind what the coordinator has to say before it. Says where it is in the log; `None`
    /// if it is not taken. The turn is to be ended.
    pub fn write_marker(&mut self, turn: Turn, marker: &MarkerRequest) -> Option<Offset> {
        let machine = self.machine.as_mut()?;
        // Takes what the coordinator has written to the log, so that the marker's place is known.
        machine.write_lodgers(turn);
        let at = machine.partition().log().log_end();
        machine.write_marker(turn, marker, ());
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

    /// Ends the leader's turn, and has the other replica hold at once whatever there is to hold.
    pub fn settle(&mut self, turn: Turn) -> Result<(), String> {
        self.end_turn(turn)?;
        while self.is_led() && self.committed < self.end {
            let before = self.committed;
            self.commit(turn, self.end)?;
            if self.committed == before {
                return Err(format!("the log ends at {}, and only {before} is committed", self.end));
            }
        }
        Ok(())
    }

    /// Ends the leader's turn, as often as there is more to write, and does what the coordinator wants.
    pub fn end_turn(&mut self, turn: Turn) -> Result<(), String> {
        loop {
            let uuids = &mut self.uuids;
            let Some(machine) = &mut self.machine else { return Ok(()) };
            let (mut again, view) = {
                let ended = machine.end_turn(turn, &mut || uuid(uuids));
                let view = ended.partition.map(|mut partition| {
                    let newest = partition.appends.next_back().map(|((), outcome)| outcome);
                    self.outcome = newest.or(self.outcome);
                    partition.view.replica
                });
                (ended.again, view)
            };
            if let Some(view) = view {
                self.end = view.log_end;
                self.committed = self.committed.max(view.high_watermark);
            }
            if let Some(error) = machine.partition().failure() {
                return Err(format!("the log refuses what it should take: {error}"));
            }
            let (residents, partition) = machine.lodgers_mut();
            for host in residents.iter_mut().map(|resident| &mut resident.host) {
                let effects: Vec<_> = host.take_effects().collect();
                for effect in effects {
                    match effect {
                        HostEffect::Load(wanted) => {
                            let loaded = read(partition, host.household(), wanted)?;
                            host.loaded(loaded, partition.log().log_end());
                            again = true;
                        }
                        HostEffect::Serves { .. } => self.news.serves = true,
                        HostEffect::LetGo => {
                            self.released.clear();
                            self.news.let_go = true;
                        }
                        HostEffect::Say(said) => self.released.extend(said),
                    }
                }
            }
            if !again {
                return Ok(());
            }
        }
    }

    /// What has become of the newest append or marker; `None` if that is not known yet.
    pub fn take_outcome(&mut self) -> Option<AppendOutcome> {
        self.outcome.take()
    }

    pub fn take_released(&mut self) -> Vec<Outbound<H>> {
        std::mem::take(&mut self.released)
    }

    pub fn take_news(&mut self) -> News {
        std::mem::take(&mut self.news)
    }

    /// The host of the coordinator, if there is one.
    pub fn host(&self) -> Option<&Host<H>> {
        self.machine.as_ref()?.lodgers().first().map(|resident| &resident.host)
    }

    pub fn host_mut(&mut self) -> Option<&mut Host<H>> {
        self.machine.as_mut()?.lodgers_mut().0.first_mut().map(|resident| &mut resident.host)
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

    fn open(&self, home: Option<H>) -> Result<Machine<H>, Box<dyn std::error::Error>> {
        let identity = Identity { node_id: Some(ME.0), cluster_id: Some("sim".to_owned()) };
        let options =
            DirOptions { disk: Arc::new(self.disk.clone()), background: false, ..DirOptions::default() };
        let dir = DataDir::open_with("/data", &identity, options)?;
        let Rules { topic, verify_transactions, hasty } = self.rules;
        let config = ReplicaConfig {
            min_isr: 2,
            durability: Durability::PageCache,
            verify_transactions,
            ..ReplicaConfig::new(ME)
        };
        let (topic_id, index) = (Uuid([9; 16]), PartitionIndex(0));
        let identity = ottla_partition::Identity { topic, topic_id, index };
        let log = LogConfig { flush_messages: i64::MAX, ..LogConfig::default() };
        let found = match dir.partitions()?.pop() {
            Some(there) => {
                ottla_partition::open(&dir, identity, &config, log, there.recovery, self.committed)?
            }
            None => ottla_partition::create(&dir, identity, &config, log)?,
        };
        let partition = Partition::new(Replica::new(config, found.restored), found.log);
        let resident = |home| Resident { host: Host::new(home), hasty };
        Ok(Slot::new(partition, home.into_iter().map(resident).collect()))
    }
}

/// Reads the log for a coordinator.
fn read<H: Household>(
    partition: &Partition,
    home: &H,
    wanted: Load<Core<H>>,
) -> Result<Loaded<Core<H>>, String> {
    let log = partition.log();
    let new = || (Frame::loading(home.create(wanted.epoch)), log.log_start());
    let (frame, from) = wanted.begun.unwrap_or_else(new);
    let bound = log.bound(log.written_end());
    let (frame, end, skipped) =
        load::read(&log.reader(), bound, frame, from).map_err(|error| error.to_string())?;
    match skipped.first {
        Some((offset, error)) => Err(format!("the record at {offset} cannot be replayed: {error}")),
        None => Ok(Loaded { generation: wanted.generation, frame, end }),
    }
}

fn uuid(rng: &mut Rng) -> Uuid {
    Uuid((u128::from(rng.draw()) << 64 | u128::from(rng.draw())).to_be_bytes())
}
