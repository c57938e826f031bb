//! The markers of an ending transaction: requested until every partition has its own.

use std::time::Duration;

use ottla_coordinator::Moment;
use ottla_wire::primitives::Str;

use crate::coordinator::{Out, Timer, TxnCoordinator};
use crate::ending::Ending;
use crate::request::{MarkerOutcome, MarkerToken, MarkersAnswer, Outbound, WriteMarkers};
use crate::state::TxnState;

/// How long the coordinator waits before it requests failed markers again. The time doubles with each try.
pub const BACKOFF_MIN: Duration = Duration::from_millis(50);

/// The longest such wait.
pub const BACKOFF_MAX: Duration = Duration::from_secs(1);

impl TxnCoordinator {
    /// The outcome is decided. Requests the markers of all partitions.
    pub(crate) fn begin_markers(&mut self, at: &Moment, id: &Str, out: &mut Out) {
        let Some(transaction) = self.table.get(id) else { return };
        let ending = Ending { left: transaction.partitions.clone(), asked: None, tries: 0 };
        self.endings.insert(id.detached(), ending);
        self.timers.cancel(&Timer::Markers(id.clone()));
        self.send_markers(at, id, out);
    }

    /// Requests the missing markers. Completes the transaction if there are none.
    pub(crate) fn send_markers(&mut self, at: &Moment, id: &Str, out: &mut Out) {
        let (Some(ending), Some(transaction)) = (self.endings.get_mut(id), self.table.get(id)) else {
            return;
        };
        let TxnState::Prepare(outcome) = transaction.state else { return };
        if ending.left.is_empty() {
            self.complete(at, id, out);
            return;
        }
        // One step sends one request for each transaction, so an id that is fresh for the step is fresh for
        // the request.
        let token = MarkerToken(at.uuid);
        ending.asked = Some(token);
        ending.tries = ending.tries.saturating_add(1);
        out.send(Outbound::WriteMarkers(WriteMarkers {
            transactional_id: id.clone(),
            token,
            producer: transaction.producer(),
            outcome,
            coordinator_epoch: self.epoch,
            transaction_version: transaction.client,
            partitions: ending.left.clone(),
        }));
    }

    /// Takes in the outcomes of requested markers.
    pub fn markers_answered(&mut self, at: &Moment, answer: &MarkersAnswer, out: &mut Out) {
        let id = &answer.transactional_id;
        let Some(ending) = self.endings.get_mut(id) else { return };
        if ending.asked != Some(answer.token) {
            return; // of an abandoned request
        }
        ending.asked = None;
        let mut fenced = false;
        for (topic, partition, outcome) in &answer.partitions {
            match outcome {
                MarkerOutcome::Done | MarkerOutcome::Gone => ending.left.remove(topic, partition.0),
                MarkerOutcome::Retry => {}
                MarkerOutcome::Fenced => fenced = true,
            }
        }
        if ending.left.is_empty() {
            self.complete(at, id, out);
        } else if !fenced {
            let wait = backoff(ending.tries);
            self.timers.set(Timer::Markers(id.detached()), at.now + wait);
        }
        // A newer coordinator ends this transaction. This one starts over if it leads again.
    }

    fn complete(&mut self, at: &Moment, id: &Str, out: &mut Out) {
        self.endings.remove(id);
        self.timers.cancel(&Timer::Markers(id.clone()));
        if let Some(completed) = self.table.get(id).and_then(|transaction| transaction.completed(at.wall)) {
            self.change(at, id, completed, out);
        }
    }
}

fn backoff(tries: u32) -> Duration {
    let doubled = BACKOFF_MIN.saturating_mul(1 << tries.saturating_sub(1).min(16));
    doubled.min(BACKOFF_MAX)
}
