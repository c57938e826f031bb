//! Whatever happens in whatever order, what was promised holds.

use std::time::Duration;

use ottla_replica::{
    Acks, AppendError, Durability, Event, IsrAnswer, IsrRefusal, ReplyId, Standing, ViewRole,
};
use ottla_wire::Offset;
use proptest::prelude::*;

use crate::batches::plain;
use crate::partition::Partition;

const NAMES: [&str; 3] = ["zero", "one", "two"];

#[derive(Clone, Debug)]
enum Op {
    Append {
        node: usize,
        acks: u8,
    },
    Read(usize),
    Deliver(usize),
    LoseAnswer(usize),
    Flush(usize),
    Wait(u64),
    /// The controller looks at the proposal; its answer may get lost.
    Judge {
        node: usize,
        answer_lost: bool,
    },
    /// A node dies; what it did not flush will be gone.
    Kill(usize),
    Start(usize),
    /// The controller notices who is dead.
    Fence,
    Elect(usize),
    /// A node hears what the metadata log says.
    Hear(usize),
    Checkpoint(usize),
}

fn op() -> impl Strategy<Value = Op> {
    let node = 0..3usize;
    prop_oneof![
        8 => (node.clone(), 0..3u8).prop_map(|(node, acks)| Op::Append { node, acks }),
        12 => node.clone().prop_map(Op::Read),
        12 => node.clone().prop_map(Op::Deliver),
        1 => node.clone().prop_map(Op::LoseAnswer),
        10 => node.clone().prop_map(Op::Flush),
        3 => (1..20_000u64).prop_map(Op::Wait),
        4 => (node.clone(), prop::bool::weighted(0.2)).prop_map(|(node, answer_lost)| Op::Judge { node, answer_lost }),
        1 => node.clone().prop_map(Op::Kill),
        2 => node.clone().prop_map(Op::Start),
        2 => Just(Op::Fence),
        1 => node.clone().prop_map(Op::Elect),
        5 => node.clone().prop_map(Op::Hear),
        2 => node.prop_map(Op::Checkpoint),
    ]
}

/// A partition under test, and what its clients were promised.
struct World {
    p: Partition,
    sent: Vec<Sent>,
}

struct Sent {
    reply: ReplyId,
    value: String,
    acks: u8,
    node: usize,
    /// The promise has been looked at.
    checked: bool,
}

impl World {
    fn new(min_isr: u32) -> World {
        let mut p = Partition::configured(NAMES, |config| config.min_isr = min_isr);
        for node in &mut p.nodes {
            node.slow_disk = true;
        }
        World { p, sent: vec![] }
    }

    fn play(&mut self, op: &Op) {
        match *op {
            Op::Append { node, acks } => self.append(node, acks),
            Op::Read(node) if self.p.nodes[node].alive => self.p.read_for(node),
            Op::Deliver(node) if self.p.nodes[node].alive => self.p.deliver_to(node),
            Op::LoseAnswer(node) => {
                if let Some(answer) = &mut self.p.nodes[node].in_flight {
                    answer.reply = ottla_replica::LeaderReply::Failed;
                }
            }
            Op::Flush(node) if self.p.nodes[node].alive => {
                let (now, wall) = (self.p.now, self.p.wall);
                self.p.nodes[node].flush(now, wall);
            }
            Op::Wait(ms) => self.p.after(Duration::from_millis(ms)),
            Op::Judge { node, answer_lost } => self.judge(node, answer_lost),
            Op::Kill(node) => self.p.nodes[node].alive = false,
            Op::Start(node) if !self.p.nodes[node].alive => self.start(node),
            Op::Fence => self.fence(),
            Op::Elect(node) => self.elect(node),
            Op::Hear(node) => self.p.step(node, Event::Assigned(self.p.state.clone())),
            Op::Checkpoint(node) => self.p.nodes[node].checkpoint(),
            Op::Read(_) | Op::Deliver(_) | Op::Flush(_) | Op::Start(_) => {} // not in this state
        }
    }

    fn append(&mut self, node: usize, acks: u8) {
        let value = format!("v{}", self.sent.len());
        let wanted = [Acks::None, Acks::Leader, Acks::InSync][usize::from(acks)];
        let reply = self.p.append_as(node, plain(&value), wanted);
        self.sent.push(Sent { reply, value, acks, node, checked: false });
    }

