//! The controller's part: what it is asked, its clock, and the news for brokers when it has decided
//! something.

use std::time::Duration;

use ottla_wire::BrokerId;

use super::{Event, Phase, World, scene};
use crate::invariants::Broken;
use crate::message::Message;
use crate::network::Party;
use crate::settings::BROKERS;

/// Who leads, and who may be elected without losing anything.
pub(super) struct Elected {
    leader: Option<BrokerId>,
    clean: Vec<BrokerId>,
}

impl World<'_> {
    pub(super) fn ask_controller(&mut self, from: (Party, u64), message: &Message) {
        let before = self.assigned_leader();
        match self.controller.receive(self.now, message) {
            Ok((answer, grown)) => {
                self.controller_decided(before, grown);
                if let Some(answer) = answer {
                    self.send_to(Party::Controller, from, answer);
                }
            }
            Err(why) => self.controller_failed(why),
        }
    }

    pub(super) fn controller_tick(&mut self) {
        let before = self.assigned_leader();
        match self.controller.tick(self.now) {
            Ok(grown) => {
                self.controller_decided(before, grown);
                let scene = scene(&self.setup, &self.nodes, &self.controller);
                if let Err(broken) = self.invariants.controlled(&scene) {
                    self.broken.get_or_insert(broken);
                }
            }
            Err(why) => self.controller_failed(why),
        }
        if self.phase == Phase::SetUp {
            self.set_up();
        }
        self.queue.plan(self.now + Duration::from_millis(200), Event::ControllerTick);
    }

    pub(super) fn controller_failed(&mut self, why: String) {
        self.broken.get_or_insert(Broken { invariant: "the controller works", why });
    }

    /// The metadata log may have grown: brokers hear of it.
    pub(super) fn controller_decided(&mut self, before: Option<Elected>, grown: bool) {
        if !grown {
            return;
        }
        if let Some(partition) = self.controller.partition().cloned() {
            let line = format!(
                "leader {:?} epoch {}/{} isr {:?} elr {:?} last {:?}",
                partition.leader,
                partition.leader_epoch,
                partition.partition_epoch,
                partition.isr,
                partition.elr,
                partition.last_known_elr
            );
            self.note(format_args!("metadata: {line}"));
            let unclean = before.is_some_and(|before| {
                partition
                    .leader
                    .is_some_and(|leader| before.leader != Some(leader) && !before.clean.contains(&leader))
            });
            if unclean && self.setup.settings.unclean {
                self.note(format_args!("unclean election"));
                self.invariants.records_lost();
            }
        }
        // With a part of the log that is surely enough for those who are not far behind.
        let from = self.controller.log_len().saturating_sub(30);
        let news = self.controller.log_from(from);
        for node in 0..BROKERS {
            self.send(Party::Controller, Party::Broker(node), news.clone());
        }
    }

    pub(super) fn assigned_leader(&self) -> Option<Elected> {
        let partition = self.controller.partition()?;
        let all = partition.isr.iter().chain(&partition.elr).chain(&partition.last_known_elr);
        Some(Elected { leader: partition.leader, clean: all.copied().collect() })
    }
}
