//! Creates a consumer group, from the first heartbeat of a member or from records.

use ottla_coordinator::ReplayError;
use ottla_wire::ErrorCode;
use ottla_wire::messages::{ConsumerGroupHeartbeatRequest, ConsumerGroupHeartbeatResponse};
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
use crate::request::Caller;
use crate::timers::GroupTimers;

/// ConsumerGroupHeartbeat to a group that does not exist, or is a classic one. `groups` gets the consumer
/// group if the member is let in.
pub(super) fn first_heartbeat(
    ctx: &mut Context<'_>,
    groups: &mut Groups,
    caller: &Caller,
    request: &ConsumerGroupHeartbeatRequest,
) -> Result<ConsumerGroupHeartbeatResponse, Refusal> {
    let (mut group, admission) = admit_first(ctx, groups, caller, request)?;
    if let Some(mut before) = groups.take(&group.id) {
        if let Some(classic) = before.as_a_mut::<ClassicGroup>() {
            classic.dissolve(ctx, ErrorCode::RebalanceInProgress);
        }
        before.tombstones(ctx);
        ctx.timers.cancel_group(&group.id);
    }
    group.write_upgraded(ctx);
    let response = group.serve_admitted(ctx, caller, request, admission);
    groups.put(Box::new(group));
    Ok(response)
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
    let (group, converts) = match (groups.get(&id), groups.get_as::<ClassicGroup>(&id)) {
        (_, Some(classic)) if joining && !classic.is_empty() => {
            (ConsumerGroup::upgraded(ctx, classic)?, true)
        }
        (None, _) | (_, Some(_)) if joining => (ConsumerGroup::new(id), false),
        (Some(_), _) => {
            let message = format!("Group {id} is not a consumer group.");
            return Err(Refusal::new(ErrorCode::GroupIdNotFound, message));
        }
        (None, _) => {
            let message = format!("Consumer group {id} not found.");
            return Err(Refusal::new(ErrorCode::GroupIdNotFound, message));
        }
    };
    let admission = group.admit(ctx, request)?;
    Ok((group, Admission { converts, ..admission }))
}

/// Takes in a record of a consumer group. An unrecorded classic group of the same id gives way. Tombstones of
/// what is not there say nothing: what they are about was compacted away.
pub fn replay(groups: &mut Groups, record: GroupRecord) -> Result<(), ReplayError> {
    let (id, is_value) = of(&record);
    let id = id.clone();
    let is_end = matches!(record, GroupRecord::ConsumerGroup { value: None, .. });
    if let Some(group) = groups.get_mut_as::<ConsumerGroup>(&id) {
        if is_end {
            // The group is what its offsets make of it.
            groups.put(Box::new(ClassicGroup::new(id)));
        } else {
            group.lasting.apply(record);
            groups.recount(&id);
        }
        return Ok(());
    }
    if !is_value {
        return Ok(());
    }
    if groups.get(&id).is_some_and(|group| !group.is_unrecorded()) {
        let problem = format!("a record of a consumer group, but group {id} is of another type");
        return Err(ReplayError::Contradiction(problem));
    }
    let mut group = ConsumerGroup::new(id.detached());
    group.lasting.apply(record);
    groups.put(Box::new(group));
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
