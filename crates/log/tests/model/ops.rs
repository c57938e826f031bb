//! What may happen to a log, and how often.

use proptest::prelude::*;

#[derive(Clone, Debug)]
pub enum Op {
    Append {
        records: u8,
        value: u16,
        time: i8,
        packed: bool,
        producer: u8,
    },
    Abort {
        producer: u8,
    },
    Write,
    /// Begin and finish, or begin only: then the outcome comes with a later one.
    Flush {
        finish: bool,
    },
    FinishFlush,
    Vouch,
    Roll,
    NewEpoch,
    Truncate {
        per_mille: u16,
    },
    Restart {
        ahead: u8,
    },
    MoveStart {
        per_mille: u16,
    },
    Retain {
        bytes: u16,
        /// Also what was not flushed yet, as in topics that have given up flushes.
        unflushed: bool,
    },
    Checkpoint,
    Chores,
    CloseIdleFiles,
    CleanRestart,
    /// The process dies; the disk keeps everything.
    Kill,
    /// Power loss after some more changes to the disk.
    PowerLoss {
        seed: u64,
        changes_left: Option<u8>,
        then: Box<Op>,
    },
}

pub fn any_op() -> impl Strategy<Value = Op> {
    let simple = simple_op().boxed();
    prop_oneof![
        30 => simple.clone(),
        1 => Just(Op::CleanRestart),
        1 => Just(Op::Kill),
        2 => (any::<u64>(), proptest::option::of(0..12u8), simple).prop_map(|(seed, changes_left, then)| {
            Op::PowerLoss { seed, changes_left, then: Box::new(then) }
        }),
    ]
}

fn simple_op() -> impl Strategy<Value = Op> {
    prop_oneof![
        12 => (1..6u8, 0..700u16, any::<i8>(), any::<bool>(), 0..4u8).prop_map(
            |(records, value, time, packed, producer)| Op::Append { records, value, time, packed, producer }
        ),
        2 => (1..4u8).prop_map(|producer| Op::Abort { producer }),
        6 => Just(Op::Write),
        4 => any::<bool>().prop_map(|finish| Op::Flush { finish }),
        2 => Just(Op::FinishFlush),
        2 => Just(Op::Vouch),
        2 => Just(Op::Roll),
        1 => Just(Op::NewEpoch),
        1 => (0..1100u16).prop_map(|per_mille| Op::Truncate { per_mille }),
        1 => (0..50u8).prop_map(|ahead| Op::Restart { ahead }),
        1 => (0..1100u16).prop_map(|per_mille| Op::MoveStart { per_mille }),
        1 => (0..6000u16, any::<bool>()).prop_map(|(bytes, unflushed)| Op::Retain { bytes, unflushed }),
        2 => Just(Op::Checkpoint),
        1 => Just(Op::Chores),
        1 => Just(Op::CloseIdleFiles),
    ]
}
