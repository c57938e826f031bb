//! The new leaders in answers, and their addresses (KIP-951).

use std::collections::BTreeSet;

use ottla_wire::primitives::Str;
use ottla_wire::protocol::ErrorCode;
use ottla_wire::{BrokerId, LeaderEpoch, PartitionIndex};

use crate::fetch::TopicRef;
use crate::published::Published;

/// The leaders named in one answer. They are current when it is made, not when the request came, because some
/// requests wait.
pub struct NewLeaders<'a> {
    published: &'a Published,
    named: BTreeSet<BrokerId>,
}

impl<'a> NewLeaders<'a> {
    pub fn new(published: &'a Published) -> NewLeaders<'a> {
        NewLeaders { published, named: BTreeSet::new() }
    }

    /// The partition's leader, if the error tells the client to go there. To be called only for versions with
    /// the field.
    pub fn name(
        &mut self,
        error_code: i16,
        topic: &TopicRef,
        index: PartitionIndex,
    ) -> Option<(BrokerId, LeaderEpoch)> {
        if !is_elsewhere(error_code) {
            return None;
        }
        let name = match topic {
            TopicRef::Name(name) => name,
            TopicRef::Id(id) => &self.published.image.topic_by_id(*id)?.name,
        };
        let (leader, epoch) = self.published.leader(name, index)?;
        self.named.insert(leader);
        Some((leader, epoch))
    }

    /// The endpoints of the named leaders on the client's listener. `endpoint` makes each from node id, host,
    /// port and rack.
    pub fn endpoints<E>(self, listener: &str, endpoint: impl Fn(i32, Str, i32, Option<Str>) -> E) -> Vec<E> {
        let found = self.named.into_iter().filter_map(|id| {
            let broker = self.published.image.broker(id)?;
            let at = broker.listener(listener)?;
            Some(endpoint(id.0, at.host.clone(), i32::from(at.port), broker.rack.clone()))
        });
        found.collect()
    }
}

/// Whether the error means that the leader is not the one the client believes in.
pub fn is_elsewhere(error_code: i16) -> bool {
    matches!(
        ErrorCode::from_code(error_code),
        Some(ErrorCode::NotLeaderOrFollower | ErrorCode::FencedLeaderEpoch)
    )
}
