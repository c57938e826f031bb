//! The coordinator's side of the world: requests come in and answers go out, its log is written and
//! replicated, and one broker follows the other.

use ottla_txn::{Call, Outbound};
use ottla_wire::ProducerId;
use ottla_wire::protocol::ErrorCode;

use super::client::Told;
use super::coordinator::Asker;
use super::wire;
use super::world::{Event, World};

impl World<'_> {
    pub(super) fn at_coordinator(&mut self, asker: Asker, call: Call) -> Result<(), String> {
        let at = self.moment();
        if let Err(code) = self.coordinator.ask(&at, asker, call) {
            self.tell(asker, code, Told::Nothing);
        }
        self.follow_up()
    }

    fn tell(&mut self, asker: Asker, code: ErrorCode, told: Told) {
        match asker {
            Asker::Client { client, attempt } => self.answer(client, attempt, code, told),
            Asker::Partition { verification } => self.send(|| Event::Verified { verification, code }),
        }
    }

    /// What a step of the coordinator leads to.
    pub(super) fn follow_up(&mut self) -> Result<(), String> {
        let said = self.coordinator.end_turn(self.broker_turn())?;
        let term = self.coordinator.term();
        if let Some(end) = self.coordinator.grown() {
            let at = (self.now + self.rng.millis(1, 15)).max(self.commits_at);
            self.commits_at = at;
            self.queue.plan(at, Event::Committed { term, end });
        }
        for outbound in said {
            match outbound {
                Outbound::Reply { to, response } => {
                    if let Some(asker) = self.coordinator.asker(to) {
                        let (code, told) = wire::read(response);
                        self.tell(asker, code, told);
                    }
                }
                Outbound::WriteMarkers(markers) => self.send_markers(markers),
                Outbound::WantProducerIds { count } => {
                    let at = self.now + self.rng.millis(1, 50);
                    let count = if self.rng.chance(100) { 0 } else { count };
                    self.queue.plan(at, Event::ProducerIds { term, count });
                }
            }
        }
        if let Some(due) = self.coordinator.next_deadline().map(|due| due.max(self.now))
            && self.ticks_at.is_none_or(|planned| due < planned)
        {
            self.ticks_at = Some(due);
            self.queue.plan(due, Event::Tick { term });
        }
        Ok(())
    }

    pub(super) fn supply(&mut self, count: usize) -> Result<(), String> {
        let first = self.next_producer_id;
        self.next_producer_id += count as i64;
        let ids: Vec<ProducerId> = (first..self.next_producer_id).map(ProducerId).collect();
        let at = self.moment();
        self.coordinator.act(|core, out| core.producer_ids(&at, ids, out));
        self.follow_up()
    }

    /// Unless another broker has.
    pub(super) fn take_over(&mut self) -> Result<(), String> {
        if self.coordinator.is_led() {
            return Ok(());
        }
        self.ticks_at = None;
        self.commits_at = self.now;
        self.coordinator.take_over(self.broker_turn())?;
        self.follow_up()
    }

    pub(super) fn set_writable(&mut self, writable: bool) -> Result<(), String> {
        self.coordinator.set_writable(self.broker_turn(), writable)?;
        self.follow_up()
    }
}
