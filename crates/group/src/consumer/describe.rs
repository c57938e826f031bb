//! A consumer group from the viewpoint of administrators.

use ottla_wire::TopicId;
use ottla_wire::messages::consumer_group_describe_response::{
    Assignment, DescribedGroup, Member as DescribedMember, TopicPartitions,
};
use ottla_wire::messages::list_groups_response::ListedGroup;
use ottla_wire::primitives::Str;

use crate::classic::CONSUMER_PROTOCOL_TYPE;
use crate::config::GroupConfig;
use crate::consumer::group::ConsumerGroup;
use crate::consumer::member::Member;
use crate::consumer::target;
use crate::group::Group;
use crate::topics::Topics;

impl ConsumerGroup {
    /// ConsumerGroupDescribe. Partitions of deleted topics are left out.
    pub fn describe(&self, config: &GroupConfig, topics: &dyn Topics) -> DescribedGroup {
        let lasting = &self.lasting;
        let member = |(id, member): (&Str, &Member)| {
            let target = lasting.target.by_member.get(id);
            described(id, member, target.into_iter().flat_map(|target| target.iter()), topics)
        };
        DescribedGroup {
            group_id: self.id.clone(),
            group_state: Str::from_static(self.state()),
            group_epoch: lasting.epoch,
            assignment_epoch: lasting.target.epoch,
            assignor_name: target::assignor(lasting, config).name().into(),
            members: lasting.members().iter().map(member).collect(),
            ..Default::default()
        }
    }

    pub fn listed(&self) -> ListedGroup {
        ListedGroup {
            group_id: self.id.clone(),
            protocol_type: Str::from_static(CONSUMER_PROTOCOL_TYPE),
            group_state: Str::from_static(self.state()),
            group_type: Str::from_static("consumer"),
        }
    }

    /// The group's state as Kafka calls it. Dead is a group that is not there.
    fn state(&self) -> &'static str {
        if self.is_empty() {
            "Empty"
        } else if self.lasting.epoch > self.lasting.target.epoch {
            "Assigning"
        } else if self.lasting.is_reconciled() {
            "Stable"
        } else {
            "Reconciling"
        }
    }
}

fn described(
    id: &Str,
    member: &Member,
    target: impl Iterator<Item = (TopicId, i32)>,
    topics: &dyn Topics,
) -> DescribedMember {
    // What it gives up is its own until it has said that it did.
    let mut held: Vec<(TopicId, i32)> =
        member.current.held().map(|(topic, partition, _)| (topic, partition)).collect();
    held.sort_unstable();
    DescribedMember {
        member_id: id.clone(),
        instance_id: member.metadata.instance_id.clone(),
        rack_id: member.metadata.rack_id.clone(),
        member_epoch: member.current.epoch,
        client_id: member.metadata.client_id.clone(),
        client_host: member.metadata.client_host.clone(),
        subscribed_topic_names: member.metadata.subscribed_topic_names.clone(),
        // Kafka keeps the empty expression for none, and says it.
        subscribed_topic_regex: Some(member.regex().cloned().unwrap_or_default()),
        assignment: assignment(held.into_iter(), topics),
        target_assignment: assignment(target, topics),
        member_type: i8::from(!member.is_classic()),
    }
}

fn assignment(partitions: impl Iterator<Item = (TopicId, i32)>, topics: &dyn Topics) -> Assignment {
    let mut by_topic: Vec<TopicPartitions> = Vec::new();
    for (topic_id, partition) in partitions {
        match by_topic.last_mut().filter(|last| last.topic_id == topic_id) {
            Some(last) => last.partitions.push(partition),
            None => {
                let name = topics.by_id(topic_id).map(|facts| facts.name).unwrap_or_default();
                by_topic.push(TopicPartitions { topic_id, topic_name: name, partitions: vec![partition] });
            }
        }
    }
    by_topic.retain(|topic| !topic.topic_name.is_empty());
    Assignment { topic_partitions: by_topic }
}
