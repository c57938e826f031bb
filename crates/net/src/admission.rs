//! Admission by bytes: how much of what peers send may be in memory.
//!
//! The rule. Bytes count once they have arrived, and until the service drops the frame they belong to.
//! - What lies in a connection's read buffer is the connection's own: at most [`READ_BUFFER_BYTES`] each. The
//!   complete frames of one read are admitted together.
//! - A request that does not fit the read buffer is admitted as it arrives. What its peer has announced and
//!   not sent takes nothing: bytes are taken for a read, and what the read did not bring is given back at
//!   once.
//! - Who finds no room waits in line, for a step at a time. Addresses take turns, and one address holds three
//!   quarters of the pool at the most.
//! - A connection that holds nothing may pass what lies in its read buffer even when the pool is empty, also
//!   when it is already in line. So small requests (heartbeats, fetches of followers) get through while large
//!   ones fill the pool.
//!
//! No deadlock: whole requests are given back by the service, which needs no more of the pool for it. If all
//! that is taken belongs to requests that are still coming in, one of them goes on beyond the limit until it
//! is served, then the next one. A peer that lets others wait by not sending what it has begun is cut off,
//! the slowest first: see `relief`.
//!
//! The bound: `queued_bytes_max`, the rest of one request, and [`READ_BUFFER_BYTES`] twice a connection; and
//! for the buffers of large requests as much again as has arrived of them, `buffers::AHEAD_BYTES_MAX` for
//! what has not, and `buffers::IDLE_BYTES_MAX` that no request uses.

use std::sync::Arc;

use crate::control::Control;
use crate::pool::Share;

/// The largest read buffer of a connection, which is also what a connection may always have served. In bytes.
pub const READ_BUFFER_BYTES: usize = 64 << 10;

/// A share of the admission pool; given back when the last clone is dropped.
#[derive(Clone, Debug)]
pub struct Permit(#[expect(dead_code, reason = "held for its drop")] Option<Arc<Grant>>);

impl Permit {
    pub(crate) fn none() -> Permit {
        Permit(None)
    }

    /// Counts `bytes` of whole requests for `control`; `share` is what the pool gave for them, if it had to.
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
        // The pool's share first: the connection that is woken may want it.
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
