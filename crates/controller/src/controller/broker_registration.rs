//! BrokerRegistration (key 62): a broker says that it has started, and gets its epoch (KIP-631).

use ottla_settings::key;
use ottla_wire::messages::register_broker_record::{BrokerEndpoint, BrokerFeature};
use ottla_wire::messages::{
    BrokerRegistrationRequest, BrokerRegistrationResponse, MetadataRecord, RegisterBrokerRecord,
};
use ottla_wire::protocol::ErrorCode;
use ottla_wire::{BrokerEpoch, BrokerId, Uuid};

use super::change::Change;
use super::leadership::{self, Turn};
use super::{Call, Controller, Cuts, Entries, Failure, Outcome, broker_heartbeat, foreseen};
use crate::image::{Image, Partition, Registration};
use ottla_settings::BrokerSettings;

impl Controller {
    /// A new process is fenced until its heartbeats show that it has caught up with the metadata log.
    ///
    /// `previous_broker_epoch` is how a broker says that it lost nothing it acknowledged (it shut down
    /// cleanly, or its logs were flushed before every acknowledgement): the epoch it had then. With any other
    /// it leaves all ISRs and ELRs (KIP-966).
    pub fn register_broker(
        &mut self,
        call: &mut Call<'_>,
        request: &BrokerRegistrationRequest,
    ) -> Outcome<BrokerRegistrationResponse> {
        match self.registered(call, request) {
            Ok((records, epoch)) => {
                let response = BrokerRegistrationResponse { broker_epoch: epoch.0, ..Default::default() };
                Outcome::cut(records, response)
            }
            Err(failure) => {
                let response =
                    BrokerRegistrationResponse { error_code: failure.code.code(), ..Default::default() };
                Outcome::only(response)
            }
        }
    }

    fn registered(
        &mut self,
        call: &Call<'_>,
        request: &BrokerRegistrationRequest,
    ) -> Result<(Vec<MetadataRecord>, BrokerEpoch), Failure> {
        let id = BrokerId(request.broker_id);
        if request.cluster_id != call.cluster_id {
            let why =
                format!("Expected cluster ID {}, but got cluster ID {}", call.cluster_id, request.cluster_id);
            return Err(Failure::new(ErrorCode::InconsistentClusterId, why));
        }
        let before = call.image.broker(id);
        let same_process = before.filter(|broker| broker.incarnation == request.incarnation_id);
        if let (Some(broker), None) = (before, same_process)
            && self.sessions.is_alive(
                id,
                broker.epoch,
                call.now,
                call.settings.read(key::BROKER_SESSION_TIMEOUT_MS),
            )
        {
            let why = format!("Another broker is registered with broker id {id}.");
            return Err(Failure::new(ErrorCode::DuplicateBrokerRegistration, why));
        }
        check_features(call, request)?;
        check_directories(call, request)?;
        let mut records = Vec::new();
        if let (Some(broker), None) = (before, same_process) {
            records = end_of_old_process(call, broker, request);
            self.sessions.forget(id);
        }
        let epoch = same_process.map_or_else(|| next_epoch(call, &records), |broker| broker.epoch);
        records.push(MetadataRecord::RegisterBroker(record(
            request,
            epoch,
            same_process.map(|broker| &**broker),
        )));
        Ok((records, epoch))
    }
}

/// The epoch of a registration that is logged after `records`: its offset, by which a broker shows that it
/// has seen it. Epochs only grow, over all brokers.
fn next_epoch(call: &Call<'_>, records: &[MetadataRecord]) -> BrokerEpoch {
    let mut entries = Entries::default();
    // What cannot be logged is refused by whoever logs it.
    let before = entries.add(records, &Cuts::Anywhere).map_or(0, |()| entries.count().saturating_sub(1));
    let offset = call.next_offset.saturating_add(i64::try_from(before).unwrap_or(i64::MAX));
    let highest = call.image.brokers.values().map(|broker| broker.epoch.0).max().unwrap_or(-1);
    BrokerEpoch(offset.max(highest + 1))
}

