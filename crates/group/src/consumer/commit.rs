//! Whether members may commit and fetch offsets.

use ottla_wire::{ErrorCode, PartitionIndex, TopicId};

use crate::consumer::group::ConsumerGroup;
use crate::consumer::member::Member;
use crate::context::Context;
use crate::group::{Committer, Group};

/// OffsetCommit knows member epochs from this version on (KIP-848).
const COMMITS_WITH_EPOCHS_FROM: i16 = 9;

impl ConsumerGroup {
    /// Whether `by` may commit now. One with an older epoch may, for partitions that it has had since then:
    /// [`ConsumerGroup::validate_commit_of`].
    pub fn validate_commit(&self, by: &Committer<'_>) -> Result<(), ErrorCode> {
        let Some(member) = self.committer(by)? else { return Ok(()) };
        if !by.transactional && !member.is_classic() && by.version < COMMITS_WITH_EPOCHS_FROM {
            return Err(ErrorCode::UnsupportedVersion);
        }
        if by.generation_or_epoch > member.current.epoch { Err(stale(member)) } else { Ok(()) }
    }

    /// Whether `by`, who may commit, may do so for a partition (KIP-1251). A member may be late to learn of a
    /// new epoch, or be giving up partitions: what it read before still counts.
    pub fn validate_commit_of(
        &self,
        by: &Committer<'_>,
        topic: TopicId,
        partition: PartitionIndex,
    ) -> Result<(), ErrorCode> {
        let Some(member) = self.committer(by)? else { return Ok(()) };
        let current = &member.current;
        if by.generation_or_epoch == current.epoch {
            return Ok(());
        }
        let had = |since: Option<i32>| since.is_some_and(|since| since <= by.generation_or_epoch);
        let held = had(current.assigned.epoch_of(topic, partition.0))
            || had(current.revoking.epoch_of(topic, partition.0));
        if held { Ok(()) } else { Err(stale(member)) }
    }

    /// A member has committed. One of the classic protocol needs no heartbeat then.
    pub fn committed(&mut self, ctx: &mut Context<'_>, by: &Committer<'_>) {
        if self.lasting.member(by.member).is_some_and(Member::is_classic) {
            self.touch(ctx, &by.member.into());
        }
    }

    /// Whether offsets may be fetched by `member`.
    pub fn validate_fetch(&self, member: Option<&str>, epoch: i32) -> Result<(), ErrorCode> {
        let member = match member {
            None if epoch < 0 => return Ok(()),
            None => return Err(ErrorCode::UnknownMemberId),
            Some(member) => self.lasting.member(member).ok_or(ErrorCode::UnknownMemberId)?,
        };
        if epoch == member.current.epoch { Ok(()) } else { Err(stale(member)) }
    }

    /// The member that commits; `None` for who may commit without being one.
    fn committer(&self, by: &Committer<'_>) -> Result<Option<&Member>, ErrorCode> {
        let says_nothing = by.generation_or_epoch == -1 && by.member.is_empty() && by.instance.is_none();
        if (by.generation_or_epoch < 0 && self.is_empty()) || (by.transactional && says_nothing) {
            return Ok(None);
        }
        self.lasting.member(by.member).map(Some).ok_or(ErrorCode::UnknownMemberId)
    }
}

/// An epoch that is not the member's, in the words of its protocol.
fn stale(member: &Member) -> ErrorCode {
    if member.is_classic() { ErrorCode::IllegalGeneration } else { ErrorCode::StaleMemberEpoch }
}
