//! Where a transaction stands, and what may be done next. Pure.
//!
//! Whoever owns the producer calls [`Core::begin`], [`Core::end`] and so on; the sender reports what became of batches and
//! asks what may leave. Only [`Core::next_step`] talks of the coordinator: it says what is to be asked of it.

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
pub(super) enum Step {
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
    Open,
    /// Open, and can only be aborted.
    Failed(Cause),
    /// Its end was asked for. If that has not succeeded, the same end may be asked for again.
    Ending(End),
    Fatal(Cause),
}

#[derive(Debug)]
pub(in crate::producer) struct Core {
    state: State,
    identity: Option<Identity>,
    version: TransactionVersion,
    /// Version 1: what the coordinator knows of, and what it is still to be told of.
    added: BTreeSet<TopicPartition>,
    pending: BTreeSet<TopicPartition>,
    /// It is being told.
    adding: bool,
    /// The coordinator may know of this transaction.
    started: bool,
    /// The numbers of this epoch cannot be used any further.
    renew: bool,
    /// The coordinator would not end the transaction of a producer that it does not know.
    forgotten: bool,
    /// Offsets were sent, and it is not known whether they arrived.
    offsets_unsettled: bool,
}

impl Core {
    pub(super) fn new() -> Core {
        Core {
            state: State::New,
            identity: None,
            version: TransactionVersion::V1,
            added: BTreeSet::new(),
            pending: BTreeSet::new(),
            adding: false,
            started: false,
            renew: false,
            forgotten: false,
            offsets_unsettled: false,
        }
    }

    pub(in crate::producer) fn identity(&self) -> Option<Identity> {
        self.identity
    }

    pub(in crate::producer) fn version(&self) -> TransactionVersion {
        self.version
    }

    /// Whether there is something that a farewell should abort.
    pub(super) fn is_open(&self) -> bool {
        match self.state {
            State::Open | State::Failed(_) | State::Ending(End::Abort) => true,
            State::New | State::Ready | State::Ending(End::Commit) | State::Fatal(_) => false,
        }
    }

    /// Whether the producer may be introduced to the coordinator.
    pub(super) fn may_init(&self) -> Result<(), TransactionError> {
        match &self.state {
            State::New => Ok(()),
            state => Err(state.refusal("init_transactions")),
        }
    }

    /// The coordinator gave an identity: the first, or another after an abort.
    pub(super) fn identified(&mut self, identity: Identity, version: TransactionVersion) {
        (self.identity, self.version) = (Some(identity), version);
        (self.renew, self.forgotten) = (false, false);
        if let State::New = self.state {
            self.state = State::Ready;
        }
    }

    pub(super) fn begin(&mut self) -> Result<(), TransactionError> {
        match &self.state {
            State::Ready => {
                self.state = State::Open;
                Ok(())
            }
            state => Err(state.refusal("begin")),
        }
    }

    /// Whether records and offsets may be sent.
    pub(in crate::producer) fn may_send(&self, call: &'static str) -> Result<(), TransactionError> {
        match &self.state {
            State::Open => Ok(()),
            state => Err(state.refusal(call)),
        }
    }

    /// A record for this partition was taken. MUST be allowed by [`Core::may_send`].
    pub(in crate::producer) fn took(&mut self, partition: &TopicPartition) {
        if self.version == TransactionVersion::V1 && !self.added.contains(partition) {
            self.pending.insert(partition.clone());
        }
    }

    /// Whether a new batch may leave for this partition, by a sender that uses this identity.
    pub(in crate::producer) fn may_leave(
        &self,
        partition: &TopicPartition,
        identity: Option<Identity>,
    ) -> bool {
        let is_part = self.version == TransactionVersion::V2 || self.added.contains(partition);
        self.goes_on() && is_part && self.identity == identity
    }

    /// A batch leaves, or offsets do.
    pub(in crate::producer) fn leaves(&mut self) {
        self.started = true;
    }

    /// Whether what is not on its way is to be dropped.
    pub(in crate::producer) fn drops(&self) -> bool {
        match self.state {
            State::Failed(_) | State::Ending(End::Abort) | State::Fatal(_) => true,
            State::New | State::Ready | State::Open | State::Ending(End::Commit) => false,
        }
    }

    /// What the coordinator is to be told of now; it counts as being told.
    pub(in crate::producer) fn next_to_add(&mut self) -> Option<(Identity, BTreeSet<TopicPartition>)> {
        if self.adding || self.pending.is_empty() || !self.goes_on() {
            return None;
        }
        (self.adding, self.started) = (true, true);
        Some((self.identity?, self.pending.clone()))
    }

    /// Whether the coordinator is being told of partitions. The transaction MUST NOT end meanwhile: it would begin another.
    pub(super) fn is_adding(&self) -> bool {
        self.adding
    }

    /// The coordinator knows of these partitions.
    pub(in crate::producer) fn added(&mut self, partitions: BTreeSet<TopicPartition>) {
        self.adding = false;
        self.pending = self.pending.difference(&partitions).cloned().collect();
        self.added.extend(partitions);
    }

