//! One request on its way, and the connection that it came by.

use std::sync::Arc;

use ottla_group::Caller;
use ottla_net::Peer;
use ottla_wire::primitives::Str;
use ottla_wire::protocol::ApiKey;

use crate::context::Context;
use crate::shard::AppendGroup;

/// One request on its way: who asks, and in which version.
pub struct Call<'a> {
    pub ctx: &'a Context,
    pub session: &'a mut Session,
    pub key: ApiKey,
    pub version: i16,
    pub correlation_id: i32,
}

impl Call<'_> {
    /// Who makes the request, as coordinators are told.
    pub fn caller(&self) -> Caller {
        self.session.caller(self.version)
    }
}

/// What is kept for one connection.
pub struct Session {
    pub peer: Peer,
    /// The client's name for itself, from its newest request.
    pub client_id: Option<Str>,
    /// Where the client is, as members of groups are described: a slash and the address.
    pub client_host: Str,
    /// The newest group of appends that this connection has in flight.
    pub appends: Option<Arc<AppendGroup>>,
}

impl Session {
    /// Who makes a request of this version, as coordinators are told.
    pub fn caller(&self, version: i16) -> Caller {
        Caller {
            client_id: self.client_id.clone().unwrap_or_default(),
            client_host: self.client_host.clone(),
            version,
        }
    }

    /// Remembers the client's name, but not the frame that it came in.
    pub fn note_client(&mut self, client_id: Option<Str>) {
        if self.client_id != client_id {
            self.client_id = client_id.map(|name| name.detached());
        }
    }
}
