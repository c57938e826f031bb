//! One promise, and what it is told of.

use super::ledger::{Committed, Ledger};
use super::scene::{Scene, Sight, Verdict};
use crate::client::ClientFact;
use crate::node::Fact;

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

    /// The controller has done whatever was due.
    fn controlled(&mut self, _scene: &Scene<'_>) -> Verdict {
        Ok(())
    }

    /// Faults are over, clients are done, and there was time.
    fn at_rest(&mut self, _scene: &Scene<'_>, _ledger: &Ledger) -> Verdict {
        Ok(())
    }
}
