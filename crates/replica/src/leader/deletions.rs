//! DeleteRecords (KIP-107): the leader moves its log start, and answers once every live follower has, too.

use ottla_wire::{Instant, Offset};

use super::Leader;
use crate::effect::Effect;
use crate::error::DeleteError;
use crate::event::{DeleteRecords, DeleteTo, ReplyId};
use crate::local::Local;

/// Requests that wait for the followers.
#[derive(Debug, Default)]
pub(super) struct Deletions {
    waiting: Vec<Deletion>,
}

#[derive(Clone, Copy, Debug)]
struct Deletion {
    reply: ReplyId,
    deadline: Instant,
    before: Offset,
}

impl Leader {
    /// Deletes what is before an offset, which must be committed.
    pub fn delete_records(&mut self, local: &mut Local, delete: DeleteRecords, effects: &mut Vec<Effect>) {
        match self.check_delete(local, delete.before) {
            Ok(before) => {
                if before > local.log_start {
                    local.start_moved(before, effects);
                    effects.push(Effect::MoveLogStart(before));
                }
                self.deletions.waiting.push(Deletion {
                    reply: delete.reply,
                    deadline: delete.deadline,
                    before,
                });
                self.release_deletions(local, effects);
            }
            Err(why) => effects.push(Effect::DeleteReplied { to: delete.reply, outcome: Err(why) }),
        }
    }

    /// Answers those whose records are gone from every live replica.
    pub fn release_deletions(&mut self, local: &Local, effects: &mut Vec<Effect>) {
        if self.deletions.waiting.is_empty() {
            return;
        }
        let low_watermark = self.low_watermark(local);
        self.deletions.waiting.retain(|deletion| {
            let done = low_watermark >= deletion.before;
            if done {
                effects.push(Effect::DeleteReplied { to: deletion.reply, outcome: Ok(low_watermark) });
            }
            !done
        });
    }

    fn check_delete(&self, local: &Local, before: DeleteTo) -> Result<Offset, DeleteError> {
        if !local.config.records_deletable {
            return Err(DeleteError::Policy);
        }
        if local.truncating {
            return Err(DeleteError::NotLeader);
        }
        let limit = local.config.deletions_max;
        if self.deletions.waiting.len() >= limit {
            return Err(DeleteError::TooManyWaiters { limit });
        }
        let high_watermark = local.high_watermark;
        match before {
            DeleteTo::HighWatermark => Ok(high_watermark),
            DeleteTo::Offset(asked) if asked < Offset::ZERO || asked > high_watermark => {
                Err(DeleteError::OffsetOutOfRange { asked, high_watermark })
            }
            DeleteTo::Offset(asked) => Ok(asked),
        }
    }
}

impl Deletions {
    pub fn expire(&mut self, now: Instant, effects: &mut Vec<Effect>) {
        self.waiting.retain(|deletion| {
            let over = deletion.deadline <= now;
            if over {
                effects
                    .push(Effect::DeleteReplied { to: deletion.reply, outcome: Err(DeleteError::TimedOut) });
            }
            !over
        });
    }

    /// The log ends at `end`, before what these were to delete.
    pub fn fail_above(&mut self, end: Offset, effects: &mut Vec<Effect>) {
        self.waiting.retain(|deletion| {
            let above = deletion.before > end;
            if above {
                effects
                    .push(Effect::DeleteReplied { to: deletion.reply, outcome: Err(DeleteError::TimedOut) });
            }
            !above
        });
    }

    pub fn fail(self, why: DeleteError, effects: &mut Vec<Effect>) {
        effects.extend(
            self.waiting.iter().map(|one| Effect::DeleteReplied { to: one.reply, outcome: Err(why) }),
        );
    }
}