    /// It could not be told of them, and perhaps knows all the same.
    pub(in crate::producer) fn not_added(&mut self, verdict: Verdict, cause: Cause, maybe: bool) {
        self.adding = false;
        // If it is not asked again, the question that is lost may still arrive, behind the end of the transaction.
        self.renew |= maybe && !self.goes_on();
        self.judged(verdict, cause);
    }

    /// Offsets are sent; until [`Core::offsets_settled`] the transaction cannot be committed.
    pub(super) fn offsets_leave(&mut self) {
        (self.started, self.offsets_unsettled) = (true, true);
    }

    pub(super) fn offsets_settled(&mut self) {
        self.offsets_unsettled = false;
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
            Verdict::AbortAndRenew => self.renew = true,
            Verdict::Forgotten => self.forgotten = true,
            Verdict::Fatal => {
                if !matches!(self.state, State::Fatal(_)) {
                    self.state = State::Fatal(cause);
                }
                return;
            }
        }
        match self.state {
            State::Open | State::Ending(End::Commit) => self.state = State::Failed(cause),
            // That it is aborted is what the error asks for; the first cause is the one to tell.
            State::New | State::Ready | State::Failed(_) | State::Ending(End::Abort) | State::Fatal(_) => {}
        }
    }

    /// The end is asked for.
    pub(super) fn end(&mut self, end: End) -> Result<(), TransactionError> {
        match (&self.state, end) {
            (State::Open, End::Commit) if self.offsets_unsettled => {
                self.judged(Verdict::AbortAndRenew, Cause::OffsetsUnsettled);
                Err(self.state.refusal(end.call()))
            }
            (State::Open, _) | (State::Failed(_), End::Abort) => {
                self.renew |= self.offsets_unsettled;
                self.state = State::Ending(end);
                if end == End::Abort {
                    self.pending.clear();
                }
                Ok(())
            }
            (State::Ending(asked), end) if *asked == end => Ok(()),
            (state, end) => Err(state.refusal(end.call())),
        }
    }

    /// What is to be asked of the coordinator when everything that was on its way is settled.
    pub(super) fn next_step(&mut self, call: &'static str) -> Result<Step, TransactionError> {
        let State::Ending(end) = self.state else { return Err(self.state.refusal(call)) };
        let Some(identity) = self.identity else { return Err(self.state.refusal(call)) };
        if self.forgotten {
            return Ok(Step::Renew(identity));
        }
        if self.started {
            return Ok(Step::End { end, identity, version: self.version });
        }
        // In version 2 the end of the transaction has brought another epoch.
        if self.renew && self.version == TransactionVersion::V1 {
            return Ok(Step::Renew(identity));
        }
        self.close();
        Ok(Step::Done)
    }

    /// The coordinator has ended the transaction; `identity` is that of the next one if it gave one. `version` holds from
    /// the next transaction on.
    pub(super) fn ended(&mut self, identity: Option<Identity>, version: TransactionVersion) {
        self.started = false;
        if identity.is_some() {
            (self.identity, self.renew) = (identity, false);
        }
        if !self.renew {
            self.version = version;
        }
    }

    /// A new identity replaces the one that the transaction was begun with, which it thereby ended.
    pub(super) fn renewed(&mut self, identity: Identity, version: TransactionVersion) {
        self.started = false;
        self.identified(identity, version);
    }

    /// What the caller is told of an error that was judged to end its call.
    pub(super) fn failure(&self, call: &'static str, cause: Cause) -> TransactionError {
        match &self.state {
            State::Fatal(_) | State::Failed(_) => self.state.refusal(call),
            State::New | State::Ready | State::Open | State::Ending(_) => TransactionError::Abortable(cause),
        }
    }

    /// Whether an abort that the coordinator refused has another way to its end.
    pub(super) fn has_another_way(&self) -> bool {
        match self.state {
            State::Ending(End::Abort) => self.forgotten,
            State::New
            | State::Ready
            | State::Open
            | State::Failed(_)
            | State::Ending(End::Commit)
            | State::Fatal(_) => false,
        }
    }

    fn close(&mut self) {
        (self.added, self.pending) = (BTreeSet::new(), BTreeSet::new());
        (self.renew, self.offsets_unsettled) = (false, false);
        self.state = State::Ready;
    }

    /// Whether the transaction may still be committed.
    fn goes_on(&self) -> bool {
        match self.state {
            State::Open | State::Ending(End::Commit) => true,
            State::New | State::Ready | State::Failed(_) | State::Ending(End::Abort) | State::Fatal(_) => {
                false
            }
        }
    }
}

impl State {
    fn refusal(&self, call: &'static str) -> TransactionError {
        let state = match self {
            State::New => "init_transactions has not succeeded yet",
            State::Ready => "no transaction is open",
            State::Open => "a transaction is open",
            State::Ending(End::Commit) => "the transaction is being committed",
            State::Ending(End::Abort) => "the transaction is being aborted",
            State::Failed(cause) => return TransactionError::Abortable(cause.clone()),
            State::Fatal(cause) => return TransactionError::Fatal(cause.clone()),
        };
        TransactionError::Misuse { call, state }
    }
}
