//! One rebalance of a classic group, step by step: give up, join, share (the leader), sync, give up and take.

use std::collections::{BTreeMap, BTreeSet};

use ottla_wire::messages::join_group_response::JoinGroupResponseMember;
use ottla_wire::messages::sync_group_request::SyncGroupRequestAssignment;
use ottla_wire::messages::{JoinGroupResponse, SyncGroupRequest, SyncGroupResponse};
use ottla_wire::primitives::Str;
use ottla_wire::protocol::{ApiKey, ErrorCode};

use super::{Classic, Effects, Joined, Led, Phase, Question, check};
use crate::cluster::{Metadata, TopicPartition};
use crate::error::Error;
use crate::group::assignor::{Assignor, Member};
use crate::group::membership::{Change, Effect, Heart, Look, Now, Ticket};
use crate::group::protocol::{PROTOCOL_TYPE, Subscribed, decode_assignment, encode_assignment};

impl Classic {
    /// Gives up what must not be kept meanwhile, and joins.
    pub(super) fn rebalance(&mut self, effects: &mut Effects) {
        self.again = false;
        let change = if self.generation < 0 {
            Change::Lose(self.owned.clone())
        } else if self.is_cooperative() {
            let gone = self.owned.iter().filter(|of| !self.subscription.contains(&of.topic));
            Change::Revoke(gone.cloned().collect())
        } else {
            Change::Revoke(self.owned.clone())
        };
        let (Change::Lose(told) | Change::Revoke(told) | Change::Assign(told)) = &change;
        // An owner that is still at the last change is waited for: who does not poll must not be told ever
        // more.
        let busy =
            matches!(self.phase, Phase::GivingUp { .. } | Phase::Revoking { .. } | Phase::Taking { .. });
        if told.is_empty() && !busy {
            return self.join(effects);
        }
        let told = told.clone();
        let ticket = self.tell(change, effects);
        self.phase = Phase::GivingUp { ticket, told };
    }

    /// Rebalances are cooperative only if every assignor is: nobody knows before which one the group will
    /// use.
    fn is_cooperative(&self) -> bool {
        self.settings.assignors.iter().all(|assignor| assignor.is_cooperative())
    }

    pub(super) fn join(&mut self, effects: &mut Effects) {
        (self.heart, self.led) = (None, None);
        match self.join_request() {
            Ok(request) => {
                let ticket = self.tickets.next();
                let (question, failures) = (Question::Join(request), self.failures);
                effects.push(Effect::Ask { ticket, question, failures });
                self.phase = Phase::Joining { ticket };
            }
            Err(error) => self.fail(error, effects),
        }
    }

    pub(super) fn joined(
        &mut self,
        now: Now,
        answered: Ticket,
        outcome: Result<JoinGroupResponse, Error>,
        effects: &mut Effects,
    ) {
        if !matches!(self.phase, Phase::Joining { ticket } if ticket == answered) {
            return;
        }
        let response = match outcome {
            Ok(response) => response,
            Err(error) => return self.refused(error, effects),
        };
        if let Err(error) = check(response.error_code) {
            // The member id is kept, so that one that gives up before it joins leaves no trace (KIP-394).
            if error.code() == Some(ErrorCode::MemberIdRequired) {
                self.member_id = response.member_id.detached();
                return self.join(effects);
            }
            return self.refused(error, effects);
        }
        self.member_id = response.member_id.detached();
        self.generation = response.generation_id;
        self.protocol = response.protocol_name.as_ref().map(Str::detached).unwrap_or_default();
        self.heart = Some(Heart::after(now.at, self.settings.heartbeat_interval));
        effects.push(Effect::Become(self.identity()));
        if response.leader == response.member_id {
            self.lead(response, effects);
        } else {
            self.sync(Vec::new(), effects);
        }
    }

    /// What to do after JoinGroup or SyncGroup failed.
    fn refused(&mut self, error: Error, effects: &mut Effects) {
        match error.code() {
            Some(ErrorCode::UnknownMemberId) => self.lose(true, effects),
            Some(ErrorCode::IllegalGeneration) => self.lose(false, effects),
            Some(ErrorCode::RebalanceInProgress) => {
                self.failures += 1;
                self.rebalance(effects);
            }
            _ if error.is_retriable() => {
                self.failures += 1;
                self.rebalance(effects);
            }
            _ => self.fail(error, effects),
        }
    }

    fn lead(&mut self, response: JoinGroupResponse, effects: &mut Effects) {
        let Some(assignor) = Assignor::from_name(&self.protocol) else {
            let reason = format!("the group uses {}, which this member did not offer", self.protocol);
            return self.fail(Error::malformed(ApiKey::JoinGroup, "the coordinator", reason), effects);
        };
        let members: Vec<Member> = response.members.into_iter().map(read_member).collect();
        let topics = members.iter().flat_map(|member| member.topics.iter().cloned());
        let ticket = self.tickets.next();
        effects.push(Effect::Look { ticket, what: Look::Names(topics.collect()), failures: 0 });
        let keep_shares = response.skip_assignment;
        self.phase = Phase::Looking { ticket, joined: Joined { assignor, members, keep_shares } };
    }

