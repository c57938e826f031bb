//! The door: what every request goes through, whichever API it is for.
//!
//! 1. [`admit`]: the header is read, and the connection has come far enough for this API ([`Session`]), which
//!    is served in this version.
//! 2. [`authorize`]: the handler asks for each thing that the request names.
//! 3. [`throttle`]: what the request has cost is charged to the client; the answer tells how long it is to
//!    wait.
//!
//! - [`session`]: what is kept for one connection.
//! - [`operations`]: what a client may do, as the authorized-operations fields say it.

mod admit;
pub mod authorize;
pub mod operations;
mod session;
pub mod throttle;

use std::sync::Arc;

pub use admit::{Admitted, TurnedAway, admit, is_of};
pub use authorize::{AllowAll, Authorizer, Operation, Resource};
pub use session::Session;
pub use throttle::{Quotas, Throttled, Unlimited};

/// Who decides at the door.
#[derive(Clone)]
pub struct Door {
    pub authorizer: Arc<dyn Authorizer>,
    pub quotas: Arc<dyn Quotas>,
}

impl Door {
    /// Everybody may do everything, and nobody waits.
    pub fn open() -> Door {
        Door { authorizer: Arc::new(AllowAll), quotas: Arc::new(Unlimited) }
    }
}
