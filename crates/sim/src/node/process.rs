//! A broker process: from its start through registration to its end.

mod peers;

use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use ottla_controller::Image;
use ottla_coordinator::Producer;
use ottla_log::{DataDir, DirOptions, Identity, LogConfig};
use ottla_partition::{AppendRequest, Due, MarkerRequest, Wish, partition_state};
use ottla_replica::{Event, FetchRequest, PartitionState, ReplicaConfig, View};
use ottla_settings::BrokerSettings;
use ottla_wire::messages::{
    BrokerHeartbeatRequest, BrokerHeartbeatResponse, BrokerRegistrationResponse, MetadataRecord,
};
use ottla_wire::protocol::ErrorCode;
use ottla_wire::{BrokerEpoch, LeaderEpoch, Offset, PartitionEpoch, TopicId, Uuid};

use super::lifecycle::registration;
use super::metadata::configs;
use super::partition::{Caller, Machine, Out, Partition, Turn};
use super::serve::{Parked, consume};
use super::{Fact, Node, Outbox, PARTITION, TOPIC, Timer, broker_id};
use crate::message::{Message, RequestId};
use crate::mutation::Mutation;
use crate::network::Party;
use crate::rng::Rng;
use crate::settings::Settings;

pub const CLUSTER: &str = "sim";
const TICK: Duration = Duration::from_millis(100);
const HEARTBEAT: Duration = Duration::from_millis(300);
/// When an answer of another broker or the controller is not waited for any longer.
const ANSWER_WAIT: Duration = Duration::from_millis(900);
/// `replica.fetch.backoff.ms`.
const FETCH_BACKOFF: Duration = Duration::from_millis(100);
/// `replica.fetch.wait.max.ms`.
const FETCH_WAIT: Duration = Duration::from_millis(400);
/// Of a thousand turns, so many take in more than one event: as a shard does with all mail that is there.
const TURNS_OF_MANY: u64 = 300;
/// How long such a turn may take.
const TURN_MS_MAX: u64 = 4;
/// How long a produce request waits at the broker.
const PRODUCE_WAIT: Duration = Duration::from_millis(800);

/// What all processes of a run have in common.
#[derive(Debug)]
pub struct Setup {
    pub settings: Settings,
    pub broker_settings: BrokerSettings,
    pub mutation: Option<Mutation>,
}

/// A running broker.
pub struct Process {
    setup: Rc<Setup>,
    index: usize,
    incarnation: Uuid,
    /// What it says of its last life when it registers.
    previous_epoch: i64,
    dir: DataDir,
    rng: Rng,
    /// Each flush takes up to this long.
    pub flush_ms_max: u64,
    image: Image,
    /// Up to where the metadata log is applied.
    metadata_end: usize,
    epoch: Option<BrokerEpoch>,
    partition: Option<Partition>,
    /// The partition's turn has begun and will end later.
    turn_open: bool,
    told: Option<PartitionState>,
    fetch: Option<(RequestId, FetchRequest)>,
    proposal: Option<(RequestId, LeaderEpoch, PartitionEpoch)>,
    parked: Vec<Parked>,
    /// High watermark and log start as each follower was told them last.
    told_followers: BTreeMap<Party, (Offset, Offset)>,
    requests: u64,
    ticks: u64,
    stopping: bool,
    complaint: Option<String>,
}

impl Process {
    /// Starts on what is on the disk.
    pub fn start(
        node: &mut Node,
        setup: &Rc<Setup>,
        rng: &mut Rng,
        out: &mut Outbox,
    ) -> Result<Process, String> {
        node.starts += 1;
        let identity = Identity { node_id: Some(node.broker().0), cluster_id: Some(CLUSTER.to_owned()) };
        let options =
            DirOptions { disk: Arc::new(node.disk.clone()), background: false, ..DirOptions::default() };
        let dir = DataDir::open_with("/data", &identity, options)
            .map_err(|error| format!("start fails: {error}"))?;
        let kept = node.last_epoch.filter(|_| setup.settings.keeps_epoch);
        let clean = dir.clean_broker_epoch().map(|epoch| epoch.0);
        let mut incarnation = [0; 16];
        incarnation[0] = node.index as u8 + 1;
        incarnation[8..].copy_from_slice(&node.starts.to_be_bytes());
        let mut process = Process {
            setup: setup.clone(),
            index: node.index,
            incarnation: Uuid(incarnation),
            previous_epoch: clean.or(kept).unwrap_or(-1),
            dir,
            rng: rng.fork(),
            flush_ms_max: node.flush_ms_max,
            image: Image::default(),
            metadata_end: 0,
            epoch: None,
            partition: None,
            turn_open: false,
            told: None,
            fetch: None,
            proposal: None,
            parked: Vec::new(),
            told_followers: BTreeMap::new(),
            // No answer to the last process is taken for one to this.
            requests: node.starts << 32,
            ticks: 0,
            stopping: false,
            complaint: None,
        };
        process.heartbeat(out);
        out.timers.push((TICK, Timer::Tick));
        Ok(process)
    }