/// A process has gone and another taken its place: it leads nothing until it is unfenced. The registration
/// comes after this, because with it goes what is known of the old process.
fn end_of_old_process(
    call: &Call<'_>,
    broker: &Registration,
    request: &BrokerRegistrationRequest,
) -> Vec<MetadataRecord> {
    let kept_all = request.previous_broker_epoch == broker.epoch.0;
    let turn = match (kept_all, call.image.features.eligible_leader_replicas()) {
        (false, true) => Turn::LostData(broker.id),
        _ => Turn::Leaves(broker.id),
    };
    let mut records: Vec<MetadataRecord> = broker_heartbeat::fenced(broker).into_iter().collect();
    records.extend(leadership::records(call.image, call.settings, turn));
    if let [only] = request.log_dirs[..] {
        records.extend(moved_to(only, &foreseen(call.image, &records), call.settings, broker.id));
    }
    records
}

/// A broker with a single directory has no choice where its replicas are: also not if the directory is new,
/// or if it gave one up.
fn moved_to(
    directory: Uuid,
    image: &Image,
    settings: &BrokerSettings,
    broker: BrokerId,
) -> Vec<MetadataRecord> {
    let elsewhere =
        |partition: &Partition| partition.directory_of(broker).is_some_and(|known| known != directory);
    let may_lead = |one: BrokerId| one != broker && image.is_active(one);
    leadership::each(image, settings, usize::MAX, elsewhere, |topic, index, partition, config| {
        Change::new(image, topic, index, partition, config, &may_lead).directory(broker, directory).record()
    })
}

fn check_features(call: &Call<'_>, request: &BrokerRegistrationRequest) -> Result<(), Failure> {
    for (name, level) in &call.image.features.levels {
        let supported = request.features.iter().find(|feature| feature.name == *name);
        let (min, max) = supported
            .map_or((0, 0), |feature| (feature.min_supported_version, feature.max_supported_version));
        if *level < min || *level > max {
            let why = format!(
                "Unable to register because the broker does not support finalized version {level} of {name}. The broker \
                 wants a version between {min} and {max}, inclusive."
            );
            return Err(Failure::new(ErrorCode::UnsupportedVersion, why));
        }
    }
    Ok(())
}

fn check_directories(call: &Call<'_>, request: &BrokerRegistrationRequest) -> Result<(), Failure> {
    let invalid = |why: String| Err(Failure::new(ErrorCode::InvalidRegistration, why));
    if request.log_dirs.is_empty() {
        return invalid("No directories specified in request".to_owned());
    }
    for (at, dir) in request.log_dirs.iter().enumerate() {
        if request.log_dirs[..at].contains(dir) {
            return invalid(format!("Directory {dir} is named twice"));
        }
        let other = call
            .image
            .brokers
            .values()
            .find(|broker| broker.id.0 != request.broker_id && broker.log_dirs.contains(dir));
        if let Some(other) = other {
            return invalid(format!("Broker {} is already registered with directory {dir}", other.id));
        }
    }
    Ok(())
}

fn record(
    request: &BrokerRegistrationRequest,
    epoch: BrokerEpoch,
    same_process: Option<&Registration>,
) -> RegisterBrokerRecord {
    let endpoint = |one: &ottla_wire::messages::broker_registration_request::Listener| BrokerEndpoint {
        name: one.name.clone(),
        host: one.host.clone(),
        port: one.port,
        security_protocol: one.security_protocol,
    };
    let feature = |one: &ottla_wire::messages::broker_registration_request::Feature| BrokerFeature {
        name: one.name.clone(),
        min_supported_version: one.min_supported_version,
        max_supported_version: one.max_supported_version,
    };
    RegisterBrokerRecord {
        broker_id: request.broker_id,
        is_migrating_zk_broker: false,
        incarnation_id: request.incarnation_id,
        broker_epoch: epoch.0,
        end_points: request.listeners.iter().map(endpoint).collect(),
        features: request.features.iter().map(feature).collect(),
        rack: request.rack.clone(),
        fenced: same_process.is_none_or(|broker| broker.fenced),
        in_controlled_shutdown: same_process.is_some_and(|broker| broker.in_controlled_shutdown),
        log_dirs: request.log_dirs.clone(),
        cordoned_log_dirs: same_process.and_then(|broker| broker.cordoned_log_dirs.clone()),
    }
}
