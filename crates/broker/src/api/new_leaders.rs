//! Where the leaders that answers point to are reached (KIP-951).

use std::collections::BTreeSet;

use ottla_wire::BrokerId;
use ottla_wire::primitives::Str;

use crate::published::Published;

/// The endpoints of `leaders` (below 0: none) on the listener that the client came by, each made by `endpoint` from
/// node id, host, port and rack.
pub fn endpoints<E>(
    published: &Published,
    listener: &str,
    leaders: impl Iterator<Item = i32>,
    endpoint: impl Fn(i32, Str, i32, Option<Str>) -> E,
) -> Vec<E> {
    let leaders: BTreeSet<i32> = leaders.filter(|id| *id >= 0).collect();
    let found = leaders.into_iter().filter_map(|id| {
        let broker = published.image.broker(BrokerId(id))?;
        let at = broker.listener(listener)?;
        Some(endpoint(id, at.host.clone(), i32::from(at.port), broker.rack.clone()))
    });
    found.collect()
}
