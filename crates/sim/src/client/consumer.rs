//! Consumers: they read on and on, and filter out what was aborted as Kafka's clients do.

use std::collections::BTreeSet;
use std::time::Duration;

use ottla_wire::batch::{BatchView, ControlRecord, batches};
use ottla_wire::{AbortedTxn, Offset, ProducerId};

use super::batch::Value;
use super::turn::{ANSWER_WAIT, Attempt, ClientFact, Context};
use crate::message::{ConsumeError, Found, Message, RequestId};

/// Between two fetches.
const PAUSE: Duration = Duration::from_millis(30);
const RECORDS_BYTES_MAX: usize = 1 << 20;

/// A reader of the partition from its start on.
#[derive(Debug)]
pub struct Consumer {
    /// `isolation.level=read_committed`.
    committed: bool,
    position: Offset,
    attempt: Attempt,
    requests: u64,
}

impl Consumer {
    pub fn new(committed: bool) -> Consumer {
        Consumer {
            committed,
            position: Offset::ZERO,
            attempt: Attempt::Due(ottla_wire::Instant(0)),
            requests: 0,
        }
    }

    pub fn position(&self) -> Offset {
        self.position
    }

    pub fn woken(&mut self, context: &mut Context<'_>) {
        if !self.attempt.is_due(context.now) {
            return;
        }
        self.requests += 1;
        let id = RequestId(self.requests);
        self.attempt = Attempt::Asked { id, until: context.now + ANSWER_WAIT };
        let (offset, committed) = (self.position, self.committed);
        context.sends.push((context.leader, Message::Consume { id, offset, committed }));
    }

    pub fn answered(&mut self, context: &mut Context<'_>, id: RequestId, found: Result<Found, ConsumeError>) {
        if !self.attempt.is_asked(id) {
            return;
        }
        self.attempt = Attempt::Due(context.now + PAUSE);
        match found {
            Ok(found) => self.take(context, &found),
            // A leader that has been replaced may lag behind: only what is deleted is skipped.
            Err(ConsumeError::OutOfRange { start, .. }) if self.position < start => {
                self.position = start;
                context.facts.push(ClientFact::Skipped { committed: self.committed, to: start });
            }
            Err(ConsumeError::OutOfRange { .. } | ConsumeError::NotLeader) => {}
        }
    }

    fn take(&mut self, context: &mut Context<'_>, found: &Found) {
        let mut aborted: Vec<AbortedTxn> = found.aborted.clone();
        aborted.sort_by_key(|txn| std::cmp::Reverse(txn.first_offset));
        let mut open: BTreeSet<ProducerId> = BTreeSet::new();
        for batch in batches(found.records.clone()).map_while(Result::ok) {
            let header = *batch.header();
            while aborted.last().is_some_and(|txn| txn.first_offset <= header.last_offset()) {
                open.extend(aborted.pop().map(|txn| txn.producer_id));
            }
            if header.is_control() {
                if is_abort(&batch) {
                    open.remove(&header.producer_id);
                }
            } else if !(self.committed && header.is_transactional() && open.contains(&header.producer_id)) {
                self.deliver(context, &batch);
            }
            self.position = self.position.max(header.next_offset());
        }
    }

    fn deliver(&self, context: &mut Context<'_>, batch: &BatchView) {
        let header = batch.header();
        let transaction = header.is_transactional().then_some((header.producer_id, header.producer_epoch));
        let Ok(records) = batch.records(RECORDS_BYTES_MAX) else {
            return context.facts.push(ClientFact::Surprise(format!("a batch without records: {header:?}")));
        };
        for record in records {
            let value = record.ok().and_then(|record| Some((record.offset, Value::decode(&record.value?)?)));
            let Some((offset, value)) = value else {
                return context
                    .facts
                    .push(ClientFact::Surprise(format!("a record that nobody sent: {header:?}")));
            };
            if offset >= self.position {
                context.facts.push(ClientFact::Delivered {
                    committed: self.committed,
                    offset,
                    value,
                    transaction,
                });
            }
        }
    }
}

fn is_abort(batch: &BatchView) -> bool {
    let record = batch.records(RECORDS_BYTES_MAX).ok().and_then(|mut records| records.next()?.ok());
    let control =
        record.and_then(|record| ControlRecord::parse(record.key.as_ref(), record.value.as_ref()).ok()?);
    matches!(control, Some(ControlRecord::Abort { .. }))
}
