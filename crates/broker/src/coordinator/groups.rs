//! The group coordinator as a kind, and how to ask it.

use ottla_coordinator::{Frame, Moment};
use ottla_group::history::Rebalance;
use ottla_group::request::FetchOfGroup;
use ottla_group::{Call, Caller, GroupConfig, GroupCoordinator, Reply, Request, Response};
use ottla_wire::compress::Codec;
use ottla_wire::messages::*;
use ottla_wire::primitives::Str;
use ottla_wire::protocol::ErrorCode;
use ottla_wire::{InternalTopic, LeaderEpoch, PartitionIndex};

use super::ask::{Ask, asks, in_charge, send_to};
use super::kind::{CoordinatorMail, Home, Kind, Letter, Proof, Waiting};
use super::kit::World;
use super::metered::Metered;
use crate::api;
use crate::context::Context;

impl Kind for GroupCoordinator {
    const NAME: &'static str = "group coordinator";
    const TOPIC: InternalTopic = InternalTopic::Offsets;

    type Question = Request;
    type Answer = Response;

    fn create(world: &World, _epoch: LeaderEpoch) -> GroupCoordinator {
        GroupCoordinator::new(GroupConfig::clone(&world.groups), world.topics.clone())
    }

    fn learn(frame: &mut Frame<GroupCoordinator>, at: &Moment, world: &World, deleted: &[Str]) {
        frame.act(|core, out| {
            core.configure(GroupConfig::clone(&world.groups));
            core.topics_changed(at, world.topics.clone(), deleted, out);
        });
    }

    fn meter(core: &mut GroupCoordinator, metered: &mut Metered) {
        core.set_others_bytes(metered.set(core.bytes()));
    }

    fn codec(world: &World) -> Codec {
        world.codec
    }

    fn deliver(replies: Vec<Reply>, waiting: &mut Waiting<Response>, _home: &Home) {
        for reply in replies {
            waiting.answer(reply.to, reply.response);
        }
    }

    fn mail(letter: Letter<GroupCoordinator>) -> CoordinatorMail {
        CoordinatorMail::Groups(letter)
    }
}

asks! { GroupCoordinator, Request, Response:
    JoinGroup(JoinGroupRequest) => JoinGroupResponse,
    SyncGroup(SyncGroupRequest) => SyncGroupResponse,
    Heartbeat(HeartbeatRequest) => HeartbeatResponse,
    LeaveGroup(LeaveGroupRequest) => LeaveGroupResponse,
    ConsumerGroupHeartbeat(ConsumerGroupHeartbeatRequest) => ConsumerGroupHeartbeatResponse,
    OffsetCommit(OffsetCommitRequest) => OffsetCommitResponse,
    TxnOffsetCommit(TxnOffsetCommitRequest) => TxnOffsetCommitResponse,
    OffsetFetch(FetchOfGroup) => offset_fetch_response::OffsetFetchResponseGroup,
    OffsetDelete(OffsetDeleteRequest) => OffsetDeleteResponse,
    ListGroups(ListGroupsRequest) => ListGroupsResponse,
    DescribeGroup(Str) => describe_groups_response::DescribedGroup,
    ConsumerGroupDescribe(Str) => consumer_group_describe_response::DescribedGroup,
    DeleteGroup(Str) => delete_groups_response::DeletableGroupResult,
    History(Str) => Vec<Rebalance>,
}

/// Who makes a request, as members are described.
pub fn caller(call: &api::Call<'_>) -> Caller {
    caller_of(call.session, call.version)
}

/// As [`caller`], for requests that are served in runs.
pub fn caller_of(session: &api::Session, version: i16) -> Caller {
    Caller {
        client_id: session.client_id.clone().unwrap_or_default(),
        client_host: session.client_host.clone(),
        version,
    }
}

/// Asks the coordinator of `group`. The error is that of the coordinator as such: it is elsewhere, loading, or cannot be
/// had. Safe to drop: the request may have been carried out, and nobody hears of it.
pub async fn ask<A: Ask<Kind = GroupCoordinator>>(
    call: &api::Call<'_>,
    group: &str,
    asked: A,
) -> Result<A::Answer, ErrorCode> {
    let index = partition_in_charge(call.ctx, group).await?;
    ask_partition(call.ctx, index, caller(call), asked, None).await
}

/// As [`ask`], what waits for other members: as long as the group's own timeouts let it.
pub async fn ask_with_others<A: Ask<Kind = GroupCoordinator>>(
    call: &api::Call<'_>,
    group: &str,
    asked: A,
) -> Result<A::Answer, ErrorCode> {
    let index = partition_in_charge(call.ctx, group).await?;
    let asked = Call { caller: caller(call), request: asked.question() };
    send_to::<A>(call.ctx, index, asked, None).await?.come().await
}

/// Asks the coordinator that lives in one partition of the offsets topic, and waits for `offsets.commit.timeout.ms` at the
/// most. `proof` is for a request that is part of a producer's transaction.
pub async fn ask_partition<A: Ask<Kind = GroupCoordinator>>(
    ctx: &Context,
    index: PartitionIndex,
    caller: Caller,
    asked: A,
    proof: Option<Proof>,
) -> Result<A::Answer, ErrorCode> {
    let asked = Call { caller, request: asked.question() };
    let patience = ctx.coordinators.world().commit_timeout;
    send_to::<A>(ctx, index, asked, proof).await?.come_within(patience).await
}

/// The partition of the offsets topic that is in charge of a group. The topic is created on first need.
pub async fn partition_in_charge(ctx: &Context, group: &str) -> Result<PartitionIndex, ErrorCode> {
    in_charge::<GroupCoordinator>(ctx, group).await
}
