//! A coordinator's state, read from its log off the shard.

use std::time::Duration;

use bytes::Bytes;
use ottla_coordinator::{Frame, Producer, Record, ReplayError};
use ottla_log::{Cold, ReadError};
use ottla_partition::Generation;
use ottla_replica::ViewRole;
use ottla_wire::batch::{BatchError, BatchView, ControlRecord, batches};
use ottla_wire::{LeaderEpoch, Offset};

use super::kind::{Home, Kind, Letter};
use crate::partition::PartitionHandle;
use crate::shard::Letters;

/// Bytes that are read at a time. A batch that is larger is read as a whole.
const CHUNK_BYTES: usize = 1 << 20;

/// Bytes that one batch may unpack to.
const UNPACKED_BYTES_MAX: usize = 128 << 20;

/// How long a load that failed waits before it begins again.
const RETRY_PAUSE: Duration = Duration::from_secs(5);

/// A frame whose log has been read up to `end`.
pub struct Loaded<K: Kind> {
    pub generation: Generation,
    pub frame: Frame<K>,
    pub end: Offset,
}

/// What a load is to do.
pub struct Load<K: Kind> {
    pub home: Home,
    pub epoch: LeaderEpoch,
    pub generation: Generation,
    /// What has been read before, up to `from`. Without one, the log is read from its start.
    pub begun: Option<(Frame<K>, Offset)>,
}

/// Why a log could not be read.
#[derive(Debug, thiserror::Error)]
enum LoadError {
    #[error(transparent)]
    Read(#[from] ReadError),
    #[error(transparent)]
    Io(#[from] std::io::Error),
    #[error("the batch at or after offset {at}: {error}")]
    Batch { at: Offset, error: BatchError },
    #[error("the thread that reads has failed: {0}")]
    Thread(#[from] tokio::task::JoinError),
}

/// Reads the log to its end and sends the shard what came of it. Ends in silence when this broker does not lead in that
/// epoch any more; what cannot be read is tried again: a coordinator that lacks records would answer wrongly.
pub async fn load<K: Kind>(mut load: Load<K>) {
    while load.is_wanted() {
        let (partition, generation) = (load.home.partition.clone(), load.generation);
        match read_on(&mut load).await {
            Ok((frame, end)) => {
                let loaded = Box::new(Loaded { generation, frame, end });
                let mut letters = Letters::default();
                letters.add(&partition, K::mail(Letter::Loaded(loaded)));
                return letters.send().await;
            }
            Err(error) => {
                let (topic, index) = (&partition.topic, partition.index.0);
                tracing::error!(%topic, partition = index, %error, "a {} cannot be loaded; trying again", K::NAME);
                tokio::time::sleep(RETRY_PAUSE).await;
            }
        }
    }
}

async fn read_on<K: Kind>(load: &mut Load<K>) -> Result<(Frame<K>, Offset), LoadError> {
    let Home { partition, kit, .. } = load.home.clone();
    // The semaphore is never closed.
    let _room = kit.loads.acquire().await;
    let new = || (Frame::loading(K::create(&kit.world(), load.epoch)), partition.reader.log_start());
    let (frame, from) = load.begun.take().unwrap_or_else(new);
    tokio::task::spawn_blocking(move || read(&partition, frame, from)).await?
}

impl<K: Kind> Load<K> {
    fn is_wanted(&self) -> bool {
        let view = self.home.partition.view();
        view.replica.role == ViewRole::Leader && view.replica.leader_epoch == self.epoch
    }
}

/// Replays the log from `from` on, up to where it ends now.
fn read<K: Kind>(
    partition: &PartitionHandle,
    mut frame: Frame<K>,
    from: Offset,
) -> Result<(Frame<K>, Offset), LoadError> {
    let bound = partition.view().log_end;
    let mut skipped = Skipped::default();
    let mut next = from;
    while next < bound.offset {
        let plan = partition.reader.read(next, CHUNK_BYTES, bound, true, Cold::Wait)?;
        let (len, max) = (plan.first_batch_len(), UNPACKED_BYTES_MAX);
        if len > max {
            return Err(LoadError::Batch { at: next, error: BatchError::TooLarge { len, max } });
        }
        let before = next;
        for batch in batches(plan.read(Cold::Wait)?) {
            match batch {
                Ok(batch) => {
                    replay(&mut frame, &batch, &mut skipped)
                        .map_err(|error| LoadError::Batch { at: next, error })?;
                    next = batch.header().next_offset();
                }
                // The last one of a chunk may be cut off.
                Err(BatchError::Truncated { .. }) if next > before => break,
                Err(error) => return Err(LoadError::Batch { at: next, error }),
            }
        }
        if next == before {
            break; // what is left are offsets without records
        }
    }
    skipped.tell::<K>(partition);
    Ok((frame, bound.offset.max(next)))
}

fn replay<K: Kind>(frame: &mut Frame<K>, batch: &BatchView, skipped: &mut Skipped) -> Result<(), BatchError> {
    batch.check_crc()?;
    let header = batch.header();
    let producer = Producer { id: header.producer_id, epoch: header.producer_epoch };
    if header.is_control() {
        for record in batch.records(UNPACKED_BYTES_MAX)? {
            let record = record?;
            match ControlRecord::parse(record.key.as_ref(), record.value.as_ref())? {
                Some(ControlRecord::Commit { .. }) => frame.end_transaction(producer, true),
                Some(ControlRecord::Abort { .. }) => frame.end_transaction(producer, false),
                Some(ControlRecord::Raft { .. }) | None => {}
            }
        }
        return Ok(());
    }
    let producer = header.is_transactional().then_some(producer);
    for record in batch.records(UNPACKED_BYTES_MAX)? {
        let record = record?;
        let replayed = match record.key {
            // Copied, so that what the core keeps of a record does not keep the whole chunk.
            Some(key) => {
                let copy = |bytes: Bytes| Bytes::copy_from_slice(&bytes);
                let kept = Record { key: copy(key), value: record.value.map(copy) };
                frame.replay(record.offset, producer, kept)
            }
            None => Err(ReplayError::NoKey),
        };
        if let Err(error) = replayed {
            skipped.note(record.offset, error);
        }
    }
    Ok(())
}

/// Records that could not be replayed: they are told of once, whatever their number.
#[derive(Default)]
struct Skipped {
    count: usize,
    first: Option<(Offset, ReplayError)>,
}

impl Skipped {
    fn note(&mut self, offset: Offset, error: ReplayError) {
        self.count += 1;
        self.first.get_or_insert((offset, error));
    }

    fn tell<K: Kind>(&self, partition: &PartitionHandle) {
        if let Some((offset, error)) = &self.first {
            let (topic, index, count) = (&partition.topic, partition.index.0, self.count);
            tracing::warn!(%topic, partition = index, count, %offset, %error, "a {} skips records", K::NAME);
        }
    }
}
