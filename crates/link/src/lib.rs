//! Connections to Kafka brokers: what clients use to reach brokers, and brokers to reach each other.
//!
//! It knows requests and answers, and nothing of producers, consumers or administration. Any request of
//! [`ottla_wire::messages`] is sent at the best version that both sides speak. Whatever goes wrong says
//! whether the request may have reached the broker ([`LinkError::outcome_unknown`]).
//!
//! - [`connection`]: one connection; requests in flight, deadlines, answers in order, how it ended.
//! - [`versions`]: what a broker speaks.
//! - [`links`]: connections by key, made when needed, with backoff between attempts.
//! - [`office`]: asking whoever holds an office, as the controller or a coordinator, here or elsewhere.
//! - [`backoff`]: how long to wait before trying again.
//! - [`config`], [`error`], [`seam`]: settings; what can go wrong; time and chance.
//! - `dial`: from a name to a socket.

pub mod backoff;
pub mod config;
pub mod connection;
mod dial;
pub mod error;
pub mod links;
pub mod office;
pub mod seam;
pub mod versions;

pub use backoff::Backoff;
pub use config::LinkConfig;
pub use connection::{Connection, End, EndWatch, PendingResponse, Terms, Unanswered};
pub use error::{Advice, ApiError, ConnectCause, LinkError};
pub use links::Links;
pub use office::Office;
pub use seam::{Dice, Instant};
pub use versions::Versions;
