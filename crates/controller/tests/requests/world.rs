//! A cluster's metadata without a cluster: requests go to the controller, their records to the image.

use std::time::Duration;

use ottla_controller::{Call, Controller, Delta, IdSource, Image, Outcome, Partition, Request, Response};
use ottla_settings::BrokerSettings;
use ottla_wire::messages::broker_registration_request::{Feature, Listener};
use ottla_wire::messages::create_topics_request::{
    CreatableReplicaAssignment, CreatableTopic, CreatableTopicConfig,
};
use ottla_wire::messages::{
    BrokerHeartbeatRequest, BrokerHeartbeatResponse, BrokerRegistrationRequest, BrokerRegistrationResponse,
    CreateTopicsRequest, CreateTopicsResponse, MetadataRecord,
};
use ottla_wire::protocol::ErrorCode;
use ottla_wire::{BrokerId, Instant, PartitionIndex, Timestamp, Uuid};

pub const CLUSTER: &str = "test-cluster";

pub struct World {
    pub image: Image,
    pub controller: Controller,
    pub settings: BrokerSettings,
    pub now: Instant,
    pub offset: i64,
    /// Records of the last request.
    pub records: Vec<MetadataRecord>,
    pub delta: Delta,
    ids: Ids,
}

/// Counts instead of rolling dice.
#[derive(Default)]
pub struct Ids(u64);

impl IdSource for Ids {
    fn uuid(&mut self) -> Uuid {
        self.0 += 1;
        Uuid(u128::from(self.0).to_be_bytes())
    }
    fn random(&mut self) -> u64 {
        self.0 += 1;
        self.0
    }
}

impl World {
    /// A new cluster whose brokers 1 to `brokers` are unfenced; broker `n` is on rack `r<n % 3>` of more than
    /// three.
    pub fn new(brokers: i32) -> World {
        World::with(brokers, &[])
    }

    pub fn with(brokers: i32, settings: &[(&str, &str)]) -> World {
        let own = [("node.id", "1")].into_iter().chain(settings.iter().copied());
        let settings = BrokerSettings::from_pairs(own).unwrap();
        let records = ottla_controller::controller::bootstrap_records(&settings);
        let (image, delta) = Image::default().apply_all(&records).unwrap();
        let (now, ids) = (Instant(1_000_000_000), Ids(1000));
        let controller = Controller::new(now, &image);
        let mut world = World { image, controller, settings, now, offset: 10, records, delta, ids };
        for id in 1..=brokers {
            world.register(id, 0);
            world.heartbeat(id);
        }
        world
    }

    /// Without the feature of eligible leader replicas.
    pub fn without_elr(brokers: i32) -> World {
        let mut world = World::new(brokers);
        let level = ottla_wire::messages::FeatureLevelRecord {
            name: "eligible.leader.replicas.version".into(),
            feature_level: 0,
        };
        world.apply(vec![MetadataRecord::FeatureLevel(level)]);
        world
    }

    pub fn ask<R: TryFrom<Response>>(&mut self, request: impl Into<Request>) -> R {
        let mut call = call(&self.image, &self.settings, self.now, self.offset, &mut self.ids);
        let outcome = self.controller.handle(&mut call, &request.into());
        self.apply(outcome.records);
        let Ok(response) = R::try_from(outcome.response) else {
            panic!("the response is of another request")
        };
        response
    }

    /// What a request would lead to.
    pub fn decide(&mut self, request: impl Into<Request>) -> Outcome<Response> {
        let mut call = call(&self.image, &self.settings, self.now, self.offset, &mut self.ids);
        self.controller.handle(&mut call, &request.into())
    }

    /// All that is due, as the log holds it.
    pub fn tick(&mut self) {
        let mut all = Vec::new();
        loop {
            let mut call = call(&self.image, &self.settings, self.now, self.offset, &mut self.ids);
            let records = self.controller.tick(&mut call).records;
            if records.is_empty() {
                self.records = all;
                return;
            }
            self.apply(records);
            all.append(&mut self.records);
        }
    }

    /// Another controller takes over.
    pub fn fail_over(&mut self) {
        self.controller = Controller::new(self.now, &self.image);
    }

    /// Logs a part of a decision, after which not everything holds that [`World::check`] asks for.
    pub fn apply_part(&mut self, records: &[MetadataRecord]) {
        (self.image, self.delta) = self.image.apply_all(records).unwrap();
        self.offset += records.len() as i64;
    }

    pub fn after(&mut self, time: Duration) {
        self.now = self.now + time;
    }

    fn apply(&mut self, records: Vec<MetadataRecord>) {
        // As the metadata log would hold them.
        let records: Vec<MetadataRecord> = records
            .iter()
            .map(|record| MetadataRecord::from_frame(record.to_frame().unwrap()).unwrap())
            .collect();
        (self.image, self.delta) = self.image.apply_all(&records).unwrap();
        self.offset += records.len() as i64;
        self.records = records;
        self.check();
    }

