//! The follower: fetches from the leader, cuts its log where it parted from the leader's (KIP-595), appends
//! what comes.
//!
//! A fetch from an offset tells the leader that everything before it is safe here. So where records count
//! once they are flushed, the next fetch waits for the flush of the last one's records.

use bytes::Bytes;
use ottla_wire::batch::{AppendBatch, BatchError, BatchHeader, BatchView, batches};
use ottla_wire::{BrokerId, Instant, LeaderEpoch, Offset};

use crate::effect::{Effect, FetchRequest};
use crate::event::{LeaderAnswer, LeaderReply};
use crate::local::{Local, control_record};

/// A replica that copies another.
#[derive(Debug)]
pub(crate) struct Follower {
    leader: BrokerId,
    epoch: LeaderEpoch,
    /// The offset that was asked for, while there is no answer.
    asked: Option<Offset>,
    /// What the leader called its high watermark last.
    leader_high_watermark: Offset,
    /// The next fetch waits: the last one failed.
    pause: bool,
}

impl Follower {
    pub fn begin(
        leader: BrokerId,
        epoch: LeaderEpoch,
        local: &mut Local,
        effects: &mut Vec<Effect>,
    ) -> Follower {
        let leader_high_watermark = local.high_watermark;
        let mut follower = Follower { leader, epoch, asked: None, leader_high_watermark, pause: false };
        // Without epochs the leader cannot tell where the logs part: only what is committed is sure to be
        // shared.
        if local.epochs.latest().is_none() && !local.truncating {
            local.truncate(local.high_watermark, effects);
        }
        follower.go_on(local, effects);
        follower
    }

    pub fn follows(&self, leader: BrokerId) -> bool {
        self.leader == leader
    }

    /// The leader's answer to the last fetch.
    pub fn answered(
        &mut self,
        now: Instant,
        local: &mut Local,
        answer: LeaderAnswer,
        effects: &mut Vec<Effect>,
    ) {
        if answer.epoch != self.epoch || self.asked != Some(answer.offset) {
            return; // to a fetch that has been replaced
        }
        self.asked = None;
        self.pause = match answer.reply {
            LeaderReply::Records { records, high_watermark, log_start } => {
                let intact = self.replicate(now, local, records, effects);
                self.leader_high_watermark = high_watermark;
                raise_high_watermark(local, high_watermark);
                follow_start(local, log_start, effects);
                !intact
            }
            LeaderReply::Diverged { epoch, end } => !cut_to(local, common_end(local, epoch, end), effects),
            LeaderReply::OutOfRange { start, end } => !into_range(local, start, end, effects),
            LeaderReply::Failed => true,
        };
        self.go_on(local, effects);
    }

    /// What came last did not get into the log: it is asked for again, after a pause.
    pub fn unwritten(&mut self) {
        self.asked = None;
        self.pause = true;
    }

    /// Fetches on, unless something must come first.
    pub fn go_on(&mut self, local: &mut Local, effects: &mut Vec<Effect>) {
        local.want_flush(self.epoch, effects);
        raise_high_watermark(local, self.leader_high_watermark);
        if self.asked.is_some() || local.truncating || local.counted_end() < local.log_end {
            return;
        }
        self.asked = Some(local.log_end);
        effects.push(Effect::Fetch(FetchRequest {
            leader: self.leader,
            epoch: self.epoch,
            offset: local.log_end,
            last_fetched_epoch: local.epochs.latest(),
            log_start: local.log_start,
            after_pause: std::mem::take(&mut self.pause),
        }));
    }

    /// Appends whole batches as they are. Stops at what the leader cannot have meant: a damaged batch, one
    /// that does not come next, one from an epoch above the leader's. Returns whether all was well.
    fn replicate(
        &mut self,
        now: Instant,
        local: &mut Local,
        records: Bytes,
        effects: &mut Vec<Effect>,
    ) -> bool {
        let before = local.log_end;
        for batch in batches(records) {
            let batch = match batch {
                Ok(batch) => batch,
                // A run may end in a cut batch, but not begin with one.
                Err(BatchError::Truncated { .. }) => return local.log_end > before,
                Err(_) => return false,
            };
            let header = *batch.header();
            let inside = local.is_empty() && reaches_over(&header, local.log_end);
            let start = if inside { header.base_offset } else { local.log_end };
            let sound = batch.check_crc().is_ok() && comes_next(&header, start, self.epoch);
            if !sound {
                return false;
            }
            let control = if header.is_control() { control_record(batch.bytes()) } else { None };
            if inside {
                local.begin_with(now, as_is(&batch), control.as_ref(), effects);
            } else {
                local.append(now, as_is(&batch), control.as_ref(), effects);
            }
        }
        true
    }
}

/// Offsets may be missing (compaction), but never go back.
fn comes_next(header: &BatchHeader, log_end: Offset, epoch: LeaderEpoch) -> bool {
    let last = header.base_offset.0.checked_add(i64::from(header.last_offset_delta));
    header.base_offset >= log_end
        && header.last_offset_delta >= 0
        && last.is_some_and(|last| last < i64::MAX)
        && header.partition_leader_epoch <= epoch
}

/// DeleteRecords may leave a log that starts inside a batch; who begins there is given the whole of it.
fn reaches_over(header: &BatchHeader, log_start: Offset) -> bool {
    header.base_offset >= Offset::ZERO && header.base_offset < log_start && header.last_offset() >= log_start
}

/// A batch from the leader: its offsets and epoch are assigned.
fn as_is(batch: &BatchView) -> AppendBatch {
    AppendBatch { body: batch.body(), header: *batch.header() }
}

/// What the leader has committed is committed as far as it is safe here.
fn raise_high_watermark(local: &mut Local, leader_high_watermark: Offset) {
    local.raise_high_watermark(leader_high_watermark.min(local.counted_end()));
}

/// The leader has deleted records from the front.
fn follow_start(local: &mut Local, leader_start: Offset, effects: &mut Vec<Effect>) {
    let start = leader_start.min(local.high_watermark);
    if start > local.log_start {
        local.start_moved(start, effects);
        effects.push(Effect::MoveLogStart(start));
    }
}

/// Up to where this log may be the leader's, whose `epoch` ends at `end`; asked again from there if need be.
fn common_end(local: &Local, epoch: LeaderEpoch, end: Offset) -> Offset {
    if epoch < LeaderEpoch(0) || end < Offset::ZERO {
        return local.high_watermark; // the leader does not know: only what is committed is sure to be shared
    }
    match local.epochs.end_of(epoch, local.log_end) {
        // This log never saw that epoch: back to the end of the one before it, and ask again.
        Some(own) if own.epoch != epoch => own.end,
        Some(own) => own.end.min(end),
        None => end,
    }
}

/// Returns whether anything changed.
fn cut_to(local: &mut Local, to: Offset, effects: &mut Vec<Effect>) -> bool {
    if to < local.log_start {
        local.restart_at(to.max(Offset::ZERO), effects);
        return true;
    }
    local.truncate(to.min(local.log_end), effects)
}

/// The leader's log spans `start..end` and this one's end lies outside. Returns whether anything changed.
fn into_range(local: &mut Local, start: Offset, end: Offset, effects: &mut Vec<Effect>) -> bool {
    if start > local.log_end || end < local.log_start {
        local.restart_at(start.max(Offset::ZERO), effects);
        return true;
    }
    end < local.log_end && cut_to(local, end, effects)
}
