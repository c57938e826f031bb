//! Producers. One that numbers its records never gives up, and keeps at most five batches in flight (KIP-98).

use std::collections::VecDeque;

use ottla_replica::{Acks, AppendError, Appended, ReplyId, WriteMarker};
use ottla_wire::{Instant, ProducerEpoch, ProducerId, Sequence};

use super::batch::{Numbered, Value, build};
use super::turn::{ANSWER_WAIT, Attempt, ClientFact, Context};
use crate::message::{Message, RequestId};
use crate::settings::ProducerKind;

/// `max.in.flight.requests.per.connection`.
const IN_FLIGHT_MAX: usize = 5;
const RECORDS_MAX: u64 = 4;
/// So many refusals of a sequence that comes next are taken for good.
const REFUSALS_MAX: u32 = 12;

/// A producer.
#[derive(Debug)]
pub struct Producer {
    index: u32,
    kind: ProducerKind,
    id: ProducerId,
    epoch: ProducerEpoch,
    next_sequence: Sequence,
    next_number: u32,
    window: VecDeque<Pending>,
    transaction: Transaction,
    requests: u64,
    /// Something of this epoch was acknowledged.
    known: bool,
    active: bool,
}

/// A batch that is not acknowledged.
#[derive(Debug)]
struct Pending {
    values: Vec<Value>,
    first: Sequence,
    acks: Acks,
    attempt: Attempt,
    tries: u32,
    /// When it was sent, everything before it was acknowledged.
    sent_first: bool,
    /// How often its sequence was refused since. A leader that has been replaced and does not know it refuses
    /// what it should take; only one who insists has forgotten the producer.
    refusals: u32,
}

#[derive(Debug)]
enum Transaction {
    None,
    /// So many batches are still to come.
    Open {
        left: u64,
        commit: bool,
    },
    Ending {
        commit: bool,
        attempt: Attempt,
    },
}

impl Producer {
    pub fn new(index: usize, kind: ProducerKind) -> Producer {
        Producer {
            index: index as u32,
            kind,
            id: ProducerId(1_000 + index as i64),
            epoch: ProducerEpoch(0),
            next_sequence: Sequence(0),
            next_number: 0,
            window: VecDeque::new(),
            transaction: Transaction::None,
            requests: 0,
            known: false,
            active: true,
        }
    }

    pub fn woken(&mut self, context: &mut Context<'_>) {
        if self.kind == ProducerKind::Transactional {
            self.transact(context);
        } else if self.active && self.window.len() < IN_FLIGHT_MAX && context.rng.chance(500) {
            self.make(context);
        }
        for at in 0..self.window.len() {
            if self.window[at].attempt.is_due(context.now) && self.may_send(at) {
                self.send(context, at);
            }
        }
    }

    pub fn answered(
        &mut self,
        context: &mut Context<'_>,
        id: RequestId,
        outcome: Result<Appended, AppendError>,
    ) {
        if let Transaction::Ending { commit, attempt } = self.transaction
            && attempt.is_asked(id)
        {
            return self.ended(context, commit, outcome);
        }
        let Some(at) = self.window.iter().position(|pending| pending.attempt.is_asked(id)) else { return };
        match outcome {
            Ok(appended) => self.acked(context, at, appended),
            Err(why) => self.refused(context, at, why),
        }
    }

    pub fn wind_down(&mut self) {
        self.active = false;
    }

    pub fn is_done(&self) -> bool {
        !self.active && self.window.is_empty() && matches!(self.transaction, Transaction::None)
    }

    fn is_plain(&self) -> bool {
        matches!(self.kind, ProducerKind::Plain(_))
    }

    /// As Kafka's producer does: what is sent again goes alone, and so does what comes first in an epoch,
    /// since a broker that does not know a producer takes any sequence for its first.
    fn may_send(&self, at: usize) -> bool {
        self.is_plain() || at == 0 || (self.known && self.window[at].tries == 0)
    }

