//! Reads a coordinator's state from its log, off the shard.

use std::time::Duration;

use ottla_coordinator::Frame;
use ottla_partition::load::{LoadError, Skipped, read};
use ottla_partition::{Load, Loaded};
use ottla_replica::ViewRole;
use ottla_wire::Offset;

use super::kind::{Home, Kind, Letter};
use crate::partition::PartitionHandle;
use crate::shard::Letters;

/// The pause after a load that failed.
const RETRY_PAUSE: Duration = Duration::from_secs(5);

/// Why a log could not be read.
#[derive(Debug, thiserror::Error)]
enum Failed {
    #[error(transparent)]
    Load(#[from] LoadError),
    #[error("the thread that reads has failed: {0}")]
    Thread(#[from] tokio::task::JoinError),
}

/// Reads the log to its end and sends the result to the shard. Ends silently when this broker no longer leads
/// in that epoch. Tries again if the log cannot be read, because a coordinator that lacks records would
/// answer wrongly.
pub async fn load<K: Kind>(home: Home, mut load: Load<K>) {
    while is_wanted(&home, &load) {
        match read_on(&home, &mut load).await {
            Ok((frame, end)) => {
                let loaded = Box::new(Loaded { generation: load.generation, frame, end });
                let mut letters = Letters::default();
                letters.add(&home.partition, Letter::<K>::Loaded(loaded));
                return letters.send().await;
            }
            Err(error) => {
                let (topic, index) = (&home.partition.topic, home.partition.index.0);
                tracing::error!(%topic, partition = index, %error, "a {} cannot be loaded; trying again", K::NAME);
                tokio::time::sleep(RETRY_PAUSE).await;
            }
        }
    }
}

async fn read_on<K: Kind>(home: &Home, load: &mut Load<K>) -> Result<(Frame<K>, Offset), Failed> {
    let Home { partition, kit, .. } = home;
    // The semaphore is never closed.
    let _room = kit.loads.acquire().await;
    let new = || (Frame::loading(K::create(&kit.world(), load.epoch)), partition.reader.log_start());
    let (frame, from) = load.begun.take().unwrap_or_else(new);
    let (reader, bound) = (partition.reader.clone(), partition.view().log_end);
    let reading = tokio::task::spawn_blocking(move || read(&reader, bound, frame, from));
    let (frame, end, skipped) = reading.await??;
    tell_of::<K>(&skipped, partition);
    Ok((frame, end))
}

fn is_wanted<K: Kind>(home: &Home, load: &Load<K>) -> bool {
    let view = home.partition.view();
    view.replica.role == ViewRole::Leader && view.replica.leader_epoch == load.epoch
}

/// Logs the number of records that could not be replayed, in one line.
fn tell_of<K: Kind>(skipped: &Skipped, partition: &PartitionHandle) {
    if let Some((offset, error)) = &skipped.first {
        let (topic, index, count) = (&partition.topic, partition.index.0, skipped.count);
        tracing::warn!(%topic, partition = index, count, %offset, %error, "a {} skips records", K::NAME);
    }
}
