//! The client against brokers that are told how to misbehave.
//!
//! The modules are marked as tests so that lints treat their helpers as such.

#[cfg(test)]
mod admin;
#[cfg(test)]
mod broker;
#[cfg(test)]
mod consumer;
#[cfg(test)]
mod group;
#[cfg(test)]
mod groups;
#[cfg(test)]
mod handlers;
#[cfg(test)]
mod producer;
#[cfg(test)]
#[path = "../../../net/tests/net/steady.rs"]
mod steady;
#[cfg(test)]
mod transactions;
#[cfg(test)]
mod txns;
#[cfg(test)]
#[path = "../../../link/tests/wire/mod.rs"]
mod wire;

use std::time::Duration;

use ottla_client::{ClientConfig, ProducerConfig};

/// Longer than anything takes that must not fail, however busy the machine is.
const PATIENCE: Duration = Duration::from_secs(60);

/// Settings with short delays, so that a test takes milliseconds. Time-outs are for the tests that are about
/// them: these set their own, in [`steady::steady`] time.
fn client(bootstrap: &str) -> ClientConfig {
    ClientConfig {
        request_timeout: PATIENCE,
        default_api_timeout: PATIENCE,
        retry_backoff: Duration::from_millis(5),
        retry_backoff_max: Duration::from_millis(20),
        reconnect_backoff: Duration::from_millis(5),
        reconnect_backoff_max: Duration::from_millis(20),
        seed: Some(1),
        ..ClientConfig::new(bootstrap)
    }
}

fn producing() -> ProducerConfig {
    ProducerConfig {
        linger: Duration::from_millis(1),
        delivery_timeout: 2 * PATIENCE,
        max_block: PATIENCE,
        ..ProducerConfig::default()
    }
}