    /// What holds after every decision that was logged whole.
    pub fn check(&self) {
        for topic in self.image.topics() {
            for (index, partition) in &topic.partitions {
                let at = format!("{}-{index}: {partition:?}", topic.name);
                assert!(index.0 < topic.partition_count(), "{at}");
                assert!(partition.leader.is_none_or(|leader| partition.isr.contains(&leader)), "{at}");
                assert!(partition.leader.is_none_or(|leader| self.image.is_active(leader)), "{at}");
                let online = |broker| self.image.has_online_replica(partition, broker);
                assert!(partition.leader.is_none_or(online), "{at}");
                assert!(partition.leader.is_none() || partition.last_known_elr.is_empty(), "{at}");
                assert!(partition.isr.iter().all(|broker| partition.replicas.contains(broker)), "{at}");
                assert!(partition.elr.iter().all(|broker| !partition.isr.contains(broker)), "{at}");
                assert!(partition.elr.iter().all(|broker| partition.replicas.contains(broker)), "{at}");
                assert_eq!(partition.directories.len(), partition.replicas.len(), "{at}");
                assert!(partition.adding.iter().all(|broker| partition.replicas.contains(broker)), "{at}");
                assert!(partition.removing.iter().all(|broker| partition.replicas.contains(broker)), "{at}");
            }
        }
        let replayed = Image::default().apply_all(&self.image.to_records()).unwrap().0;
        assert_eq!(replayed, self.image, "a snapshot gives another image");
    }

    pub fn register(&mut self, id: i32, process: u8) -> BrokerRegistrationResponse {
        let previous = self.image.broker_epoch(BrokerId(id)).map_or(-1, |epoch| epoch.0);
        self.register_after(id, process, previous)
    }

    pub fn register_after(
        &mut self,
        id: i32,
        process: u8,
        previous_broker_epoch: i64,
    ) -> BrokerRegistrationResponse {
        let request = self.registration(id, process, previous_broker_epoch);
        self.ask(request)
    }

    pub fn registration(
        &self,
        id: i32,
        process: u8,
        previous_broker_epoch: i64,
    ) -> BrokerRegistrationRequest {
        let feature = |feature: &ottla_controller::image::Feature| Feature {
            name: feature.name.into(),
            min_supported_version: feature.min,
            max_supported_version: feature.max,
        };
        BrokerRegistrationRequest {
            broker_id: id,
            cluster_id: CLUSTER.into(),
            incarnation_id: Uuid([process + 1; 16]),
            listeners: vec![Listener {
                name: "PLAINTEXT".into(),
                host: "localhost".into(),
                port: 9092,
                security_protocol: 0,
            }],
            features: ottla_controller::image::Feature::ALL.iter().map(feature).collect(),
            rack: Some(format!("r{}", id % 3).into()),
            log_dirs: vec![dir(id)],
            previous_broker_epoch,
            ..BrokerRegistrationRequest::default()
        }
    }

    pub fn heartbeat(&mut self, id: i32) -> BrokerHeartbeatResponse {
        self.heartbeat_with(id, |_| {})
    }

    pub fn heartbeat_with(
        &mut self,
        id: i32,
        set: impl FnOnce(&mut BrokerHeartbeatRequest),
    ) -> BrokerHeartbeatResponse {
        let request = self.heartbeat_request(id, set);
        self.ask(request)
    }

    pub fn heartbeat_request(
        &self,
        id: i32,
        set: impl FnOnce(&mut BrokerHeartbeatRequest),
    ) -> BrokerHeartbeatRequest {
        let mut request = BrokerHeartbeatRequest {
            broker_id: id,
            broker_epoch: self.image.broker_epoch(BrokerId(id)).map_or(-1, |epoch| epoch.0),
            current_metadata_offset: self.offset,
            ..BrokerHeartbeatRequest::default()
        };
        set(&mut request);
        request
    }

    pub fn fence(&mut self, id: i32) {
        self.heartbeat_with(id, |request| request.want_fence = true);
    }

    pub fn create(&mut self, topic: CreatableTopic) -> CreateTopicsResponse {
        self.ask(CreateTopicsRequest { topics: vec![topic], ..CreateTopicsRequest::default() })
    }

    /// A topic of one partition on `replicas`, the first leading.
    pub fn place(&mut self, name: &str, replicas: &[i32], configs: &[(&str, &str)]) {
        let topic = CreatableTopic {
            assignments: vec![CreatableReplicaAssignment {
                partition_index: 0,
                broker_ids: replicas.to_vec(),
            }],
            ..topic(name, -1, -1, configs)
        };
        let response = self.create(topic);
        assert_eq!(response.topics[0].error_code, 0, "{:?}", response.topics[0].error_message);
    }

    pub fn partition(&self, topic: &str) -> Partition {
        (**self.image.topic(topic).unwrap().partition(PartitionIndex(0)).unwrap()).clone()
    }
}

/// Partitions that a broker has descriptors for.
pub const OPEN_MAX: usize = 15_000;

fn call<'a>(
    image: &'a Image,
    settings: &'a BrokerSettings,
    now: Instant,
    next_offset: i64,
    ids: &'a mut Ids,
) -> Call<'a> {
    let (image_offset, cluster_id, open_max) = (next_offset - 1, CLUSTER, OPEN_MAX);
    Call { now, wall: Timestamp(0), image, settings, cluster_id, open_max, next_offset, image_offset, ids }
}

pub fn topic(name: &str, partitions: i32, replicas: i16, configs: &[(&str, &str)]) -> CreatableTopic {
    let config = |(name, value): &(&str, &str)| CreatableTopicConfig {
        name: (*name).into(),
        value: Some((*value).into()),
    };
    CreatableTopic {
        name: name.into(),
        num_partitions: partitions,
        replication_factor: replicas,
        assignments: Vec::new(),
        configs: configs.iter().map(config).collect(),
    }
}

pub fn ids(numbers: &[i32]) -> Vec<BrokerId> {
    numbers.iter().copied().map(BrokerId).collect()
}

/// The directory of broker `id`.
pub fn dir(id: i32) -> Uuid {
    Uuid([id as u8 + 100; 16])
}

#[track_caller]
pub fn expect(code: i16, expected: ErrorCode, what: impl std::fmt::Debug) {
    assert_eq!(ErrorCode::from_code(code), Some(expected), "{what:?}");
}
