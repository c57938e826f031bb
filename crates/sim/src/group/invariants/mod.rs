//! What must hold of groups, whatever happens: one file for each promise. They see everything, and trust
//! nobody.

mod offsets;
mod one_owner;
mod owned;
mod replayed;

use ottla_group::GroupCoordinator;
use ottla_wire::primitives::Str;

use super::host::Host;
use super::member::{Heard, Member};
use super::topics::SimTopics;
use crate::invariants::{Broken, Verdict};

pub use owned::{NAME as REST, unrest};

/// What there is to see.
pub struct Scene<'a> {
    pub core: &'a GroupCoordinator,
    pub host: &'a Host,
    pub members: &'a [Member],
    pub topics: &'a SimTopics,
}

/// A promise. Each of the methods is told of one kind of event, in the order in which they happen.
pub trait Invariant {
    /// As it is named where it breaks.
    fn name(&self) -> &'static str;

    /// The coordinator had its turn. `deletes` is set if it was asked to delete offsets, or topics are gone.
    fn step(&mut self, _scene: &Scene<'_>, _deletes: bool) -> Verdict {
        Ok(())
    }

    /// A member of the group has heard something.
    fn heard(&mut self, _group: &Str, _heard: &Heard, _topics: &SimTopics) -> Verdict {
        Ok(())
    }

    /// Another broker has taken over.
    fn taken_over(&mut self, _scene: &Scene<'_>) -> Verdict {
        Ok(())
    }

    /// All that was asked is in the log, and committed.
    fn caught_up(&mut self, _scene: &Scene<'_>) -> Verdict {
        Ok(())
    }
}

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
