//! Connections by key: one for each, made when needed, with backoff between attempts.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use crate::backoff::Backoff;
use crate::config::LinkConfig;
use crate::connection::Connection;
use crate::error::LinkError;
use crate::seam::{self, Dice, Instant};

/// Connections to many brokers. A key names a broker and, if there is more than one connection to each, what
/// this one is for.
pub struct Links<K> {
    config: LinkConfig,
    backoff: Backoff,
    slots: Mutex<BTreeMap<K, Arc<Slot>>>,
}

#[derive(Default)]
struct Slot {
    connection: Mutex<Option<Connection>>,
    /// Held while connecting, so that all who need the connection wait for one attempt.
    attempts: tokio::sync::Mutex<Attempts>,
}

#[derive(Default)]
struct Attempts {
    failures: u32,
    not_before: Option<Instant>,
}

impl<K: Ord + Copy> Links<K> {
    pub fn new(config: LinkConfig, dice: Dice) -> Links<K> {
        let backoff = Backoff::new(config.reconnect_backoff, config.reconnect_backoff_max, dice);
        Links { config, backoff, slots: Mutex::default() }
    }

    /// The open connection, if there is one to this very address.
    pub fn ready(&self, key: K, address: &str) -> Option<Connection> {
        let slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        slots.get(&key)?.ready(address)
    }

    /// The open connection, or a new one; waits out the backoff after failed attempts.
    pub async fn connection(&self, key: K, address: &str) -> Result<Connection, LinkError> {
        let slot = {
            let mut slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
            slots.entry(key).or_default().clone()
        };
        if let Some(connection) = slot.ready(address) {
            return Ok(connection);
        }
        let mut attempts = slot.attempts.lock().await;
        if let Some(connection) = slot.ready(address) {
            return Ok(connection);
        }
        if let Some(not_before) = attempts.not_before {
            tokio::time::sleep_until(not_before).await;
        }
        match Connection::connect(address, &self.config).await {
            Ok(connection) => {
                *attempts = Attempts::default();
                *slot.connection.lock().unwrap_or_else(PoisonError::into_inner) = Some(connection.clone());
                Ok(connection)
            }
            Err(error) => {
                attempts.failures += 1;
                attempts.not_before = Some(seam::now() + self.backoff.after(attempts.failures));
                Err(error)
            }
        }
    }

    /// Lets go of connections that are of no use any more: closed ones, and those that `keep` refuses.
    pub fn retain(&self, keep: impl Fn(K) -> bool) {
        let mut slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        // A slot that someone is connecting through is shared, and stays.
        slots.retain(|key, slot| Arc::strong_count(slot) > 1 || keep(*key) && slot.is_worth_keeping());
    }
}

impl Slot {
    fn ready(&self, address: &str) -> Option<Connection> {
        let connection = self.connection.lock().unwrap_or_else(PoisonError::into_inner);
        connection.as_ref().filter(|c| !c.is_closed() && c.address() == address).cloned()
    }

    fn is_worth_keeping(&self) -> bool {
        let connection = self.connection.lock().unwrap_or_else(PoisonError::into_inner);
        match &*connection {
            Some(connection) => !connection.is_closed(),
            // Remembers the backoff after a failed attempt.
            None => true,
        }
    }
}
