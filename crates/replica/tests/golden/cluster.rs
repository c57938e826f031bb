//! The brokers of a partition, a controller and a network that do what the script says.

use std::collections::BTreeMap;
use std::time::Duration;

use ottla_replica::{
    Acks, Append, DeleteRecords, DeleteTo, Durability, Event, FollowerFetch, IsrAnswer, IsrRefusal,
    LeaderAnswer, LeaderReply, PartitionState, RecoveryState, ReplicaBroker, ReplicaConfig, ReplyId,
    Standing, VerificationGuard, WriteMarker,
};
use ottla_scripts::{Command, Stage};
use ottla_wire::batch::Origin;
use ottla_wire::{
    BrokerEpoch, BrokerId, Instant, LeaderEpoch, Offset, PartitionEpoch, ProducerEpoch, ProducerId, Sequence,
    Timestamp,
};

use crate::batch::{Produced, build};
use crate::node::{Node, Scene};
use crate::tell;

/// How long every request waits.
const PATIENCE: Duration = Duration::from_secs(60);

pub struct Cluster {
    nodes: BTreeMap<BrokerId, Node>,
    /// What the metadata log says.
    state: PartitionState,
    now: Instant,
    wall: Timestamp,
    /// Of the requests, by reply id.
    names: Vec<String>,
    guards: BTreeMap<ProducerId, VerificationGuard>,
}

impl Cluster {
    pub fn new() -> Cluster {
        let state = PartitionState {
            leader: None,
            leader_epoch: LeaderEpoch(0),
            partition_epoch: PartitionEpoch(0),
            isr: Vec::new(),
            elr: Vec::new(),
            last_known_elr: Vec::new(),
            replicas: Vec::new(),
            recovery: RecoveryState::Recovered,
        };
        let (now, wall) = (Instant(1_000_000_000), Timestamp(1_000_000));
        Cluster { nodes: BTreeMap::new(), state, now, wall, names: Vec::new(), guards: BTreeMap::new() }
    }

    /// `partition 3 min-isr=2`: brokers 1, 2 and 3 hold replicas; all are in sync, and 1 leads.
    fn partition(&mut self, command: &mut Command, out: &mut Vec<String>) -> Result<(), String> {
        let count: i32 = command.parsed("the number of replicas")?;
        let min_isr = command.parsed_value("min-isr")?.unwrap_or(1);
        let durability = if command.flag("flushed") { Durability::Flushed } else { Durability::PageCache };
        let verify_transactions = command.flag("verify");
        for broker in (1..=count).map(BrokerId) {
            let config =
                ReplicaConfig { min_isr, durability, verify_transactions, ..ReplicaConfig::new(broker) };
            self.nodes.insert(broker, Node::empty(config));
            let epoch = Some(BrokerEpoch(1));
            self.state.replicas.push(ReplicaBroker { broker, epoch, standing: Standing::Active });
            self.state.isr.push(broker);
        }
        self.state.leader = Some(BrokerId(1));
        (self.state.leader_epoch, self.state.partition_epoch) = (LeaderEpoch(1), PartitionEpoch(1));
        self.tell_all(out)
    }

    /// `metadata leader=2 isr=2 elr=3 fenced=1 told=2,3`: the controller has decided, and these brokers hear
    /// of it.
    fn metadata(&mut self, command: &mut Command, out: &mut Vec<String>) -> Result<(), String> {
        if let Some(leader) = command.value("leader") {
            let leader = if leader == "none" { None } else { Some(BrokerId(number(&leader)?)) };
            self.state.leader = leader;
            self.state.leader_epoch.0 += 1;
        }
        if let Some(isr) = brokers(command, "isr")? {
            self.state.isr = isr;
        }
        if let Some(elr) = brokers(command, "elr")? {
            self.state.elr = elr;
        }
        for (key, standing) in [("fenced", Standing::Fenced), ("active", Standing::Active)] {
            for broker in brokers(command, key)?.unwrap_or_default() {
                self.registered(broker)?.standing = standing;
            }
        }
        self.state.partition_epoch.0 += 1;
        match brokers(command, "told")? {
            Some(told) => told.into_iter().try_for_each(|broker| self.tell(broker, out)),
            None => self.tell_all(out),
        }
    }

    fn tell_all(&mut self, out: &mut Vec<String>) -> Result<(), String> {
        let all: Vec<BrokerId> = self.nodes.keys().copied().collect();
        all.into_iter().try_for_each(|broker| self.tell(broker, out))
    }

    fn tell(&mut self, broker: BrokerId, out: &mut Vec<String>) -> Result<(), String> {
        self.step(broker, Event::Assigned(self.state.clone()), out)
    }

