//! Reads a coordinator's state from its log. The driver decides where: off its shard.

use bytes::Bytes;
use ottla_coordinator::{Coordinator, Frame, Producer, Record, ReplayError};
use ottla_log::{Bound, Cold, LogReader, ReadError};
use ottla_wire::Offset;
use ottla_wire::batch::{BatchError, BatchView, ControlRecord, batches};

/// The bytes of one read. A larger batch is read as a whole.
const CHUNK_BYTES: usize = 1 << 20;

/// The most bytes that one batch may unpack to.
const UNPACKED_BYTES_MAX: usize = 128 << 20;

/// Why a log could not be read.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    #[error(transparent)]
    Read(#[from] ReadError),
    #[error(transparent)]
    Io(#[from] std::io::Error),
    #[error("the batch at or after offset {at}: {error}")]
    Batch { at: Offset, error: BatchError },
}

/// The number of records that could not be replayed, and the first reason.
#[derive(Debug, Default)]
pub struct Skipped {
    pub count: usize,
    pub first: Option<(Offset, ReplayError)>,
}

/// Replays the log from `from` up to `bound`. Returns the frame, and the offset where it stopped.
pub fn read<C: Coordinator>(
    log: &LogReader,
    bound: Bound,
    mut frame: Frame<C>,
    from: Offset,
) -> Result<(Frame<C>, Offset, Skipped), LoadError> {
    let mut skipped = Skipped::default();
    let mut next = from;
    while next < bound.offset {
        let plan = log.read(next, CHUNK_BYTES, bound, true, Cold::Wait)?;
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
                // The last batch of a chunk may be cut off.
                Err(BatchError::Truncated { .. }) if next > before => break,
                Err(error) => return Err(LoadError::Batch { at: next, error }),
            }
        }
        if next == before {
            break; // the remaining offsets have no records
        }
    }
    Ok((frame, bound.offset.max(next), skipped))
}

fn replay<C: Coordinator>(
    frame: &mut Frame<C>,
    batch: &BatchView,
    skipped: &mut Skipped,
) -> Result<(), BatchError> {
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
            // Copied, so that a record kept by the core does not keep the whole chunk.
            Some(key) => {
                let copy = |bytes: Bytes| Bytes::copy_from_slice(&bytes);
                let kept = Record { key: copy(key), value: record.value.map(copy) };
                frame.replay(record.offset, producer, kept)
            }
            None => Err(ReplayError::NoKey),
        };
        if let Err(error) = replayed {
            skipped.count += 1;
            skipped.first.get_or_insert((record.offset, error));
        }
    }
    Ok(())
}
