//! From frames to responses: requests pass the door and go to the file of their API.

use std::collections::VecDeque;
use std::sync::Arc;

use ottla_net::{CloseReason, Frame, Peer, Response, Responses};
use ottla_wire::protocol::ApiKey;

use crate::api::{self, Call};
use crate::context::Context;
use crate::door::{Admitted, Session, TurnedAway, admit, is_of};

/// Serves Kafka's protocol on the connections of all listeners.
#[derive(Clone)]
pub struct KafkaService {
    ctx: Arc<Context>,
}

impl KafkaService {
    pub fn new(ctx: Arc<Context>) -> KafkaService {
        KafkaService { ctx }
    }
}

impl ottla_net::Service for KafkaService {
    type Session = Session;

    fn open(&self, peer: &Peer) -> Session {
        Session::new(peer)
    }

    async fn serve(
        &self,
        session: &mut Session,
        frames: &mut VecDeque<Frame>,
    ) -> Result<Responses, CloseReason> {
        if frames.front().is_some_and(|frame| is_of(frame, ApiKey::Produce)) {
            return api::start_produce(&self.ctx, session, take_run(frames, ApiKey::Produce)).await;
        }
        // Kafka serves the requests of a connection one after the other. Here there are two exceptions. An
        // append does not wait for the answers to earlier appends. Requests after offset commits do not wait
        // for their answers, because the coordinator keeps the order.
        if let Some(appends) = session.appends.take() {
            appends.done().await;
        }
        if frames.front().is_some_and(|frame| is_of(frame, ApiKey::OffsetCommit)) {
            return api::start_offset_commit(&self.ctx, session, take_run(frames, ApiKey::OffsetCommit))
                .await;
        }
        let Some(frame) = frames.pop_front() else { return Ok(Responses::Ready(Vec::new())) };
        let response = self.serve_one(session, frame).await?;
        Ok(Responses::Ready(vec![response]))
    }

    fn closed(&self, _session: Session) {}
}

impl KafkaService {
    async fn serve_one(&self, session: &mut Session, frame: Frame) -> Result<Response, CloseReason> {
        let started = self.ctx.clock.now();
        let (bytes, permit) = frame.into_parts();
        let Admitted { key, version, correlation_id, client_id, body } =
            match admit(self.ctx.served, session, bytes) {
                Ok(admitted) => admitted,
                Err(TurnedAway::Closed(reason)) => return Err(reason),
                Err(TurnedAway::UnsupportedApiVersions { correlation_id }) => {
                    return api::unsupported_api_versions(&self.ctx, correlation_id);
                }
            };
        // A request holds its frame's share of the admission pool until it is answered, unless it may wait
        // for others.
        let _permit = (!may_wait(key)).then_some(permit);
        session.note_client(client_id);
        let call = Call { ctx: &self.ctx, session, key, version, correlation_id, started };
        let response = Box::pin(api::dispatch(call, body)).await;
        self.ctx.metrics.request_served(key, self.ctx.clock.now().since(started));
        response
    }
}

/// Requests that wait for something other than the disk: for records, or for other members of a group.
fn may_wait(key: ApiKey) -> bool {
    matches!(key, ApiKey::Fetch | ApiKey::JoinGroup | ApiKey::SyncGroup)
}

/// Takes the frames of one API from the front.
fn take_run(frames: &mut VecDeque<Frame>, key: ApiKey) -> Vec<Frame> {
    let len = frames.iter().take_while(|frame| is_of(frame, key)).count();
    frames.drain(..len).collect()
}
