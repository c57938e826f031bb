//! Readers see the log: only what is committed, each record as it was committed, in order, and in the end all
//! of it.

use std::collections::BTreeMap;

use ottla_wire::Offset;

use super::ledger::Ledger;
use super::promise::Invariant;
use super::scene::{Scene, Verdict};
use crate::client::ClientFact;

/// Where the reader of everything is.
#[derive(Default)]
pub struct ReadersSeeTheLog {
    /// The last offset that was delivered, by whether the reader reads only what is committed.
    last: BTreeMap<bool, Offset>,
    delivered: u64,
    /// Records that the reader of everything has skipped because they were deleted.
    skipped_to: Offset,
    due_from: Offset,
}

impl Invariant for ReadersSeeTheLog {
    fn name(&self) -> &'static str {
        "readers see the log"
    }

    fn client(&mut self, fact: &ClientFact, _: &Scene<'_>, ledger: &Ledger) -> Verdict {
        match *fact {
            ClientFact::Delivered { committed, offset, value, .. } => {
                let known = ledger.value(offset);
                if known != Some(value) {
                    return Err(format!("{value:?} was delivered at {offset}, where {known:?} is committed"));
                }
                let last = self.last.insert(committed, offset);
                if last.is_some_and(|last| last >= offset) {
                    return Err(format!("{offset} was delivered after {last:?}"));
                }
                if !committed {
                    self.all_before(ledger, offset)?;
                    self.due_from = offset.plus(1);
                    self.delivered += 1;
                }
                Ok(())
            }
            ClientFact::Skipped { committed: false, to } => {
                self.skipped_to = self.skipped_to.max(to);
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn at_rest(&mut self, _: &Scene<'_>, ledger: &Ledger) -> Verdict {
        self.all_before(ledger, ledger.end())
    }
}

impl ReadersSeeTheLog {
    /// Nothing between the last record that was delivered and this offset should have been.
    fn all_before(&self, ledger: &Ledger, offset: Offset) -> Verdict {
        let mut at = self.due_from.max(self.skipped_to);
        while at < offset {
            if ledger.value(at).is_some() {
                return Err(format!("{at} was not delivered, but {offset} was"));
            }
            at = at.plus(1);
        }
        Ok(())
    }
}
