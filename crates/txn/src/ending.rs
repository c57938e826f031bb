//! A transaction that is ending.

use crate::request::MarkerToken;
use crate::transaction::Partitions;

/// A transaction whose markers are being written.
#[derive(Clone, Debug)]
pub(crate) struct Ending {
    /// Partitions that lack the marker.
    pub left: Partitions,
    /// The unanswered request. `None` between two tries, and once a newer coordinator has taken over.
    pub asked: Option<MarkerToken>,
    pub tries: u32,
}
