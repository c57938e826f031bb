//! A classic group of consumers as a consumer group takes it over, and the way back (KIP-848).

use std::time::Duration;

use bytes::Bytes;
use ottla_wire::primitives::Str;

use super::group::ClassicGroup;
use crate::context::Context;
use crate::history::Begin;

/// A group of consumers.
pub struct ClassicParts {
    pub id: Str,
    pub generation: i32,
    /// The protocol of the generation, if one was chosen.
    pub protocol: Option<Str>,
    pub members: Vec<PartsMember>,
}

/// A member of it.
pub struct PartsMember {
    pub id: Str,
    pub instance: Option<Str>,
    pub client_id: Str,
    pub client_host: Str,
    pub rebalance_timeout: Duration,
    pub session_timeout: Duration,
    /// Names and subscriptions, the preferred one first.
    pub protocols: Vec<(Str, Bytes)>,
    /// What the leader gave it; empty if nothing.
    pub assignment: Bytes,
}

impl ClassicGroup {
    pub fn parts(&self) -> Option<ClassicParts> {
        None
    }

    pub fn dissolve(&mut self, _ctx: &mut Context<'_>) {}

    pub fn from_parts(_ctx: &mut Context<'_>, parts: ClassicParts, _begin: Option<Begin>) -> ClassicGroup {
        ClassicGroup::new(parts.id)
    }
}
