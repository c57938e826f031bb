//! A partition with a few replicas, a controller, and a network that does what the story says.
//!
//! Each node has a [`Disk`] and carries out the effects of its replica. Invariants that
//! hold at every step are checked at every step.

use std::collections::BTreeMap;
use std::time::Duration;

use ottla_replica::{
    Acks, Append, AppendError, Appended, DeleteError, DeleteRecords, DeleteTo, Durability, Effect, Event,
    FetchRequest, FollowerFetch, IsrAnswer, IsrProposal, IsrRefusal, LeaderAnswer, LeaderReply,
    PartitionState, RecoveryState, Replica, ReplicaBroker, ReplicaConfig, ReplyId, Restored, Standing, View,
    ViewRole, WriteMarker,
};
use ottla_wire::batch::{Origin, ValidatedBatch};
use ottla_wire::{BrokerEpoch, BrokerId, Instant, LeaderEpoch, Offset, PartitionEpoch, Timestamp};

use crate::batches;
use crate::disk::{self, Disk};

pub struct Partition {
    pub nodes: Vec<Node>,
    pub state: PartitionState,
    pub now: Instant,
    pub wall: Timestamp,
    pub config: ReplicaConfig,
    names: Vec<&'static str>,
    next_reply: u64,
}

pub struct Node {
    pub broker: BrokerId,
    pub replica: Replica,
    pub disk: Disk,
    pub alive: bool,
    /// Flushes complete at once unless the story says so.
    pub slow_disk: bool,
    pub flushes: Vec<(LeaderEpoch, Offset)>,
    pub fetch: Option<FetchRequest>,
    pub in_flight: Option<LeaderAnswer>,
    pub proposals: Vec<IsrProposal>,
    pub replies: BTreeMap<ReplyId, Result<Appended, AppendError>>,
    pub deletions: BTreeMap<ReplyId, Result<Offset, DeleteError>>,
    pub aborted: Vec<ottla_wire::AbortedTxn>,
    checkpointed: Offset,
    /// The highest high watermark seen under a leader epoch.
    led: (LeaderEpoch, Offset),
}

impl Partition {
    /// The first name leads; all are in sync.
    pub fn of(names: impl IntoIterator<Item = &'static str>) -> Partition {
        Partition::configured(names, |_| {})
    }

    pub fn configured(
        names: impl IntoIterator<Item = &'static str>,
        change: impl FnOnce(&mut ReplicaConfig),
    ) -> Partition {
        let names: Vec<&'static str> = names.into_iter().collect();
        let mut config = ReplicaConfig::new(BrokerId(0));
        config.verify_transactions = false;
        change(&mut config);
        let brokers: Vec<BrokerId> = (0..names.len()).map(|i| BrokerId(i as i32)).collect();
        let replica =
            |&broker| ReplicaBroker { broker, epoch: Some(BrokerEpoch(100)), standing: Standing::Active };
        let state = PartitionState {
            leader: Some(brokers[0]),
            leader_epoch: LeaderEpoch(1),
            partition_epoch: PartitionEpoch(1),
            isr: brokers.clone(),
            elr: vec![],
            last_known_elr: vec![],
            replicas: brokers.iter().map(replica).collect(),
            recovery: RecoveryState::Recovered,
        };
        let nodes = brokers.iter().map(|&broker| Node::empty(broker, &config)).collect();
        let (now, wall) = (Instant(1_000_000_000), Timestamp(1_000_000));
        let mut partition = Partition { nodes, state, now, wall, config, names, next_reply: 0 };
        partition.spread_state();
        partition
    }

    pub fn index(&self, name: &str) -> usize {
        self.names.iter().position(|known| *known == name).unwrap()
    }

    pub fn node(&self, name: &str) -> &Node {
        &self.nodes[self.index(name)]
    }

    pub fn view(&self, name: &str) -> View {
        self.node(name).replica.view()
    }

    pub fn hw(&self, name: &str) -> i64 {
        self.view(name).high_watermark.0
    }

    /// Feeds one event and carries out what comes of it.
    pub fn step(&mut self, node: usize, event: Event) {
        if self.nodes[node].alive {
            self.nodes[node].step(self.now, self.wall, event);
        }
    }

    pub fn append_as(&mut self, node: usize, batch: ValidatedBatch, acks: Acks) -> ReplyId {
        let reply = self.reply();
        let deadline = self.now + Duration::from_secs(60);
        let (expected, verified) = (None, None);
        let append = Append { batch, acks, deadline, reply, expected, origin: Origin::Client, verified };
        self.step(node, Event::Append(append));
        reply
    }

    /// A batch of one record for acks=all, to the leader.
    pub fn append(&mut self, value: &str) -> ReplyId {
        self.append_as(self.leader(), batches::plain(value), Acks::InSync)
    }

    pub fn marker(&mut self, marker: WriteMarker) -> ReplyId {
        let reply = self.reply();
        let deadline = self.now + Duration::from_secs(60);
        self.step(self.leader(), Event::WriteMarker(WriteMarker { reply, deadline, ..marker }));
        reply
    }

