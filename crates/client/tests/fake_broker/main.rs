//! The client against brokers that are told how to misbehave.
//!
//! The modules are marked as tests so that lints treat their helpers as such.

#[cfg(test)]
mod admin;
#[cfg(test)]
mod broker;
#[cfg(test)]
mod connection;
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
mod transactions;
#[cfg(test)]
mod txns;

use std::time::Duration;

use ottla_client::{ClientConfig, ProducerConfig};

/// Settings with short delays, so that a test takes milliseconds.
fn client(bootstrap: &str) -> ClientConfig {
    ClientConfig {
        request_timeout: Duration::from_millis(500),
        default_api_timeout: Duration::from_secs(5),
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
        delivery_timeout: Duration::from_secs(5),
        max_block: Duration::from_secs(2),
        ..ProducerConfig::default()
    }
}
