//! BrokerHeartbeat (key 63): brokers say that they live, ask to be unfenced, fenced or let go (KIP-631).

use ottla_wire::messages::{
    BrokerHeartbeatRequest, BrokerHeartbeatResponse, BrokerRegistrationChangeRecord, MetadataRecord,
};
use ottla_wire::protocol::ErrorCode;
use ottla_wire::{BrokerEpoch, BrokerId, Uuid};

use super::leadership::{self, Turn};
use super::{Call, Controller, Failure, Outcome, foreseen};
use crate::image::{Image, Registration};
use ottla_settings::BrokerSettings;

/// Where a broker stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Standing {
    Fenced,
    Unfenced,
    /// Its leaderships move away.
    ShuttingDown,
    /// Nothing holds it any more.
    ShutDown,
}

impl Controller {
    /// A broker is unfenced when it wants to be and has applied its own registration. One that wants to shut
    /// down leads nothing after the first such heartbeat, and is let go when the others know.
    pub fn broker_heartbeat(
        &mut self,
        call: &mut Call<'_>,
        request: &BrokerHeartbeatRequest,
    ) -> Outcome<BrokerHeartbeatResponse> {
        let broker = match check_epoch(call.image, request.broker_id, request.broker_epoch) {
            Ok(broker) => broker.clone(),
            Err(failure) => {
                let response =
                    BrokerHeartbeatResponse { error_code: failure.code.code(), ..Default::default() };
                return Outcome::only(response);
            }
        };
        self.sessions.heard(broker.id, broker.epoch, call.now, request.current_metadata_offset);
        let (before, next) = self.standings(call, &broker, request);
        let mut records: Vec<MetadataRecord> = directories(&broker, request).into_iter().collect();
        // Who may lead depends on the directories as they are now.
        let image = foreseen(call.image, &records);
        if before != next {
            records.extend(transition(&image, call.settings, &broker, next));
        } else if !records.is_empty() {
            records.extend(leadership::records(&image, call.settings, Turn::LosesDirectories(broker.id)));
        }
        let response = BrokerHeartbeatResponse {
            is_caught_up: request.current_metadata_offset >= broker.epoch.0,
            is_fenced: matches!(next, Standing::Fenced | Standing::ShutDown),
            should_shut_down: next == Standing::ShutDown,
            ..BrokerHeartbeatResponse::default()
        };
        Outcome::cut(records, response)
    }

    fn standings(
        &mut self,
        call: &Call<'_>,
        broker: &Registration,
        request: &BrokerHeartbeatRequest,
    ) -> (Standing, Standing) {
        let leads = || {
            let leads = |topic: &crate::image::Topic| {
                topic.partitions.values().any(|one| one.leader == Some(broker.id))
            };
            call.image.topics().any(|topic| leads(topic))
        };
        let before = match (broker.fenced, broker.in_controlled_shutdown) {
            (true, _) => Standing::Fenced,
            (false, true) => Standing::ShuttingDown,
            (false, false) => Standing::Unfenced,
        };
        // One that can serve nothing must not wait until it is missed.
        let wants_fence = request.want_fence || online(broker, request).next().is_none();
        let next = match before {
            Standing::Fenced if request.want_shut_down => Standing::ShutDown,
            // A process that was shutting down does not come back; the next one registers anew.
            Standing::Fenced if wants_fence || broker.in_controlled_shutdown => Standing::Fenced,
            Standing::Fenced if request.current_metadata_offset >= broker.epoch.0 => Standing::Unfenced,
            Standing::Fenced => Standing::Fenced,
            Standing::Unfenced if request.want_shut_down && leads() => Standing::ShuttingDown,
            Standing::Unfenced if request.want_shut_down => Standing::ShutDown,
            Standing::Unfenced if wants_fence => Standing::Fenced,
            Standing::Unfenced => Standing::Unfenced,
            Standing::ShuttingDown if !leads() && self.sessions.may_shut_down(broker.id, call) => {
                Standing::ShutDown
            }
            Standing::ShuttingDown | Standing::ShutDown => Standing::ShuttingDown,
        };
        (before, next)
    }
}

/// Records that bring a broker to another standing. What it is comes first: if the rest is not logged any
/// more, the next controller can see what is missing.
fn transition(
    image: &Image,
    settings: &BrokerSettings,
    broker: &Registration,
    next: Standing,
) -> Vec<MetadataRecord> {
    let (first, turn) = match next {
        Standing::Fenced | Standing::ShutDown => return fence(image, settings, broker),
        Standing::Unfenced => (changed(broker, |change| change.fenced = -1), Turn::Returns(broker.id)),
        Standing::ShuttingDown => {
            (changed(broker, |change| change.in_controlled_shutdown = 1), Turn::Leaves(broker.id))
        }
    };
    let mut records = vec![first];
    records.extend(leadership::records(image, settings, turn));
    records
}

/// Fences a broker: it leaves its ISRs and leads nothing. Nothing to do if it is fenced already.
pub(super) fn fence(image: &Image, settings: &BrokerSettings, broker: &Registration) -> Vec<MetadataRecord> {
    let Some(first) = fenced(broker) else { return Vec::new() };
    let mut records = vec![first];
    records.extend(leadership::records(image, settings, Turn::Leaves(broker.id)));
    records
}

/// The record that fences a broker, unless it is fenced.
pub(super) fn fenced(broker: &Registration) -> Option<MetadataRecord> {
    (!broker.fenced).then(|| changed(broker, |change| change.fenced = 1))
}

/// The registration that an epoch is of. An older epoch is that of a process which has been replaced.
pub(super) fn check_epoch(image: &Image, id: i32, epoch: i64) -> Result<&Registration, Failure> {
    let broker = image.broker(BrokerId(id)).ok_or_else(|| {
        Failure::new(ErrorCode::BrokerIdNotRegistered, format!("Broker ID {id} is not currently registered"))
    })?;
    if broker.epoch != BrokerEpoch(epoch) {
        let why = format!("Expected broker epoch {}, but got broker epoch {epoch}", broker.epoch);
        return Err(Failure::new(ErrorCode::StaleBrokerEpoch, why));
    }
    Ok(broker)
}

/// What the heartbeat says of directories, if it is news.
fn directories(broker: &Registration, request: &BrokerHeartbeatRequest) -> Option<MetadataRecord> {
    let cordoned =
        request.cordoned_log_dirs.as_ref().filter(|dirs| broker.cordoned_log_dirs.as_ref() != Some(*dirs));
    let online: Vec<_> = online(broker, request).collect();
    // Of a broker whose directories have all failed nothing remains to be said: it is fenced.
    let failed = online.len() < broker.log_dirs.len() && !online.is_empty();
    if cordoned.is_none() && !failed {
        return None;
    }
    Some(changed(broker, |change| {
        change.cordoned_log_dirs = cordoned.cloned();
        if failed {
            change.log_dirs = online;
        }
    }))
}

/// Directories of the registration that have not failed.
fn online<'a>(
    broker: &'a Registration,
    request: &'a BrokerHeartbeatRequest,
) -> impl Iterator<Item = Uuid> + 'a {
    broker.log_dirs.iter().copied().filter(|dir| !request.offline_log_dirs.contains(dir))
}

fn changed(broker: &Registration, set: impl FnOnce(&mut BrokerRegistrationChangeRecord)) -> MetadataRecord {
    let mut change = BrokerRegistrationChangeRecord {
        broker_id: broker.id.0,
        broker_epoch: broker.epoch.0,
        ..BrokerRegistrationChangeRecord::default()
    };
    set(&mut change);
    MetadataRecord::BrokerRegistrationChange(change)
}