    pub fn delete_records(&mut self, before: DeleteTo) -> ReplyId {
        let reply = self.reply();
        let deadline = self.now + Duration::from_secs(60);
        self.step(self.leader(), Event::DeleteRecords(DeleteRecords { before, deadline, reply }));
        reply
    }

    pub fn outcome(&self, reply: ReplyId) -> Option<Result<Appended, AppendError>> {
        self.nodes.iter().find_map(|node| node.replies.get(&reply)).copied()
    }

    pub fn deletion(&self, reply: ReplyId) -> Option<Result<Offset, DeleteError>> {
        self.nodes.iter().find_map(|node| node.deletions.get(&reply)).copied()
    }

    /// The offset at which a batch was acknowledged.
    pub fn acked(&self, reply: ReplyId) -> Option<i64> {
        self.outcome(reply)?.ok().map(|appended| appended.base_offset.0)
    }

    pub fn leader(&self) -> usize {
        self.state.leader.unwrap().0 as usize
    }

    /// The follower fetches until the leader knows that it has everything.
    pub fn replicate(&mut self, name: &str) {
        let node = self.index(name);
        let mut idle = 0;
        for _ in 0..100 {
            let before = (self.nodes[node].disk.end(), self.nodes[node].fetch);
            self.read_for(node);
            self.deliver_to(node);
            let after = (self.nodes[node].disk.end(), self.nodes[node].fetch);
            idle = if before == after { idle + 1 } else { 0 };
            if idle == 2 {
                return;
            }
        }
        panic!("{name} never catches up");
    }

    /// The leader reads for a follower's fetch; the answer is under way.
    pub fn read_for(&mut self, node: usize) {
        let Some(fetch) = self.nodes[node].fetch.take() else { return };
        let leader = fetch.leader.0 as usize;
        let reply = match &self.nodes[leader] {
            node if node.alive => node.disk.read(&node.replica.view(), &fetch),
            _ => LeaderReply::Failed,
        };
        if matches!(reply, LeaderReply::Records { .. }) {
            let broker = self.nodes[node].broker;
            let (epoch, offset, log_start) = (fetch.epoch, fetch.offset, fetch.log_start);
            if let Some(broker_epoch) = self.registered(broker).epoch {
                let fetched = FollowerFetch { broker, broker_epoch, epoch, offset, log_start };
                self.step(leader, Event::FollowerFetched(fetched));
            }
        }
        self.nodes[node].in_flight = Some(LeaderAnswer { epoch: fetch.epoch, offset: fetch.offset, reply });
    }

    pub fn deliver_to(&mut self, node: usize) {
        if let Some(answer) = self.nodes[node].in_flight.take() {
            self.step(node, Event::LeaderAnswered(answer));
        }
    }

    /// Time passes, and everybody notices.
    pub fn after(&mut self, time: Duration) {
        self.now = self.now + time;
        self.wall = Timestamp(self.wall.0 + time.as_millis() as i64);
        for node in 0..self.nodes.len() {
            self.step(node, Event::Tick);
        }
    }

    /// The brokers of the ISR that the leader asks for, if it does.
    pub fn proposed(&self) -> Option<Vec<i32>> {
        let proposal = self.nodes[self.leader()].proposals.last()?;
        Some(proposal.isr.iter().map(|member| member.broker.0).collect())
    }

    /// The controller takes the leader's proposal, as far as it may.
    pub fn controller_answers(&mut self) {
        let leader = self.leader();
        let Some(proposal) = self.nodes[leader].proposals.pop() else { return };
        let outcome = self.judge(&proposal);
        let (epoch, partition_epoch) = (proposal.epoch, proposal.partition_epoch);
        self.step(leader, Event::IsrAnswered(IsrAnswer { epoch, partition_epoch, outcome }));
        self.spread_state();
    }

    /// As the controller does; what it takes is in the metadata log at once.
    pub fn judge(&mut self, proposal: &IsrProposal) -> Result<(Vec<BrokerId>, PartitionEpoch), IsrRefusal> {
        let current = (self.state.leader_epoch, self.state.partition_epoch);
        if (proposal.epoch, proposal.partition_epoch) != current {
            return Err(IsrRefusal::Stale);
        }
        let eligible = proposal.isr.iter().all(|member| {
            let known = self.registered(member.broker);
            known.standing == Standing::Active && member.epoch.is_none_or(|epoch| known.epoch == Some(epoch))
        });
        if !eligible {
            return Err(IsrRefusal::Refused);
        }
        self.state.isr = proposal.isr.iter().map(|member| member.broker).collect();
        self.state.partition_epoch.0 += 1;
        Ok((self.state.isr.clone(), self.state.partition_epoch))
    }

    pub fn elect(&mut self, name: &str) {
        self.lead_by(Some(self.index(name)));
        self.spread_state();
    }

    pub fn lead_by(&mut self, node: Option<usize>) {
        self.state.leader = node.map(|node| self.nodes[node].broker);
        self.state.leader_epoch.0 += 1;
        self.state.partition_epoch.0 += 1;
    }

