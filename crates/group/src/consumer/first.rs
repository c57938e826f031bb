//! How a consumer group comes to be: by the first heartbeat of a member, or by the records of one.

use crate::timers::GroupTimers;
use ottla_coordinator::{ReplayError, Ticket};
use ottla_wire::ErrorCode;
use ottla_wire::messages::ConsumerGroupHeartbeatRequest;
use ottla_wire::primitives::Str;

use crate::classic::ClassicGroup;
use crate::consumer::admission::{Admission, check_fields};
use crate::consumer::group::ConsumerGroup;
use crate::consumer::member::JOIN_EPOCH;
use crate::consumer::refusal::Refusal;
use crate::context::Context;
use crate::group::Group;
use crate::groups::Groups;
use crate::record::GroupRecord;
use crate::request::{Caller, Response};

/// ConsumerGroupHeartbeat to a group that does not exist, or is a classic one. `groups` gets the consumer group if the
/// member is let in.
pub fn first_heartbeat(
    ctx: &mut Context<'_>,
    groups: &mut Groups,
    ticket: Ticket,
    caller: &Caller,
    request: ConsumerGroupHeartbeatRequest,
) {
    let (mut group, admission) = match admit_first(ctx, groups, caller, &request) {
        Ok(admitted) => admitted,
        Err(refusal) => return ctx.reply(ticket, refusal.into_heartbeat()),
    };
    if let Some(Group::Classic(mut classic)) = groups.take(&group.id) {
        classic.dissolve(ctx, ErrorCode::RebalanceInProgress);
        classic.tombstones(ctx);
        ctx.timers.cancel_group(&group.id);
    }
    group.write_upgraded(ctx);
    let response = group.serve_admitted(ctx, caller, &request, admission);
    groups.put(group.into());
    ctx.reply(ticket, Response::ConsumerGroupHeartbeat(response));
}

/// The group that the member makes, and leave to join it. Nothing has changed yet.
fn admit_first(
    ctx: &Context<'_>,
    groups: &Groups,
    caller: &Caller,
    request: &ConsumerGroupHeartbeatRequest,
) -> Result<(ConsumerGroup, Admission), Refusal> {
    check_fields(ctx.config, caller.version, request)?;
    let id = request.group_id.detached();
    let joining = request.member_epoch == JOIN_EPOCH;
    let (group, converts) = match groups.get(&id) {
        Some(Group::Classic(classic)) if joining && !classic.is_empty() => {
            (ConsumerGroup::upgraded(ctx, classic)?, true)
        }
        Some(Group::Classic(_)) | None if joining => (ConsumerGroup::new(id), false),
        Some(Group::Consumer(_) | Group::Classic(_)) => {
            let message = format!("Group {id} is not a consumer group.");
            return Err(Refusal::new(ErrorCode::GroupIdNotFound, message));
        }
        None => {
            let message = format!("Consumer group {id} not found.");
            return Err(Refusal::new(ErrorCode::GroupIdNotFound, message));
        }
    };
    let admission = group.admit(ctx, request)?;
    Ok((group, Admission { converts, ..admission }))
}

/// Takes in a record of a consumer group. An unrecorded classic group of the same id gives way. Tombstones of what is not
/// there say nothing: what they are about was compacted away.
pub fn replay(groups: &mut Groups, record: GroupRecord) -> Result<(), ReplayError> {
    let (id, is_value) = of(&record);
    let id = id.clone();
    let is_end = matches!(record, GroupRecord::ConsumerGroup { value: None, .. });
    match groups.get_mut(&id) {
        // The group is what its offsets make of it.
        Some(Group::Consumer(_)) if is_end => {
            groups.put(ClassicGroup::new(id).into());
        }
        Some(Group::Consumer(group)) => {
            group.lasting.apply(record);
            groups.recount(&id);
        }
        Some(Group::Classic(classic)) if is_value && !classic.is_unrecorded() => {
            let problem = format!("a record of a consumer group, but group {id} is a classic one");
            return Err(ReplayError::Contradiction(problem));
        }
        Some(Group::Classic(_)) | None if is_value => {
            let mut group = ConsumerGroup::new(id.detached());
            group.lasting.apply(record);
            groups.put(group.into());
        }
        Some(Group::Classic(_)) | None => {}
    }
    Ok(())
}

/// The group that a record is about, and whether the record says that something is so.
fn of(record: &GroupRecord) -> (&Str, bool) {
    match record {
        GroupRecord::ConsumerGroup { key, value } => (&key.group_id, value.is_some()),
        GroupRecord::ConsumerGroupPartitions { key, value } => (&key.group_id, value.is_some()),
        GroupRecord::ConsumerGroupMember { key, value } => (&key.group_id, value.is_some()),
        GroupRecord::TargetAssignment { key, value } => (&key.group_id, value.is_some()),
        GroupRecord::TargetAssignmentMember { key, value } => (&key.group_id, value.is_some()),
        GroupRecord::CurrentAssignment { key, value } => (&key.group_id, value.is_some()),
        GroupRecord::RegularExpression { key, value } => (&key.group_id, value.is_some()),
        GroupRecord::Offset { .. } | GroupRecord::Group { .. } => {
            unreachable!("the coordinator sorts records")
        }
    }
}
