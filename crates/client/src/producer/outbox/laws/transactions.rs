//! Laws of transactions: readers of committed records see all of a transaction or nothing, and what was
//! aborted stays so.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::broker::{Fate, Uid};
use super::rig::{Rig, lost};
use super::{Op, op};
use crate::producer::record::ProduceError;
use crate::producer::transaction::{Core, End, Step, TransactionVersion};

/// One transaction: what happens in it, and how it is to end.
#[derive(Clone, Debug)]
struct Story {
    ops: Vec<Op>,
    end: End,
    /// How the coordinator answers to partitions that are added, each time it is asked: the answer may be
    /// lost.
    added: Vec<bool>,
    /// Requests that were given up on arrive before the end, and behind it.
    late: (usize, usize),
}

fn story() -> impl Strategy<Value = Story> {
    let end = prop_oneof![Just(End::Commit), Just(End::Abort)];
    let ops = prop::collection::vec(op(), 1..40);
    let added = prop::collection::vec(prop::bool::weighted(0.7), 0..6);
    (ops, end, added, (0..3usize, 0..3usize)).prop_map(|(ops, end, added, late)| Story {
        ops,
        end,
        added,
        late,
    })
}

fn introduced(version: TransactionVersion) -> Core {
    let mut core = Core::new();
    core.identified((ottla_wire::ProducerId(7), ottla_wire::ProducerEpoch(0)), version);
    core
}

impl Rig {
    fn transaction(&mut self) -> &mut Core {
        self.transaction.as_mut().unwrap()
    }

    /// Tells one transaction; gives whether it was committed.
    fn tell(&mut self, story: &Story) -> bool {
        self.transaction().begin().unwrap();
        let mut added = story.added.iter();
        for op in &story.ops {
            if matches!(op, Op::Add(_)) && self.transaction().may_send("send").is_err() {
                continue;
            }
            self.happen(op);
            self.added(if added.next().copied().unwrap_or(true) { Ok(()) } else { Err(lost(true)) });
        }
        let committed = story.end == End::Commit && self.end_by(End::Commit, story.late);
        if !committed {
            assert!(self.end_by(End::Abort, story.late), "law: an abort is possible always");
        }
        (0..story.late.1).for_each(|_| self.arrive_late());
        committed
    }

    /// As a producer ends a transaction: waits until all is settled, and does what the core says.
    fn end_by(&mut self, end: End, late: (usize, usize)) -> bool {
        if self.transaction().end(end).is_err() {
            return false;
        }
        self.turn();
        (0..late.0).for_each(|_| self.arrive_late());
        self.calm_down();
        loop {
            let version = self.transaction().version();
            match self.transaction().next_step("end") {
                Err(_) => return false,
                Ok(Step::Done) => return true,
                Ok(Step::End { end, .. }) => {
                    let fate = if end == End::Commit { Fate::Committed } else { Fate::Aborted };
                    let next = self.end(fate);
                    self.transaction().ended(next, version);
                }
                Ok(Step::Renew(_)) => {
                    let identity = self.renew();
                    self.transaction().renewed(identity, version);
                }
            }
        }
    }

    fn visible(&self) -> BTreeSet<Uid> {
        let stored = self.partitions.iter().flat_map(|partition| &partition.log);
        stored.filter(|of| of.fate == Fate::Committed).map(|of| of.uid).collect()
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, ..ProptestConfig::default() })]

    #[test]
    fn readers_see_all_of_a_transaction_or_nothing(
        is_v2: bool,
        stories in prop::collection::vec(story(), 1..5),
    ) {
        let version = if is_v2 { TransactionVersion::V2 } else { TransactionVersion::V1 };
        let mut rig = Rig::transactional(introduced(version));
        let mut expected = BTreeSet::new();
        for story in &stories {
            let before = rig.taken.len();
            if rig.tell(story) {
                expected.extend(rig.taken[before..].iter().map(|taken| taken.uid));
                // One that was told too early is stored all the same, as the next law says.
                let is_well = |fate: &Result<_, ProduceError>| fate.as_ref().err().is_none_or(ProduceError::outcome_unknown);
                prop_assert!(rig.taken[before..].iter().all(|taken| taken.fate.as_ref().is_some_and(is_well)));
            }
            prop_assert_eq!(rig.visible(), expected.clone());
        }
        rig.check_nothing_is_kept();
        rig.check_outcomes();
    }
}
