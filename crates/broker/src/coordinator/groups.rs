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
use crate::service::Session;
use crate::shard::Letters;

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
    let patience = patience(&call.request);
    let mut letters = Letters::default();
    let answer = write_to(ctx, &mut letters, index, call)?;
    letters.send().await;
    match patience {
        Patience::Members => answer.come().await,
        Patience::Commit => {
            let timeout = ctx.coordinators.world().commit_timeout;
            tokio::time::timeout(timeout, answer.come()).await.unwrap_or(Err(TOO_LATE))
        }
    }
}

/// As Kafka says it: clients of any age look for the coordinator and ask again.
pub const TOO_LATE: ErrorCode = ErrorCode::CoordinatorNotAvailable;

/// The partition of the offsets topic that is in charge of a group. The topic is created on first need.
pub async fn partition_in_charge(ctx: &Context, group: &str) -> Result<PartitionIndex, ErrorCode> {
    let partitions = internal::partitions_of(ctx, InternalTopic::Offsets).await?;
    Ok(partition_of(group, partitions))
}

/// Adds a request to the coordinator of a partition to `letters`. Its answer comes when they have been sent.
pub fn write_to(
    ctx: &Context,
    letters: &mut Letters,
    index: PartitionIndex,
    call: Call,
) -> Result<Answer, ErrorCode> {
    let published = ctx.published.load();
    let partition = published.partition(OFFSETS_TOPIC, index).map_err(|_| ErrorCode::NotCoordinator)?;
    let (answer, answered) = oneshot::channel();
    letters.add(partition, GroupCoordinator::mail(Letter::Ask(Asked { request: call, answer })));
    Ok(Answer(answered))
}

/// An answer that is awaited.
pub struct Answer(oneshot::Receiver<Result<Response, Refusal>>);

impl Answer {
    /// Waits for it.
    pub async fn come(self) -> Result<Response, ErrorCode> {
        match self.0.await {
            Ok(Ok(response)) => Ok(response),
            Ok(Err(refusal)) => Err(code(refusal)),
            // The leadership went away with the request.
            Err(_) => Err(ErrorCode::NotCoordinator),
        }
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
        let mut letters = Letters::default();
        letters.add(&partition, GroupCoordinator::mail(letter));
        letters.send().await;
        seen.extend(hears.await);
    }
    seen
}

/// The partitions of the offsets topic that this broker leads. There are none before the topic is needed.
pub fn led_here(ctx: &Context) -> Vec<PartitionIndex> {
    let published = ctx.published.load();
    let topic = published.topic(OFFSETS_TOPIC);
    let partitions = topic.into_iter().flat_map(|topic| topic.partitions());
    partitions
        .filter(|partition| partition.leader_view(None).is_ok())
        .map(|partition| partition.index)
        .collect()
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
