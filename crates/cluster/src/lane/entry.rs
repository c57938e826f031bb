//! One partition of a lane.

use ottla_replica::FetchRequest;
use ottla_wire::Instant;

use super::message::RequestNumber;

#[derive(Clone, Copy, Debug)]
pub(super) struct Entry {
    pub want: FetchRequest,
    pub standing: Standing,
    /// Answers that its replica could not use, in a row.
    pub failures: u32,
    /// A request has named it since the session began.
    pub in_session: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    /// The next request names it.
    Due,
    /// It could not be read, and is due again then.
    Paused { until: Instant },
    /// The leader is to answer it; it has known what is wanted since that request.
    Asked { since: RequestNumber },
    /// It was answered without records: the leader goes on waiting for it, if the replica wants the same.
    Kept { since: RequestNumber },
    /// The leader is asked for the bounds of its log.
    OutOfRange,
    /// The replica has its answer, and will ask again.
    Answered,
}

impl Entry {
    /// Of a partition that is not asked for yet.
    pub fn new(want: FetchRequest) -> Entry {
        Entry { want, standing: Standing::Answered, failures: 0, in_session: false }
    }
}
