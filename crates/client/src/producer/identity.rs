//! Asks a broker for the id of an idempotent producer.

use ottla_wire::messages::InitProducerIdRequest;
use ottla_wire::{ProducerEpoch, ProducerId};

use super::sender::{Event, SLEEP_MAX, Sender};
use crate::error::{ApiError, Error};
use crate::seam::{self, Instant};

/// How the asking goes.
#[derive(Default)]
pub(super) struct Asking {
    under_way: bool,
    pub(super) failures: u32,
    pub(super) not_before: Option<Instant>,
}

impl Sender {
    /// Asks for a producer id, unless that is under way; gives the time to look again.
    pub(super) fn ask_id(&mut self, now: Instant) -> Instant {
        let later = now + SLEEP_MAX;
        if self.asking.under_way || self.shared.accumulator().is_empty() {
            return later;
        }
        if let Some(not_before) = self.asking.not_before.filter(|&at| at > now) {
            return not_before;
        }
        self.asking.under_way = true;
        let (cluster, events) = (self.shared.cluster.clone(), self.sender.clone());
        tokio::spawn(async move {
            let ask = async {
                let request = InitProducerIdRequest {
                    // Empty would be an invalid id of a transactional producer.
                    transactional_id: None,
                    transaction_timeout_ms: i32::MAX,
                    producer_epoch: -1,
                    ..InitProducerIdRequest::default()
                };
                let answer = cluster.any().await?.call(&request).await?;
                ApiError::check(answer.error_code, None)?;
                Ok((ProducerId(answer.producer_id), ProducerEpoch(answer.producer_epoch)))
            };
            let outcome = ask.await;
            let _ = events.send(Event::GotId(outcome)).await;
        });
        later
    }

    /// Takes the answer; an error that trying again cannot mend ends the producer.
    pub(super) fn got_id(&mut self, outcome: Result<(ProducerId, ProducerEpoch), Error>) {
        self.asking.under_way = false;
        match (outcome, &mut self.sequences) {
            (Ok((id, epoch)), Some(sequences)) => {
                self.asking.failures = 0;
                sequences.identify(id, epoch);
            }
            (Err(error), _) if error.is_retriable() => {
                self.asking.failures += 1;
                self.asking.not_before =
                    Some(seam::now() + self.shared.cluster.retry_delay(self.asking.failures));
            }
            (Err(error), _) => self.shared.fail_all(error),
            (Ok(_), None) => unreachable!("only an idempotent producer asks for an id"),
        }
    }
}
