//! What a client may do, as the authorized-operations fields say it. There is no authorizer yet, so it may do everything.

/// The field was not asked for.
pub const NOT_ASKED: i32 = i32::MIN;

/// Codes of `AclOperation`; bit N of a field stands for code N (KIP-430).
const READ: i32 = 1 << 3;
const WRITE: i32 = 1 << 4;
const CREATE: i32 = 1 << 5;
const DELETE: i32 = 1 << 6;
const ALTER: i32 = 1 << 7;
const DESCRIBE: i32 = 1 << 8;
const CLUSTER_ACTION: i32 = 1 << 9;
const DESCRIBE_CONFIGS: i32 = 1 << 10;
const ALTER_CONFIGS: i32 = 1 << 11;
const IDEMPOTENT_WRITE: i32 = 1 << 12;

/// All operations that there are on a topic.
const TOPIC: i32 = READ | WRITE | CREATE | DELETE | ALTER | DESCRIBE | DESCRIBE_CONFIGS | ALTER_CONFIGS;

/// All operations that there are on the cluster.
const CLUSTER: i32 =
    CREATE | ALTER | DESCRIBE | CLUSTER_ACTION | DESCRIBE_CONFIGS | ALTER_CONFIGS | IDEMPOTENT_WRITE;

/// All operations that there are on a group.
const GROUP: i32 = READ | DELETE | DESCRIBE | ALTER_CONFIGS | DESCRIBE_CONFIGS;

/// The field of a topic.
pub fn topic(asked: bool) -> i32 {
    if asked { TOPIC } else { NOT_ASKED }
}

/// The field of the cluster.
pub fn cluster(asked: bool) -> i32 {
    if asked { CLUSTER } else { NOT_ASKED }
}

/// The field of a group.
pub fn group(asked: bool) -> i32 {
    if asked { GROUP } else { NOT_ASKED }
}
