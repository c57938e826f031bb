//! Range: each topic is cut into as many runs of neighbouring partitions as it has members; the first ones
//! get the rest.

use std::collections::BTreeMap;

use ottla_wire::primitives::Str;

use super::shares::{Assignments, Member, nothing};
use crate::cluster::TopicPartition;

pub(super) fn assign(members: &[Member], topics: &BTreeMap<Str, i32>) -> Assignments {
    let mut assignments = nothing(members);
    for (topic, &partitions) in topics {
        let subscribed: Vec<&Member> = members.iter().filter(|m| m.topics.contains(topic)).collect();
        let Ok(count) = i32::try_from(subscribed.len()) else { continue };
        if count == 0 {
            continue;
        }
        let (each, rest) = (partitions / count, partitions % count);
        let mut next = 0;
        for (member, index) in subscribed.into_iter().zip(0..) {
            let run = next..next + each + i32::from(index < rest);
            next = run.end;
            let of = run.map(|partition| TopicPartition { topic: topic.clone(), partition });
            assignments.entry(member.id.clone()).or_default().extend(of);
        }
    }
    assignments
}
