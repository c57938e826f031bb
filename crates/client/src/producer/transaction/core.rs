//! Where a transaction stands, and what may be done next. Pure.
//!
//! Whoever owns the producer calls [`Core::begin`], [`Core::end`] and so on; the sender reports what became
//! of batches and asks what may leave. Only [`Core::next_step`] talks of the coordinator: it says what is to
//! be asked of it.

use std::collections::BTreeSet;

use super::error::{Cause, TransactionError};
use super::verdict::Verdict;
use crate::cluster::TopicPartition;
use crate::producer::sequences::Identity;

/// How partitions and offsets become part of a transaction (the feature `transaction.version`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TransactionVersion {
    /// The producer tells the coordinator of each before it sends anything.
    V1,
    /// They are added as they arrive, and each transaction has an epoch of its own (KIP-890).
    V2,
}

/// How a transaction is to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::producer) enum End {
    Commit,
    Abort,
}

impl End {
    pub(super) fn call(self) -> &'static str {
        match self {
            End::Commit => "commit",
            End::Abort => "abort",
        }
    }
}

/// What is to be asked of the coordinator.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::producer) enum Step {
    /// EndTxn.
    End { end: End, identity: Identity, version: TransactionVersion },
    /// InitProducerId, with what the producer has now.
    Renew(Identity),
    /// Nothing: the transaction has ended.
    Done,
}

#[derive(Debug)]
enum State {
    /// The coordinator does not know this producer yet.
    New,
    Ready,
    Open(Open),
    /// Open, and can only be aborted.
    Failed(Open, Cause),
    /// Its end was asked for. If that has not succeeded, the same end may be asked for again.
    Ending(Open, End),
    Fatal(Cause),
}

/// A transaction that has begun and has not ended.
#[derive(Debug)]
struct Open {
    partitions: Partitions,
    coordinator: Coordinator,
    offsets: SentOffsets,
    epoch: Epoch,
}

/// How partitions become part of it.
#[derive(Debug)]
enum Partitions {
    /// Version 1: what the coordinator knows of, and what it is still to be told of.
    Announced { known: BTreeSet<TopicPartition>, untold: BTreeSet<TopicPartition>, telling: Telling },
    /// Version 2.
    AddedByBrokers,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Telling {
    Idle,
    UnderWay,
}

/// What the coordinator knows of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Coordinator {
    Unaware,
    /// Something has left, so it may know.
    MayKnow,
    /// It has forgotten the producer, and would not even end the transaction.
    HasForgotten,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum SentOffsets {
    /// There are none, or they have arrived.
    Settled,
    /// It is not known whether they have arrived.
    Unsettled,
}

/// Whether the numbers of this epoch can be used any further.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Epoch {
    Usable,
    Spent,
}

/// What the coordinator gave.
#[derive(Clone, Copy, Debug)]
struct Given {
    identity: Identity,
    version: TransactionVersion,
}

#[derive(Debug)]
pub(in crate::producer) struct Core {
    /// None before it is introduced to the coordinator.
    given: Option<Given>,
    state: State,
}

impl Core {
    pub(in crate::producer) fn new() -> Core {
        Core { given: None, state: State::New }
    }

    pub(in crate::producer) fn identity(&self) -> Option<Identity> {
        self.given.map(|given| given.identity)
    }

    pub(in crate::producer) fn version(&self) -> TransactionVersion {
        self.given.map_or(TransactionVersion::V1, |given| given.version)
    }

    /// Whether there is something that a farewell should abort.
    pub(super) fn is_open(&self) -> bool {
        match self.state {
            State::Open(_) | State::Failed(..) | State::Ending(_, End::Abort) => true,
            State::New | State::Ready | State::Ending(_, End::Commit) | State::Fatal(_) => false,
        }
    }

    /// Whether the producer may be introduced to the coordinator.
    pub(super) fn may_init(&self) -> Result<(), TransactionError> {
        match &self.state {
            State::New => Ok(()),
            state => Err(state.refusal("init_transactions")),
        }
    }

