//! A consumer group as the coordinator sees it.

use ottla_coordinator::Ticket;
use ottla_wire::messages::list_groups_response::ListedGroup;
use ottla_wire::primitives::Str;
use ottla_wire::{ErrorCode, PartitionIndex, TopicId};

use crate::consumer::group::ConsumerGroup;
use crate::context::Context;
use crate::group::{ClassicProtocol, ClassicRequest, Committer, Group, Next};
use crate::memory::of_text;
use crate::record::GroupRecord;
use crate::request::Caller;
use crate::timers::Timer;

impl Group for ConsumerGroup {
    fn id(&self) -> &Str {
        &self.id
    }

    fn start(&mut self, ctx: &mut Context<'_>) -> Next {
        ConsumerGroup::start(self, ctx)
    }

    fn on_timer(&mut self, ctx: &mut Context<'_>, timer: Timer) -> Next {
        ConsumerGroup::on_timer(self, ctx, timer)
    }

    /// The group looks at them at the next heartbeat, which is the first answer that could say so.
    fn topics_changed(&mut self, _ctx: &mut Context<'_>, _deleted: &[Str]) -> Next {
        self.soft.hashed = None;
        self.soft.topics_changed = true;
        Next::Unchanged
    }

    fn classic_protocol(&mut self) -> Option<&mut dyn ClassicProtocol> {
        Some(self)
    }

    fn gives_way_to_classic(&self) -> bool {
        self.is_empty()
    }

    fn members_len(&self) -> usize {
        self.lasting.members().len()
    }

    fn is_subscribed_to(&self, topic: &str) -> bool {
        self.lasting.wants(topic)
    }

    fn validate_commit(&self, by: &Committer<'_>) -> Result<(), ErrorCode> {
        ConsumerGroup::validate_commit(self, by)
    }

    fn validate_commit_of(
        &self,
        by: &Committer<'_>,
        topic: TopicId,
        partition: PartitionIndex,
    ) -> Result<(), ErrorCode> {
        ConsumerGroup::validate_commit_of(self, by, topic, partition)
    }

    fn committed(&mut self, ctx: &mut Context<'_>, by: &Committer<'_>) {
        ConsumerGroup::committed(self, ctx, by);
    }

    fn validate_fetch(&self, member: Option<&str>, epoch: i32) -> Result<(), ErrorCode> {
        ConsumerGroup::validate_fetch(self, member, epoch)
    }

    fn listed(&self) -> ListedGroup {
        ConsumerGroup::listed(self)
    }

    fn records(&self) -> Option<Vec<GroupRecord>> {
        Some(ConsumerGroup::records(self))
    }

    fn tombstones(&self, ctx: &mut Context<'_>) {
        ConsumerGroup::tombstones(self, ctx);
    }

    /// Bytes that the group takes in memory.
    fn bytes(&self) -> usize {
        size_of::<ConsumerGroup>() + of_text(&self.id) + self.lasting.bytes() + self.soft.compiled.bytes()
    }
}

impl ClassicProtocol for ConsumerGroup {
    fn take(
        &mut self,
        ctx: &mut Context<'_>,
        ticket: Ticket,
        caller: &Caller,
        request: ClassicRequest,
    ) -> Next {
        match request {
            ClassicRequest::Join(request) => self.classic_join(ctx, ticket, caller, request),
            ClassicRequest::Sync(request) => self.classic_sync(ctx, ticket, request),
            ClassicRequest::Heartbeat(request) => self.classic_heartbeat(ctx, ticket, request),
            ClassicRequest::Leave(request) => self.classic_leave(ctx, ticket, caller, request),
        }
    }
}
