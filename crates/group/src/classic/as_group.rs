//! A classic group as the coordinator sees it.

use std::collections::BTreeSet;

use ottla_coordinator::Ticket;
use ottla_wire::ErrorCode;
use ottla_wire::messages::list_groups_response::ListedGroup;
use ottla_wire::primitives::Str;

use super::group::{ClassicGroup, State};
use crate::context::Context;
use crate::group::{ClassicProtocol, ClassicRequest, Committer, Group, Next, OffsetExpiry};
use crate::memory::{of_map, of_optional, of_text};
use crate::record::GroupRecord;
use crate::request::Caller;
use crate::timers::Timer;

impl Group for ClassicGroup {
    fn id(&self) -> &Str {
        &self.id
    }

    fn start(&mut self, ctx: &mut Context<'_>) -> Next {
        ClassicGroup::start(self, ctx);
        Next::Stays
    }

    fn on_timer(&mut self, ctx: &mut Context<'_>, timer: Timer) -> Next {
        ClassicGroup::on_timer(self, ctx, timer);
        Next::Stays
    }

    fn classic_protocol(&mut self) -> Option<&mut dyn ClassicProtocol> {
        Some(self)
    }

    fn members_len(&self) -> usize {
        self.roster.len()
    }

    fn is_empty(&self) -> bool {
        self.state == State::Empty
    }

    fn is_expecting(&self) -> bool {
        self.roster.pending_len() > 0
    }

    fn is_unrecorded(&self) -> bool {
        !self.is_recorded
    }

    fn is_subscribed_to(&self, topic: &str) -> bool {
        match &self.topics {
            Some(topics) => topics.contains(topic),
            // Consumers subscribe to something, and it is not known to what.
            None => self.is_of_consumers(),
        }
    }

    fn validate_commit(&self, by: &Committer<'_>) -> Result<(), ErrorCode> {
        if by.generation_or_epoch < 0 && self.is_empty() {
            return Ok(());
        }
        if by.generation_or_epoch >= 0 || !by.member.is_empty() || by.instance.is_some() {
            self.roster.validate(by.member, by.instance)?;
            if by.generation_or_epoch != self.generation {
                return Err(ErrorCode::IllegalGeneration);
            }
        } else if !by.transactional && !self.is_empty() {
            return Err(ErrorCode::UnknownMemberId);
        }
        // The member knows its generation, but not yet what it may read. Transactions do not care.
        if !by.transactional && self.state == State::CompletingRebalance {
            return Err(ErrorCode::RebalanceInProgress);
        }
        Ok(())
    }

    fn committed(&mut self, ctx: &mut Context<'_>, by: &Committer<'_>) {
        self.renew(ctx, &Str::from(by.member));
    }

    fn validate_offset_delete(&self) -> Result<(), ErrorCode> {
        match self.state {
            State::Empty => Ok(()),
            State::PreparingRebalance { .. } | State::CompletingRebalance | State::Stable => {
                if self.is_of_consumers() { Ok(()) } else { Err(ErrorCode::NonEmptyGroup) }
            }
        }
    }

    fn offset_expiry(&self) -> OffsetExpiry {
        match (&self.protocol_type, self.state) {
            (None, _) => OffsetExpiry::FromCommit,
            (Some(_), State::Empty) => self.since.map_or(OffsetExpiry::FromCommit, OffsetExpiry::FromEmpty),
            (Some(_), State::Stable) if self.is_of_consumers() && self.topics.is_some() => {
                OffsetExpiry::FromCommit
            }
            (Some(_), State::PreparingRebalance { .. } | State::CompletingRebalance | State::Stable) => {
                OffsetExpiry::Never
            }
        }
    }

    fn listed(&self) -> ListedGroup {
        ListedGroup {
            group_id: self.id.clone(),
            protocol_type: self.protocol_type.clone().unwrap_or_default(),
            group_state: self.state.name(),
            group_type: Str::from_static("classic"),
        }
    }

    fn records(&self) -> Option<Vec<GroupRecord>> {
        ClassicGroup::records(self)
    }

    fn tombstones(&self, ctx: &mut Context<'_>) {
        ClassicGroup::tombstones(self, ctx);
    }

    /// Bytes that the group takes in memory. Topics share the memory of subscriptions.
    fn bytes(&self) -> usize {
        let topics = self.topics.as_ref().map_or(0, BTreeSet::len);
        size_of::<ClassicGroup>()
            + of_text(&self.id)
            + of_optional(self.protocol_type.as_ref())
            + of_optional(self.protocol.as_ref())
            + of_map::<Str, ()>(self.unsynced.len())
            + of_map::<Str, ()>(topics)
            + self.roster.bytes()
    }
}

impl ClassicProtocol for ClassicGroup {
    fn take(
        &mut self,
        ctx: &mut Context<'_>,
        ticket: Ticket,
        caller: &Caller,
        request: ClassicRequest,
    ) -> Next {
        match request {
            ClassicRequest::Join(request) => self.join(ctx, ticket, caller, request),
            ClassicRequest::Sync(request) => self.sync(ctx, ticket, caller, request),
            ClassicRequest::Leave(request) => self.leave(ctx, ticket, caller, request),
            // It changes nothing but a deadline, and it comes often.
            ClassicRequest::Heartbeat(request) => {
                self.heartbeat(ctx, ticket, &request);
                return Next::Unchanged;
            }
        }
        Next::Stays
    }
}