    fn append(&mut self, command: &mut Command, out: &mut Vec<String>) -> Result<(), String> {
        let value = command.word("the value")?;
        let acks = match command.value("acks").as_deref() {
            Some("0") => Acks::None,
            Some("1") => Acks::Leader,
            Some("all") | None => Acks::InSync,
            Some(other) => return Err(format!("acks={other} is unknown")),
        };
        let produced = producer(command)?;
        let at = self.addressed(command)?;
        let verified = match (command.flag("verified"), produced) {
            (true, Some(produced)) => self.guards.get(&produced.id).copied(),
            (true, None) => return Err("only a producer's batch can be verified".to_owned()),
            (false, _) => None,
        };
        let batch = build(&value, produced)?;
        let (reply, deadline) = (self.name(value), self.now + PATIENCE);
        let append =
            Append { batch, acks, deadline, reply, expected: None, origin: Origin::Client, verified };
        self.step(at, Event::Append(append), out)
    }

    fn marker(&mut self, command: &mut Command, out: &mut Vec<String>) -> Result<(), String> {
        let commit = command.flag("commit");
        if !commit && !command.flag("abort") {
            return Err("commit or abort?".to_owned());
        }
        let at = self.addressed(command)?;
        let marker = WriteMarker {
            producer: ProducerId(required(command, "producer")?),
            producer_epoch: ProducerEpoch(command.parsed_value("epoch")?.unwrap_or(0)),
            coordinator_epoch: command.parsed_value("coordinator")?.unwrap_or(0),
            commit,
            transaction_version: command.parsed_value("version")?.unwrap_or(1),
            deadline: self.now + PATIENCE,
            reply: self.name(if commit { "the commit" } else { "the abort" }.to_owned()),
        };
        self.step(at, Event::WriteMarker(marker), out)
    }

    fn verify(&mut self, command: &mut Command, out: &mut Vec<String>) -> Result<(), String> {
        let bumps_epochs = command.flag("v2");
        let produced = producer(command)?.ok_or("the producer is missing")?;
        let (at, now) = (self.addressed(command)?, self.now);
        let Produced { id, epoch, sequence, .. } = produced;
        match self.node(at)?.replica.begin_verification(now, id, epoch, sequence, bumps_epochs) {
            Some(guard) => {
                self.guards.insert(id, guard);
                out.push(format!("{at}: ask the coordinator of producer {id} first"));
            }
            None => out.push(format!("{at}: the transaction of producer {id} is open here")),
        }
        Ok(())
    }

    fn delete(&mut self, command: &mut Command, out: &mut Vec<String>) -> Result<(), String> {
        let before = match command.value("before").as_deref() {
            Some("high-watermark") => DeleteTo::HighWatermark,
            Some(offset) => DeleteTo::Offset(Offset(number(offset)?)),
            None => return Err("before is missing".to_owned()),
        };
        let at = self.addressed(command)?;
        let (deadline, reply) = (self.now + PATIENCE, self.name("the deletion".to_owned()));
        self.step(at, Event::DeleteRecords(DeleteRecords { before, deadline, reply }), out)
    }

    /// A follower's fetch comes to its leader, and the answer back.
    fn fetch(&mut self, broker: BrokerId, out: &mut Vec<String>) -> Result<(), String> {
        let fetch = self.node(broker)?.fetch.take().ok_or_else(|| format!("{broker} does not fetch now"))?;
        let (leader, epoch, offset) = (fetch.leader, fetch.epoch, fetch.offset);
        let reply = self.node(leader)?.read(&fetch);
        if matches!(reply, LeaderReply::Records { .. })
            && let Some(broker_epoch) = self.registered(broker)?.epoch
        {
            let log_start = fetch.log_start;
            let fetched = FollowerFetch { broker, broker_epoch, epoch, offset, log_start };
            self.step(leader, Event::FollowerFetched(fetched), out)?;
        }
        out.push(format!("{leader} -> {broker}: {}", tell::reply(&reply)));
        self.step(broker, Event::LeaderAnswered(LeaderAnswer { epoch, offset, reply }), out)
    }

    /// The controller hears what the leader asks for, or does not.
    fn controller(&mut self, command: &mut Command, out: &mut Vec<String>) -> Result<(), String> {
        let at = self.addressed(command)?;
        let proposal = self.node(at)?.proposal.take().ok_or_else(|| format!("{at} asks for nothing"))?;
        let (epoch, partition_epoch) = (proposal.epoch, proposal.partition_epoch);
        let outcome = match command.word("what it does")?.as_str() {
            "accepts" => {
                self.state.isr = proposal.isr.iter().map(|member| member.broker).collect();
                let in_sync = &self.state.isr;
                self.state.elr.retain(|broker| !in_sync.contains(broker));
                self.state.partition_epoch.0 += 1;
                Ok((self.state.isr.clone(), self.state.partition_epoch))
            }
            "refuses" => Err(IsrRefusal::Refused),
            "knows-better" => Err(IsrRefusal::Stale),
            "is-silent" => Err(IsrRefusal::Unknown),
            other => return Err(format!("{other} is unknown")),
        };
        self.step(at, Event::IsrAnswered(IsrAnswer { epoch, partition_epoch, outcome }), out)?;
        self.tell_all(out)
    }

