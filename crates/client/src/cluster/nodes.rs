//! Connections to the brokers of a cluster: one for each broker and lane, made when needed, with backoff between attempts.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use ottla_wire::BrokerId;

use crate::backoff::Backoff;
use crate::config::ClientConfig;
use crate::connection::Connection;
use crate::error::Error;
use crate::seam::{self, Instant};

/// Requests in one lane wait for each other, those in different lanes do not. A consumer has a lane of its own, so that
/// its long polls do not hold up others.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Lane(pub(super) u32);

impl Lane {
    /// The lane of whoever asked for none.
    pub const SHARED: Lane = Lane(0);
}

/// Who is at the other end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Node {
    /// One of `bootstrap.servers`; which broker that is, is not known.
    Bootstrap(usize),
    Broker(BrokerId),
}

pub(super) struct Nodes {
    config: Arc<ClientConfig>,
    backoff: Backoff,
    slots: Mutex<BTreeMap<(Node, Lane), Arc<Slot>>>,
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

impl Nodes {
    pub(super) fn new(config: Arc<ClientConfig>, backoff: Backoff) -> Nodes {
        Nodes { config, backoff, slots: Mutex::default() }
    }

    /// The open connection, if there is one to this very address.
    pub(super) fn ready(&self, node: Node, lane: Lane, address: &str) -> Option<Connection> {
        let slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        slots.get(&(node, lane))?.ready(address)
    }

    /// The open connection, or a new one; waits out the backoff after failed attempts.
    pub(super) async fn connection(
        &self,
        node: Node,
        lane: Lane,
        address: &str,
    ) -> Result<Connection, Error> {
        let slot = {
            let mut slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
            slots.entry((node, lane)).or_default().clone()
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

    /// Lets go of connections that are of no use any more: closed ones, and those to nodes that `keep` refuses.
    pub(super) fn retain(&self, keep: impl Fn(Node) -> bool) {
        let mut slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        // A slot that someone is connecting through is shared, and stays.
        slots.retain(|(node, _), slot| Arc::strong_count(slot) > 1 || keep(*node) && slot.is_worth_keeping());
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
