//! What must hold, whatever happens: one file for each promise. They see everything, and trust nobody.
//!
//! After an unclean election nothing is promised about records any more (that is what it means); then only those
//! invariants go on that speak of leaders and of coming to rest.

mod acknowledged;
mod committed;
mod converges;
mod durable;
mod high_watermark;
mod leaders;
pub mod ledger;
mod readers;
mod sequences;
mod transactions;

use ottla_controller::Partition as Assignment;
use ottla_replica::View;
use ottla_wire::Offset;

use crate::client::ClientFact;
use crate::node::partition::Partition;
use crate::node::{Fact, Node};
use crate::settings::Settings;

pub use converges::unrest;
use ledger::{Committed, Ledger};

/// A promise was broken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Broken {
    pub invariant: &'static str,
    pub why: String,
}

pub type Verdict = Result<(), String>;

/// What there is to see.
pub struct Scene<'a> {
    pub settings: &'a Settings,
    pub nodes: &'a [Node],
    /// The partition as the metadata log has it.
    pub assigned: Option<&'a Assignment>,
}

/// One broker after its turn.
pub struct Sight<'a> {
    pub node: usize,
    /// Which of its processes.
    pub process: u64,
    pub view: &'a View,
    pub partition: &'a Partition,
}

/// A promise. Each of the methods is told of one kind of event, in the order in which they happen.
pub trait Invariant {
    /// As it is named where it breaks.
    fn name(&self) -> &'static str;

    /// Whether it means nothing after an unclean election.
    fn is_about_records(&self) -> bool {
        true
    }

    /// A broker had its turn.
    fn turn(&mut self, _sight: &Sight<'_>, _scene: &Scene<'_>, _ledger: &Ledger) -> Verdict {
        Ok(())
    }

    /// A batch has become committed: for the first time, a high watermark has passed it.
    fn committed(&mut self, _batch: &Committed, _ledger: &Ledger) -> Verdict {
        Ok(())
    }

    /// A broker has promised something.
    fn promised(&mut self, _fact: &Fact, _scene: &Scene<'_>) -> Verdict {
        Ok(())
    }

    /// A client has done or heard something.
    fn client(&mut self, _fact: &ClientFact, _scene: &Scene<'_>, _ledger: &Ledger) -> Verdict {
        Ok(())
    }

    /// Faults are over, clients are done, and there was time.
    fn at_rest(&mut self, _scene: &Scene<'_>, _ledger: &Ledger) -> Verdict {
        Ok(())
    }
}

/// All of them.
pub struct Invariants {
    ledger: Ledger,
    all: Vec<Box<dyn Invariant>>,
    records_lost: bool,
}

impl Default for Invariants {
    fn default() -> Invariants {
        let all: Vec<Box<dyn Invariant>> = vec![
            Box::<durable::WhatIsFlushedStays>::default(),
            Box::<leaders::OneLeaderAnEpoch>::default(),
            Box::<committed::LeadersHoldWhatIsCommitted>::default(),
            Box::<high_watermark::HighWatermarkIsHeld>::default(),
            Box::<acknowledged::AcknowledgedIsCommitted>::default(),
            Box::<sequences::SequencesAreGapless>::default(),
            Box::<transactions::ReadCommittedIsAtomic>::default(),
            Box::<readers::ReadersSeeTheLog>::default(),
            Box::<converges::ComesToRest>::default(),
        ];
        Invariants { ledger: Ledger::default(), all, records_lost: false }
    }
}

impl Invariants {
    pub fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    /// An unclean election: what is lost is lost.
    pub fn records_lost(&mut self) {
        self.records_lost = true;
    }

    pub fn turn(&mut self, sight: &Sight<'_>, scene: &Scene<'_>) -> Result<(), Broken> {
        if !self.records_lost {
            let new = self.ledger.observe(sight).map_err(|why| Broken { invariant: ledger::NAME, why })?;
            for batch in &new {
                self.each(|one, ledger| one.committed(batch, ledger))?;
            }
        }
        self.each(|one, ledger| one.turn(sight, scene, ledger))
    }

    pub fn promised(&mut self, fact: &Fact, scene: &Scene<'_>) -> Result<(), Broken> {
        self.each(|one, _| one.promised(fact, scene))
    }

    pub fn client(&mut self, fact: &ClientFact, scene: &Scene<'_>) -> Result<(), Broken> {
        self.each(|one, ledger| one.client(fact, scene, ledger))
    }

    pub fn at_rest(&mut self, scene: &Scene<'_>) -> Result<(), Broken> {
        self.each(|one, ledger| one.at_rest(scene, ledger))
    }

    fn each(&mut self, mut see: impl FnMut(&mut dyn Invariant, &Ledger) -> Verdict) -> Result<(), Broken> {
        for one in &mut self.all {
            if !(self.records_lost && one.is_about_records()) {
                see(&mut **one, &self.ledger).map_err(|why| Broken { invariant: one.name(), why })?;
            }
        }
        Ok(())
    }
}

/// Where a node's log ends on stable storage, whether a process runs there or not.
fn durable_end(node: &Node) -> Offset {
    match node.process.as_ref().and_then(|process| process.partition()) {
        Some(partition) => partition.log().durable_end(),
        None => node.durable_then,
    }
}
