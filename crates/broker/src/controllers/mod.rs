//! The controller at work: takes requests from a queue, has the pure core decide them, and logs the
//! decisions.
//!
//! - `handle`: [`ControllerHandle`], the one way to the controller for everything in this broker.
//! - `error`: why it did not answer.
//! - `task`: [`ControllerTask`] serves the queue while this node leads the metadata log, and refuses requests
//!   while it does not.
//! - `round`: decisions that are logged together, and who waits for them.

mod error;
mod handle;
mod round;
mod task;
#[cfg(test)]
mod tests;

use ottla_controller::controller::IdSource;
use ottla_wire::Uuid;

pub use error::AskError;
pub use handle::ControllerHandle;
pub use round::Reached;
pub use task::ControllerTask;

/// Randomness for the controller's decisions.
pub struct Random;

impl IdSource for Random {
    fn uuid(&mut self) -> Uuid {
        loop {
            let id = Uuid(rand::random());
            // Kafka reserves the ids near zero, and a leading dash is a nuisance on command lines.
            if !id.is_zero() && id.0[0] >> 2 != 62 {
                return id;
            }
        }
    }

    fn random(&mut self) -> u64 {
        rand::random()
    }
}
