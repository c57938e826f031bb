//! Consumer groups.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use ottla_group::GroupCoordinator;
use ottla_http::metrics::{CoordinatorFacts, GroupFacts, Lag};
use ottla_wire::primitives::Str;
use ottla_wire::{Offset, PartitionIndex};

use crate::context::Context;

/// The most committed offsets whose lag gets a line of its own: the first by group, topic and partition. It
/// keeps a scrape small.
pub const LAGS_ITEMIZED_MAX: usize = 1_000;

/// How long a scrape waits for the coordinators. It leaves out those that are loading or whose shard is busy.
const PATIENCE: Duration = Duration::from_secs(2);

/// The figures of one coordinator.
#[derive(Default)]
struct Seen {
    groups: BTreeMap<(Str, Str), u64>,
    members: u64,
    rebalances: u64,
    offsets: u64,
    committed: Vec<(Str, Str, PartitionIndex, Offset)>,
}

/// Asks the coordinators of this broker.
pub async fn groups(ctx: &Context) -> GroupFacts {
    let seen = tokio::time::timeout(PATIENCE, ctx.coordinators.look(see)).await.unwrap_or_default();
    let mut facts = GroupFacts {
        state_bytes: ctx.coordinators.counts().group_bytes.load(Ordering::Relaxed),
        coordinators: coordinators(ctx),
        ..GroupFacts::default()
    };
    for one in seen {
        for (kind, count) in one.groups {
            *facts.groups.entry(kind).or_default() += count;
        }
        facts.members += one.members;
        facts.rebalances += one.rebalances;
        facts.offsets += one.offsets;
        facts.lags.extend(one.committed.into_iter().filter_map(|committed| lag(ctx, committed)));
    }
    facts.lags.sort();
    facts.lags.truncate(LAGS_ITEMIZED_MAX);
    facts
}

fn coordinators(ctx: &Context) -> CoordinatorFacts {
    let counts = ctx.coordinators.counts();
    let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
    CoordinatorFacts {
        loading: read(&counts.loading),
        active: read(&counts.active),
        loads: read(&counts.loads),
        load_s: read(&counts.load_micros) as f64 / 1e6,
    }
}

fn see(core: &GroupCoordinator) -> Seen {
    let mut seen = Seen::default();
    for (_, group) in core.groups().iter() {
        let listed = group.listed();
        *seen.groups.entry((listed.group_type, listed.group_state)).or_default() += 1;
        seen.members += group.members_len() as u64;
    }
    seen.rebalances = core.rebalances_begun();
    seen.offsets = core.offsets().len() as u64;
    let committed = core.offsets().iter().take(LAGS_ITEMIZED_MAX);
    seen.committed = committed
        .map(|(group, topic, partition, committed)| {
            (group.clone(), topic.clone(), partition, committed.offset)
        })
        .collect();
    seen
}

/// The records between the committed offset and the high watermark, if the partition is led here.
fn lag(
    ctx: &Context,
    (group, topic, partition, committed): (Str, Str, PartitionIndex, Offset),
) -> Option<Lag> {
    let published = ctx.published.load();
    let view = published.partition(&topic, partition).ok()?.leader_view(None).ok()?;
    let records = view.replica.high_watermark.0.saturating_sub(committed.0).max(0);
    Some(Lag { group, topic, partition: partition.0, records })
}
