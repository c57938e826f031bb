//! What a topic may be called.

use ottla_wire::protocol::ErrorCode;

use super::Failure;
use crate::image::Image;

/// The longest name, so that the folder of a partition fits a file system.
const NAME_BYTES_MAX: usize = 249;

/// The longest name of a folder that file systems take.
const FOLDER_BYTES_MAX: usize = 255;

/// How many partitions a topic of this name can have: each has a folder, `NAME-NUMBER`.
pub(super) fn partitions_max(name: &str) -> usize {
    let digits = FOLDER_BYTES_MAX.saturating_sub(name.len() + 1);
    u32::try_from(digits).ok().and_then(|digits| 10_usize.checked_pow(digits)).unwrap_or(usize::MAX)
}

/// The topic of Kafka's metadata log. Its name and its folder are this node's own.
const METADATA_TOPIC: &str = "__cluster_metadata";

/// Whether a topic may have this name.
pub fn is_topic_name(name: &str) -> bool {
    check(name).is_ok()
}

/// Refuses a name that no new topic may have.
pub(super) fn check_new(name: &str) -> Result<(), Failure> {
    if name == METADATA_TOPIC {
        let why = format!("Creation of internal topic {METADATA_TOPIC} is prohibited.");
        return Err(Failure::new(ErrorCode::InvalidRequest, why));
    }
    check(name)
}

/// Refuses a name that is not `[a-zA-Z0-9._-]{1,249}`, or `.` or `..`.
pub(super) fn check(name: &str) -> Result<(), Failure> {
    let refuse = |why: String| Err(Failure::new(ErrorCode::InvalidTopicException, why));
    let legal = |c: u8| c.is_ascii_alphanumeric() || matches!(c, b'.' | b'_' | b'-');
    match name {
        "" => refuse("Topic name is invalid: the empty string is not allowed".to_owned()),
        "." | ".." => refuse(format!("Topic name is invalid: '{name}' is not allowed")),
        _ if name.len() > NAME_BYTES_MAX => refuse(format!(
            "Topic name is invalid: the length of '{}...' is longer than the max allowed length {NAME_BYTES_MAX}",
            name.chars().take(32).collect::<String>()
        )),
        _ if !name.bytes().all(legal) => refuse(format!(
            "Topic name is invalid: '{name}' contains one or more characters other than ASCII alphanumerics, '.', '_' \
             and '-'"
        )),
        _ => Ok(()),
    }
}

/// An existing topic whose name differs from `name` only by `.` and `_`: metrics of the two could not be told
/// apart.
pub(super) fn collision<'a>(image: &'a Image, name: &str) -> Option<&'a str> {
    if !name.contains(['.', '_']) {
        return None;
    }
    let key = collision_key(name);
    // Names that collide agree up to the first `.` or `_`, so only those need a look.
    let common = &name[..name.find(['.', '_']).unwrap_or(name.len())];
    let near = image.topic_names_from(common).take_while(|other| other.starts_with(common));
    near.map(|other| other.as_str()).find(|other| *other != name && collision_key(other) == key)
}

/// Equal for names that collide.
pub(super) fn collision_key(name: &str) -> String {
    name.replace('.', "_")
}
