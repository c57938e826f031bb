//! What the sender does for transactions: it takes over the identity that the coordinator gave, tells the coordinator of
//! partitions (version 1), and drops what a transaction that is to be aborted has not sent.

use ottla_link::{Connection, Office};
use ottla_wire::messages::ProduceRequest;
use ottla_wire::primitives::Request;

use super::Transactions;
use super::core::{Core, TransactionVersion};
use super::error::Cause;
use super::requests;
use super::verdict::{Asked, Verdict, judge};
use crate::error::Error;
use crate::producer::batch::Batch;
use crate::producer::delivery::Outcome;
use crate::producer::record::ProduceError;
use crate::producer::sender::{AddedPartitions, Event, SLEEP_MAX, Sender};
use crate::seam::{self, Instant};

/// The last version of Produce that does not add its partitions to a transaction.
const PRODUCE_V1_MAX: i16 = 11;

/// What a record that was not stored means for its transaction.
pub(super) fn verdict_on(error: &ProduceError) -> Verdict {
    match error {
        ProduceError::Refused(error) | ProduceError::RefusedWithOthers(error) => {
            judge(Asked::Produce, &Error::Api(error.clone()))
        }
        ProduceError::NotSent(error) => judge(Asked::Produce, error),
        ProduceError::Closed | ProduceError::Failed(_) => Verdict::Fatal,
        ProduceError::TooLarge { .. }
        | ProduceError::BufferFull { .. }
        | ProduceError::Expired { .. }
        | ProduceError::OutcomeUnknown { .. }
        | ProduceError::Unencodable(_)
        | ProduceError::Aborted => Verdict::AbortAndRenew,
    }
}

impl Transactions {
    /// The highest version of Produce that may be used.
    pub(in crate::producer) fn produce_version_max(&self) -> i16 {
        match self.core().version() {
            TransactionVersion::V1 => PRODUCE_V1_MAX,
            TransactionVersion::V2 => i16::MAX,
        }
    }
}

impl Sender {
    /// Whether a broker can add to the transaction what it stores, as it must in version 2.
    pub(in crate::producer) fn may_be_asked(&self, connection: &Connection) -> Result<(), Error> {
        let Some(transactions) = &self.shared.transactions else { return Ok(()) };
        let version = connection.version_of::<ProduceRequest>()?;
        match transactions.core().version() {
            TransactionVersion::V2 if version <= PRODUCE_V1_MAX => {
                Err(Error::unsupported(ProduceRequest::KEY, connection.address()))
            }
            TransactionVersion::V1 | TransactionVersion::V2 => Ok(()),
        }
    }

    /// Sees to the transaction; gives the time to look again.
    pub(in crate::producer) fn see_to_transaction(&mut self, now: Instant) -> Instant {
        let later = now + SLEEP_MAX;
        let shared = self.shared.clone();
        let Some(transactions) = &shared.transactions else { return later };
        let (drops, identity) = {
            let core = transactions.core();
            (core.drops(), core.identity())
        };
        if drops {
            self.drop_queued();
        }
        if let (Some(sequences), Some(identity)) = (&mut self.sequences, identity)
            && sequences.identity() != Some(identity)
        {
            sequences.identify(identity.0, identity.1);
        }
        self.add_partitions(now)
    }

    /// Gives up what waits: a transaction that is aborted has no use for it.
    fn drop_queued(&mut self) {
        let queued = self.shared.accumulator().take_all();
        for batch in queued {
            let (error, maybe_stored) = (batch.given_up(ProduceError::Aborted), batch.maybe_stored);
            self.fail(&batch, error, maybe_stored);
        }
    }

    /// Tells the coordinator of partitions that records were taken for.
    fn add_partitions(&mut self, now: Instant) -> Instant {
        let later = now + SLEEP_MAX;
        if let Some(not_before) = self.asking.not_before.filter(|&at| at > now) {
            return not_before;
        }
        let shared = self.shared.clone();
        let Some(transactions) = &shared.transactions else { return later };
        let Some((identity, partitions)) = transactions.core().next_to_add() else { return later };
        let (shared, events) = (shared.clone(), self.sender.clone());
        tokio::spawn(async move {
            let Some(transactions) = &shared.transactions else { return };
            let outcome = requests::add_partitions(transactions, identity, &partitions).await;
            let _ = events.send(Event::Added(AddedPartitions { partitions, outcome })).await;
        });
        later
    }

    /// Takes the coordinator's answer.
    pub(in crate::producer) fn got_added(&mut self, added: AddedPartitions) {
        let shared = self.shared.clone();
        let Some(transactions) = &shared.transactions else { return };
        match added.outcome {
            Ok(()) => {
                self.asking.failures = 0;
                self.asking.not_before = None;
                transactions.core().added(added.partitions);
            }
            Err(error) => {
                transactions.coordinator.learn_from(&error);
                self.asking.failures += 1;
                let pause = transactions.coordinator.pause(&error, self.asking.failures);
                self.asking.not_before = Some(seam::now() + pause);
                let (verdict, maybe) = (judge(Asked::AddPartitions, &error), error.outcome_unknown());
                transactions.core().not_added(verdict, error.into(), maybe);
            }
        }
        shared.progress.notify_waiters();
    }

    /// Tells the transaction that one of its batches was given up.
    pub(in crate::producer) fn fail_transaction(&self, batch: &Batch, outcome: &Outcome) {
        let Some(transactions) = &self.shared.transactions else { return };
        let error = match outcome {
            Outcome::Failed(error) => error.clone(),
            Outcome::Refused { error, .. } => ProduceError::Refused(error.clone()),
            Outcome::Stored { .. } | Outcome::Split { .. } => return,
        };
        // Half of a batch that was split counts as sent: it has the numbers of the whole.
        let has_numbers = self
            .sequences
            .as_ref()
            .is_some_and(|sequences| sequences.stamp(&batch.partition, batch.id).is_some());
        let mut core: std::sync::MutexGuard<'_, Core> = transactions.core();
        core.record_failed(verdict_on(&error), Cause::from(error), batch.attempts > 0 || has_numbers);
    }
}
