//! The group coordinator as a kind, and how to ask it.

use ottla_controller::config::InternalTopic;
use ottla_coordinator::{Frame, Moment, Refusal};
use ottla_group::{Call, Caller, GroupConfig, GroupCoordinator, Reply, Request, Response};
use ottla_wire::PartitionIndex;
use ottla_wire::primitives::Str;
use ottla_wire::protocol::ErrorCode;
use tokio::sync::oneshot;

use super::internal::{self, OFFSETS_TOPIC};
use super::kind::{Asked, CoordinatorMail, Kind, Letter, Waiting};
use super::kit::World;
use super::route::partition_of;
use crate::api;
use crate::context::Context;
use crate::shard::Mail;

impl Kind for GroupCoordinator {
    const NAME: &'static str = "group coordinator";

    type Answer = Response;

    fn create(world: &World) -> GroupCoordinator {
        GroupCoordinator::new(GroupConfig::clone(&world.groups), world.topics.clone())
    }

    fn learn(frame: &mut Frame<GroupCoordinator>, at: &Moment, world: &World, deleted: &[Str]) {
        frame.act(|core, out| {
            core.configure(GroupConfig::clone(&world.groups));
            core.topics_changed(at, world.topics.clone(), deleted, out);
        });
    }

    fn deliver(reply: Reply, waiting: &mut Waiting<Response>) {
        waiting.answer(reply.to, reply.response);
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
    Caller {
        client_id: call.session.client_id.clone().unwrap_or_default(),
        client_host: call.session.client_host.clone(),
        version: call.version,
    }
}

/// Asks the coordinator of `group`. The error is that of the coordinator as such: it is elsewhere, loading, or cannot be
/// had. Safe to drop: the request may have been carried out, and nobody hears of it.
pub async fn ask(call: &api::Call<'_>, group: &str, request: Request) -> Result<Response, ErrorCode> {
    let partitions = internal::partitions_of(call.ctx, InternalTopic::Offsets).await?;
    let index = partition_of(group, partitions);
    ask_partition(call.ctx, index, Call { caller: caller(call), request }).await
}

/// Asks the coordinator that lives in one partition of the offsets topic.
pub async fn ask_partition(
    ctx: &Context,
    index: PartitionIndex,
    call: Call,
) -> Result<Response, ErrorCode> {
    let patience = patience(&call.request);
    let (answer, answered) = oneshot::channel();
    // The guard of the snapshot is not held across the wait.
    let partition = {
        let published = ctx.published.load();
        published.partition(OFFSETS_TOPIC, index).map_err(|_| ErrorCode::NotCoordinator)?.clone()
    };
    let letter = Letter::Ask(Asked { request: call, answer });
    let mail = Mail::Coordinator(partition.key, GroupCoordinator::mail(letter));
    partition.shard.send(mail).await.map_err(|_| ErrorCode::NotCoordinator)?;
    let answered = match patience {
        Patience::Members => answered.await,
        Patience::Commit => {
            let timeout = ctx.coordinators.world().commit_timeout;
            // As Kafka says it: clients of any age look for the coordinator and ask again.
            tokio::time::timeout(timeout, answered).await.map_err(|_| ErrorCode::CoordinatorNotAvailable)?
        }
    };
    match answered {
        Ok(Ok(response)) => Ok(response),
        Ok(Err(refusal)) => Err(code(refusal)),
        // The leadership went away with the request.
        Err(_) => Err(ErrorCode::NotCoordinator),
    }
}

/// Looks at every group coordinator of this broker that serves, and gives what `look` has seen. What it does delays the
/// partitions that share the shard.
pub async fn look<T: Send + 'static>(
    ctx: &Context,
    look: impl Fn(&GroupCoordinator) -> T + Clone + Send + 'static,
) -> Vec<T> {
    let mut seen = Vec::new();
    for index in led_here(ctx) {
        let Ok(partition) = ctx.published.load().partition(OFFSETS_TOPIC, index).cloned() else { continue };
        let (told, hears) = oneshot::channel();
        let look = look.clone();
        let letter = Letter::Look(Box::new(move |core: &GroupCoordinator| {
            let _gone = told.send(look(core));
        }));
        let mail = Mail::Coordinator(partition.key, GroupCoordinator::mail(letter));
        if partition.shard.send(mail).await.is_ok() {
            seen.extend(hears.await);
        }
    }
    seen
}

/// The partitions of the offsets topic that this broker leads. There are none before the topic is needed.
pub fn led_here(ctx: &Context) -> Vec<PartitionIndex> {
    let published = ctx.published.load();
    let topic = published.topic(OFFSETS_TOPIC);
    let partitions = topic.into_iter().flat_map(|topic| topic.partitions());
    partitions.filter(|partition| partition.leader_view(None).is_ok()).map(|partition| partition.index).collect()
}

fn code(refusal: Refusal) -> ErrorCode {
    match refusal {
        Refusal::Loading => ErrorCode::CoordinatorLoadInProgress,
        Refusal::Unavailable => ErrorCode::CoordinatorNotAvailable,
        Refusal::NotCoordinator => ErrorCode::NotCoordinator,
    }
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
