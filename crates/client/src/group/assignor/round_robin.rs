//! Round robin: all partitions in the order of topic and number, to the members in turn; who does not
//! subscribe to a topic is passed over.

use std::collections::BTreeMap;

use ottla_wire::primitives::Str;

use super::shares::{Assignments, Member, nothing};
use crate::cluster::TopicPartition;

pub(super) fn assign(members: &[Member], topics: &BTreeMap<Str, i32>) -> Assignments {
    let mut assignments = nothing(members);
    let mut turn = 0;
    for (topic, &partitions) in topics {
        if !members.iter().any(|member| member.topics.contains(topic)) {
            continue;
        }
        for partition in 0..partitions {
            while !members[turn].topics.contains(topic) {
                turn = (turn + 1) % members.len();
            }
            let of = TopicPartition { topic: topic.clone(), partition };
            assignments.entry(members[turn].id.clone()).or_default().insert(of);
            turn = (turn + 1) % members.len();
        }
    }
    assignments
}