    /// Begins, goes on with or ends a transaction.
    fn transact(&mut self, context: &mut Context<'_>) {
        match self.transaction {
            Transaction::None if self.active && context.rng.chance(200) => {
                let (left, commit) = (context.rng.between(1, 4), context.rng.chance(650));
                self.transaction = Transaction::Open { left, commit };
            }
            Transaction::None => {}
            Transaction::Open { left: 0, commit } => {
                // Who commits knows that all is there; who aborts need not care.
                if !commit || self.window.is_empty() {
                    self.end(context, commit);
                }
            }
            Transaction::Open { left, commit } => {
                if self.window.len() < IN_FLIGHT_MAX && context.rng.chance(400) {
                    self.make(context);
                    self.transaction = Transaction::Open { left: left - 1, commit };
                }
            }
            Transaction::Ending { commit, attempt } if attempt.is_due(context.now) => {
                self.send_marker(context, commit)
            }
            Transaction::Ending { .. } => {}
        }
    }

    fn end(&mut self, context: &mut Context<'_>, commit: bool) {
        self.window.clear();
        self.transaction = Transaction::Ending { commit, attempt: Attempt::Due(context.now) };
        let (producer, epoch) = (self.id, self.epoch);
        context.facts.push(ClientFact::Decided { producer, epoch, commit });
    }

    fn make(&mut self, context: &mut Context<'_>) {
        let count = context.rng.between(1, RECORDS_MAX) as u32;
        let number = |n| Value { producer: self.index, number: self.next_number + n };
        let values: Vec<Value> = (0..count).map(number).collect();
        let acks = match self.kind {
            ProducerKind::Plain(0) => Acks::None,
            ProducerKind::Plain(1) => Acks::Leader,
            ProducerKind::Plain(_) | ProducerKind::Idempotent | ProducerKind::Transactional => Acks::InSync,
        };
        let (first, attempt) = (self.next_sequence, Attempt::Due(context.now));
        self.window.push_back(Pending {
            values,
            first,
            acks,
            attempt,
            tries: 0,
            sent_first: false,
            refusals: 0,
        });
        self.next_number += count;
        self.next_sequence = self.next_sequence.plus(count as i32);
    }

    fn send(&mut self, context: &mut Context<'_>, at: usize) {
        let id = self.request();
        let numbered = (!self.is_plain()).then_some(Numbered {
            producer: self.id,
            epoch: self.epoch,
            first: self.window[at].first,
            transactional: self.kind == ProducerKind::Transactional,
        });
        let pending = &mut self.window[at];
        pending.attempt = Attempt::Asked { id, until: context.now + ANSWER_WAIT };
        pending.sent_first = at == 0;
        pending.tries += 1;
        match build(&pending.values, numbered, context.wall) {
            Some(batch) => {
                context.sends.push((context.leader, Message::Produce { id, batch, acks: pending.acks }))
            }
            None => context.facts.push(ClientFact::Surprise("a batch cannot be built".to_owned())),
        }
    }

    /// The marker ends the epoch, too: what is still under way in it comes too late (KIP-890).
    fn send_marker(&mut self, context: &mut Context<'_>, commit: bool) {
        let id = self.request();
        self.transaction =
            Transaction::Ending { commit, attempt: Attempt::Asked { id, until: context.now + ANSWER_WAIT } };
        let marker = WriteMarker {
            producer: self.id,
            producer_epoch: ProducerEpoch(self.epoch.0 + 1),
            coordinator_epoch: 0,
            commit,
            transaction_version: 2,
            deadline: Instant(0),
            reply: ReplyId(0),
        };
        context.sends.push((context.leader, Message::WriteMarker { id, marker }));
    }

