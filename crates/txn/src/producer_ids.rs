//! Producer ids at hand. The broker fetches them from the controller and hands them in; the coordinator says
//! when it wants more.

use std::collections::VecDeque;

use ottla_wire::ProducerId;

/// Below this many ids, more are asked for.
pub const LOW_WATER: usize = 4;

/// How many ids there are to be after more have come.
pub const HIGH_WATER: usize = 16;

/// Ids that nobody has been given yet. They are not in the records: what is left when the broker fails is
/// never used.
#[derive(Debug, Default)]
pub struct ProducerIds {
    spare: VecDeque<ProducerId>,
    /// More were asked for and have not come.
    asked: bool,
}

impl ProducerIds {
    pub fn take(&mut self) -> Option<ProducerId> {
        self.spare.pop_front()
    }

    pub fn is_empty(&self) -> bool {
        self.spare.is_empty()
    }

    /// How many to ask for now, while `waiting` requests wait for one; `None` if there is no need.
    pub fn ask(&mut self, waiting: usize) -> Option<usize> {
        if self.asked || (self.spare.len() >= LOW_WATER && waiting == 0) {
            return None;
        }
        self.asked = true;
        Some(HIGH_WATER + waiting - self.spare.len().min(HIGH_WATER))
    }

    /// What was asked for has come, or nothing has: then it may be asked for again.
    pub fn supply(&mut self, ids: impl IntoIterator<Item = ProducerId>) {
        self.spare.extend(ids);
        self.asked = false;
    }

    /// Forgets that more were asked for: the answer may have been lost.
    pub fn forget_asking(&mut self) {
        self.asked = false;
    }
}
