//! The group coordinator as a kind, and how to ask it.

use ottla_controller::config::InternalTopic;
use ottla_coordinator::{Frame, Moment};
use ottla_group::{Call, Caller, GroupConfig, GroupCoordinator, Reply, Request, Response};
use ottla_wire::compress::Codec;
use ottla_wire::primitives::Str;
use ottla_wire::protocol::ErrorCode;
use ottla_wire::{LeaderEpoch, PartitionIndex};

use super::ask::{in_charge, write_to};
use super::kind::{CoordinatorMail, Home, Kind, Letter, Proof, Waiting};
use super::kit::World;
use super::metered::Metered;
use crate::api;
use crate::context::Context;
use crate::service::Session;
use crate::shard::Letters;

impl Kind for GroupCoordinator {
    const NAME: &'static str = "group coordinator";
    const TOPIC: InternalTopic = InternalTopic::Offsets;

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

/// How long a request may wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Patience {
    /// For `offsets.commit.timeout.ms`: it waits for its records at the most.
    Commit,
    /// For other members, as long as the group's own timeouts let it.
    Members,
}

/// Who makes a request, as members are described.
pub fn caller(call: &api::Call<'_>) -> Caller {
    caller_of(call.session, call.version)
}

/// As [`caller`], for requests that are served in runs.
pub fn caller_of(session: &Session, version: i16) -> Caller {
    Caller {
        client_id: session.client_id.clone().unwrap_or_default(),
        client_host: session.client_host.clone(),
        version,
    }
}

/// Asks the coordinator of `group`. The error is that of the coordinator as such: it is elsewhere, loading, or cannot be
/// had. Safe to drop: the request may have been carried out, and nobody hears of it.
pub async fn ask(call: &api::Call<'_>, group: &str, request: Request) -> Result<Response, ErrorCode> {
    let index = partition_in_charge(call.ctx, group).await?;
    ask_partition(call.ctx, index, Call { caller: caller(call), request }).await
}

/// Asks the coordinator that lives in one partition of the offsets topic.
pub async fn ask_partition(ctx: &Context, index: PartitionIndex, call: Call) -> Result<Response, ErrorCode> {
    ask_with_proof(ctx, index, call, None).await
}

/// As [`ask_partition`], for a request that is part of a producer's transaction.
pub async fn ask_with_proof(
    ctx: &Context,
    index: PartitionIndex,
    call: Call,
    proof: Option<Proof>,
) -> Result<Response, ErrorCode> {
    let patience = patience(&call.request);
    let mut letters = Letters::default();
    let answer = write_to::<GroupCoordinator>(ctx, &mut letters, index, call, proof)?;
    letters.send().await;
    match patience {
        Patience::Members => answer.come().await,
        Patience::Commit => answer.come_within(ctx.coordinators.world().commit_timeout).await,
    }
}

/// The partition of the offsets topic that is in charge of a group. The topic is created on first need.
pub async fn partition_in_charge(ctx: &Context, group: &str) -> Result<PartitionIndex, ErrorCode> {
    in_charge::<GroupCoordinator>(ctx, group).await
}

fn patience(request: &Request) -> Patience {
    match request {
        Request::JoinGroup(_) | Request::SyncGroup(_) => Patience::Members,
        Request::Heartbeat(_)
        | Request::LeaveGroup(_)
        | Request::ConsumerGroupHeartbeat(_)
        | Request::OffsetCommit(_)
        | Request::TxnOffsetCommit(_)
        | Request::OffsetFetch { .. }
        | Request::OffsetDelete(_)
        | Request::ListGroups(_)
        | Request::DescribeGroup(_)
        | Request::ConsumerGroupDescribe(_)
        | Request::DeleteGroup(_)
        | Request::History(_) => Patience::Commit,
    }
}
