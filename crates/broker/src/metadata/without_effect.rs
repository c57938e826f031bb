//! Logs a warning when settings are set that are kept and shown but do nothing here.

use ottla_controller::image::ConfigResource;
use ottla_controller::{Delta, Image};
use ottla_settings::{Warning, without_effect};

/// Warns of such settings in `delta`.
pub fn warn(before: &Image, now: &Image, delta: &Delta) {
    for resource in &delta.configs_changed {
        for warning in newly_set(before, now, resource) {
            tracing::warn!(resource = resource.kind.name(), name = %resource.name, "{warning}");
        }
    }
}

fn newly_set(before: &Image, now: &Image, resource: &ConfigResource) -> Vec<Warning> {
    let (Some(table), Some(own)) = (resource.kind.table(), now.config(resource)) else { return Vec::new() };
    let mut warnings = without_effect(table, own);
    warnings.retain(|one| before.config_value(resource, one.name) != own.get(one.name));
    warnings
}

#[cfg(test)]
mod tests {
    use ottla_wire::messages::{ConfigRecord, MetadataRecord};

    use super::*;

    fn set(resource: &ConfigResource, name: &str, value: &str) -> MetadataRecord {
        MetadataRecord::Config(ConfigRecord {
            resource_type: resource.kind.code(),
            resource_name: resource.name.clone(),
            name: name.into(),
            value: Some(value.into()),
        })
    }

    #[test]
    fn the_log_says_once_what_has_no_effect() {
        let (topic, brokers) = (ConfigResource::topic("t"), ConfigResource::all_brokers());
        let empty = Image::default();
        let records = [
            set(&topic, "min.cleanable.dirty.ratio", "0.1"),
            set(&topic, "retention.ms", "1000"),
            set(&brokers, "log.cleaner.threads", "2"),
        ];
        let first = empty.apply_all(&records).unwrap().0;
        let names = |before, now, resource| -> Vec<&str> {
            newly_set(before, now, resource).into_iter().map(|warning| warning.name).collect()
        };
        assert_eq!(names(&empty, &first, &topic), ["min.cleanable.dirty.ratio"]);
        assert_eq!(names(&empty, &first, &brokers), ["log.cleaner.threads"]);
        let second = first.apply_all(&[set(&topic, "retention.ms", "2000")]).unwrap().0;
        assert!(names(&first, &second, &topic).is_empty(), "it was said before");
        let third = second.apply_all(&[set(&topic, "min.cleanable.dirty.ratio", "0.2")]).unwrap().0;
        assert_eq!(names(&second, &third, &topic), ["min.cleanable.dirty.ratio"]);
    }
}
