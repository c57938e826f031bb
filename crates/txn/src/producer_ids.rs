//! The stock of producer ids. The broker fetches them from the controller. The coordinator says when it needs
//! more.

use std::collections::VecDeque;

use ottla_wire::ProducerId;

/// Below this number of ids, more are requested.
pub const LOW_WATER: usize = 4;

/// The number of ids after a new supply.
pub const HIGH_WATER: usize = 16;

/// Unused ids. They are not in the records, so those left when the broker fails are never used.
#[derive(Debug, Default)]
pub struct ProducerIds {
    spare: VecDeque<ProducerId>,
    /// More have been requested and have not arrived.
    asked: bool,
}

impl ProducerIds {
    pub fn take(&mut self) -> Option<ProducerId> {
        self.spare.pop_front()
    }

    pub fn is_empty(&self) -> bool {
        self.spare.is_empty()
    }

    /// The number of ids to request now, while `waiting` requests wait for one. `None` if there is no need.
    pub fn ask(&mut self, waiting: usize) -> Option<usize> {
        if self.asked || (self.spare.len() >= LOW_WATER && waiting == 0) {
            return None;
        }
        self.asked = true;
        Some(HIGH_WATER + waiting - self.spare.len().min(HIGH_WATER))
    }

    /// Takes in the supply, which may be empty. More may be requested again afterwards.
    pub fn supply(&mut self, ids: impl IntoIterator<Item = ProducerId>) {
        self.spare.extend(ids);
        self.asked = false;
    }

    /// Forgets a pending request, because its answer may have been lost.
    pub fn forget_asking(&mut self) {
        self.asked = false;
    }
}