    /// The coordinator gave the first identity.
    pub(in crate::producer) fn identified(&mut self, identity: Identity, version: TransactionVersion) {
        self.given = Some(Given { identity, version });
        if let State::New = self.state {
            self.state = State::Ready;
        }
    }

    pub(in crate::producer) fn begin(&mut self) -> Result<(), TransactionError> {
        match &self.state {
            State::Ready => {
                self.state = State::Open(Open::new(self.version()));
                Ok(())
            }
            state => Err(state.refusal("begin")),
        }
    }

    /// Whether records and offsets may be sent.
    pub(in crate::producer) fn may_send(&self, call: &'static str) -> Result<(), TransactionError> {
        match &self.state {
            State::Open(_) => Ok(()),
            state => Err(state.refusal(call)),
        }
    }

    /// A record for this partition was taken. MUST be allowed by [`Core::may_send`].
    pub(in crate::producer) fn took(&mut self, partition: &TopicPartition) {
        if let State::Open(Open { partitions: Partitions::Announced { known, untold, .. }, .. }) =
            &mut self.state
            && !known.contains(partition)
        {
            untold.insert(partition.clone());
        }
    }

    /// Whether a new batch may leave for this partition, by a sender that uses this identity.
    pub(in crate::producer) fn may_leave(
        &self,
        partition: &TopicPartition,
        identity: Option<Identity>,
    ) -> bool {
        let is_part = self.going_on().is_some_and(|open| match &open.partitions {
            Partitions::Announced { known, .. } => known.contains(partition),
            Partitions::AddedByBrokers => true,
        });
        is_part && self.identity() == identity
    }

    /// A batch leaves, or offsets do.
    pub(in crate::producer) fn leaves(&mut self) {
        if let Some(open) = self.open_mut() {
            open.coordinator.may_hear();
        }
    }

    /// Whether what is not on its way is to be dropped.
    pub(in crate::producer) fn drops(&self) -> bool {
        match self.state {
            State::Failed(..) | State::Ending(_, End::Abort) | State::Fatal(_) => true,
            State::New | State::Ready | State::Open(_) | State::Ending(_, End::Commit) => false,
        }
    }

    /// What the coordinator is to be told of now; it counts as being told.
    pub(in crate::producer) fn next_to_add(&mut self) -> Option<(Identity, BTreeSet<TopicPartition>)> {
        self.going_on()?;
        let identity = self.identity()?;
        let open = self.open_mut()?;
        let Partitions::Announced { untold, telling: telling @ Telling::Idle, .. } = &mut open.partitions
        else {
            return None;
        };
        if untold.is_empty() {
            return None;
        }
        *telling = Telling::UnderWay;
        let partitions = untold.clone();
        open.coordinator.may_hear();
        Some((identity, partitions))
    }

    /// Whether the coordinator is being told of partitions. The transaction MUST NOT end meanwhile: it would
    /// begin another.
    pub(in crate::producer) fn is_adding(&self) -> bool {
        let telling = |open: &Open| match open.partitions {
            Partitions::Announced { telling, .. } => telling == Telling::UnderWay,
            Partitions::AddedByBrokers => false,
        };
        self.open().is_some_and(telling)
    }

    /// The coordinator knows of these partitions.
    pub(in crate::producer) fn added(&mut self, partitions: BTreeSet<TopicPartition>) {
        if let Some(Open { partitions: Partitions::Announced { known, untold, telling }, .. }) =
            self.open_mut()
        {
            *telling = Telling::Idle;
            untold.retain(|of| !partitions.contains(of));
            known.extend(partitions);
        }
    }

    /// It could not be told of them, and perhaps knows all the same.
    pub(in crate::producer) fn not_added(&mut self, verdict: Verdict, cause: Cause, maybe: bool) {
        let goes_on = self.going_on().is_some();
        if let Some(open) = self.open_mut() {
            if let Partitions::Announced { telling, .. } = &mut open.partitions {
                *telling = Telling::Idle;
            }
            // If it is not asked again, the question that is lost may still arrive, behind the end of the
            // transaction.
            if maybe && !goes_on {
                open.epoch = Epoch::Spent;
            }
        }
        self.judged(verdict, cause);
    }

