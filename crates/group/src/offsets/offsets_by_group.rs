//! The offsets that groups have committed.

use ottla_coordinator::{Producer, ReplayError, Ticket};
use ottla_wire::messages::offset_fetch_request::OffsetFetchRequestGroup;
use ottla_wire::messages::*;
use ottla_wire::primitives::Str;
use ottla_wire::{ErrorCode, Offset};

use crate::context::Context;
use crate::door;
use crate::groups::Groups;
use crate::record::GroupRecord;
use crate::request::{Caller, Request};

/// The offsets that groups have committed, by group, and those of transactions that have not ended.
#[derive(Default)]
pub struct Offsets {}

impl Offsets {
    /// OffsetCommit. A group that does not exist is made ([`Groups::get_or_create`]) for who is no member.
    pub fn commit(
        &mut self,
        ctx: &mut Context<'_>,
        _groups: &mut Groups,
        ticket: Ticket,
        _caller: &Caller,
        request: OffsetCommitRequest,
    ) {
        let refused = door::refusal(Request::OffsetCommit(request), ErrorCode::CoordinatorNotAvailable);
        ctx.reply(ticket, refused);
    }

    /// TxnOffsetCommit.
    pub fn commit_in_transaction(
        &mut self,
        ctx: &mut Context<'_>,
        _groups: &mut Groups,
        ticket: Ticket,
        _caller: &Caller,
        request: TxnOffsetCommitRequest,
    ) {
        let refused = door::refusal(Request::TxnOffsetCommit(request), ErrorCode::CoordinatorNotAvailable);
        ctx.reply(ticket, refused);
    }

    /// OffsetFetch of one group.
    pub fn fetch(
        &self,
        ctx: &mut Context<'_>,
        _groups: &Groups,
        ticket: Ticket,
        _caller: &Caller,
        group: OffsetFetchRequestGroup,
        require_stable: bool,
    ) {
        let request = Request::OffsetFetch { group, require_stable };
        ctx.reply(ticket, door::refusal(request, ErrorCode::CoordinatorNotAvailable));
    }

    /// OffsetDelete.
    pub fn delete(
        &mut self,
        ctx: &mut Context<'_>,
        _groups: &mut Groups,
        ticket: Ticket,
        request: OffsetDeleteRequest,
    ) {
        let refused = door::refusal(Request::OffsetDelete(request), ErrorCode::CoordinatorNotAvailable);
        ctx.reply(ticket, refused);
    }

    /// Whether the group has offsets, pending ones of transactions too.
    pub fn has_offsets(&self, _group: &str) -> bool {
        false
    }

    /// The records that stand for the committed offsets, without pending ones.
    pub fn records(&self) -> Vec<GroupRecord> {
        Vec::new()
    }

    /// Topics are gone, and what was committed for them. Gives the groups that have lost offsets.
    pub fn remove_topics(
        &mut self,
        _ctx: &mut Context<'_>,
        _groups: &mut Groups,
        _topics: &[Str],
    ) -> Vec<Str> {
        Vec::new()
    }

    /// A group is deleted, with everything that it has committed (pending offsets too).
    pub fn remove_group(&mut self, _ctx: &mut Context<'_>, _group: &Str) {}

    /// [`crate::timers::Timer::Expiry`]: offsets that have outlived their retention go, and empty groups that have none left
    /// ([`Groups::delete`]). Sets the timer anew. Gives the groups that have lost offsets.
    pub fn expire(&mut self, _ctx: &mut Context<'_>, _groups: &mut Groups) -> Vec<Str> {
        Vec::new()
    }

    /// Sets the expiry timer.
    pub fn start(&mut self, _ctx: &mut Context<'_>) {}

    /// Takes in an offset record. A group that does not exist is made ([`Groups::get_or_create`]).
    pub fn replay(
        &mut self,
        _groups: &mut Groups,
        _offset: Offset,
        _producer: Option<Producer>,
        _key: OffsetCommitKey,
        _value: Option<OffsetCommitValue>,
    ) -> Result<(), ReplayError> {
        Ok(())
    }

    /// A transaction has ended. Gives the groups whose offsets were pending in it.
    pub fn end_transaction(&mut self, _groups: &mut Groups, _producer: Producer, _commit: bool) -> Vec<Str> {
        Vec::new()
    }
}