    fn flush(&mut self, broker: BrokerId, out: &mut Vec<String>) -> Result<(), String> {
        let node = self.node(broker)?;
        let (epoch, end) = node.flush.take().ok_or_else(|| format!("{broker} does not flush now"))?;
        node.disk.flushed(end);
        self.step(broker, Event::Flushed { epoch, end }, out)
    }

    /// The broker registers anew, and all hear of it.
    fn start(&mut self, broker: BrokerId, out: &mut Vec<String>) -> Result<(), String> {
        self.node(broker)?.start();
        let known = self.registered(broker)?;
        known.epoch = known.epoch.map(|epoch| BrokerEpoch(epoch.0 + 1));
        known.standing = Standing::Active;
        self.tell_all(out)
    }

    fn pass(&mut self, time: Duration, out: &mut Vec<String>) -> Result<(), String> {
        self.now = self.now + time;
        self.wall = Timestamp(self.wall.0 + i64::try_from(time.as_millis()).map_err(|why| why.to_string())?);
        let all: Vec<BrokerId> = self.nodes.keys().copied().collect();
        all.into_iter().try_for_each(|broker| self.step(broker, Event::Tick, out))
    }

    fn step(&mut self, broker: BrokerId, event: Event, out: &mut Vec<String>) -> Result<(), String> {
        let scene = Scene { now: self.now, wall: self.wall, names: &self.names };
        let node = self.nodes.get_mut(&broker).ok_or_else(|| format!("there is no broker {broker}"))?;
        node.step(scene, event, out);
        Ok(())
    }

    fn node(&mut self, broker: BrokerId) -> Result<&mut Node, String> {
        self.nodes.get_mut(&broker).ok_or_else(|| format!("there is no broker {broker}"))
    }

    fn registered(&mut self, broker: BrokerId) -> Result<&mut ReplicaBroker, String> {
        let known = self.state.replicas.iter_mut().find(|known| known.broker == broker);
        known.ok_or_else(|| format!("there is no broker {broker}"))
    }

    /// The broker that a request goes to: `at=2`, or the leader.
    fn addressed(&self, command: &mut Command) -> Result<BrokerId, String> {
        let at = command.parsed_value("at")?.map(BrokerId);
        at.or(self.state.leader).ok_or_else(|| "nobody leads: at=... is missing".to_owned())
    }

    fn name(&mut self, name: String) -> ReplyId {
        self.names.push(name);
        ReplyId(self.names.len() as u64 - 1)
    }
}

impl Stage for Cluster {
    fn run(&mut self, command: &mut Command, out: &mut Vec<String>) -> Result<(), String> {
        let broker = |command: &mut Command| command.parsed("the broker").map(BrokerId);
        match command.name() {
            "partition" => self.partition(command, out),
            "metadata" => self.metadata(command, out),
            "tell" => self.tell(broker(command)?, out),
            "append" => self.append(command, out),
            "marker" => self.marker(command, out),
            "verify" => self.verify(command, out),
            "delete" => self.delete(command, out),
            "fetch" => self.fetch(broker(command)?, out),
            "controller" => self.controller(command, out),
            "flush" => self.flush(broker(command)?, out),
            "crash" => {
                self.node(broker(command)?)?.crash();
                Ok(())
            }
            "start" => self.start(broker(command)?, out),
            "after" => self.pass(Duration::from_secs(command.parsed("seconds")?), out),
            "view" => {
                let broker = broker(command)?;
                out.extend(self.node(broker)?.whole().iter().map(|line| format!("{broker}: {line}")));
                Ok(())
            }
            other => Err(format!("{other} is unknown")),
        }
    }
}

/// `producer=7 epoch=0 sequence=3 in-transaction`.
fn producer(command: &mut Command) -> Result<Option<Produced>, String> {
    let Some(id) = command.parsed_value("producer")?.map(ProducerId) else { return Ok(None) };
    Ok(Some(Produced {
        id,
        epoch: ProducerEpoch(command.parsed_value("epoch")?.unwrap_or(0)),
        sequence: Sequence(required(command, "sequence")?),
        transactional: command.flag("in-transaction"),
    }))
}

fn brokers(command: &mut Command, key: &str) -> Result<Option<Vec<BrokerId>>, String> {
    Ok(command.list(key)?.map(|ids| ids.into_iter().map(BrokerId).collect()))
}

fn required<T: std::str::FromStr<Err: std::fmt::Display>>(
    command: &mut Command,
    key: &str,
) -> Result<T, String> {
    command.parsed_value(key)?.ok_or_else(|| format!("{key} is missing"))
}

fn number<T: std::str::FromStr<Err: std::fmt::Display>>(text: &str) -> Result<T, String> {
    text.parse().map_err(|why| format!("{text}: {why}"))
}
