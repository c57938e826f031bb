//! The metadata image as groups see it.

use ottla_controller::Image;
use ottla_controller::image::Topic;
use ottla_group::{TopicFacts, Topics};
use ottla_wire::primitives::Str;
use ottla_wire::{PartitionIndex, TopicId};

/// One state of the cluster's topics.
pub struct ImageTopics {
    image: Image,
}

impl ImageTopics {
    pub fn new(image: Image) -> ImageTopics {
        ImageTopics { image }
    }
}

impl Topics for ImageTopics {
    fn by_name(&self, name: &str) -> Option<TopicFacts> {
        self.image.topic(name).map(|topic| facts(topic))
    }

    fn by_id(&self, id: TopicId) -> Option<TopicFacts> {
        self.image.topic_by_id(id).map(|topic| facts(topic))
    }

    fn each_name(&self, visit: &mut dyn FnMut(&Str)) {
        self.image.topic_names_from("").for_each(visit);
    }

    fn racks(&self, id: TopicId, partition: i32) -> Vec<Str> {
        let partition = self.image.partition(id, PartitionIndex(partition));
        let replicas = partition.into_iter().flat_map(|partition| &partition.replicas);
        let mut racks: Vec<Str> = replicas.filter_map(|id| self.image.broker(*id)?.rack.clone()).collect();
        racks.sort();
        racks.dedup();
        racks
    }
}

fn facts(topic: &Topic) -> TopicFacts {
    TopicFacts { id: topic.id, name: topic.name.clone(), partitions: topic.partition_count() }
}
