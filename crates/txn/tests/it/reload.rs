//! Whatever happens, and wherever the coordinator fails, the one after it goes on from what is committed.

use std::collections::BTreeMap;
use std::time::Duration;

use ottla_txn::{MarkerOutcome, TransactionVersion, TxnState};
use ottla_wire::ErrorCode;
use proptest::prelude::*;

use crate::world::{ABORT, COMMIT, Who, World};

#[derive(Clone, Copy, Debug)]
enum Act {
    Init,
    /// A producer goes on; `age` is how far its epoch lies behind what it was last told.
    InitAs {
        age: i16,
    },
    Add {
        partition: i32,
        age: i16,
    },
    End {
        commit: bool,
        age: i16,
    },
    /// Markers of one transaction: written, or not but for one.
    Markers {
        all: bool,
    },
    Wait {
        seconds: u64,
    },
    Restart,
    /// The coordinator fails with the records of its last step uncommitted.
    LoseNext,
}

fn acts() -> impl Strategy<Value = Vec<(usize, Act)>> {
    let age = prop_oneof![6 => Just(0i16), 1 => Just(1), 1 => Just(-1)];
    let act = prop_oneof![
        2 => Just(Act::Init),
        1 => age.clone().prop_map(|age| Act::InitAs { age }),
        6 => (0..4, age.clone()).prop_map(|(partition, age)| Act::Add { partition, age }),
        4 => (any::<bool>(), age).prop_map(|(commit, age)| Act::End { commit, age }),
        4 => any::<bool>().prop_map(|all| Act::Markers { all }),
        2 => prop_oneof![Just(1u64), Just(45), Just(4000)].prop_map(|seconds| Act::Wait { seconds }),
        1 => Just(Act::Restart),
        1 => Just(Act::LoseNext),
    ];
    proptest::collection::vec((0..2usize, act), 1..60)
}

const IDS: [&str; 2] = ["a", "b"];

struct Story {
    w: World,
    /// What each id's producer was last told.
    told: BTreeMap<&'static str, Who>,
    loses: bool,
}

impl Story {
    fn act(&mut self, id: &'static str, act: Act) {
        let who = self.told.get(id).copied().unwrap_or((1, 0));
        let with_age = |age: i16| (who.0, who.1.saturating_sub(age).max(0));
        let before = self.w.log.clone();
        let epochs = self.epochs();
        match act {
            Act::Init => self.hear(id, |w| w.init(id)),
            Act::InitAs { age } => self.hear(id, |w| w.init_as(id, with_age(age))),
            Act::Add { partition, age } => {
                self.w.add(id, with_age(age), &[("t", partition)]);
            }
            Act::End { commit, age } => {
                self.hear(id, |w| w.end(id, with_age(age), if commit { COMMIT } else { ABORT }));
            }
            Act::Markers { all } => {
                if let Some(asked) = self.w.markers.pop_front() {
                    let one = asked.partitions.iter().next().map(|(_, p)| p);
                    self.w.answer_markers(&asked, |_, p| {
                        if all || Some(p) == one { MarkerOutcome::Done } else { MarkerOutcome::Retry }
                    });
                }
            }
            Act::Wait { seconds } => self.w.after(Duration::from_secs(seconds)),
            Act::Restart => self.w.restart(),
            Act::LoseNext => {
                self.loses = true;
                return;
            }
        }
        if std::mem::take(&mut self.loses) {
            // As if nothing of this step had been committed, and nobody had heard of it.
            self.w.log = before;
            self.w.restart();
            self.told.insert(id, who);
            return;
        }
        self.check(&epochs);
    }

    fn hear(&mut self, id: &'static str, ask: impl FnOnce(&mut World) -> Result<Who, ErrorCode>) {
        if let Ok(who) = ask(&mut self.w)
            && who != (-1, -1)
        {
            self.told.insert(id, who);
        }
    }

    fn epochs(&self) -> BTreeMap<String, Who> {
        let all = self.w.frame.core().transactions();
        all.map(|(id, t)| (id.to_string(), (t.producer_id.0, t.epoch.0))).collect()
    }

    fn check(&self, before: &BTreeMap<String, Who>) {
        for (id, transaction) in self.w.frame.core().transactions() {
            let now = (transaction.producer_id.0, transaction.epoch.0);
            if let Some(&then) = before.get(id.as_str()) {
                assert!(now >= then, "{id}: a producer never goes back from {then:?} to {now:?}");
            }
            let partitions = transaction.partitions.len();
            match transaction.state {
                TxnState::Empty | TxnState::Complete(_) => assert_eq!(partitions, 0, "{id}: nothing is open"),
                TxnState::Ongoing | TxnState::Prepare(_) => {
                    assert!(partitions > 0, "{id}: something is open")
                }
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    /// The world checks after each step that the state is what the records say; here, too, that epochs never
    /// go back and that in the end every transaction that was decided is complete.
    #[test]
    fn the_state_is_what_the_records_say(v2 in any::<bool>(), acts in acts()) {
        let version = if v2 { TransactionVersion::V2 } else { TransactionVersion::V1 };
        let mut story = Story { w: World::of(version), told: BTreeMap::new(), loses: false };
        for (id, act) in acts {
            story.act(IDS[id], act);
        }
        let mut w = story.w;
        w.markers_written();
        w.after(Duration::from_secs(2));
        w.markers_written();
        w.after(Duration::from_secs(61));
        w.markers_written();
        for (id, transaction) in w.frame.core().transactions() {
            prop_assert!(!transaction.state.is_open(), "{} is stuck: {:?}", id, transaction);
        }
    }
}

/// At every record that the log of a whole life holds, a coordinator that takes over is where the first one
/// was.
#[test]
fn a_coordinator_may_fail_between_any_two_records() {
    for version in [TransactionVersion::V1, TransactionVersion::V2] {
        let mut w = World::of(version);
        let mut who = w.init("a").unwrap();
        for (n, how) in [COMMIT, ABORT, COMMIT].into_iter().enumerate() {
            w.add("a", who, &[("t", 0)]);
            w.add("a", who, &[("u", n as i32)]);
            let next = w.end("a", who, how).unwrap();
            w.markers_written();
            who = if next == (-1, -1) { who } else { next };
        }
        let whole = w.log.clone();
        for length in 0..=whole.len() {
            w.log = whole[..length].to_vec();
            w.restart();
            w.markers_written();
            // Whatever was lost, the id can be used again, and only by the new producer.
            let new = match w.init("a") {
                Err(ErrorCode::ConcurrentTransactions) => {
                    w.markers_written();
                    w.init("a").unwrap()
                }
                other => other.unwrap(),
            };
            let next = w.transact("a", new, COMMIT);
            assert!(next >= new, "cut at {length}");
        }
    }
}