    pub(super) fn looked(&mut self, answered: Ticket, metadata: &Metadata, effects: &mut Effects) {
        let Phase::Looking { ticket, joined } = &mut self.phase else { return };
        if *ticket != answered {
            return;
        }
        let members = std::mem::take(&mut joined.members);
        let (assignor, keep_shares) = (joined.assignor, joined.keep_shares);
        let topics: BTreeSet<Str> = members.iter().flat_map(|member| member.topics.iter().cloned()).collect();
        let partitions = count_partitions(metadata, &topics);
        let assignments =
            if keep_shares { Vec::new() } else { write_shares(assignor.assign(members, &partitions)) };
        self.led = Some(Led { topics, partitions });
        self.sync(assignments, effects);
    }

    fn sync(&mut self, assignments: Vec<SyncGroupRequestAssignment>, effects: &mut Effects) {
        let ticket = self.tickets.next();
        let question = Question::Sync(SyncGroupRequest {
            group_id: self.settings.group.clone(),
            generation_id: self.generation,
            member_id: self.member_id.clone(),
            group_instance_id: self.settings.instance.clone(),
            protocol_type: Some(Str::from_static(PROTOCOL_TYPE)),
            protocol_name: Some(self.protocol.clone()),
            assignments,
        });
        effects.push(Effect::Ask { ticket, question, failures: 0 });
        self.phase = Phase::Syncing { ticket };
    }

    pub(super) fn synced(
        &mut self,
        answered: Ticket,
        outcome: Result<SyncGroupResponse, Error>,
        effects: &mut Effects,
    ) {
        if !matches!(self.phase, Phase::Syncing { ticket } if ticket == answered) {
            return;
        }
        let share = outcome.and_then(|response| {
            check(response.error_code)?;
            decode_assignment(response.assignment).map_err(|error| {
                Error::malformed(ApiKey::SyncGroup, "the leader of the group", error.to_string())
            })
        });
        let mut share = match share {
            Ok(share) => share,
            Err(error) => return self.refused(error, effects),
        };
        // What was unsubscribed from while the group rebalanced.
        share.retain(|of| self.subscription.contains(&of.topic));
        let told: BTreeSet<TopicPartition> = self.owned.difference(&share).cloned().collect();
        if told.is_empty() {
            return self.take(share, effects);
        }
        // Others wait for them: the group rebalances once more (KIP-429).
        self.again = true;
        let ticket = self.tell(Change::Revoke(told.clone()), effects);
        self.phase = Phase::Revoking { ticket, told, share };
    }

    /// Told even if nothing is new: whoever listens learns that the rebalance is over.
    pub(super) fn take(&mut self, share: BTreeSet<TopicPartition>, effects: &mut Effects) {
        let new: BTreeSet<TopicPartition> = share.difference(&self.owned).cloned().collect();
        self.owned.extend(new.iter().cloned());
        let ticket = self.tell(Change::Assign(new), effects);
        self.phase = Phase::Taking { ticket };
    }

    pub(super) fn settled(&mut self, effects: &mut Effects) {
        self.phase = Phase::Stable;
        self.failures = 0;
        if self.again {
            self.rebalance(effects);
        }
    }
}

/// A member whose subscription cannot be read gets nothing; that must not stop the others.
fn read_member(member: JoinGroupResponseMember) -> Member {
    let id = member.member_id.detached();
    let subscribed = Subscribed::decode(member.metadata).unwrap_or_else(|error| {
        tracing::warn!(member = %id, %error, "subscription of a member cannot be read");
        Subscribed::default()
    });
    Member {
        id,
        instance: member.group_instance_id.as_ref().map(Str::detached),
        topics: subscribed.topics,
        owned: subscribed.owned,
        generation: subscribed.generation,
    }
}

fn write_shares(shares: BTreeMap<Str, BTreeSet<TopicPartition>>) -> Vec<SyncGroupRequestAssignment> {
    let write = |(member_id, share): (Str, BTreeSet<TopicPartition>)| {
        // Names that came in a subscription fit into an assignment.
        let assignment = encode_assignment(&share).unwrap_or_default();
        SyncGroupRequestAssignment { member_id, assignment }
    };
    shares.into_iter().map(write).collect()
}

/// How many partitions topics have; those that are not known are left out.
pub(super) fn count_partitions(metadata: &Metadata, topics: &BTreeSet<Str>) -> BTreeMap<Str, i32> {
    let count = |topic: &Str| {
        let partitions = metadata.topic(topic)?.partitions.len();
        Some((topic.clone(), i32::try_from(partitions).unwrap_or(i32::MAX)))
    };
    topics.iter().filter_map(count).collect()
}
