//! Partitions that a request about offsets names and that are not there: the API answers for them itself, the
//! coordinator hears of the others only.

use std::sync::Arc;

use ottla_controller::image::Topic;
use ottla_wire::PartitionIndex;

/// Takes the partitions that `known` does not have out of the request, whose partitions say their number by
/// `index_of`. Gives their numbers. A topic that is not there has none.
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
