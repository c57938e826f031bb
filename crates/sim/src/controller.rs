//! The controller: the core in charge, and the metadata log that it writes.
//!
//! The metadata log itself is taken as sound here (its replication is another room's); what fails is the way
//! to it.

use std::rc::Rc;

use ottla_controller::controller::{Cuts, Entries, bootstrap_records};
use ottla_controller::{Call, Controller, IdSource, Image, Partition, Request, Response};
use ottla_settings::BrokerSettings;
use ottla_wire::messages::create_topics_request::{
    CreatableReplicaAssignment, CreatableTopic, CreatableTopicConfig,
};
use ottla_wire::messages::incremental_alter_configs_request::{AlterConfigsResource, AlterableConfig};
use ottla_wire::messages::{
    CreateTopicsRequest, ElectLeadersRequest, FeatureLevelRecord, IncrementalAlterConfigsRequest,
    MetadataRecord,
};
use ottla_wire::{Instant, Timestamp, Uuid};

use crate::message::Message;
use crate::mutation::Mutation;
use crate::node::{PARTITION, TOPIC, broker_id};
use crate::rng::Rng;
use crate::settings::{BROKERS, Settings};

/// The node of the metadata quorum that leads it.
pub struct ControllerNode {
    core: Controller,
    settings: BrokerSettings,
    image: Image,
    log: Rc<Vec<MetadataRecord>>,
    ids: Ids,
    /// The next decision that takes several entries is not logged to its end.
    breaks_off: bool,
    mutation: Option<Mutation>,
}

/// Bytes of an entry: so few that each unit of a decision has its own.
const ENTRY_BYTES_MAX: usize = 1;

struct Ids(Rng);

impl IdSource for Ids {
    fn uuid(&mut self) -> Uuid {
        let mut bytes = [0; 16];
        bytes[..8].copy_from_slice(&self.0.draw().to_be_bytes());
        bytes[8..].copy_from_slice(&self.0.draw().to_be_bytes());
        Uuid(bytes)
    }

    fn random(&mut self) -> u64 {
        self.0.draw()
    }
}

impl ControllerNode {
    /// A new cluster without brokers.
    pub fn new(
        settings: BrokerSettings,
        sim: &Settings,
        mutation: Option<Mutation>,
        rng: Rng,
    ) -> Result<ControllerNode, String> {
        let mut records = bootstrap_records(&settings);
        if !sim.elr {
            records.push(MetadataRecord::FeatureLevel(FeatureLevelRecord {
                name: ottla_controller::image::ELIGIBLE_LEADER_REPLICAS.into(),
                feature_level: 0,
            }));
        }
        let core = Controller::default();
        let log = Rc::new(Vec::new());
        let image = Image::default();
        let (ids, breaks_off) = (Ids(rng), false);
        let mut node = ControllerNode { core, settings, image, log, ids, breaks_off, mutation };
        node.commit(Instant(0), &records, &Cuts::Nowhere)?;
        Ok(node)
    }

    pub fn image(&self) -> &Image {
        &self.image
    }

    /// The partition as the metadata log has it.
    pub fn partition(&self) -> Option<&Partition> {
        self.image.topic(TOPIC)?.partition(PARTITION).map(|partition| &**partition)
    }

    /// Another node of the quorum takes over: what the core only remembers is lost. It makes whole what the
    /// one before has broken off, and only then hears requests.
    pub fn fail_over(&mut self, now: Instant) -> Result<(), String> {
        self.core = Controller::new(now, &self.image);
        if self.mutation == Some(Mutation::LeaveHalfDone) {
            // What it would do first is never logged.
            let image = self.image.clone();
            let mut call = call(&image, &self.settings, now, self.log.len(), &mut self.ids);
            let _lost = self.core.tick(&mut call);
        }
        self.tick(now).map(drop)
    }

    /// The next decision that takes several entries of the log is the last of this core, and ends after some
    /// of them.
    pub fn break_off(&mut self) {
        self.breaks_off = true;
    }

    /// Answers a broker. The flag says whether the metadata log has grown.
    pub fn receive(&mut self, now: Instant, message: &Message) -> Result<(Option<Message>, bool), String> {
        let before = self.log.len();
        let answer = match message {
            Message::Register(request) => {
                match self.ask(now, Request::BrokerRegistration((**request).clone()))? {
                    Some(Response::BrokerRegistration(response)) => Some(Message::Registered(response)),
                    _ => None,
                }
            }
            Message::Heartbeat(request) => {
                match self.ask(now, Request::BrokerHeartbeat((**request).clone()))? {
                    Some(Response::BrokerHeartbeat(response)) => Some(Message::HeartbeatAnswered(response)),
                    _ => None,
                }
            }
            Message::AlterPartition(id, request) => {
                match self.ask(now, Request::AlterPartition((**request).clone()))? {
                    Some(Response::AlterPartition(response)) => {
                        Some(Message::PartitionAltered(*id, Box::new(response)))
                    }
                    _ => None,
                }
            }
            Message::FetchMetadata { from } if *from < self.log.len() => Some(self.log_from(*from)),
            _ => None,
        };
        Ok((answer, self.log.len() > before))
    }

