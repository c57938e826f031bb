//! A group of either kind, and what committed offsets and the administrator ask of both.

use ottla_wire::messages::describe_groups_response::DescribedGroup;
use ottla_wire::messages::list_groups_response::ListedGroup;
use ottla_wire::primitives::Str;
use ottla_wire::{ErrorCode, PartitionIndex, Timestamp, TopicId};

use crate::classic::ClassicGroup;
use crate::consumer::ConsumerGroup;
use crate::context::Context;
use crate::record::GroupRecord;

/// A group with its kind.
pub enum Group {
    Classic(Box<ClassicGroup>),
    Consumer(Box<ConsumerGroup>),
}

/// What becomes of a group after a step.
pub enum Next {
    Stays,
    /// It takes another kind. The step has written the records that say so.
    Becomes(Group),
    /// It is gone. The step has written its tombstones.
    Goes,
}

/// Who says that it may commit offsets.
#[derive(Clone, Copy, Debug)]
pub struct Committer<'a> {
    pub member: &'a str,
    pub instance: Option<&'a str>,
    /// Negative for those that are no members: simple consumers and the administrator.
    pub generation_or_epoch: i32,
    /// TxnOffsetCommit: members of old versions do not say who they are.
    pub transactional: bool,
    /// Version of the API that was asked. A classic member of a consumer group is told in its own words.
    pub version: i16,
}

/// When the offsets of a group expire. Those of topics that it is subscribed to do not: [`Group::is_subscribed_to`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OffsetExpiry {
    /// The group is about to change: not now.
    Never,
    /// The retention counts from the commit.
    FromCommit,
    /// The retention counts from when the group became empty.
    FromEmpty(Timestamp),
}

impl Group {
    /// Whether `by` may commit now.
    pub fn validate_commit(&self, by: &Committer<'_>) -> Result<(), ErrorCode> {
        match self {
            Group::Classic(group) => group.validate_commit(by),
            Group::Consumer(group) => group.validate_commit(by),
        }
    }

    /// Whether `by`, whom [`Group::validate_commit`] lets in, may commit for a partition. `topic` is zero for one that there
    /// is not.
    pub fn validate_commit_of(
        &self,
        by: &Committer<'_>,
        topic: TopicId,
        partition: PartitionIndex,
    ) -> Result<(), ErrorCode> {
        match self {
            Group::Classic(_) => Ok(()),
            Group::Consumer(group) => group.validate_commit_of(by, topic, partition),
        }
    }

    /// A member has committed: it lives. Members of the classic protocol need no heartbeat then.
    pub fn committed(&mut self, ctx: &mut Context<'_>, by: &Committer<'_>) {
        match self {
            Group::Classic(group) => group.touch(ctx, by.member),
            Group::Consumer(group) => group.committed(ctx, by),
        }
    }

    /// Whether offsets may be fetched by `member` (OffsetFetch version 9; `None` for those that do not say).
    pub fn validate_fetch(&self, member: Option<&str>, epoch: i32) -> Result<(), ErrorCode> {
        match self {
            // As Kafka: a classic group lets everybody read.
            Group::Classic(_) => Ok(()),
            Group::Consumer(group) => group.validate_fetch(member, epoch),
        }
    }

    /// Whether single offsets may be deleted: those of topics that the group does not read.
    pub fn validate_offset_delete(&self) -> Result<(), ErrorCode> {
        match self {
            Group::Classic(group) => group.validate_offset_delete(),
            Group::Consumer(_) => Ok(()),
        }
    }

    /// Whether the group may be deleted.
    pub fn validate_delete(&self) -> Result<(), ErrorCode> {
        if self.is_empty() { Ok(()) } else { Err(ErrorCode::NonEmptyGroup) }
    }

    /// How many members it has.
    pub fn members_len(&self) -> usize {
        match self {
            Group::Classic(group) => group.members().count(),
            Group::Consumer(group) => group.members_len(),
        }
    }

    pub fn is_subscribed_to(&self, topic: &str) -> bool {
        match self {
            Group::Classic(group) => group.is_subscribed_to(topic),
            Group::Consumer(group) => group.is_subscribed_to(topic),
        }
    }

    pub fn offset_expiry(&self) -> OffsetExpiry {
        match self {
            Group::Classic(group) => group.offset_expiry(),
            Group::Consumer(group) => group.offset_expiry(),
        }
    }

    /// It has no members. Somebody may be about to become one: [`Group::is_expecting`].
    pub fn is_empty(&self) -> bool {
        match self {
            Group::Classic(group) => group.is_empty(),
            Group::Consumer(group) => group.is_empty(),
        }
    }

    /// Somebody was given a member id and has not joined with it yet.
    pub fn is_expecting(&self) -> bool {
        match self {
            Group::Classic(group) => group.is_expecting(),
            Group::Consumer(_) => false,
        }
    }

    /// The log has no record of the group itself: it exists by its offsets (a simple consumer) or by who is joining.
    pub fn is_unrecorded(&self) -> bool {
        match self {
            Group::Classic(group) => group.is_unrecorded(),
            Group::Consumer(_) => false,
        }
    }

    /// How DescribeGroups (the API of classic groups) sees it; `None` if that is not its kind.
    pub fn describe(&self) -> Option<DescribedGroup> {
        match self {
            Group::Classic(group) => Some(group.describe()),
            Group::Consumer(_) => None,
        }
    }

    pub fn listed(&self) -> ListedGroup {
        match self {
            Group::Classic(group) => group.listed(),
            Group::Consumer(group) => group.listed(),
        }
    }

    /// The records that stand for the group; `None` while it knows more than they say.
    pub fn records(&self) -> Option<Vec<GroupRecord>> {
        match self {
            Group::Classic(group) => group.records(),
            Group::Consumer(group) => Some(group.records()),
        }
    }

    /// Writes that the group is gone. Its offsets are not its own: [`crate::offsets::Offsets::remove_group`].
    pub fn tombstones(&self, ctx: &mut Context<'_>) {
        match self {
            Group::Classic(group) => group.tombstones(ctx),
            Group::Consumer(group) => group.tombstones(ctx),
        }
    }

    /// Bytes that it takes in memory, without its offsets and its history. Known at every moment.
    pub fn bytes(&self) -> usize {
        match self {
            Group::Classic(group) => group.bytes(),
            Group::Consumer(group) => group.bytes(),
        }
    }

    /// The same, counted from scratch.
    pub fn count_bytes(&self) -> usize {
        match self {
            Group::Classic(group) => group.count_bytes(),
            Group::Consumer(group) => group.count_bytes(),
        }
    }

    pub fn id(&self) -> &Str {
        match self {
            Group::Classic(group) => group.id(),
            Group::Consumer(group) => group.id(),
        }
    }
}

impl From<ClassicGroup> for Group {
    fn from(group: ClassicGroup) -> Group {
        Group::Classic(Box::new(group))
    }
}

impl From<ConsumerGroup> for Group {
    fn from(group: ConsumerGroup) -> Group {
        Group::Consumer(Box::new(group))
    }
}
