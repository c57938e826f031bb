//! When each broker was last heard of.

use std::collections::BTreeMap;
use std::time::Duration;

use ottla_wire::{BrokerEpoch, BrokerId, Instant};

use super::Call;
use crate::image::Image;

/// What is remembered of brokers between heartbeats. Lost with the controller, which costs no more than a
/// session's time.
#[derive(Debug, Default)]
pub(super) struct Sessions {
    brokers: BTreeMap<BrokerId, Session>,
    /// When the periodic work was last done.
    pub(super) balanced_at: Instant,
    pub(super) elected_at: Instant,
}

#[derive(Clone, Copy, Debug)]
struct Session {
    epoch: BrokerEpoch,
    contact: Instant,
    /// A heartbeat came under this controller. If none did, the broker has a session to be heard of, but does
    /// not keep its successor from registering.
    heard: bool,
    /// How far the broker has applied the metadata log, by its own word.
    metadata_offset: i64,
    /// The metadata-log offset by which it led nothing any more, once it is shutting down.
    shutdown_offset: Option<i64>,
}

impl Sessions {
    pub(super) fn new(now: Instant, image: &Image) -> Sessions {
        let session =
            |epoch| Session { epoch, contact: now, heard: false, metadata_offset: -1, shutdown_offset: None };
        let awake = image.brokers.values().filter(|broker| !broker.fenced);
        let brokers = awake.map(|broker| (broker.id, session(broker.epoch))).collect();
        Sessions { brokers, balanced_at: now, elected_at: now }
    }

    pub(super) fn heard(&mut self, id: BrokerId, epoch: BrokerEpoch, now: Instant, metadata_offset: i64) {
        let before = self.brokers.get(&id).filter(|session| session.epoch == epoch);
        let shutdown_offset = before.and_then(|session| session.shutdown_offset);
        self.brokers
            .insert(id, Session { epoch, contact: now, heard: true, metadata_offset, shutdown_offset });
    }

    pub(super) fn forget(&mut self, id: BrokerId) {
        self.brokers.remove(&id);
    }

    /// Whether this incarnation of the broker was heard of within `timeout`.
    pub(super) fn is_alive(&self, id: BrokerId, epoch: BrokerEpoch, now: Instant, timeout: Duration) -> bool {
        self.brokers.get(&id).is_some_and(|session| {
            session.heard && session.epoch == epoch && now.since(session.contact) < timeout
        })
    }

    /// Brokers of `image` that are not fenced and have not been heard of for `timeout`.
    pub(super) fn expired(&mut self, image: &Image, now: Instant, timeout: Duration) -> Vec<BrokerId> {
        let mut expired = Vec::new();
        for broker in image.brokers.values().filter(|broker| !broker.fenced) {
            // One that is not known yet was put there by another way than its heartbeat; its session starts
            // now.
            let session = self.brokers.entry(broker.id).or_insert(Session {
                epoch: broker.epoch,
                contact: now,
                heard: false,
                metadata_offset: -1,
                shutdown_offset: None,
            });
            if now.since(session.contact) >= timeout {
                expired.push(broker.id);
            }
        }
        expired
    }

    /// Whether all other active brokers know that `id`, which is shutting down, leads nothing any more: as it
    /// was first seen to do so in the image of `call`.
    pub(super) fn may_shut_down(&mut self, id: BrokerId, call: &Call<'_>) -> bool {
        let Some(session) = self.brokers.get_mut(&id) else { return false };
        let offset = *session.shutdown_offset.get_or_insert(call.image_offset);
        let knows = |session: &Session| session.metadata_offset >= offset;
        let mut others = call.image.brokers.values().filter(|other| other.id != id && other.is_active());
        others.all(|other| self.brokers.get(&other.id).is_some_and(knows))
    }
}
