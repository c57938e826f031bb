//! Laws of the outbox, whatever brokers answer, whatever is lost and however late it arrives after all.

mod broker;
mod rig;
mod transactions;

use std::collections::BTreeSet;
use std::time::Duration;

use ottla_wire::protocol::ErrorCode;
use proptest::prelude::*;

use broker::Uid;
use rig::{BROKERS, Deed, PARTITIONS, Rig};

/// Something that happens.
#[derive(Clone, Debug)]
enum Op {
    Add(usize),
    Serve(i32, Deed),
    ArriveLate,
    MoveLeader(usize),
    Connect { failed: bool },
    Identify(Result<(), ErrorCode>),
    Wait(Duration),
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        8 => (0..PARTITIONS).prop_map(Op::Add),
        8 => served().prop_map(|(broker, deed)| Op::Serve(broker, deed)),
        1 => Just(Op::ArriveLate),
        1 => (0..PARTITIONS).prop_map(Op::MoveLeader),
        4 => prop::bool::weighted(0.2).prop_map(|failed| Op::Connect { failed }),
        2 => identified().prop_map(Op::Identify),
        3 => wait().prop_map(Op::Wait),
    ]
}

fn served() -> impl Strategy<Value = (i32, Deed)> {
    let refusals = prop::sample::select(vec![
        ErrorCode::NotEnoughReplicas,
        ErrorCode::RequestTimedOut,
        ErrorCode::NotLeaderOrFollower,
        ErrorCode::MessageTooLarge,
        ErrorCode::TopicAuthorizationFailed,
        ErrorCode::InvalidRecord,
    ]);
    let deed = prop_oneof![
        6 => Just(Deed::Obey),
        2 => refusals.prop_map(Deed::Refuse),
        2 => (0..4usize).prop_map(|carried_out| Deed::Break { carried_out }),
        1 => Just(Deed::NotSent),
    ];
    (0..BROKERS, deed)
}

fn identified() -> impl Strategy<Value = Result<(), ErrorCode>> {
    prop_oneof![4 => Just(Ok(())), 1 => Just(Err(ErrorCode::CoordinatorLoadInProgress))]
}

fn wait() -> impl Strategy<Value = Duration> {
    prop_oneof![6 => 1..300u64, 1 => 3000..11_000u64].prop_map(Duration::from_millis)
}

impl Rig {
    fn happen(&mut self, op: &Op) {
        match op {
            Op::Add(partition) => self.add(*partition),
            Op::Serve(broker, deed) => self.serve(*broker, deed),
            Op::ArriveLate => self.arrive_late(),
            Op::MoveLeader(partition) => self.move_leader(*partition),
            Op::Connect { failed } => self.connect(*failed),
            Op::Identify(outcome) => self.identify(*outcome),
            Op::Wait(time) => self.wait(*time),
        }
    }

    /// Every record has an outcome, and the log bears it out.
    fn check_outcomes(&self) {
        for taken in &self.taken {
            let log = &self.partitions[taken.partition].log;
            let stored = || log.iter().any(|of| of.uid == taken.uid);
            match taken.fate.as_ref().expect("law: nothing is forgotten") {
                Ok(metadata) => match metadata.offset {
                    Some(offset) => assert_eq!(log[offset.0 as usize].uid, taken.uid, "law: it is there"),
                    None => assert!(stored(), "law: record {} is stored", taken.uid),
                },
                Err(error) if error.outcome_unknown() => {}
                Err(error) => assert!(!stored(), "law: record {} is not stored: {error}", taken.uid),
            }
        }
    }

    /// Records are stored once, and in the order they were sent.
    fn check_order(&self) {
        for (index, partition) in self.partitions.iter().enumerate() {
            let uids: Vec<Uid> = partition.log.iter().map(|of| of.uid).collect();
            let once: BTreeSet<Uid> = uids.iter().copied().collect();
            assert_eq!(once.len(), uids.len(), "law: each once, in partition {index}: {uids:?}");
            assert!(uids.is_sorted(), "law: in order, in partition {index}: {uids:?}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, ..ProptestConfig::default() })]

    #[test]
    fn every_record_is_stored_once_in_order_and_has_one_outcome_that_is_true(
        max_in_flight in 1..=5usize,
        lenient: bool,
        ops in prop::collection::vec(op(), 1..120),
    ) {
        let mut rig = Rig::new(max_in_flight);
        rig.partitions.iter_mut().for_each(|partition| partition.lenient = lenient);
        ops.iter().for_each(|op| rig.happen(op));
        rig.calm_down();
        rig.arrive_late();
        rig.check_nothing_is_kept();
        rig.check_outcomes();
        rig.check_order();
    }

    /// Without idempotence a record may be stored twice, but nothing is lost and nothing is said that is not
    /// so.
    #[test]
    fn every_record_has_one_outcome_that_is_true_without_idempotence_too(
        max_in_flight in 1..=5usize,
        ops in prop::collection::vec(op(), 1..120),
    ) {
        let mut rig = Rig::without_idempotence(max_in_flight);
        ops.iter().for_each(|op| rig.happen(op));
        rig.calm_down();
        rig.check_nothing_is_kept();
        rig.check_outcomes();
    }

    #[test]
    fn who_gives_up_says_what_is_not_known(
        ops in prop::collection::vec(op(), 1..60),
    ) {
        let mut rig = Rig::new(5);
        ops.iter().for_each(|op| rig.happen(op));
        rig.give_up();
        rig.check_nothing_is_kept();
        rig.check_outcomes();
        rig.check_order();
    }
}
