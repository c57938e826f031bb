//! What the log says when internal topics are changed: coordinators keep their state in them.

use ottla_controller::image::ResourceKind;
use ottla_controller::{Delta, Image};
use ottla_wire::InternalTopic;

/// Tells of changes to internal topics that were there before.
pub fn warn(before: &Image, after: &Image, delta: &Delta) {
    for topic in delta.topics_deleted.values() {
        if let Some(held) = InternalTopic::holds(topic) {
            tracing::warn!(%topic, "an internal topic was deleted, and with it {held}");
        }
    }
    for id in delta.partitions_changed.keys() {
        let (Some(was), Some(is)) = (before.topic_by_id(*id), after.topic_by_id(*id)) else { continue };
        if InternalTopic::is_internal(&was.name) && is.partitions.len() > was.partitions.len() {
            let (topic, partitions) = (&is.name, is.partitions.len());
            tracing::warn!(
                %topic,
                partitions,
                "an internal topic has got partitions: what most groups or transactional ids have stored is not found any more"
            );
        }
    }
    for resource in &delta.configs_changed {
        let topic = &resource.name;
        let is_old = resource.kind == ResourceKind::Topic && before.topic(topic).is_some();
        if is_old && InternalTopic::is_internal(topic) {
            tracing::warn!(%topic, "the settings of an internal topic were changed");
        }
    }
}
