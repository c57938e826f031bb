//! Faults, as they begin and end.

use std::path::Path;
use std::time::Duration;

use ottla_log::{Disk, Faults};
use ottla_wire::Instant;

use super::{Event, Phase, World};
use crate::controller::ControllerNode;
use crate::faults::{DiskFault, Fault};
use crate::network::Party;
use crate::node::Node;
use crate::settings::BROKERS;

impl World<'_> {
    /// Something goes wrong.
    pub(super) fn fault(&mut self, fault: Fault) {
        if self.phase != Phase::Chaos {
            return;
        }
        self.note(format_args!("fault: {fault:?}"));
        match fault {
            Fault::Kill { node, for_ms } => self.crash(node, false, for_ms),
            Fault::PowerLoss { node, for_ms } => self.crash(node, true, for_ms),
            Fault::PowerLossOfAll { for_ms } => (0..BROKERS).for_each(|node| self.crash(node, true, for_ms)),
            Fault::Pause { node, for_ms } => {
                self.nodes[node].paused_until = Some(self.now + Duration::from_millis(for_ms));
            }
            Fault::Stop { node, .. } => {
                if let Some(process) = &mut self.nodes[node].process {
                    process.stop();
                }
            }
            Fault::Isolate { for_ms, .. }
            | Fault::CutFromController { for_ms, .. }
            | Fault::CutFromBroker { for_ms, .. } => {
                links(fault).into_iter().for_each(|(from, to)| self.network.cut(from, to));
                self.later(fault, for_ms);
            }
            Fault::BadNetwork { lost, slow, slow_ms, for_ms } => {
                (self.network.lost, self.network.slow, self.network.slow_ms) = (lost, slow, slow_ms);
                self.later(fault, for_ms);
            }
            Fault::BadDisk { node, how, for_ms } => {
                self.nodes[node].disk.set_faults(disk_faults(&self.nodes[node], how));
                self.later(fault, for_ms);
            }
            Fault::SlowDisk { node, flush_ms, for_ms } => {
                self.set_flush_ms(node, flush_ms);
                self.later(fault, for_ms);
            }
            Fault::ShortWrites { node } => {
                let short_writes = Some(self.rng.between(1, 200) as usize);
                self.nodes[node].disk.set_faults(Faults { short_writes, ..Faults::default() });
            }
            Fault::ClockJump { node, by_ms } => self.nodes[node].clock_off_ms += by_ms,
            Fault::ControllerFailsOver => self.operate(|controller, now| controller.fail_over(now)),
            Fault::ControllerBreaksOff => self.controller.break_off(),
            Fault::ElectPreferred => self.operate(|controller, now| controller.elect_preferred(now)),
            Fault::SetMinIsr(min_isr) => self.operate(|controller, now| controller.set_min_isr(now, min_isr)),
        }
    }

    /// A fault ends.
    pub(super) fn over(&mut self, fault: Fault) {
        if self.phase != Phase::Chaos {
            return; // everything is sound already
        }
        match fault {
            Fault::BadNetwork { .. } => (self.network.lost, self.network.slow) = (0, 0),
            Fault::BadDisk { node, .. } => self.nodes[node].disk.set_faults(Faults::default()),
            Fault::SlowDisk { node, .. } => self.set_flush_ms(node, 3),
            _ => links(fault).into_iter().for_each(|(from, to)| self.network.heal(from, to)),
        }
    }

    fn operate(&mut self, with: impl FnOnce(&mut ControllerNode, Instant) -> Result<(), String>) {
        let before = self.assigned_leader();
        match with(&mut self.controller, self.now) {
            Ok(()) => self.controller_decided(before, true),
            Err(why) => self.controller_failed(why),
        }
    }

    fn crash(&mut self, node: usize, power_lost: bool, for_ms: u64) {
        if self.nodes[node].process.is_none() {
            return; // it will be started by whoever ended it
        }
        self.nodes[node].end_process(power_lost, &mut self.rng);
        self.queue.plan(self.now + Duration::from_millis(for_ms), Event::Start(node));
    }

    fn set_flush_ms(&mut self, node: usize, flush_ms: u64) {
        self.nodes[node].flush_ms_max = flush_ms;
        if let Some(process) = &mut self.nodes[node].process {
            process.flush_ms_max = flush_ms;
        }
    }

    fn later(&mut self, fault: Fault, for_ms: u64) {
        self.queue.plan(self.now + Duration::from_millis(for_ms), Event::Over(fault));
    }
}

/// The links that a fault cuts.
fn links(fault: Fault) -> Vec<(Party, Party)> {
    match fault {
        Fault::Isolate { node, .. } => {
            let me = Party::Broker(node);
            let others = (0..BROKERS).filter(|other| *other != node).map(Party::Broker);
            others.chain([Party::Controller]).flat_map(|other| [(me, other), (other, me)]).collect()
        }
        Fault::CutFromController { node, answers_only, .. } => {
            let (me, controller) = (Party::Broker(node), Party::Controller);
            if answers_only { vec![(controller, me)] } else { vec![(me, controller), (controller, me)] }
        }
        Fault::CutFromBroker { from, to, .. } => vec![(Party::Broker(from), Party::Broker(to))],
        _ => Vec::new(),
    }
}

fn disk_faults(node: &Node, how: DiskFault) -> Faults {
    match how {
        DiskFault::Full(left) => Faults { capacity: Some(used(node) + left), ..Faults::default() },
        DiskFault::Writes => Faults { writes_fail: true, ..Faults::default() },
        DiskFault::Syncs => Faults { syncs_fail: true, ..Faults::default() },
    }
}

fn used(node: &Node) -> u64 {
    let space = node.disk.space(Path::new("/data"));
    space.map_or(0, |space| space.total - space.usable)
}