    pub fn partition(&self) -> Option<&Partition> {
        self.partition.as_ref()
    }

    pub fn view(&self) -> Option<View> {
        self.partition.as_ref().map(Partition::view).cloned()
    }

    /// What happens now is part of a turn that will end later: nobody has seen anything of it.
    pub fn is_in_turn(&self) -> bool {
        self.turn_open
    }

    pub fn epoch(&self) -> Option<i64> {
        self.epoch.map(|epoch| epoch.0)
    }

    /// Something that this process should never have seen.
    pub fn complaint(&self) -> Option<&String> {
        self.complaint.as_ref().or_else(|| self.partition.as_ref()?.complaint())
    }

    /// The disk has let it down: it ends.
    pub fn has_failed(&self) -> bool {
        !self.dir.health().is_online()
    }

    /// SIGTERM: it asks the controller to be let go.
    pub fn stop(&mut self) {
        self.stopping = true;
    }

    /// Closes everything and leaves the mark of a clean stop.
    pub fn close(mut self, turn: Turn) -> Result<(), String> {
        if let Some(partition) = self.partition.take() {
            if partition.is_flushing() || self.turn_open {
                return Ok(()); // too hasty: this stop is not a clean one
            }
            partition.close(turn).map_err(|error| format!("close fails: {error}"))?;
        } else if !self.dir.was_clean() {
            return Ok(()); // what the last process left has not even been looked at
        }
        self.dir.mark_clean(self.epoch).map_err(|error| format!("close fails: {error}"))
    }

    pub fn woken(&mut self, turn: Turn, timer: Timer, out: &mut Outbox) {
        match timer {
            Timer::Tick => self.tick(turn, out),
            Timer::Heartbeat => self.heartbeat(out),
            Timer::Flush(number) => {
                self.drive(turn, out, |partition| partition.flushed(turn, number));
            }
            Timer::EndTurn => self.end_open_turn(turn, out),
            Timer::GiveUp(request) => self.give_up(turn, RequestId(request), out),
            Timer::FetchNow(request) => self.send_fetch(RequestId(request), out),
            Timer::Unpark(request) => self.unpark(Some(RequestId(request)), out),
        }
    }

