//! How the leader takes batches and markers.

use bytes::Bytes;
use ottla_wire::batch::{
    AppendBatch, BatchError, BatchView, ControlRecord, Origin, TimestampType, end_txn_marker,
};
use ottla_wire::{Instant, LeaderEpoch, Offset, Timestamp};

use super::Leader;
use super::waiters::Waiter;
use crate::effect::{Appended, Effect};
use crate::error::AppendError;
use crate::event::{Acks, Append, WriteMarker};
use crate::local::{Local, control_record};
use crate::producer::Checked;

impl Leader {
    /// Appends a batch, or says why not. A batch that was appended before is acknowledged as it was then.
    pub fn append(
        &mut self,
        now: Instant,
        wall: Timestamp,
        local: &mut Local,
        append: Append,
        effects: &mut Vec<Effect>,
    ) {
        let (acks, reply, deadline) = (append.acks, append.reply, append.deadline);
        let end = local.log_end;
        match self.take(now, wall, local, append, effects) {
            Ok(appended) => {
                self.followers.stood_at(end, now);
                let waiter = Waiter { reply, deadline, appended };
                match acks {
                    Acks::None => effects.push(waiter.answer(Ok(appended))),
                    Acks::Leader => self.waiters.wait_local(waiter),
                    Acks::InSync => self.waiters.wait_in_sync(waiter),
                }
                self.settle(now, local, effects);
            }
            Err(why) => effects.push(Effect::Reply { to: reply, outcome: Err(why) }),
        }
    }

    /// Appends an end-transaction marker and acknowledges it once every in-sync replica has it.
    pub fn write_marker(
        &mut self,
        now: Instant,
        wall: Timestamp,
        local: &mut Local,
        marker: WriteMarker,
        effects: &mut Vec<Effect>,
    ) {
        let end = local.log_end;
        match self.take_marker(now, wall, local, &marker, effects) {
            Ok(appended) => {
                self.followers.stood_at(end, now);
                self.waiters.wait_in_sync(Waiter {
                    reply: marker.reply,
                    deadline: marker.deadline,
                    appended,
                });
                self.settle(now, local, effects);
            }
            Err(why) => effects.push(Effect::Reply { to: marker.reply, outcome: Err(why) }),
        }
    }

    fn take(
        &mut self,
        now: Instant,
        wall: Timestamp,
        local: &mut Local,
        append: Append,
        effects: &mut Vec<Effect>,
    ) -> Result<Appended, AppendError> {
        let current = self.epoch;
        if let Some(expected) = append.expected.filter(|&expected| expected != current) {
            return Err(AppendError::StaleEpoch { expected, current });
        }
        self.check_room(local, append.acks)?;
        let header = append.batch.header();
        let verify = local.config.verify_transactions && append.origin == Origin::Client;
        match local.producers.check(header, append.origin, append.verified, verify)? {
            Checked::Repeated(batch) => {
                return Ok(Appended {
                    base_offset: batch.base_offset(),
                    last_offset: batch.last_offset,
                    log_append_time: self.append_time(local, batch.timestamp).unwrap_or(Timestamp::NONE),
                    log_start: local.log_start,
                });
            }
            Checked::New => {}
        }
        check_offsets(local.log_end, header.last_offset_delta)?;
        let control = if header.is_control() { control_record(append.batch.bytes()) } else { None };
        let append_time = self.append_time(local, wall);
        let batch = append.batch.assign(local.log_end, self.epoch, append_time);
        Ok(put(now, local, batch, append_time, control.as_ref(), effects))
    }

    fn take_marker(
        &mut self,
        now: Instant,
        wall: Timestamp,
        local: &mut Local,
        marker: &WriteMarker,
        effects: &mut Vec<Effect>,
    ) -> Result<Appended, AppendError> {
        self.check_room(local, Acks::InSync)?;
        local.producers.check_marker(marker)?;
        check_offsets(local.log_end, 0)?;
        let coordinator_epoch = marker.coordinator_epoch;
        let outcome = match marker.commit {
            true => ControlRecord::Commit { coordinator_epoch },
            false => ControlRecord::Abort { coordinator_epoch },
        };
        let bytes = end_txn_marker(marker.producer, marker.producer_epoch, &outcome, wall);
        let placed = bytes.and_then(|bytes| place(bytes, local.log_end, self.epoch));
        // A single control record without headers: it is built from fields that every value fits.
        let Ok(batch) = placed else { unreachable!("a marker can always be built") };
        Ok(put(now, local, batch, None, Some(&outcome), effects))
    }

    /// What must hold before anything is appended, whoever asks.
    fn check_room(&self, local: &Local, acks: Acks) -> Result<(), AppendError> {
        if local.truncating {
            return Err(AppendError::NotLeader); // was a follower a moment ago; the log is not ready yet
        }
        if acks == Acks::InSync && self.is_under_min_isr(local) {
            let (in_sync, required) = self.in_sync_and_required(local);
            return Err(AppendError::NotEnoughReplicas { in_sync, required });
        }
        let limit = local.config.waiters_max;
        if acks != Acks::None && self.waiters.len() >= limit {
            return Err(AppendError::TooManyWaiters { limit });
        }
        Ok(())
    }

    fn append_time(&self, local: &Local, time: Timestamp) -> Option<Timestamp> {
        match local.config.timestamp_type {
            TimestampType::LogAppendTime => Some(time),
            TimestampType::CreateTime => None,
        }
    }
}

fn put(
    now: Instant,
    local: &mut Local,
    batch: AppendBatch,
    append_time: Option<Timestamp>,
    control: Option<&ControlRecord>,
    effects: &mut Vec<Effect>,
) -> Appended {
    let appended = Appended {
        base_offset: batch.header.base_offset,
        last_offset: batch.header.last_offset(),
        log_append_time: append_time.unwrap_or(Timestamp::NONE),
        log_start: local.log_start,
    };
    local.append(now, batch, control, effects);
    appended
}

/// Gives a batch that this broker has built its place in the log.
fn place(bytes: Bytes, base_offset: Offset, epoch: LeaderEpoch) -> Result<AppendBatch, BatchError> {
    let view = BatchView::parse(bytes)?;
    let mut header = *view.header();
    header.base_offset = base_offset;
    header.partition_leader_epoch = epoch;
    // Neither field is covered by the CRC.
    Ok(AppendBatch { body: view.body(), header })
}

fn check_offsets(log_end: Offset, last_offset_delta: i32) -> Result<(), AppendError> {
    // The log end after the batch must be an offset, too.
    let last = log_end.0.checked_add(i64::from(last_offset_delta));
    if last_offset_delta < 0 || last.is_none_or(|last| last == i64::MAX) {
        return Err(AppendError::OffsetsExhausted);
    }
    Ok(())
}