    /// Everybody hears what the metadata log says.
    pub fn spread_state(&mut self) {
        for node in 0..self.nodes.len() {
            self.step(node, Event::Assigned(self.state.clone()));
        }
    }

    pub fn registered(&mut self, broker: BrokerId) -> &mut ReplicaBroker {
        self.state.replicas.iter_mut().find(|known| known.broker == broker).unwrap()
    }

    /// kill -9 and a lost page cache, then a start from what is left.
    pub fn crash(&mut self, name: &str) {
        let node = self.index(name);
        self.nodes[node].crash(&self.config);
        self.step(node, Event::Assigned(self.state.clone()));
    }

    /// A name for one more caller.
    pub fn reply(&mut self) -> ReplyId {
        self.next_reply += 1;
        ReplyId(self.next_reply)
    }
}

impl Node {
    fn empty(broker: BrokerId, config: &ReplicaConfig) -> Node {
        let config = ReplicaConfig { broker, ..config.clone() };
        Node {
            broker,
            replica: Replica::new(config.clone(), Restored::empty(&config)),
            disk: Disk::default(),
            alive: true,
            slow_disk: false,
            flushes: vec![],
            fetch: None,
            in_flight: None,
            proposals: vec![],
            replies: BTreeMap::new(),
            deletions: BTreeMap::new(),
            aborted: vec![],
            checkpointed: Offset::ZERO,
            led: (LeaderEpoch(-1), Offset::ZERO),
        }
    }

    pub fn step(&mut self, now: Instant, wall: Timestamp, event: Event) {
        let mut effects = vec![];
        self.replica.step(now, wall, event, &mut effects);
        for effect in effects {
            self.carry_out(now, wall, effect);
        }
        self.check();
        if !self.slow_disk {
            self.flush(now, wall);
        }
    }

    /// The disk does what it was asked for.
    pub fn flush(&mut self, now: Instant, wall: Timestamp) {
        for (epoch, asked) in std::mem::take(&mut self.flushes) {
            let end = if self.slow_disk { asked } else { self.disk.end() };
            self.disk.flushed(end);
            self.step(now, wall, Event::Flushed { epoch, end });
        }
    }

    pub fn values(&self) -> Vec<String> {
        self.disk.log.iter().map(disk::value).collect()
    }

    fn carry_out(&mut self, now: Instant, wall: Timestamp, effect: Effect) {
        match effect {
            Effect::Write(batch) => self.disk.write(batch),
            Effect::Flush { epoch, end } => {
                assert!(end <= self.disk.end());
                self.flushes.push((epoch, end));
            }
            Effect::Truncate { to } => {
                let truncated = self.disk.truncate(to, self.replica.config());
                self.step(now, wall, truncated);
            }
            Effect::RestartAt(offset) => self.disk.restart_at(offset),
            Effect::MoveLogStart(start) => self.disk.move_start(start),
            Effect::Reply { to, outcome } => {
                let again = self.replies.insert(to, outcome);
                assert_eq!(again, None, "one reply for each append");
            }
            Effect::DeleteReplied { to, outcome } => {
                assert_eq!(self.deletions.insert(to, outcome), None, "one reply for each deletion");
            }
            Effect::ProposeIsr(proposal) => self.proposals.push(proposal),
            Effect::Fetch(fetch) => {
                assert_eq!(fetch.offset, self.disk.end(), "fetches go on where the log ends");
                (self.fetch, self.in_flight) = (Some(fetch), None);
            }
            Effect::StopFetching => (self.fetch, self.in_flight) = (None, None),
            Effect::EpochsChanged => self.disk.epochs = self.replica.epochs().entries().to_vec(),
            Effect::Aborted(aborted) => self.aborted.push(aborted),
        }
    }

    fn check(&mut self) {
        let view = self.replica.view();
        assert!(view.log_start <= view.high_watermark, "{view:?}");
        assert!(view.log_start <= view.last_stable && view.last_stable <= view.high_watermark, "{view:?}");
        assert!(view.high_watermark <= view.log_end && view.durable_end <= view.log_end, "{view:?}");
        if view.role == ViewRole::Leader {
            let (epoch, highest) = self.led;
            assert!(
                view.leader_epoch > epoch || view.high_watermark >= highest,
                "high watermark went back: {view:?}"
            );
            self.led = (view.leader_epoch, view.high_watermark);
        }
    }

    pub fn crash(&mut self, config: &ReplicaConfig) {
        if config.durability == Durability::Flushed {
            self.disk.lose_power();
        }
        self.flushes.clear();
        self.proposals.clear();
        (self.fetch, self.in_flight, self.alive) = (None, None, true);
        self.led = (LeaderEpoch(-1), Offset::ZERO);
        let config = ReplicaConfig { broker: self.broker, ..config.clone() };
        let restored = self.disk.restore(&config, self.checkpointed);
        self.replica = Replica::new(config, restored);
    }

    /// The high watermark checkpoint is written now and then.
    pub fn checkpoint(&mut self) {
        self.checkpointed = self.replica.view().high_watermark;
    }
}