    fn judge(&mut self, node: usize, answer_lost: bool) {
        let Some(proposal) = self.p.nodes[node].proposals.pop() else { return };
        let judged = self.p.judge(&proposal);
        let outcome = if answer_lost { Err(IsrRefusal::Unknown) } else { judged };
        let (epoch, partition_epoch) = (proposal.epoch, proposal.partition_epoch);
        self.p.step(node, Event::IsrAnswered(IsrAnswer { epoch, partition_epoch, outcome }));
    }

    /// From its own disk, after a power loss; registered anew.
    fn start(&mut self, node: usize) {
        let config = self.p.config.clone();
        self.p.nodes[node].crash(&config);
        let broker = self.p.nodes[node].broker;
        let known = self.p.registered(broker);
        known.standing = Standing::Active;
        known.epoch = known.epoch.map(|epoch| ottla_wire::BrokerEpoch(epoch.0 + 1));
        // An incarnation that was in the ISR and came back before it was missed is taken out first, as when
        // it registers.
        self.leave_isr(node);
        if self.p.state.leader == Some(broker) {
            self.p.lead_by(self.candidate());
        }
        self.p.state.partition_epoch.0 += 1;
    }

    fn fence(&mut self) {
        for node in 0..NAMES.len() {
            if !self.p.nodes[node].alive {
                let broker = self.p.nodes[node].broker;
                self.p.registered(broker).standing = Standing::Fenced;
                self.leave_isr(node);
            }
        }
        let leads = self.p.state.leader.is_some_and(|leader| self.p.nodes[leader.0 as usize].alive);
        if !leads {
            self.p.lead_by(self.candidate());
        }
        self.p.state.partition_epoch.0 += 1;
    }

    /// The last member of an ISR stays in it: nobody else has everything.
    fn leave_isr(&mut self, node: usize) {
        let broker = self.p.nodes[node].broker;
        if self.p.state.isr.len() > 1 {
            self.p.state.isr.retain(|&member| member != broker);
        }
    }

    fn candidate(&self) -> Option<usize> {
        let members = self.p.state.isr.iter().map(|member| member.0 as usize);
        members.into_iter().find(|&node| self.p.nodes[node].alive)
    }

    fn elect(&mut self, node: usize) {
        let eligible = self.p.nodes[node].alive && self.p.state.isr.contains(&self.p.nodes[node].broker);
        if eligible {
            self.p.lead_by(Some(node));
        }
    }

    fn check(&mut self) -> Result<(), TestCaseError> {
        self.high_watermark_is_held_by_every_replica_in_sync()?;
        self.acknowledgements_are_promises()
    }

    /// What the leader of the newest epoch calls committed is on the disk of every member of the ISR.
    fn high_watermark_is_held_by_every_replica_in_sync(&self) -> Result<(), TestCaseError> {
        let Some(leader) = self.p.state.leader.map(|leader| leader.0 as usize) else { return Ok(()) };
        let view = self.p.nodes[leader].replica.view();
        let current = view.role == ViewRole::Leader && view.leader_epoch == self.p.state.leader_epoch;
        if !current || !self.p.nodes[leader].alive {
            return Ok(());
        }
        let committed = |node: usize| -> Vec<String> {
            let log = &self.p.nodes[node].disk.log;
            let below = log.iter().filter(|batch| batch.header.last_offset() < view.high_watermark).count();
            self.p.nodes[node].values()[..below].to_vec()
        };
        for member in &self.p.state.isr {
            let node = member.0 as usize;
            prop_assert!(
                self.p.nodes[node].disk.durable_end >= view.high_watermark,
                "{member} has not flushed: {view:?}"
            );
            prop_assert_eq!(committed(node), committed(leader), "{} holds something else", member);
        }
        Ok(())
    }

