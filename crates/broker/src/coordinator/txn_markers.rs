//! Carries the markers of a transaction coordinator to the partitions, and the outcomes back.
//!
//! Markers of several transactions go to each shard in one message, so they share a flush. Each transaction
//! is answered on its own, after its last marker. Markers for other brokers will branch off here.

use std::sync::Arc;
use std::time::Duration;

use ottla_controller::Image;
use ottla_partition::MarkerRequest;
use ottla_txn::{MarkerOutcome, MarkerToken, MarkersAnswer, WriteMarkers};
use ottla_wire::primitives::Str;
use ottla_wire::protocol::ErrorCode;
use ottla_wire::{Instant, PartitionIndex};

use super::internal::TRANSACTIONS_TOPIC;
use super::kind::Home;
use super::transactions::tell;
use crate::shard::{AppendGroup, ShardMarkers};

/// The longest time for a marker to reach every in-sync replica. After that it is requested again. Kafka's
/// `request.timeout.ms`.
pub const MARKER_TIMEOUT: Duration = Duration::from_secs(30);

/// A transaction with markers in flight.
struct Pending {
    transactional_id: Str,
    token: MarkerToken,
    /// The outcomes known so far.
    partitions: Vec<(Str, PartitionIndex, MarkerOutcome)>,
    asked: Option<SentMarkers>,
}

/// The markers that were sent, and the partition of each.
struct SentMarkers {
    group: Arc<AppendGroup>,
    partitions: Vec<(Str, PartitionIndex)>,
}

/// Has the markers written, and reports the outcomes to the coordinator at `home`.
pub async fn write(home: Home, asked: Vec<WriteMarkers>) {
    let mut markers = ShardMarkers::default();
    let deadline = home.desk.clock.now() + MARKER_TIMEOUT;
    let pending: Vec<Pending> =
        asked.into_iter().map(|asked| begin(&home, asked, deadline, &mut markers)).collect();
    markers.send().await;
    for transaction in pending {
        // A slow transaction does not delay the others.
        home.desk.tasks.errand("end of a transaction", end(home.clone(), transaction));
    }
}

fn begin(home: &Home, asked: WriteMarkers, deadline: Instant, markers: &mut ShardMarkers) -> Pending {
    let published = home.desk.published.load();
    let request = MarkerRequest {
        producer: asked.producer,
        commit: asked.outcome.is_commit(),
        coordinator_epoch: asked.coordinator_epoch.0,
        transaction_version: i8::try_from(asked.transaction_version.level()).unwrap_or(0),
        deadline,
    };
    let (mut known, mut here) = (Vec::new(), Vec::new());
    for (topic, index) in asked.partitions.iter() {
        let (topic, index) = (topic.clone(), PartitionIndex(index));
        match published.partition(&topic, index) {
            Ok(partition) => here.push((topic, index, partition.clone())),
            Err(_) if is_gone(home, &asked, &published.image, (&topic, index)) => {
                known.push((topic, index, MarkerOutcome::Gone));
            }
            Err(_) => known.push((topic, index, MarkerOutcome::Retry)),
        }
    }
    let asked_of = (!here.is_empty()).then(|| {
        let group = AppendGroup::new(here.len());
        for (at, (_, _, partition)) in here.iter().enumerate() {
            markers.add(partition, request, &group, at);
        }
        let partitions = here.into_iter().map(|(topic, index, _)| (topic, index)).collect();
        SentMarkers { group, partitions }
    });
    let WriteMarkers { transactional_id, token, .. } = asked;
    Pending { transactional_id, token, partitions: known, asked: asked_of }
}

/// Whether a partition was deleted. The image must be recent enough to say so. It is once it holds the change
/// that made this broker the coordinator in that epoch, because a partition is created before a transaction
/// writes to it.
fn is_gone(home: &Home, asked: &WriteMarkers, image: &Image, (topic, index): (&str, PartitionIndex)) -> bool {
    let coordinator = image.topic(TRANSACTIONS_TOPIC).and_then(|topic| topic.partition(home.partition.index));
    let up_to_date = home.desk.is_caught_up()
        && coordinator.is_some_and(|known| known.leader_epoch >= asked.coordinator_epoch);
    up_to_date && image.topic(topic).and_then(|topic| topic.partition(index)).is_none()
}

async fn end(home: Home, pending: Pending) {
    let Pending { transactional_id, token, mut partitions, asked } = pending;
    if let Some(SentMarkers { group, partitions: asked }) = asked {
        group.done().await;
        for (at, (topic, index)) in asked.into_iter().enumerate() {
            let outcome = match group.outcome(at) {
                Some(Ok(_)) => MarkerOutcome::Done,
                Some(Err(error)) => MarkerOutcome::from(ErrorCode::from(*error)),
                None => MarkerOutcome::Retry,
            };
            partitions.push((topic, index, outcome));
        }
    }
    let answer = MarkersAnswer { transactional_id, token, partitions };
    tell(&home, Box::new(move |core, at, out| core.markers_answered(at, &answer, out))).await;
}
