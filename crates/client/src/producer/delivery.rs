//! How those who sent records learn what became of them.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::task::{Context, Poll, Waker};

use ottla_wire::primitives::Str;
use ottla_wire::{Offset, Timestamp};

use super::record::{ProduceError, RecordMetadata};
use crate::error::ApiError;

/// What became of one record. A future: `producer.send(record).await?.await`. Dropping it does not take the
/// record back.
#[derive(Debug)]
pub struct Delivery {
    settlement: Arc<Settlement>,
    /// The record's place in its batch.
    index: usize,
    topic: Str,
    partition: i32,
    timestamp: Timestamp,
    /// Where this one's waker is.
    waker: Option<usize>,
}

/// What became of one batch; shared by the batch and the deliveries of its records.
#[derive(Debug, Default)]
pub(super) struct Settlement {
    outcome: OnceLock<Outcome>,
    wakers: Mutex<Vec<Waker>>,
}

/// The end of a batch.
#[derive(Debug)]
pub(super) enum Outcome {
    Stored {
        base: Option<Offset>,
        log_append_time: Option<Timestamp>,
    },
    Failed(ProduceError),
    /// The broker refused the batch and named the records that are wrong, with a message each.
    Refused {
        error: ApiError,
        records: BTreeMap<usize, Option<String>>,
    },
    /// The batch goes on as two: its first `at` records are in `first`.
    Split {
        at: usize,
        first: Arc<Settlement>,
        second: Arc<Settlement>,
    },
}

impl Settlement {
    /// Tells the outcome to all who wait. Only the first outcome counts.
    pub(super) fn settle(&self, outcome: Outcome) {
        let _only_the_first = self.outcome.set(outcome);
        let wakers = std::mem::take(&mut *self.wakers.lock().unwrap_or_else(PoisonError::into_inner));
        wakers.into_iter().for_each(Waker::wake);
    }
}

impl Delivery {
    pub(super) fn new(
        settlement: Arc<Settlement>,
        index: usize,
        (topic, partition): (Str, i32),
        timestamp: Timestamp,
    ) -> Delivery {
        Delivery { settlement, index, topic, partition, timestamp, waker: None }
    }

    /// The partition the record goes to.
    pub fn partition(&self) -> i32 {
        self.partition
    }

    /// What became of the record, if that is known already.
    pub fn outcome(&mut self) -> Option<Result<RecordMetadata, ProduceError>> {
        loop {
            match self.settlement.outcome.get()? {
                Outcome::Stored { base, log_append_time } => {
                    return Some(Ok(RecordMetadata {
                        topic: self.topic.clone(),
                        partition: self.partition,
                        offset: base.map(|base| base.plus(self.index as i64)),
                        timestamp: log_append_time.unwrap_or(self.timestamp),
                    }));
                }
                Outcome::Failed(error) => return Some(Err(error.clone())),
                Outcome::Refused { error, records } => return Some(Err(refusal(error, records, self.index))),
                Outcome::Split { at, first, second } => {
                    let in_first = self.index < *at;
                    let next = if in_first { first.clone() } else { second.clone() };
                    self.index -= if in_first { 0 } else { *at };
                    self.settlement = next;
                    self.waker = None;
                }
            }
        }
    }

    fn register(&mut self, waker: &Waker) {
        let mut wakers = self.settlement.wakers.lock().unwrap_or_else(PoisonError::into_inner);
        match self.waker.and_then(|at| wakers.get_mut(at)) {
            Some(registered) => registered.clone_from(waker),
            None => {
                self.waker = Some(wakers.len());
                wakers.push(waker.clone());
            }
        }
    }
}

impl Future for Delivery {
    type Output = Result<RecordMetadata, ProduceError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        if let Some(outcome) = self.outcome() {
            return Poll::Ready(outcome);
        }
        self.register(context.waker());
        // It may have been settled between the look and the registration.
        match self.outcome() {
            Some(outcome) => Poll::Ready(outcome),
            None => Poll::Pending,
        }
    }
}

/// What a record is told when its batch was refused because of some records.
fn refusal(error: &ApiError, records: &BTreeMap<usize, Option<String>>, index: usize) -> ProduceError {
    match records.get(&index) {
        Some(message) => {
            let message = message.clone().or_else(|| error.message.clone());
            ProduceError::Refused(ApiError { code: error.code, message })
        }
        None if records.is_empty() => ProduceError::Refused(error.clone()),
        None => ProduceError::RefusedWithOthers(error.clone()),
    }
}
