//! One step of the coordinator: what it works on, and how a request is served.

use ottla_coordinator::Ticket;
use ottla_wire::primitives::Str;

use crate::context::Context;
use crate::door;
use crate::group::Next;
use crate::groups::Groups;
use crate::offsets::Offsets;
use crate::request::{Caller, GroupRequest, Request, each_request};
use crate::timers::Timer;

/// The input of a step: the context, and the state beside it.
pub(crate) struct Step<'a> {
    pub ctx: Context<'a>,
    pub groups: &'a mut Groups,
    pub offsets: &'a mut Offsets,
}

/// The logic of a request. It MUST answer, in this step or in a later one, once.
pub(crate) trait Serve: GroupRequest {
    fn serve(self, step: &mut Step<'_>, ticket: Ticket, caller: &Caller);
}

impl Step<'_> {
    /// Serves a request, unless it is refused at the door.
    pub fn serve(&mut self, ticket: Ticket, caller: &Caller, request: Request) {
        match door::check(&self.ctx, self.groups, caller, &request) {
            Ok(()) => self.admit(ticket, caller, request),
            Err(error) => self.ctx.reply(ticket, request.refuse(error)),
        }
    }

    /// Something is due.
    pub fn on_timer(&mut self, timer: Timer) {
        let Some(id) = timer.group().cloned() else {
            return self.offsets.expire(&mut self.ctx, self.groups);
        };
        // A group that went away may have left timers behind.
        if let Some(group) = self.groups.get_mut(&id) {
            let next = group.on_timer(&mut self.ctx, timer);
            self.settle(&id, next);
        }
    }

    /// Carries out what has become of a group: see [`Groups::settle`].
    pub fn settle(&mut self, id: &Str, next: Next) {
        self.groups.settle(&mut self.ctx, self.offsets, id, next);
    }
}

macro_rules! admit {
    ($($name:ident: $request:ty => $response:ty,)+) => {
        impl Step<'_> {
            fn admit(&mut self, ticket: Ticket, caller: &Caller, request: Request) {
                match request {
                    $(Request::$name(request) => request.serve(self, ticket, caller)),+
                }
            }
        }
    };
}

each_request!(admit);