    fn acknowledgements_are_promises(&mut self) -> Result<(), TestCaseError> {
        for sent in &mut self.sent {
            let node = &self.p.nodes[sent.node];
            let Some(outcome) = node.replies.get(&sent.reply) else { continue };
            let Ok(appended) = outcome else {
                prop_assert!(!matches!(outcome, Err(AppendError::Storage)));
                continue;
            };
            if !sent.checked {
                let reached = match sent.acks {
                    0 => node.replica.view().log_end,
                    1 => node.disk.durable_end,
                    _ => node.replica.view().high_watermark,
                };
                prop_assert!(reached > appended.last_offset, "{} was acknowledged too early", sent.value);
                sent.checked = true;
            }
        }
        Ok(())
    }

    /// Everybody comes back and goes on until nothing moves; then all hold the same, and everything that
    /// acks=all promised.
    fn settle(&mut self) -> Result<(), TestCaseError> {
        for node in 0..NAMES.len() {
            if !self.p.nodes[node].alive {
                self.start(node);
            }
        }
        if self.p.state.leader.is_none() {
            self.p.lead_by(self.candidate());
        }
        let leader = self.p.leader();
        for _ in 0..60 {
            self.p.spread_state();
            for node in 0..NAMES.len() {
                let (now, wall) = (self.p.now, self.p.wall);
                self.p.nodes[node].flush(now, wall);
                self.p.read_for(node);
                self.p.deliver_to(node);
            }
            self.judge(leader, false);
            self.p.after(Duration::from_millis(10));
            self.check()?;
        }
        let end = self.p.nodes[leader].disk.end();
        for node in &self.p.nodes {
            prop_assert_eq!(node.values(), self.p.nodes[leader].values(), "{} differs", node.broker);
            prop_assert_eq!(node.replica.view().high_watermark, end, "{} lags", node.broker);
        }
        prop_assert_eq!(self.p.state.isr.len(), NAMES.len());
        let kept = self.p.nodes[leader].values();
        for sent in self.sent.iter().filter(|sent| sent.acks == 2) {
            if let Some(Ok(appended)) = self.p.nodes[sent.node].replies.get(&sent.reply) {
                let at = usize::try_from(appended.base_offset.0).unwrap();
                prop_assert_eq!(kept.get(at), Some(&sent.value), "an acknowledged record is gone");
            }
        }
        Ok(())
    }
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 200, failure_persistence: None, max_shrink_iters: 20_000, ..ProptestConfig::default()
    })]

    #[test]
    fn what_was_promised_holds(min_isr in 1..3u32, ops in prop::collection::vec(op(), 0..250)) {
        let mut world = World::new(min_isr);
        for op in &ops {
            world.play(op);
            world.check()?;
        }
        world.settle()?;
    }
}

/// What a follower and its leader do, as far as it has to do with lag.
#[derive(Clone, Copy, Debug)]
enum Lag {
    Append,
    Replicate,
    Wait(u64),
}

fn lag() -> impl Strategy<Value = Lag> {
    prop_oneof![
        2 => Just(Lag::Append),
        1 => Just(Lag::Replicate),
        3 => (1..40_000u64).prop_map(Lag::Wait),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_follower_is_asked_out_exactly_when_it_has_held_too_little_for_too_long(
        steps in prop::collection::vec(lag(), 0..60)
    ) {
        let mut p = Partition::of(["leader", "follower"]);
        p.replicate("follower");
        let lag_max = p.config.lag_max;
        let mut behind_since = None;
        for step in steps {
            match step {
                Lag::Append => {
                    p.append("a");
                    behind_since = behind_since.or(Some(p.now));
                }
                Lag::Replicate => {
                    p.replicate("follower");
                    behind_since = None;
                }
                Lag::Wait(ms) => p.after(Duration::from_millis(ms)),
            }
            let slow = behind_since.is_some_and(|then| p.now.since(then) > lag_max);
            prop_assert_eq!(p.proposed(), slow.then(|| vec![0]));
            if slow {
                break;
            }
        }
    }
}

/// The same without power loss under Kafka's own rule: what is written survives the process.
#[test]
fn the_page_cache_rule_survives_a_killed_process() {
    let mut p = Partition::configured(NAMES, |config| config.durability = Durability::PageCache);
    p.nodes[0].slow_disk = true;
    let a = p.append("a");
    p.replicate("one");
    p.replicate("two");
    assert_eq!(p.acked(a), Some(0));
    p.nodes[0].checkpoint();
    p.crash("zero");
    assert_eq!(p.view("zero").log_end, Offset(1));
}
