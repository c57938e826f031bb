//! Members of classic groups: from the first request until each has its assignment.

use anyhow::{Result, bail};
use bytes::Bytes;
use ottla_wire::messages::{JoinGroupRequest, SyncGroupRequest};
use ottla_wire::{ErrorCode, Str};

use super::asks::{self, Member};
use crate::fleet::Fleet;

/// Where a member is on its way into the group.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Step {
    Joining,
    Syncing,
}

/// One member, with the connection of its own.
pub struct Joining {
    pub member: Member,
    group: String,
    step: Step,
}

impl Joining {
    pub fn new(group: String, member: Member) -> Joining {
        Joining { member, group, step: Step::Joining }
    }

    /// Its first request.
    pub fn begin(&mut self) -> Result<Bytes> {
        self.step = Step::Joining;
        asks::join(&self.group, &self.member)
    }

    /// Takes an answer; gives the next request, or none when the member has its assignment.
    pub fn answered(&mut self, frame: Bytes) -> Result<Option<Bytes>> {
        match self.step {
            Step::Joining => {
                let answer = asks::answer::<JoinGroupRequest>(frame)?;
                self.member.id = answer.member_id.clone();
                match ErrorCode::from_code(answer.error_code) {
                    Some(ErrorCode::None) => {
                        self.member.generation = answer.generation_id;
                        self.step = Step::Syncing;
                        let ids: Vec<Str> = answer.members.into_iter().map(|one| one.member_id).collect();
                        asks::sync(&self.group, &self.member, &ids).map(Some)
                    }
                    Some(
                        ErrorCode::MemberIdRequired
                        | ErrorCode::CoordinatorLoadInProgress
                        | ErrorCode::NotCoordinator
                        | ErrorCode::CoordinatorNotAvailable,
                    ) => self.begin().map(Some),
                    other => bail!("JoinGroup: {other:?}"),
                }
            }
            Step::Syncing => {
                let answer = asks::answer::<SyncGroupRequest>(frame)?;
                match ErrorCode::from_code(answer.error_code) {
                    Some(ErrorCode::None) => Ok(None),
                    Some(ErrorCode::RebalanceInProgress) => self.begin().map(Some),
                    other => bail!("SyncGroup: {other:?}"),
                }
            }
        }
    }
}

/// Brings all members into the group, each on the connection of its number.
pub fn join_all(fleet: &mut Fleet, members: &mut [Joining]) -> Result<()> {
    let asks: Vec<_> =
        members.iter_mut().enumerate().map(|(at, one)| Ok((at, one.begin()?))).collect::<Result<_>>()?;
    fleet.exchange(asks, |at, frame| members[at].answered(frame))
}