    /// Offsets are sent; until [`Core::offsets_settled`] the transaction cannot be committed.
    pub(super) fn offsets_leave(&mut self) {
        if let Some(open) = self.open_mut() {
            open.coordinator.may_hear();
            open.offsets = SentOffsets::Unsettled;
        }
    }

    pub(super) fn offsets_settled(&mut self) {
        if let Some(open) = self.open_mut() {
            open.offsets = SentOffsets::Settled;
        }
    }

    /// A batch was given up; `sent` tells whether a broker may have seen it.
    pub(in crate::producer) fn record_failed(&mut self, verdict: Verdict, cause: Cause, sent: bool) {
        match verdict {
            Verdict::AbortAndRenew if !sent => self.judged(Verdict::Abort, cause),
            verdict => self.judged(verdict, cause),
        }
    }

    /// Takes over what an error means.
    pub(super) fn judged(&mut self, verdict: Verdict, cause: Cause) {
        match verdict {
            Verdict::Retry => return,
            Verdict::Abort => {}
            Verdict::AbortAndRenew => {
                self.open_mut().into_iter().for_each(|open| open.epoch = Epoch::Spent);
            }
            Verdict::Forgotten => {
                self.open_mut().into_iter().for_each(|open| open.coordinator = Coordinator::HasForgotten);
            }
            Verdict::Fatal => {
                if !matches!(self.state, State::Fatal(_)) {
                    self.state = State::Fatal(cause);
                }
                return;
            }
        }
        self.state = match std::mem::replace(&mut self.state, State::Ready) {
            State::Open(open) | State::Ending(open, End::Commit) => State::Failed(open, cause),
            // That it is aborted is what the error asks for; the first cause is the one to tell.
            state => state,
        };
    }

    /// The end is asked for.
    pub(in crate::producer) fn end(&mut self, end: End) -> Result<(), TransactionError> {
        if let State::Open(Open { offsets: SentOffsets::Unsettled, .. }) = self.state
            && end == End::Commit
        {
            self.judged(Verdict::AbortAndRenew, Cause::OffsetsUnsettled);
        }
        match (std::mem::replace(&mut self.state, State::Ready), end) {
            (State::Open(mut open), end) | (State::Failed(mut open, _), end @ End::Abort) => {
                if end == End::Abort {
                    open.is_to_be_aborted();
                }
                self.state = State::Ending(open, end);
                Ok(())
            }
            (State::Ending(open, asked), end) if asked == end => {
                self.state = State::Ending(open, asked);
                Ok(())
            }
            (state, end) => {
                let refusal = state.refusal(end.call());
                self.state = state;
                Err(refusal)
            }
        }
    }

    /// What is to be asked of the coordinator when everything that was on its way is settled.
    pub(in crate::producer) fn next_step(&mut self, call: &'static str) -> Result<Step, TransactionError> {
        let (State::Ending(open, end), Some(Given { identity, version })) = (&self.state, self.given) else {
            return Err(self.state.refusal(call));
        };
        match (open.coordinator, open.epoch, version) {
            (Coordinator::HasForgotten, ..) => Ok(Step::Renew(identity)),
            (Coordinator::MayKnow, ..) => Ok(Step::End { end: *end, identity, version }),
            (Coordinator::Unaware, Epoch::Spent, TransactionVersion::V1) => Ok(Step::Renew(identity)),
            // In version 2 the end of the transaction has brought another epoch.
            (Coordinator::Unaware, ..) => {
                self.state = State::Ready;
                Ok(Step::Done)
            }
        }
    }

