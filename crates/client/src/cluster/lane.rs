//! Which connection to a broker.

use ottla_wire::BrokerId;

/// Requests in one lane wait for each other, those in different lanes do not. A consumer has a lane of its
/// own, so that its long polls do not hold up others.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Lane(pub(super) u32);

impl Lane {
    /// The lane of whoever asked for none.
    pub const SHARED: Lane = Lane(0);
}

/// Who is at the other end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Node {
    /// One of `bootstrap.servers`; which broker that is, is not known.
    Bootstrap(usize),
    Broker(BrokerId),
}
