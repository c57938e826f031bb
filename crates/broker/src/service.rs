//! From frames to responses: reads request headers, gates versions, and hands requests to their API files.

use std::collections::VecDeque;
use std::sync::Arc;

use ottla_net::{CloseReason, Frame, Peer, Response, Responses};
use ottla_wire::protocol::ApiKey;

use crate::api::{self, Call, ParsedHeader, Session, is_of};
use crate::context::Context;

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
        let client_host = format!("/{}", peer.addr.ip()).into();
        Session { peer: peer.clone(), client_id: None, client_host, appends: None }
    }

    async fn serve(
        &self,
        session: &mut Session,
        frames: &mut VecDeque<Frame>,
    ) -> Result<Responses, CloseReason> {
        if frames.front().is_some_and(|frame| is_of(frame, ApiKey::Produce)) {
            return api::start_produce(&self.ctx, session, take_run(frames, ApiKey::Produce)).await;
        }
        // Kafka serves the requests of a connection one after the other. Here only appends overtake the answers to appends,
        // and what follows commits of offsets need not wait for theirs: the coordinator keeps the order.
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
        let ParsedHeader { key, version, header, body } = ParsedHeader::read(bytes)?;
        // The frame's share of the admission pool is held until the request is answered, but not by what may wait.
        let _permit = (!may_wait(key)).then_some(permit);
        session.note_client(header.client_id);
        if key == ApiKey::ApiVersions && !key.versions().contains(&version) {
            return api::unsupported_api_versions(&self.ctx, header.correlation_id);
        }
        if !api::SERVED.contains(&key) {
            return Err(CloseReason::refused(format!("{key} is not served")));
        }
        if !key.versions().contains(&version) {
            return Err(CloseReason::refused(format!("{key} version {version} is not served")));
        }
        let call = Call { ctx: &self.ctx, session, key, version, correlation_id: header.correlation_id };
        let response = Box::pin(api::dispatch(call, body)).await;
        self.ctx.metrics.request_served(key, self.ctx.clock.now().since(started));
        response
    }
}

/// Requests that wait for something else than the disk: for records, or for the other members of a group.
fn may_wait(key: ApiKey) -> bool {
    matches!(key, ApiKey::Fetch | ApiKey::JoinGroup | ApiKey::SyncGroup)
}

/// The frames of one API at the front.
fn take_run(frames: &mut VecDeque<Frame>, key: ApiKey) -> Vec<Frame> {
    let len = frames.iter().take_while(|frame| is_of(frame, key)).count();
    frames.drain(..len).collect()
}
