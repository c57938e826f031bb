//! One replica with its disk: it carries out what its core wants, and tells of it.

use ottla_replica::{
    Durability, Effect, Event, FetchRequest, IsrProposal, LeaderReply, Replica, ReplicaConfig, Restored,
};
use ottla_wire::{Instant, LeaderEpoch, Offset, Timestamp};

use crate::disk::Disk;
use crate::tell::{self, Seen};

pub struct Node {
    pub replica: Replica,
    pub alive: bool,
    /// What its core waits for.
    pub fetch: Option<FetchRequest>,
    pub proposal: Option<IsrProposal>,
    pub flush: Option<(LeaderEpoch, Offset)>,
    config: ReplicaConfig,
    pub disk: Disk,
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
            disk: Disk::default(),
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

    pub fn read(&self, fetch: &FetchRequest) -> LeaderReply {
        if self.alive { self.disk.read(&self.replica.view(), fetch) } else { LeaderReply::Failed }
    }

    /// kill -9. Where records count once they are flushed, the page cache is lost, too.
    pub fn crash(&mut self) {
        if self.config.durability == Durability::Flushed {
            self.disk.lose_power();
        }
        (self.alive, self.fetch, self.proposal, self.flush) = (false, None, None, None);
    }

    /// From what is left of the log. The high watermark was never checkpointed.
    pub fn start(&mut self) {
        let restored = self.disk.restore(&self.config, self.disk.log_start);
        self.replica = Replica::new(self.config.clone(), restored);
        self.alive = true;
    }

    pub fn whole(&self) -> Vec<String> {
        tell::whole(&self.replica, &self.disk.log)
    }

    /// Returns the event by which an effect completes at once.
    fn carry_out(&mut self, effect: Effect) -> Option<Event> {
        match effect {
            Effect::Write(batch) => self.disk.write(batch),
            Effect::Flush { epoch, end } => self.flush = Some((epoch, end)),
            Effect::Truncate { to } => return Some(self.disk.truncate(to, &self.config)),
            Effect::RestartAt(offset) => self.disk.restart_at(offset),
            Effect::MoveLogStart(start) => self.disk.move_start(start),
            Effect::ProposeIsr(proposal) => self.proposal = Some(proposal),
            Effect::Fetch(fetch) => self.fetch = Some(fetch),
            Effect::StopFetching => self.fetch = None,
            Effect::EpochsChanged => self.disk.epochs = self.replica.epochs().entries().to_vec(),
            Effect::Reply { .. } | Effect::DeleteReplied { .. } | Effect::Aborted(_) => {}
        }
        None
    }
}
