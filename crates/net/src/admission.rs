//! Admission by bytes: how much of the peers' data may be in memory.
//!
//! The rule. Bytes count once they have arrived, and until the service drops the frame they belong to.
//! - Bytes in a connection's read buffer are the connection's own: at most [`READ_BUFFER_BYTES`] each. The
//!   complete frames of one read are admitted together.
//! - A request that does not fit the read buffer is admitted as it arrives. Bytes that a peer announces and
//!   does not send take nothing: bytes are taken for a read, and those it did not bring are returned at once.
//! - Connections without room wait in line, for one step at a time. Addresses take turns, and one address
//!   holds at most three quarters of the pool.
//! - A connection that holds nothing may pass the requests in its read buffer even when the pool is empty,
//!   and even when it already waits in line. So small requests (heartbeats, fetches of followers) get through
//!   while large ones fill the pool.
//!
//! No deadlock: the service returns whole requests without needing more of the pool. If everything taken
//! belongs to requests that are still arriving, one of them continues beyond the limit until it is served,
//! then the next one. A peer that holds up others by not finishing its request is cut off, the slowest first:
//! see `relief`.
//!
//! The bound: `queued_bytes_max`, the rest of one request, and twice [`READ_BUFFER_BYTES`] for each
//! connection. The buffers of large requests add as much again as has arrived of them,
//! `buffers::AHEAD_BYTES_MAX` for bytes that have not, and `buffers::IDLE_BYTES_MAX` that no request uses.

use std::sync::Arc;

use crate::control::Control;
use crate::pool::Share;

/// The largest read buffer of a connection, in bytes. A connection may always have this much served.
pub const READ_BUFFER_BYTES: usize = 64 << 10;

/// A share of the admission pool. It is returned when the last clone is dropped.
#[derive(Clone, Debug)]
pub struct Permit(#[expect(dead_code, reason = "held for its drop")] Option<Arc<Grant>>);

impl Permit {
    pub(crate) fn none() -> Permit {
        Permit(None)
    }

    /// Counts `bytes` of whole requests for `control`. `share` is the pool's part of them, if it was needed.
    pub(crate) fn grant(bytes: usize, mut share: Option<Share>, control: &Arc<Control>) -> Permit {
        control.hold(bytes);
        if let Some(share) = &mut share {
            share.is_whole();
        }
        Permit(Some(Arc::new(Grant { bytes, _share: share, control: control.clone() })))
    }
}

#[derive(Debug)]
struct Grant {
    bytes: usize,
    _share: Option<Share>,
    control: Arc<Control>,
}

impl Drop for Grant {
    fn drop(&mut self) {
        // The pool's share first, because the woken connection may need it.
        self._share = None;
        self.control.release(self.bytes);
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;
    use crate::pool::{AddressUse, Pool};

    #[test]
    fn a_permit_is_given_back_with_its_last_clone() {
        let pool = Arc::new(Pool::new(100));
        let address = Arc::new(AddressUse::new(Ipv4Addr::LOCALHOST.into(), pool.clone()));
        let control = Arc::new(Control::new(10));
        let permit = Permit::grant(40, address.try_take(40), &control);
        let other = permit.clone();
        drop(permit);
        assert!(control.is_full());
        assert_eq!((pool.used(), pool.fill().served, control.held()), (40, 40, 40));
        drop(other);
        assert_eq!((pool.used(), pool.fill().served, control.held()), (0, 0, 0));
    }
}
