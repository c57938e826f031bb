//! Unknown partitions in requests about offsets. The API answers for them itself, and the coordinator gets
//! only the others.

use std::sync::Arc;

use ottla_controller::image::Topic;
use ottla_wire::PartitionIndex;

/// Removes the partitions that `known` does not have from the request, and returns their numbers. `index_of`
/// gives the number of a partition. All partitions of a missing topic are unknown.
pub fn take_unknown<P>(
    known: Option<&Arc<Topic>>,
    partitions: &mut Vec<P>,
    index_of: impl Fn(&P) -> i32,
) -> Vec<i32> {
    let mut unknown = Vec::new();
    partitions.retain(|partition| {
        let index = index_of(partition);
        let there = known.is_some_and(|known| known.partition(PartitionIndex(index)).is_some());
        if !there {
            unknown.push(index);
        }
        there
    });
    unknown
}
