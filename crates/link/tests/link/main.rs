//! Connections to a broker that is told how to misbehave: whatever it does, each request has one outcome,
//! which says whether the broker may have seen it, and nobody waits for longer than they said.
//!
//! The modules are marked as tests so that lints treat their helpers as such.

#[cfg(test)]
mod answers;
#[cfg(test)]
mod broker;
#[cfg(test)]
mod deadlines;
#[cfg(test)]
mod ends;
#[cfg(test)]
mod links;
#[cfg(test)]
mod offices;
#[cfg(test)]
#[path = "../../../net/tests/net/steady.rs"]
mod steady;
#[cfg(test)]
#[path = "../wire/mod.rs"]
mod wire;

use std::time::Duration;

use ottla_link::LinkConfig;

/// Longer than anything takes that must not fail, however busy the machine is.
const PATIENCE: Duration = Duration::from_secs(60);

fn patient() -> LinkConfig {
    LinkConfig {
        request_timeout: PATIENCE,
        connection_setup_timeout: PATIENCE,
        reconnect_backoff: Duration::from_millis(5),
        reconnect_backoff_max: Duration::from_millis(20),
        ..LinkConfig::default()
    }
}
