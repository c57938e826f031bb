//! What must hold of groups, whatever happens: one file for each promise. They see everything, and trust
//! nobody.

mod offsets;
mod one_owner;
mod owned;
mod promise;
mod replayed;

use ottla_wire::primitives::Str;

use super::member::Heard;
use super::topics::SimTopics;
use crate::invariants::{Broken, Verdict};

pub use owned::{NAME as REST, unrest};
use promise::Invariant;
pub use promise::Scene;

/// All of them.
pub struct Invariants(Vec<Box<dyn Invariant>>);

impl Default for Invariants {
    fn default() -> Invariants {
        Invariants(vec![
            Box::<one_owner::OneOwner>::default(),
            Box::<offsets::OffsetsDoNotGoBack>::default(),
            Box::<replayed::TheLogSaysIt>::default(),
        ])
    }
}

impl Invariants {
    pub fn step(&mut self, scene: &Scene<'_>, deletes: bool) -> Result<(), Broken> {
        self.each(|one| one.step(scene, deletes))
    }

    pub fn heard(&mut self, group: &Str, heard: &Heard, topics: &SimTopics) -> Result<(), Broken> {
        self.each(|one| one.heard(group, heard, topics))
    }

    pub fn taken_over(&mut self, scene: &Scene<'_>) -> Result<(), Broken> {
        self.each(|one| one.taken_over(scene))
    }

    pub fn caught_up(&mut self, scene: &Scene<'_>) -> Result<(), Broken> {
        self.each(|one| one.caught_up(scene))
    }

    fn each(&mut self, mut see: impl FnMut(&mut dyn Invariant) -> Verdict) -> Result<(), Broken> {
        for one in &mut self.0 {
            see(&mut **one).map_err(|why| Broken { invariant: one.name(), why })?;
        }
        Ok(())
    }
}
