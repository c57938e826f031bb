//! What the broker shows over HTTP: `/metrics`, `/livez`, `/readyz`, `/groups/ID/history`.
//!
//! It is up before the broker is ready, so that recovery can be watched, and down after everything else. It
//! holds no part of the broker: what it shows comes from an implementation of [`Facts`]. Routes come in parts
//! ([`Part`]), each of a module or of a room above this one; every request passes the same guard and the same
//! [`Authenticate`].
//!
//! - [`server`]: serving and stopping; [`guard`]: bounds what strangers can hold open
//! - [`auth`]: who may ask; [`part`]: routes, composed; [`reply`]: the form of all replies
//! - [`facts`]: what is asked of the broker; [`routes`]: the parts that show it
//! - [`health`], [`groups`]: whether it serves clients, and why a group has rebalanced
//! - [`metrics`]: what there is to count, and the text that it is told in

pub mod auth;
pub mod facts;
pub mod groups;
mod guard;
pub mod health;
pub mod metrics;
pub mod part;
pub mod reply;
pub mod routes;
pub mod server;

pub use auth::{AllowAll, Authenticate, Refused};
pub use facts::Facts;
pub use part::Part;
pub use routes::parts;
pub use server::serve;
