//! Resources with settings, named by the code of their kind.

use ottla_controller::image::ResourceKind;

use crate::door::Resource;

/// The resource whose permission decides about settings. All kinds but topics and groups belong to the
/// cluster.
pub fn governed_by(kind: i8, name: &str) -> Resource<'_> {
    if kind == ResourceKind::Topic.code() {
        Resource::Topic(name)
    } else if kind == ResourceKind::Group.code() {
        Resource::Group(name)
    } else {
        Resource::Cluster
    }
}
