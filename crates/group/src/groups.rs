//! All groups of the partition, by id.

use std::collections::BTreeMap;
use std::ops::Bound;

use ottla_wire::primitives::Str;

use crate::context::Context;
use crate::group::{Group, Next};
use crate::history::Histories;
use crate::memory::of_map;
use crate::timers::{GroupTimers, Timers};

/// Which groups have offsets. A group that nothing else holds exists for as long as it has some.
pub trait HasOffsets {
    /// Whether `group` has offsets, committed or in a transaction.
    fn has_offsets(&self, group: &Str) -> bool;
}

/// Up to this many groups debug builds check at each step that every change was settled.
const CHECKED_LEN_MAX: usize = 32;

/// The groups of one partition. A group without records is kept while it has offsets or a client is joining.
#[derive(Default)]
pub struct Groups {
    by_id: BTreeMap<Str, Kept>,
    /// Bytes of all groups.
    bytes: usize,
}

/// A group, and the bytes that it was counted with.
struct Kept {
    group: Box<dyn Group>,
    bytes: usize,
}

impl Groups {
    pub fn get(&self, id: &str) -> Option<&dyn Group> {
        self.by_id.get(id).map(|kept| &*kept.group)
    }

    /// The group, for changes. Their memory counts from [`Groups::settle`] on.
    pub fn get_mut(&mut self, id: &str) -> Option<&mut dyn Group> {
        self.by_id.get_mut(id).map(|kept| &mut *kept.group)
    }

    /// The group, if there is one of this type.
    pub fn get_as<G: Group>(&self, id: &str) -> Option<&G> {
        self.get(id)?.as_a()
    }

    /// The same, to change it: see [`Groups::get_mut`].
    pub fn get_mut_as<G: Group>(&mut self, id: &str) -> Option<&mut G> {
        self.get_mut(id)?.as_a_mut()
    }

    /// Takes a group in, in place of one with the same id.
    pub fn put(&mut self, group: Box<dyn Group>) -> Option<Box<dyn Group>> {
        let before = self.take(group.id());
        let bytes = group.bytes();
        self.bytes += bytes;
        self.by_id.insert(group.id().clone(), Kept { group, bytes });
        before
    }

    /// Takes a group out, without its timers.
    pub fn take(&mut self, id: &str) -> Option<Box<dyn Group>> {
        let kept = self.by_id.remove(id)?;
        self.bytes -= kept.bytes;
        Some(kept.group)
    }

    /// Updates the memory of a changed group. Cheap, because each group keeps its own count.
    pub fn recount(&mut self, id: &str) {
        if let Some(kept) = self.by_id.get_mut(id) {
            self.bytes -= kept.bytes;
            kept.bytes = kept.group.bytes();
            self.bytes += kept.bytes;
        }
    }

    /// Bytes that the groups take in memory, without their offsets and histories.
    pub fn bytes(&self) -> usize {
        debug_assert!(
            self.len() > CHECKED_LEN_MAX || self.by_id.values().all(|kept| kept.bytes == kept.group.bytes()),
            "a group has changed and was not settled"
        );
        self.bytes + of_map::<Str, Kept>(self.by_id.len())
    }

    pub fn len(&self) -> usize {
        self.by_id.len()
    }

    pub fn is_empty(&self) -> bool {
        self.by_id.is_empty()
    }

    pub fn iter(&self) -> impl Iterator<Item = (&Str, &dyn Group)> {
        self.by_id.iter().map(|(id, kept)| (id, &*kept.group))
    }

    /// The first group behind `id`; the first of all for `None`.
    pub fn next_after(&self, id: Option<&Str>) -> Option<&Str> {
        let behind = id.map_or(Bound::Unbounded, Bound::Excluded);
        self.by_id.range::<Str, _>((behind, Bound::Unbounded)).next().map(|(id, _)| id)
    }

    /// The ids, in order, for steps that change groups on the way.
    pub fn ids(&self) -> Vec<Str> {
        self.by_id.keys().cloned().collect()
    }

    /// Carries out what a step said of a group, lets go of a group that nothing holds any more, and counts
    /// what is left. To be called after every step that may have changed the group or its offsets.
    pub fn settle(&mut self, ctx: &mut Context<'_>, offsets: &dyn HasOffsets, id: &Str, next: Next) {
        match next {
            Next::Unchanged => return,
            Next::Becomes(group) => {
                self.put(group);
            }
            Next::Stays if self.is_left_over(offsets, id) => self.forget(ctx.timers, ctx.histories, id),
            Next::Stays => {}
        }
        self.recount(id);
        ctx.histories.recount(id);
    }

    /// Whether the group can be dropped: it has no records, no members, nobody joining, and no offsets.
    pub fn is_left_over(&self, offsets: &dyn HasOffsets, id: &Str) -> bool {
        let holds_itself =
            |group: &dyn Group| !group.is_unrecorded() || !group.is_empty() || group.is_expecting();
        self.get(id).is_some_and(|group| !holds_itself(group)) && !offsets.has_offsets(id)
    }

    /// Removes an empty group for good: with its records, but without its offsets.
    pub fn delete(&mut self, ctx: &mut Context<'_>, id: &Str) {
        if let Some(group) = self.get(id) {
            group.tombstones(ctx);
            self.forget(ctx.timers, ctx.histories, id);
        }
    }

    /// Drops a group with its timers and its history. No record is written.
    pub fn forget(&mut self, timers: &mut Timers, histories: &mut Histories, id: &str) {
        self.take(id);
        timers.cancel_group(id);
        histories.forget(id);
    }
}