    /// Periodic work. Tells whether the metadata log has grown.
    pub fn tick(&mut self, now: Instant) -> Result<bool, String> {
        let mut grown = false;
        loop {
            let image = self.image.clone();
            let mut call = call(&image, &self.settings, now, self.log.len(), &mut self.ids);
            let outcome = self.core.tick(&mut call);
            if outcome.records.is_empty() {
                return Ok(grown);
            }
            self.commit(now, &outcome.records, &outcome.cuts)?;
            grown = true;
        }
    }

    pub fn create_topic(&mut self, now: Instant, sim: &Settings) -> Result<(), String> {
        let config = |(name, value): (&str, String)| CreatableTopicConfig {
            name: name.into(),
            value: Some(value.into()),
        };
        let flush = if sim.durability == ottla_replica::Durability::Flushed { 1 } else { i64::MAX };
        let mut configs = vec![
            ("min.insync.replicas", sim.min_isr.to_string()),
            ("unclean.leader.election.enable", sim.unclean.to_string()),
            ("retention.bytes", sim.retention_bytes.to_string()),
            ("flush.messages", flush.to_string()),
        ];
        if sim.log_append_time {
            configs.push(("message.timestamp.type", "LogAppendTime".to_owned()));
        }
        let assignment = CreatableReplicaAssignment {
            partition_index: PARTITION.0,
            broker_ids: (0..BROKERS).map(|index| broker_id(index).0).collect(),
        };
        let topic = CreatableTopic {
            name: TOPIC.into(),
            num_partitions: -1,
            replication_factor: -1,
            assignments: vec![assignment],
            configs: configs.into_iter().map(config).collect(),
        };
        let request = CreateTopicsRequest { topics: vec![topic], ..CreateTopicsRequest::default() };
        match self.ask(now, Request::CreateTopics(request))? {
            Some(Response::CreateTopics(response)) if response.topics[0].error_code == 0 => Ok(()),
            other => Err(format!("the topic cannot be created: {other:?}")),
        }
    }

    pub fn set_min_isr(&mut self, now: Instant, min_isr: u32) -> Result<(), String> {
        let config = AlterableConfig {
            name: "min.insync.replicas".into(),
            config_operation: 0,
            value: Some(min_isr.to_string().into()),
        };
        let resource =
            AlterConfigsResource { resource_type: 2, resource_name: TOPIC.into(), configs: vec![config] };
        let request = IncrementalAlterConfigsRequest { resources: vec![resource], validate_only: false };
        self.ask(now, Request::IncrementalAlterConfigs(request)).map(drop)
    }

    pub fn elect_preferred(&mut self, now: Instant) -> Result<(), String> {
        self.ask(now, Request::ElectLeaders(ElectLeadersRequest::default())).map(drop)
    }

    pub fn log_from(&self, from: usize) -> Message {
        Message::Metadata { from, records: Rc::new(self.log[from..].to_vec()) }
    }

    pub fn log_len(&self) -> usize {
        self.log.len()
    }

    /// No answer if the decision breaks off.
    fn ask(&mut self, now: Instant, request: Request) -> Result<Option<Response>, String> {
        let image = self.image.clone();
        let mut call = call(&image, &self.settings, now, self.log.len(), &mut self.ids);
        let outcome = self.core.handle(&mut call, &request);
        let whole = self.commit(now, &outcome.records, &outcome.cuts)?;
        Ok(whole.then_some(outcome.response))
    }

    /// Logs a decision entry by entry; false if it breaks off, and another core takes over.
    fn commit(&mut self, now: Instant, records: &[MetadataRecord], cuts: &Cuts) -> Result<bool, String> {
        let mut entries = Entries::of(ENTRY_BYTES_MAX);
        entries.add(records, cuts).map_err(|error| format!("the controller's own records: {error}"))?;
        let mut entries = entries.into_entries();
        let breaks_off = entries.len() > 1 && std::mem::take(&mut self.breaks_off);
        if breaks_off {
            entries.truncate(1 + self.ids.0.index(entries.len() - 1));
        }
        for entry in entries {
            let read =
                entry.frames.into_iter().map(MetadataRecord::from_frame).collect::<Result<Vec<_>, _>>();
            let records = read.map_err(|error| format!("the controller's own records: {error}"))?;
            let applied = self.image.apply_all(&records);
            self.image = applied.map_err(|error| format!("the controller's own records: {error}"))?.0;
            Rc::make_mut(&mut self.log).extend(records);
        }
        if breaks_off {
            self.fail_over(now)?;
        }
        Ok(!breaks_off)
    }
}

fn call<'a>(
    image: &'a Image,
    settings: &'a BrokerSettings,
    now: Instant,
    next_offset: usize,
    ids: &'a mut Ids,
) -> Call<'a> {
    let wall = Timestamp((now.0 / 1_000_000) as i64);
    Call {
        now,
        wall,
        image,
        settings,
        cluster_id: crate::node::CLUSTER,
        open_max: usize::MAX,
        next_offset: next_offset as i64,
        image_offset: next_offset as i64 - 1,
        ids,
    }
}