    pub fn receive(&mut self, turn: Turn, from: Party, message: Message, out: &mut Outbox) {
        match message {
            Message::Registered(response) => self.registered(&response, out),
            Message::HeartbeatAnswered(response) => self.heartbeat_answered(&response, out),
            Message::Metadata { from, records } => self.learn(turn, from, &records, out),
            Message::PartitionAltered(id, response) => self.altered(turn, id, &response, out),
            Message::FollowerFetch { id, broker, broker_epoch, fetch } => {
                let bytes = self.rng.between(1, self.setup.settings.fetch_bytes as u64) as usize;
                let told = self.told_followers.get(&from).copied();
                self.follower_fetch(
                    turn,
                    Parked::new(from, id, fetch, bytes, told),
                    broker,
                    broker_epoch,
                    out,
                );
            }
            Message::FollowerAnswered { id, reply } => self.answered(turn, id, reply, out),
            Message::Produce { id, batch, acks } => {
                let caller = Caller { place: from, request: id, acks };
                let deadline = turn.now + PRODUCE_WAIT;
                let append = AppendRequest { batch, acks, deadline, verified: None };
                self.act_on(turn, out, |machine| machine.append(turn, append, caller));
            }
            Message::WriteMarker { id, marker } => {
                let caller = Caller { place: from, request: id, acks: ottla_replica::Acks::InSync };
                let marker = MarkerRequest {
                    producer: Producer { id: marker.producer, epoch: marker.producer_epoch },
                    commit: marker.commit,
                    coordinator_epoch: marker.coordinator_epoch,
                    transaction_version: marker.transaction_version,
                    deadline: turn.now + PRODUCE_WAIT,
                };
                self.act_on(turn, out, |machine| machine.write_marker(turn, &marker, caller));
            }
            Message::DeleteRecords { id, before } => {
                let caller = Caller { place: from, request: id, acks: ottla_replica::Acks::InSync };
                let deadline = turn.now + PRODUCE_WAIT;
                self.act_on(turn, out, |machine| machine.delete_records(turn, before, deadline, caller));
            }
            Message::Consume { id, offset, committed } => {
                if let Some(partition) = &self.partition {
                    let found = consume(partition, offset, committed, self.setup.mutation);
                    out.sends.push((from, Message::Consumed { id, found }));
                }
            }
            // Nobody sends these to a broker.
            Message::Register(_)
            | Message::Heartbeat(_)
            | Message::AlterPartition(..)
            | Message::FetchMetadata { .. } => {}
            Message::Produced { .. } | Message::Consumed { .. } | Message::RecordsDeleted { .. } => {}
        }
    }

    /// Lets something happen to the partition, as part of a turn that ends now or a little later.
    fn drive(&mut self, turn: Turn, out: &mut Outbox, with: impl FnOnce(&mut Partition)) {
        out.exits |= self.has_failed();
        let Some(partition) = &mut self.partition else { return };
        with(partition);
        if self.turn_open {
            return;
        }
        if self.rng.chance(TURNS_OF_MANY) {
            self.turn_open = true;
            out.timers.push((self.rng.millis(0, TURN_MS_MAX), Timer::EndTurn));
        } else {
            self.end_turn(turn, out);
        }
    }

    fn act_on(&mut self, turn: Turn, out: &mut Outbox, with: impl FnOnce(&mut Machine)) {
        self.drive(turn, out, |partition| with(partition.machine()));
    }

    /// Ends the partition's turn if one has begun.
    pub fn end_open_turn(&mut self, turn: Turn, out: &mut Outbox) {
        if self.turn_open {
            self.end_turn(turn, out);
        }
    }

    /// Ends the partition's turn, and carries out what comes of it.
    fn end_turn(&mut self, turn: Turn, out: &mut Outbox) {
        self.turn_open = false;
        let Some(partition) = &mut self.partition else { return };
        let mut outs = Vec::new();
        partition.end_turn(turn, &mut outs);
        for one in outs {
            self.carry_out(one, out);
        }
        out.exits |= self.has_failed();
        self.unpark(None, out);
    }

    fn carry_out(&mut self, what: Out, out: &mut Outbox) {
        match what {
            Out::Reply { to, outcome } => {
                if let (Ok(appended), Some(partition)) = (outcome, &self.partition) {
                    let (durable_end, high_watermark) =
                        (partition.log().durable_end(), partition.view().high_watermark);
                    let last_offset = appended.last_offset;
                    out.facts.push(Fact::Promised {
                        acks: to.acks,
                        last_offset,
                        durable_end,
                        high_watermark,
                    });
                }
                out.sends.push((to.place, Message::Produced { id: to.request, outcome }));
            }
            Out::Deleted { to, outcome } => {
                out.sends.push((to.place, Message::RecordsDeleted { id: to.request, outcome }));
            }
            Out::Wish(Wish::ProposeIsr(proposal)) => self.propose(&proposal, out),
            Out::Wish(Wish::Fetch(fetch)) => {
                let id = self.request();
                self.fetch = Some((id, fetch));
                if fetch.after_pause {
                    out.timers.push((FETCH_BACKOFF, Timer::FetchNow(id.0)));
                } else {
                    self.send_fetch(id, out);
                }
            }
            Out::Wish(Wish::StopFetching) => self.fetch = None,
            Out::Flush(number) => {
                let time = self.rng.millis(0, self.flush_ms_max);
                if self.rng.chance(500) {
                    self.partition.iter_mut().for_each(Partition::run_flush);
                }
                out.timers.push((time, Timer::Flush(number)));
            }
        }
    }

