//! One promise of groups, and what it is told of.

use ottla_group::GroupCoordinator;
use ottla_wire::primitives::Str;

use crate::group::host::Host;
use crate::group::member::{Heard, Member};
use crate::group::topics::SimTopics;
use crate::invariants::Verdict;

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
