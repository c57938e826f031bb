//! The state of a transaction.

use ottla_wire::primitives::Str;

/// How a transaction ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Outcome {
    Commit,
    Abort,
}

/// The state of a transaction.
///
/// Kafka has two more states, `Dead` and `PrepareEpochFence`, which only occur while a record is being
/// written. Here a step is final, so they never occur. Clients may still filter by their names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TxnState {
    /// The id has a producer that has not begun a transaction yet.
    Empty,
    Ongoing,
    /// The outcome is decided, and markers are being written.
    Prepare(Outcome),
    /// Every partition has its marker.
    Complete(Outcome),
}

/// How many states there are.
pub const STATES: usize = 6;

/// States of Kafka that never occur here.
const NEVER_HELD: [&str; 2] = ["Dead", "PrepareEpochFence"];

impl Outcome {
    pub fn of(commit: bool) -> Outcome {
        if commit { Outcome::Commit } else { Outcome::Abort }
    }

    pub fn is_commit(self) -> bool {
        self == Outcome::Commit
    }
}

impl TxnState {
    pub const ALL: [TxnState; STATES] = [
        TxnState::Empty,
        TxnState::Ongoing,
        TxnState::Prepare(Outcome::Commit),
        TxnState::Prepare(Outcome::Abort),
        TxnState::Complete(Outcome::Commit),
        TxnState::Complete(Outcome::Abort),
    ];

    /// The number of the state in records.
    pub fn id(self) -> i8 {
        match self {
            TxnState::Empty => 0,
            TxnState::Ongoing => 1,
            TxnState::Prepare(Outcome::Commit) => 2,
            TxnState::Prepare(Outcome::Abort) => 3,
            TxnState::Complete(Outcome::Commit) => 4,
            TxnState::Complete(Outcome::Abort) => 5,
        }
    }

    pub fn from_id(id: i8) -> Option<TxnState> {
        TxnState::ALL.into_iter().find(|state| state.id() == id)
    }

    pub fn name(self) -> Str {
        Str::from_static(match self {
            TxnState::Empty => "Empty",
            TxnState::Ongoing => "Ongoing",
            TxnState::Prepare(Outcome::Commit) => "PrepareCommit",
            TxnState::Prepare(Outcome::Abort) => "PrepareAbort",
            TxnState::Complete(Outcome::Commit) => "CompleteCommit",
            TxnState::Complete(Outcome::Abort) => "CompleteAbort",
        })
    }

    /// Whether a transaction is in progress: partitions may wait for its markers.
    pub fn is_open(self) -> bool {
        match self {
            TxnState::Ongoing | TxnState::Prepare(_) => true,
            TxnState::Empty | TxnState::Complete(_) => false,
        }
    }
}

/// A state that a client asks for by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StateFilter {
    Held(TxnState),
    /// A state that never occurs.
    NeverHeld,
}

impl StateFilter {
    /// `None` if no state has this name.
    pub fn parse(name: &str) -> Option<StateFilter> {
        if NEVER_HELD.contains(&name) {
            return Some(StateFilter::NeverHeld);
        }
        TxnState::ALL.into_iter().find(|state| state.name() == name).map(StateFilter::Held)
    }
}
