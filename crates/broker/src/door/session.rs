//! The state of one connection.

use std::sync::Arc;
use std::time::Duration;

use ottla_group::Caller;
use ottla_net::{Peer, Principal, SecurityProtocol};
use ottla_wire::primitives::Str;
use ottla_wire::protocol::{ApiKey, ErrorCode};

use super::Door;
use super::authorize::{Operation, Requester, Resource};
use super::throttle::Charge;
use crate::shard::AppendGroup;

pub struct Session {
    pub peer: Peer,
    state: State,
    /// The client's name for itself, from its newest request.
    pub client_id: Option<Str>,
    /// The client's host, in the form that group descriptions use: a slash and the address.
    client_host: Str,
    /// The newest group of appends in flight on this connection.
    pub appends: Option<Arc<AppendGroup>>,
}

/// How far a connection has come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    /// The client must authenticate first. No listener can do that yet, so its requests are refused. The
    /// settings refuse listeners of that kind.
    Unproven,
    /// The principal is known, and every API is open to it.
    Proven(Principal),
}

impl State {
    /// The state of a new connection.
    fn of(peer: &Peer) -> State {
        match peer.security_protocol {
            SecurityProtocol::Plaintext | SecurityProtocol::Ssl => State::Proven(peer.principal.clone()),
            SecurityProtocol::SaslPlaintext | SecurityProtocol::SaslSsl => State::Unproven,
        }
    }
}

impl Session {
    /// The session of a new connection.
    pub fn new(peer: &Peer) -> Session {
        Session {
            peer: peer.clone(),
            state: State::of(peer),
            client_id: None,
            client_host: format!("/{}", peer.addr.ip()).into(),
            appends: None,
        }
    }

    /// Whether the connection has come far enough for this API. ApiVersions is open before authentication.
    pub fn admits(&self, key: ApiKey) -> bool {
        match self.state {
            State::Unproven => key == ApiKey::ApiVersions,
            State::Proven(_) => true,
        }
    }

    /// Remembers the client's name, without keeping the frame that it came in.
    pub fn note_client(&mut self, client_id: Option<Str>) {
        if self.client_id != client_id {
            self.client_id = client_id.map(|name| name.detached());
        }
    }

    /// The caller of a request with this version, for coordinators.
    pub fn caller(&self, version: i16) -> Caller {
        Caller {
            client_id: self.client_id.clone().unwrap_or_default(),
            client_host: self.client_host.clone(),
            version,
        }
    }

    /// Whether the client may do this. A refusal is logged.
    pub fn may(&self, door: &Door, operation: Operation, resource: Resource<'_>) -> bool {
        let Some(who) = self.requester() else { return false };
        let allowed = door.authorizer.allows(who, operation, resource);
        if !allowed {
            let Requester { principal, host } = who;
            tracing::debug!(%principal, host, ?operation, ?resource, "not authorized");
        }
        allowed
    }

    /// Like [`Session::may`], with the client's error code for a refusal.
    pub fn authorize(
        &self,
        door: &Door,
        operation: Operation,
        resource: Resource<'_>,
    ) -> Result<(), ErrorCode> {
        if self.may(door, operation, resource) { Ok(()) } else { Err(resource.refusal()) }
    }

    /// How long the client must wait after a request that took this long and moved so many bytes of records.
    pub fn charge(&self, door: &Door, key: ApiKey, took: Duration, bytes: usize) -> Duration {
        let Some(who) = self.requester() else { return Duration::ZERO };
        let charge = Charge { who, client_id: self.client_id.as_deref(), key, took, bytes };
        let wait = door.quotas.charge(&charge);
        if !wait.is_zero() {
            let Charge { who: Requester { principal, host }, client_id, key, took, bytes } = charge;
            tracing::debug!(%principal, host, client_id, api = %key, ?took, bytes, ?wait, "throttled");
        }
        wait
    }

    fn requester(&self) -> Option<Requester<'_>> {
        match &self.state {
            State::Unproven => None,
            State::Proven(principal) => Some(Requester { principal, host: &self.client_host }),
        }
    }
}

#[cfg(test)]
mod tests {
    use ottla_net::ConnectionId;

    use super::*;

    /// Before authentication only ApiVersions is served.
    #[test]
    fn a_connection_that_has_proven_nothing_may_ask_what_is_served_and_no_more() {
        let any = ([127, 0, 0, 1], 1).into();
        let session = |security_protocol| {
            Session::new(&Peer {
                addr: any,
                local: any,
                listener: "L".into(),
                security_protocol,
                principal: Principal::ANONYMOUS,
                connection: ConnectionId(1),
            })
        };
        let door = Door::open();
        for (protocol, proven) in
            [(SecurityProtocol::Plaintext, true), (SecurityProtocol::SaslPlaintext, false)]
        {
            let session = session(protocol);
            assert!(session.admits(ApiKey::ApiVersions));
            assert_eq!(session.admits(ApiKey::Produce), proven, "{protocol}");
            assert_eq!(session.may(&door, Operation::Read, Resource::Cluster), proven, "{protocol}");
        }
    }
}
