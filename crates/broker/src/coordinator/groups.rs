//! The group coordinator as a kind, and how to reach it.

use ottla_coordinator::{Frame, Moment};
use ottla_group::request::Declared;
use ottla_group::{Call, Caller, GroupConfig, GroupCoordinator, Reply, Request, Response};
use ottla_wire::compress::Codec;
use ottla_wire::primitives::Str;
use ottla_wire::protocol::ErrorCode;
use ottla_wire::{InternalTopic, LeaderEpoch, PartitionIndex};

use super::ask::{Ask, PendingAnswer};
use super::desk::Coordinators;
use super::kind::{AnswerWaiters, CoordinatorKind, Home, Proof};
use super::kit::Metered;
use super::world::World;
use crate::shard::Letters;

impl CoordinatorKind for GroupCoordinator {
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

    fn deliver(replies: Vec<Reply>, waiting: &mut AnswerWaiters<Response>, _home: &Home) {
        for reply in replies {
            waiting.answer(reply.to, reply.response);
        }
    }
}

/// Every declared group request can be sent to its coordinator.
impl<R: Declared> Ask for R {
    type Kind = GroupCoordinator;
    type Answer = R::Response;

    fn question(self) -> Request {
        self.into()
    }

    fn answer(answer: Response) -> Option<R::Response> {
        R::response(answer)
    }
}

/// Sends requests to group coordinators.
#[derive(Clone, Copy)]
pub struct Groups<'a> {
    desk: &'a Coordinators,
}

impl Coordinators {
    pub fn groups(&self) -> Groups<'_> {
        Groups { desk: self }
    }
}

impl Groups<'_> {
    /// Sends a request to the coordinator of its group. An error is about the coordinator as such: it is
    /// elsewhere, loading or not available. Safe to drop, but the request may be carried out without an
    /// answer.
    pub async fn ask<R: Declared>(self, caller: Caller, request: R) -> Result<R::Response, ErrorCode> {
        let index = self.partition_for(&group_of(&request)).await?;
        self.ask_at(index, caller, request, None).await
    }

    /// Like [`Groups::ask`], for requests that wait for other members. Only the group's own timeouts limit
    /// the wait.
    pub async fn ask_with_others<R: Declared>(
        self,
        caller: Caller,
        request: R,
    ) -> Result<R::Response, ErrorCode> {
        let index = self.partition_for(&group_of(&request)).await?;
        let call = Call { caller, request: request.into() };
        self.desk.send_to::<R>(index, call, None).await?.come().await
    }

    /// Sends a request to the coordinator in one partition of the offsets topic. Waits for
    /// `offsets.commit.timeout.ms` at most. `proof` comes with a request that is part of a producer's
    /// transaction.
    pub async fn ask_at<R: Declared>(
        self,
        index: PartitionIndex,
        caller: Caller,
        request: R,
        proof: Option<Proof>,
    ) -> Result<R::Response, ErrorCode> {
        let call = Call { caller, request: request.into() };
        let patience = self.desk.world().commit_timeout;
        self.desk.send_to::<R>(index, call, proof).await?.come_within(patience).await
    }

    /// Adds a request to the coordinator of its group to `letters`. The answer comes after they have been
    /// sent.
    pub async fn write_to<R: Declared>(
        self,
        letters: &mut Letters,
        caller: Caller,
        request: R,
    ) -> Result<PendingAnswer<R>, ErrorCode> {
        let index = self.partition_for(&group_of(&request)).await?;
        self.desk.write_to(letters, index, Call { caller, request: request.into() }, None)
    }

    /// The partition of the offsets topic that keeps a group. The topic is created on first need.
    pub async fn partition_for(self, group: &str) -> Result<PartitionIndex, ErrorCode> {
        Ok(self.desk.partition_for(GroupCoordinator::TOPIC, group).await?)
    }

    /// The partitions of the offsets topic that this broker leads.
    pub fn led_here(self) -> Vec<PartitionIndex> {
        self.desk.led_here(GroupCoordinator::TOPIC)
    }
}

/// The group that a request is for. A request without a single group goes to each partition through
/// [`Groups::ask_at`].
fn group_of(request: &impl Declared) -> Str {
    request.group().cloned().unwrap_or_default()
}