    fn ended(&mut self, context: &mut Context<'_>, commit: bool, outcome: Result<Appended, AppendError>) {
        match outcome {
            Ok(_) => {
                self.next_epoch();
                self.transaction = Transaction::None;
            }
            Err(why) => {
                if is_final(&why) {
                    context.facts.push(ClientFact::Surprise(format!("a marker is refused: {why}")));
                }
                self.transaction = Transaction::Ending { commit, attempt: backoff(context) };
            }
        }
    }

    fn acked(&mut self, context: &mut Context<'_>, at: usize, appended: Appended) {
        let pending = &mut self.window[at];
        pending.attempt = Attempt::Done;
        self.known = true;
        let (values, acks, base_offset) = (pending.values.clone(), pending.acks, appended.base_offset);
        if appended.last_offset != base_offset.plus(values.len() as i64 - 1) {
            let why = format!("{} records were acknowledged as {appended:?}", values.len());
            context.facts.push(ClientFact::Surprise(why));
        }
        context.facts.push(ClientFact::Acked { values, acks, base_offset });
        while self.window.front().is_some_and(|front| front.attempt == Attempt::Done) {
            self.window.pop_front();
        }
    }

    fn refused(&mut self, context: &mut Context<'_>, at: usize, why: AppendError) {
        if self.is_plain() && context.rng.chance(500) {
            self.window.remove(at); // it may be in the log or not; this one does not care
            return;
        }
        let first = self.window[at].sent_first;
        self.window[at].attempt = backoff(context);
        match why {
            // One that went before it is still under way.
            AppendError::OutOfOrderSequence { .. } if !first => {}
            AppendError::OutOfOrderSequence { .. } => {
                self.window[at].refusals += 1;
                if self.window[at].refusals == REFUSALS_MAX {
                    self.start_over(context);
                }
            }
            why if is_final(&why) => {
                let (first, epoch) = (self.window[at].first, self.epoch);
                context
                    .facts
                    .push(ClientFact::Surprise(format!("batch {first} of epoch {epoch} is refused: {why}")));
            }
            _ => {}
        }
    }

    /// The partition does not know this producer any more: a new epoch, numbered from 0 (KIP-360).
    fn start_over(&mut self, context: &mut Context<'_>) {
        let values = self.window.iter().flat_map(|pending| pending.values.iter().copied()).collect();
        context.facts.push(ClientFact::Forgotten { producer: self.id, values });
        if self.kind == ProducerKind::Transactional {
            return self.end(context, false);
        }
        self.next_epoch();
        let due = backoff(context);
        for pending in self.window.iter_mut().filter(|pending| pending.attempt != Attempt::Done) {
            pending.first = self.next_sequence;
            pending.attempt = due;
            pending.refusals = 0;
            self.next_sequence = self.next_sequence.plus(pending.values.len() as i32);
        }
    }

    fn next_epoch(&mut self) {
        self.epoch.0 += 1;
        self.next_sequence = Sequence(0);
        self.known = false;
    }

    fn request(&mut self) -> RequestId {
        self.requests += 1;
        RequestId(self.requests)
    }
}

fn backoff(context: &mut Context<'_>) -> Attempt {
    Attempt::Due(context.now + context.rng.millis(20, 120))
}

/// Trying again does not help: with sound brokers these clients never see it.
fn is_final(why: &AppendError) -> bool {
    match why {
        AppendError::NotLeader
        | AppendError::StaleEpoch { .. }
        | AppendError::NotEnoughReplicas { .. }
        | AppendError::NotEnoughReplicasAfterAppend { .. }
        | AppendError::TimedOut
        | AppendError::TooManyWaiters { .. }
        | AppendError::TooManyProducers { .. }
        | AppendError::Storage
        | AppendError::NoRoom
        | AppendError::OutOfOrderSequence { .. } => false,
        AppendError::DuplicateSequence { .. }
        | AppendError::InvalidProducerEpoch { .. }
        | AppendError::CoordinatorFenced { .. }
        | AppendError::NotTransactional { .. }
        | AppendError::NotVerified { .. }
        | AppendError::OffsetsExhausted => true,
    }
}
