//! Groups without members: simple consumers assign partitions to themselves and only commit.

use ottla_wire::primitives::Str;

use super::group::ClassicGroup;
use crate::group::Group;
use crate::groups::Groups;

/// The group, made if there is none: as in Kafka, an empty classic group that nothing is recorded of. It goes
/// away by itself ([`Groups::settle`]) unless it gets members or offsets.
pub fn get_or_create<'a>(groups: &'a mut Groups, id: &Str) -> &'a mut dyn Group {
    if groups.get(id).is_none() {
        groups.put(Box::new(ClassicGroup::new(id.detached())));
    }
    match groups.get_mut(id) {
        Some(group) => group,
        None => unreachable!("it was just put there"),
    }
}
