//! One request in flight: its client, its version, and the way to answer it.

use std::time::Duration;

use ottla_group::Caller;
use ottla_group::request::Declared;
use ottla_net::{CloseReason, Response};
use ottla_wire::Instant;
use ottla_wire::primitives::{Message, Str};
use ottla_wire::protocol::{ApiKey, ErrorCode};

use super::frame::encode;
use crate::context::Context;
use crate::coordinator::transactions::AboutId;
use crate::door::operations::authorized;
use crate::door::{Operation, Resource, Session, Throttled};

pub struct Call<'a> {
    pub ctx: &'a Context,
    pub session: &'a mut Session,
    pub key: ApiKey,
    pub version: i16,
    pub correlation_id: i32,
    /// When the request arrived.
    pub started: Instant,
}

impl Call<'_> {
    /// The caller of the request, for coordinators.
    pub fn caller(&self) -> Caller {
        self.session.caller(self.version)
    }

    /// Whether the client may do this.
    pub fn may(&self, operation: Operation, resource: Resource<'_>) -> bool {
        self.session.may(&self.ctx.door, operation, resource)
    }

    /// Like [`Call::may`], with the client's error code for a refusal.
    pub fn authorize(&self, operation: Operation, resource: Resource<'_>) -> Result<(), ErrorCode> {
        self.session.authorize(&self.ctx.door, operation, resource)
    }

    /// The operations that the client may do on a resource, if it asked for them.
    pub fn authorized_operations(&self, asked: bool, resource: Resource<'_>) -> i32 {
        authorized(&self.ctx.door, self.session, asked, resource)
    }

    /// Sends a request to the coordinator of its group, if the client may do this with the group.
    pub async fn ask_group<R: Declared>(
        &self,
        operation: Operation,
        request: R,
    ) -> Result<R::Response, ErrorCode> {
        self.authorize_group(operation, &request)?;
        self.ctx.coordinators.groups().ask(self.caller(), request).await
    }

    /// Like [`Call::ask_group`], for requests that wait for other members.
    pub async fn ask_group_with_others<R: Declared>(
        &self,
        operation: Operation,
        request: R,
    ) -> Result<R::Response, ErrorCode> {
        self.authorize_group(operation, &request)?;
        self.ctx.coordinators.groups().ask_with_others(self.caller(), request).await
    }

    fn authorize_group(&self, operation: Operation, request: &impl Declared) -> Result<(), ErrorCode> {
        let group = request.group().map_or("", Str::as_str);
        self.authorize(operation, Resource::Group(group))
    }

    /// Sends a request to the coordinator of the transactional id that it is about, if the client may do this
    /// with the id.
    pub async fn ask_transaction<A: AboutId>(
        &self,
        operation: Operation,
        question: A,
    ) -> Result<A::Answer, ErrorCode> {
        self.authorize(operation, Resource::TransactionalId(question.transactional_id()))?;
        self.ctx.coordinators.transactions().ask(self.version, question).await
    }

    /// The response with its header. It states how long the client must wait, which the connection enforces.
    pub fn answer<M: Message + Throttled>(&self, mut response: M) -> Result<Response, CloseReason> {
        let mute = self.charge(0);
        response.set_throttle_time(mute);
        let encoded = encode(self.key, self.version, self.correlation_id, &response)?;
        Ok(Response { mute, ..encoded })
    }

    /// Charges the request to the client, with the bytes of records in its answer. Returns how long the
    /// client must wait.
    pub fn charge(&self, bytes: usize) -> Duration {
        let took = self.ctx.clock.now().since(self.started);
        self.session.charge(&self.ctx.door, self.key, took, bytes)
    }
}
