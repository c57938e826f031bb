//! Resources that have settings, as requests name them: by the code of their kind.

use ottla_controller::image::ResourceKind;

use crate::door::Resource;

/// Whose permission it takes to see or change the settings of a resource. What is no topic and no group is
/// the cluster's.
pub fn governed_by(kind: i8, name: &str) -> Resource<'_> {
    if kind == ResourceKind::Topic.code() {
        Resource::Topic(name)
    } else if kind == ResourceKind::Group.code() {
        Resource::Group(name)
    } else {
        Resource::Cluster
    }
}