    fn tick(&mut self, turn: Turn, out: &mut Outbox) {
        self.ticks += 1;
        let (retention, vouches) = (self.ticks.is_multiple_of(5), self.rng.chance(200));
        let vouching = (retention && vouches).then_some(1);
        self.drive(turn, out, |partition| partition.tick(turn, Due { retention, vouching }));
        out.timers.push((TICK, Timer::Tick));
    }

    fn heartbeat(&mut self, out: &mut Outbox) {
        let message = match self.epoch {
            None => Message::Register(Box::new(registration(
                broker_id(self.index),
                self.incarnation,
                self.previous_epoch,
            ))),
            Some(epoch) => Message::Heartbeat(Box::new(BrokerHeartbeatRequest {
                broker_id: broker_id(self.index).0,
                broker_epoch: epoch.0,
                current_metadata_offset: self.metadata_end as i64 - 1,
                want_shut_down: self.stopping,
                ..BrokerHeartbeatRequest::default()
            })),
        };
        out.sends.push((Party::Controller, message));
        if self.epoch.is_some() {
            out.sends.push((Party::Controller, Message::FetchMetadata { from: self.metadata_end }));
        }
        out.timers.push((HEARTBEAT, Timer::Heartbeat));
    }

    fn registered(&mut self, response: &BrokerRegistrationResponse, out: &mut Outbox) {
        if response.error_code == 0 && self.epoch.is_none() {
            self.epoch = Some(BrokerEpoch(response.broker_epoch));
            out.sends.push((Party::Controller, Message::FetchMetadata { from: self.metadata_end }));
        }
    }

    /// It ends when it is let go, and also when a registration that came late has taken its place.
    fn heartbeat_answered(&mut self, response: &BrokerHeartbeatResponse, out: &mut Outbox) {
        let replaced = ErrorCode::from_code(response.error_code) == Some(ErrorCode::StaleBrokerEpoch);
        out.exits |= replaced || (self.stopping && response.should_shut_down);
    }

    /// Applies what is new of the metadata log.
    fn learn(&mut self, turn: Turn, from: usize, records: &[MetadataRecord], out: &mut Outbox) {
        let Some(new) = self.metadata_end.checked_sub(from).and_then(|known| records.get(known..)) else {
            return;
        };
        if new.is_empty() {
            return;
        }
        match self.image.apply_all(new) {
            Ok((image, _)) => self.image = image,
            Err(error) => {
                self.complaint = Some(format!("metadata cannot be applied: {error}"));
                return;
            }
        }
        self.metadata_end = from + records.len();
        self.act(turn, out);
    }

    /// Acts on the image, once it has this process in it: what it said before was meant for another.
    fn act(&mut self, turn: Turn, out: &mut Outbox) {
        let me = broker_id(self.index);
        let known = self.epoch.is_some() && self.image.broker_epoch(me) == self.epoch;
        let too_early = !known && self.setup.mutation != Some(Mutation::ActOnOldMetadata);
        let Some(topic) = self.image.topic(TOPIC) else { return };
        let Some(partition) = topic.partition(PARTITION) else { return };
        let (topic, state) = (topic.id, partition_state(&self.image, partition));
        if too_early {
            return;
        }
        let (replica, mut log) = configs(&self.image, &self.setup.broker_settings, me);
        log.segment_bytes = self.setup.settings.segment_bytes;
        if self.partition.is_none() {
            self.open(topic, replica.clone(), log);
        }
        self.drive(turn, out, |partition| partition.configure(turn, replica));
        if self.told.as_ref() != Some(&state) {
            self.told = Some(state.clone());
            self.act_on(turn, out, |machine| machine.step(turn, Event::Assigned(state)));
        }
    }

    fn open(&mut self, topic: TopicId, replica: ReplicaConfig, log: LogConfig) {
        match Partition::open(&self.dir, topic, replica, log, self.setup.mutation) {
            Ok(partition) => self.partition = Some(partition),
            Err(_) if !self.dir.health().is_online() => {} // this process cannot go on; see `drive`
            Err(error) => self.complaint = Some(format!("the partition cannot be opened: {error}")),
        }
    }

    fn request(&mut self) -> RequestId {
        self.requests += 1;
        RequestId(self.requests)
    }
}
