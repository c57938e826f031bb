//! A classic group that takes the place of a consumer group (KIP-848).

use std::collections::BTreeMap;

use ottla_wire::primitives::Str;

use super::group::{ClassicGroup, State};
use super::member::Member;
use super::protocols::CONSUMER_PROTOCOL_TYPE;
use super::rebalance::Why;
use crate::context::Context;
use crate::history::Cause;

impl ClassicGroup {
    /// A group that takes over the members of a consumer group, stable and recorded. They are made to join,
    /// so that one of them makes the next assignment.
    pub fn take_over(
        ctx: &mut Context<'_>,
        id: Str,
        generation: i32,
        protocol: Str,
        members: BTreeMap<Str, Member>,
    ) -> ClassicGroup {
        let mut group = ClassicGroup::new(id);
        group.generation = generation;
        group.protocol_type = Some(Str::from_static(CONSUMER_PROTOCOL_TYPE));
        group.protocol = Some(protocol);
        for (id, member) in members {
            group.roster.add(id, member);
        }
        // Without a leader, a coordinator that loads this knows that the group was about to rebalance.
        group.roster.set_leader(None);
        group.topics = group.compute_topics();
        group.generation_len = group.roster.len();
        let state = if group.roster.is_empty() { State::Empty } else { State::Stable };
        group.enter(ctx.at, state);
        group.write(ctx);
        if state == State::Stable {
            group.renew_all(ctx);
            group.prepare_rebalance(ctx, Why { cause: Cause::ProtocolChanged, by: None, reason: None });
        }
        group
    }
}
