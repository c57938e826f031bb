//! What must hold, whatever happens: one file for each promise. They see everything, and trust nobody.
//!
//! After an unclean election nothing is promised about records any more (that is what it means); then only
//! those invariants go on that speak of leaders, of the controller, and of coming to rest.

mod acknowledged;
mod committed;
mod converges;
mod durable;
mod high_watermark;
mod leaders;
pub mod ledger;
mod promise;
mod readers;
mod scene;
mod sequences;
mod transactions;
mod whole;

use crate::client::ClientFact;
use crate::node::Fact;

pub use converges::unrest;
use ledger::Ledger;
pub use promise::Invariant;
pub use scene::{Broken, Scene, Sight, Verdict};

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
            Box::<whole::DecisionsBecomeWhole>::default(),
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

    pub fn controlled(&mut self, scene: &Scene<'_>) -> Result<(), Broken> {
        self.each(|one, _| one.controlled(scene))
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
