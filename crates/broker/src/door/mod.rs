//! The door: the steps that every request goes through.
//!
//! 1. [`mod@admit`]: the header is read, the connection has come far enough for this API ([`Session`]), and
//!    the API is served in this version.
//! 2. [`authorize`]: the handler asks permission for each thing that the request names.
//! 3. [`throttle`]: the client is charged for the request. The answer says how long it must wait.
//!
//! - [`session`]: the state of one connection.
//! - [`operations`]: the operations a client may do, for the authorized-operations fields.

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

/// The deciders at the door.
#[derive(Clone)]
pub struct Door {
    pub authorizer: Arc<dyn Authorizer>,
    pub quotas: Arc<dyn Quotas>,
}

impl Door {
    /// A door at which everyone may do everything, and nobody waits.
    pub fn open() -> Door {
        Door { authorizer: Arc::new(AllowAll), quotas: Arc::new(Unlimited) }
    }
}
