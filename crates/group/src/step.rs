//! One step of the coordinator: which group a request or a timer is for, and what becomes of that group.

use ottla_coordinator::Ticket;
use ottla_wire::messages::{
    ConsumerGroupHeartbeatRequest, HeartbeatRequest, JoinGroupRequest, LeaveGroupRequest,
    OffsetCommitRequest, OffsetDeleteRequest, SyncGroupRequest, TxnOffsetCommitRequest,
};

use crate::context::Context;
use crate::group::{Group, Next};
use crate::groups::Groups;
use crate::offsets::Offsets;
use crate::request::{Caller, Request, Response};
use crate::timers::Timer;
use crate::{admin, classic, consumer, door};

/// What a step works on: the context, and the state beside it.
pub(crate) struct Step<'a> {
    pub ctx: Context<'a>,
    pub groups: &'a mut Groups,
    pub offsets: &'a mut Offsets,
}

impl Step<'_> {
    /// Serves a request.
    pub fn serve(&mut self, ticket: Ticket, caller: &Caller, request: Request) {
        if let Err(error) = door::check(&self.ctx, self.groups, caller, &request) {
            return self.ctx.reply(ticket, door::refusal(request, error));
        }
        let Step { ctx, groups, offsets } = self;
        let response = match request {
            Request::JoinGroup(request) => return self.join(ticket, caller, request),
            Request::SyncGroup(request) => return self.sync(ticket, caller, request),
            Request::Heartbeat(request) => return self.heartbeat(ticket, caller, request),
            Request::LeaveGroup(request) => return self.leave(ticket, caller, request),
            Request::ConsumerGroupHeartbeat(request) => {
                return self.consumer_heartbeat(ticket, caller, request);
            }
            Request::OffsetCommit(request) => return self.commit(ticket, caller, request),
            Request::TxnOffsetCommit(request) => return self.commit_in_transaction(ticket, caller, request),
            Request::OffsetFetch(request) => return offsets.fetch(ctx, groups, ticket, request),
            Request::OffsetDelete(request) => return self.delete_offsets(ticket, request),
            Request::ListGroups(request) => Response::ListGroups(admin::list_groups(groups, &request)),
            Request::DescribeGroup(id) => Response::DescribeGroup(admin::describe_group(groups, caller, id)),
            Request::ConsumerGroupDescribe(id) => {
                let described = admin::describe_consumer_group(groups, ctx.config, ctx.topics, id);
                Response::ConsumerGroupDescribe(described)
            }
            Request::DeleteGroup(id) => Response::DeleteGroup(admin::delete_group(ctx, groups, offsets, id)),
            Request::History(id) => Response::History(ctx.histories.rebalances(&id)),
        };
        ctx.reply(ticket, response);
    }

    /// Something is due.
    pub fn on_timer(&mut self, timer: Timer) {
        let Step { ctx, groups, offsets } = self;
        let Some(id) = timer.group().cloned() else {
            return offsets.expire(ctx, groups);
        };
        let next = match groups.get_mut(&id) {
            Some(Group::Classic(group)) => {
                group.on_timer(ctx, timer);
                Next::Stays
            }
            Some(Group::Consumer(group)) => group.on_timer(ctx, timer),
            None => return, // the group went away and its timers were left behind
        };
        groups.settle(ctx, offsets, &id, next);
    }

    fn join(&mut self, ticket: Ticket, caller: &Caller, request: JoinGroupRequest) {
        let Step { ctx, groups, offsets } = self;
        let id = request.group_id.clone();
        let next = match groups.get_mut(&id) {
            Some(Group::Classic(group)) => {
                group.join(ctx, ticket, caller, request);
                Next::Stays
            }
            Some(Group::Consumer(group)) if !group.is_empty() => {
                group.classic_join(ctx, ticket, caller, request)
            }
            Some(Group::Consumer(_)) | None => {
                classic::first_join(ctx, groups, ticket, caller, request);
                Next::Stays
            }
        };
        groups.settle(ctx, offsets, &id, next);
    }

    fn sync(&mut self, ticket: Ticket, caller: &Caller, request: SyncGroupRequest) {
        let Step { ctx, groups, offsets } = self;
        let id = request.group_id.clone();
        let next = match groups.get_mut(&id) {
            Some(Group::Classic(group)) => {
                group.sync(ctx, ticket, caller, request);
                Next::Stays
            }
            Some(Group::Consumer(group)) => group.classic_sync(ctx, ticket, caller, request),
            None => return ctx.reply(ticket, classic::sync_in_unknown_group()),
        };
        groups.settle(ctx, offsets, &id, next);
    }

    fn heartbeat(&mut self, ticket: Ticket, caller: &Caller, request: HeartbeatRequest) {
        let Step { ctx, groups, offsets } = self;
        let id = request.group_id.clone();
        let next = match groups.get_mut(&id) {
            // It changes nothing but a deadline, and it comes often.
            Some(Group::Classic(group)) => return group.heartbeat(ctx, ticket, &request),
            Some(Group::Consumer(group)) => group.classic_heartbeat(ctx, ticket, caller, request),
            None => return ctx.reply(ticket, classic::heartbeat_in_unknown_group()),
        };
        groups.settle(ctx, offsets, &id, next);
    }

    fn leave(&mut self, ticket: Ticket, caller: &Caller, request: LeaveGroupRequest) {
        let Step { ctx, groups, offsets } = self;
        let id = request.group_id.clone();
        let next = match groups.get_mut(&id) {
            Some(Group::Classic(group)) => {
                group.leave(ctx, ticket, caller, request);
                Next::Stays
            }
            Some(Group::Consumer(group)) => group.classic_leave(ctx, ticket, caller, request),
            None => return ctx.reply(ticket, classic::leave_unknown_group(caller, request)),
        };
        groups.settle(ctx, offsets, &id, next);
    }

    fn consumer_heartbeat(
        &mut self,
        ticket: Ticket,
        caller: &Caller,
        request: ConsumerGroupHeartbeatRequest,
    ) {
        let Step { ctx, groups, offsets } = self;
        let id = request.group_id.clone();
        let next = match groups.get_mut(&id) {
            Some(Group::Consumer(group)) => group.heartbeat(ctx, ticket, caller, request),
            Some(Group::Classic(_)) | None => {
                consumer::first_heartbeat(ctx, groups, ticket, caller, request);
                Next::Stays
            }
        };
        groups.settle(ctx, offsets, &id, next);
    }

    fn commit(&mut self, ticket: Ticket, caller: &Caller, request: OffsetCommitRequest) {
        let Step { ctx, groups, offsets } = self;
        let id = request.group_id.clone();
        offsets.commit(ctx, groups, ticket, caller, request);
        groups.settle(ctx, offsets, &id, Next::Stays);
    }

    fn commit_in_transaction(&mut self, ticket: Ticket, caller: &Caller, request: TxnOffsetCommitRequest) {
        let Step { ctx, groups, offsets } = self;
        let id = request.group_id.clone();
        offsets.commit_in_transaction(ctx, groups, ticket, caller, request);
        groups.settle(ctx, offsets, &id, Next::Stays);
    }

    fn delete_offsets(&mut self, ticket: Ticket, request: OffsetDeleteRequest) {
        let Step { ctx, groups, offsets } = self;
        let id = request.group_id.clone();
        offsets.delete(ctx, groups, ticket, request);
        groups.settle(ctx, offsets, &id, Next::Stays);
    }
}
