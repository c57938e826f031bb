//! One request on its way, and the connection that it came by.

use std::sync::Arc;

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
    /// Remembers the client's name, but not the frame that it came in.
    pub fn note_client(&mut self, client_id: Option<Str>) {
        if self.client_id != client_id {
            self.client_id = client_id.map(|name| name.detached());
        }
    }
}
