//! File descriptors: how many this process may have, and what they are for.
//!
//! Connections take what they can get, and a log that cannot open a file fails. So each has a share of its
//! own, and what would go beyond it is refused.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// What a broker needs for itself: threads, the metadata log, listeners, HTTP.
const OWN: u64 = 128;

/// What a partition that is written to keeps open: the last segment with its two indexes. Segments that
/// consumers read are open for a while, too, but few partitions are busy in every way at once.
const OF_PARTITION: u64 = 3;

/// A limit below this is worth a warning.
const SMALL: u64 = 4096;

/// What the descriptors are for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shares {
    pub limit: u64,
    /// Connections at once.
    pub connections: usize,
    /// Partitions that can be open.
    pub partitions: usize,
}

impl Shares {
    /// Of the descriptors that this process may have now.
    pub fn now() -> Shares {
        Shares::of(getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX))
    }

    /// Connections get a third, files the rest.
    fn of(limit: u64) -> Shares {
        let shared = limit.saturating_sub(OWN);
        let connections = shared / 3;
        let count = |share: u64| usize::try_from(share).unwrap_or(usize::MAX);
        Shares {
            limit,
            connections: count(connections),
            partitions: count((shared - connections) / OF_PARTITION),
        }
    }
}

/// Takes all that the process may have, and says what that is enough for.
pub fn raise() {
    let limit = getrlimit(Resource::Nofile);
    let all = Rlimit { current: limit.maximum, maximum: limit.maximum };
    if limit.current != limit.maximum
        && let Err(error) = setrlimit(Resource::Nofile, all)
    {
        tracing::warn!(%error, "the limit on file descriptors cannot be raised");
    }
    let Shares { limit, connections, partitions } = Shares::now();
    if limit < SMALL {
        tracing::warn!(
            limit,
            connections,
            partitions,
            "few file descriptors: what goes beyond these connections and partitions is refused; raise ulimit -n (LimitNOFILE)"
        );
    } else {
        tracing::info!(limit, connections, partitions, "file descriptors");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_limit_is_enough_for() {
        let cases =
            [(0, 0, 0), (256, 42, 28), (1024, 298, 199), (20_000, 6624, 4416), (1 << 20, 349_482, 232_988)];
        for (limit, connections, partitions) in cases {
            assert_eq!(Shares::of(limit), Shares { limit, connections, partitions }, "{limit}");
            assert!(connections as u64 + partitions as u64 * OF_PARTITION + OWN <= limit.max(OWN));
        }
    }
}