    /// The coordinator has ended the transaction; `identity` is that of the next one if it gave one.
    /// `version` holds from the next transaction on.
    pub(in crate::producer) fn ended(&mut self, identity: Option<Identity>, version: TransactionVersion) {
        let (State::Ending(open, _), Some(given)) = (&mut self.state, &mut self.given) else { return };
        if open.coordinator == Coordinator::MayKnow {
            open.coordinator = Coordinator::Unaware;
        }
        if let Some(identity) = identity {
            given.identity = identity;
            open.epoch = Epoch::Usable;
        }
        if open.epoch == Epoch::Usable {
            given.version = version;
        }
    }

    /// A new identity replaces the one that the transaction was begun with, which it thereby ended.
    pub(in crate::producer) fn renewed(&mut self, identity: Identity, version: TransactionVersion) {
        self.given = Some(Given { identity, version });
        if let Some(open) = self.open_mut() {
            open.coordinator = Coordinator::Unaware;
            open.epoch = Epoch::Usable;
        }
    }

    /// What the caller is told of an error that was judged to end its call.
    pub(super) fn failure(&self, call: &'static str, cause: Cause) -> TransactionError {
        match &self.state {
            State::Fatal(_) | State::Failed(..) => self.state.refusal(call),
            State::New | State::Ready | State::Open(_) | State::Ending(..) => {
                TransactionError::Abortable(cause)
            }
        }
    }

    /// Whether an abort that the coordinator refused has another way to its end.
    pub(super) fn has_another_way(&self) -> bool {
        matches!(self.state, State::Ending(Open { coordinator: Coordinator::HasForgotten, .. }, End::Abort))
    }

    /// The transaction, if it may still be committed.
    fn going_on(&self) -> Option<&Open> {
        match &self.state {
            State::Open(open) | State::Ending(open, End::Commit) => Some(open),
            State::New
            | State::Ready
            | State::Failed(..)
            | State::Ending(_, End::Abort)
            | State::Fatal(_) => None,
        }
    }

    fn open(&self) -> Option<&Open> {
        match &self.state {
            State::Open(open) | State::Failed(open, _) | State::Ending(open, _) => Some(open),
            State::New | State::Ready | State::Fatal(_) => None,
        }
    }

    fn open_mut(&mut self) -> Option<&mut Open> {
        match &mut self.state {
            State::Open(open) | State::Failed(open, _) | State::Ending(open, _) => Some(open),
            State::New | State::Ready | State::Fatal(_) => None,
        }
    }
}

impl Open {
    fn new(version: TransactionVersion) -> Open {
        let nothing = BTreeSet::new();
        let partitions = match version {
            TransactionVersion::V1 => {
                Partitions::Announced { known: nothing.clone(), untold: nothing, telling: Telling::Idle }
            }
            TransactionVersion::V2 => Partitions::AddedByBrokers,
        };
        let (offsets, epoch) = (SentOffsets::Settled, Epoch::Usable);
        Open { partitions, coordinator: Coordinator::Unaware, offsets, epoch }
    }

    fn is_to_be_aborted(&mut self) {
        // They may still arrive, in this epoch.
        if self.offsets == SentOffsets::Unsettled {
            self.epoch = Epoch::Spent;
        }
        if let Partitions::Announced { untold, .. } = &mut self.partitions {
            untold.clear();
        }
    }
}

impl Coordinator {
    fn may_hear(&mut self) {
        if *self == Coordinator::Unaware {
            *self = Coordinator::MayKnow;
        }
    }
}

impl State {
    fn refusal(&self, call: &'static str) -> TransactionError {
        let state = match self {
            State::New => "init_transactions has not succeeded yet",
            State::Ready => "no transaction is open",
            State::Open(_) => "a transaction is open",
            State::Ending(_, End::Commit) => "the transaction is being committed",
            State::Ending(_, End::Abort) => "the transaction is being aborted",
            State::Failed(_, cause) => return TransactionError::Abortable(cause.clone()),
            State::Fatal(cause) => return TransactionError::Fatal(cause.clone()),
        };
        TransactionError::Misuse { call, state }
    }
}
