//! The base of tests of the whole broker: a broker on a disk in memory, without a network. The other brokers
//! of its cluster are only records in the metadata log.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use ottla_controller::image::Endpoint;
use ottla_log::{DataDir, DirOptions, Disk, Identity, MemDisk};
use ottla_net::{
    CloseReason, ConnectionId, Frame, Listener, NetSettings, Part, Peer, Plain, Principal, Response,
    Responses, SecurityProtocol, Server, Service,
};
use ottla_quorum::MetadataLog;
use ottla_settings::BrokerSettings;
use ottla_tasks::Tasks;
use ottla_wire::batch::BatchBuilder;
use ottla_wire::messages::create_topics_request::{CreatableReplicaAssignment, CreatableTopic};
use ottla_wire::messages::register_broker_record::BrokerEndpoint;
use ottla_wire::messages::{
    CreateTopicsRequest, CreateTopicsResponse, MetadataRecord, PartitionChangeRecord, RegisterBrokerRecord,
    RequestHeader, ResponseHeader,
};
use ottla_wire::primitives::{Message, Reader, Request, encode_to_bytes};
use ottla_wire::protocol::{ApiKey, request_header_version, response_header_version};
use ottla_wire::{BrokerId, Timestamp, TopicId, Uuid};

use super::checked::Metadata;
use super::claims::Claims;
use super::node::Node;
use super::registration::Membership;
use crate::clock::Clock;
use crate::controllers::ControllerHandle;
use crate::door::{Door, Session};
use crate::metadata::RecoveryProgress;
use crate::service::KafkaService;
use crate::shard::Mail;

/// The id of the tested broker.
pub const ME: i32 = 1;

/// The listener for clients.
const LISTENER: &str = "PLAINTEXT";

/// How long a test waits for what it needs. The machine may be busy.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// A broker, and the parts that survive it.
pub struct Stage {
    pub node: Node,
    pub disk: MemDisk,
    service: KafkaService,
    metadata: tempfile::TempDir,
}

impl Stage {
    /// A new broker, registered in its cluster.
    pub async fn new() -> Stage {
        Stage::behind(Door::open()).await
    }

    /// Like [`Stage::new`], with a door of the test's own.
    pub async fn behind(door: Door) -> Stage {
        let stage = Stage::unknown(door).await;
        stage.join().await;
        stage
    }

    /// As [`Stage::behind`], and its cluster does not know the broker yet.
    pub async fn unknown(door: Door) -> Stage {
        let metadata = tempfile::tempdir().unwrap();
        let disk = MemDisk::new();
        // The metadata log has a disk of its own: its folder is a real one of the same name.
        let above: Vec<_> =
            metadata.path().ancestors().skip(1).filter(|folder| folder.parent().is_some()).collect();
        above.iter().rev().for_each(|folder| disk.create_dir(folder).unwrap());
        Stage::open_behind(door, disk, metadata).await
    }

    /// A broker that is not registered yet.
    pub async fn open(disk: MemDisk, metadata: tempfile::TempDir) -> Stage {
        Stage::open_behind(Door::open(), disk, metadata).await
    }

    async fn open_behind(door: Door, disk: MemDisk, metadata: tempfile::TempDir) -> Stage {
        // Brokers that exist only as records send no heartbeats and must not be fenced for it.
        let settings = [
            ("node.id", "1"),
            ("broker.session.timeout.ms", "3600000"),
            ("offsets.topic.num.partitions", "1"),
            ("transaction.state.log.num.partitions", "1"),
            ("group.initial.rebalance.delay.ms", "0"),
            ("group.min.session.timeout.ms", "1"),
        ];
        let settings = BrokerSettings::from_pairs(settings).unwrap();
        let options = DirOptions {
            disk: Arc::new(disk.clone()),
            background: false,
            checkpoint_interval: Duration::from_secs(3600),
            ..DirOptions::default()
        };
        let identity = Identity { node_id: Some(ME), cluster_id: Some("p0XxMz0jTbuHn3nqvRuB6w".into()) };
        let dir = DataDir::open_with(metadata.path(), &identity, options).unwrap();
        let progress = Arc::new(RecoveryProgress::default());
        let meta = dir.meta();
        let (node, cluster_id) = (BrokerId(meta.node_id), meta.cluster_id.clone());
        let log = Metadata::check(&settings, metadata.path(), node, cluster_id).await.unwrap();
        let node = Node::open(&settings, dir, log, Clock::start(), progress, door, Tasks::default());
        let node = tokio::time::timeout(PATIENCE, node).await.expect("it opens").unwrap();
        let service = KafkaService::new(node.ctx.clone());
        Stage { node, disk, service, metadata }
    }

    /// From now on, whoever asks for the controller here hears that another node is it.
    pub fn without_controller(self) -> Stage {
        let Stage { mut node, disk, service, metadata } = self;
        drop(service);
        let ctx = Arc::get_mut(&mut node.ctx).expect("nobody is served");
        ctx.controller = ControllerHandle::elsewhere();
        let service = KafkaService::new(node.ctx.clone());
        Stage { node, disk, service, metadata }
    }

    /// Registers the broker, and waits until it may lead.
    pub async fn join(&self) {
        let directory = self.node.dir.meta().directory_id;
        let endpoint =
            Endpoint { name: LISTENER.into(), host: "localhost".into(), port: 9092, security_protocol: 0 };
        let (ctx, claims) = (self.node.ctx.clone(), Claims::of(&self.node));
        let joined = Membership::join(ctx, vec![endpoint], vec![directory], claims.previous_epoch);
        let joined = tokio::time::timeout(PATIENCE, joined).await.expect("it joins").unwrap();
        claims.renew(&self.node.dir, joined.epoch()).await.unwrap();
        tokio::time::timeout(PATIENCE, self.node.opened()).await.expect("it opens").unwrap();
    }

    /// Closes all logs and ends the broker. Returns the parts that survive it.
    pub async fn stop(self) -> (MemDisk, tempfile::TempDir) {
        for shard in self.node.shards.iter() {
            let (stopped, stopping) = tokio::sync::oneshot::channel();
            shard.send(Mail::Stop(stopped)).await.unwrap();
            stopping.await.unwrap();
        }
        self.node.quorum.shutdown().await;
        self.node.dir.checkpoint().unwrap();
        (self.disk, self.metadata)
    }

    /// The folders of the data directory on the disk in memory, by name.
    pub fn folders(&self) -> Vec<String> {
        let entries = self.disk.read_dir(self.path()).unwrap().into_iter();
        let mut names: Vec<String> = entries.filter(|entry| entry.is_dir).map(|entry| entry.name).collect();
        names.sort();
        names
    }

    pub fn path(&self) -> &Path {
        self.metadata.path()
    }

    /// Creates a topic with these replicas for each partition. The first one leads.
    pub async fn create_topic(&self, name: &str, replicas: &[&[i32]]) -> TopicId {
        let assignment = |(index, brokers): (usize, &&[i32])| CreatableReplicaAssignment {
            partition_index: index as i32,
            broker_ids: brokers.to_vec(),
        };
        let topic = CreatableTopic {
            name: name.to_owned().into(),
            num_partitions: -1,
            replication_factor: -1,
            assignments: replicas.iter().enumerate().map(assignment).collect(),
            ..Default::default()
        };
        self.create(topic).await
    }

    pub async fn create(&self, topic: CreatableTopic) -> TopicId {
        let request = CreateTopicsRequest { topics: vec![topic], timeout_ms: 60_000, ..Default::default() };
        let response: CreateTopicsResponse = self.connection().ask(7, &request).await.unwrap();
        assert_eq!(response.topics[0].error_code, 0, "{response:?}");
        TopicId::from(response.topics[0].topic_id)
    }

    /// Registers another broker. It exists only as a record.
    pub async fn register(&self, broker: i32, epoch: i64) {
        let endpoint = BrokerEndpoint {
            name: LISTENER.into(),
            host: format!("host-{broker}").into(),
            port: 9092,
            security_protocol: 0,
        };
        self.propose(MetadataRecord::RegisterBroker(RegisterBrokerRecord {
            broker_id: broker,
            incarnation_id: Uuid([broker as u8; 16]),
            broker_epoch: epoch,
            end_points: vec![endpoint],
            fenced: false,
            log_dirs: vec![Uuid([0x40 | broker as u8; 16])],
            ..Default::default()
        }))
        .await;
    }

    /// Moves a partition to other brokers. The first one leads.
    pub async fn move_to(&self, topic: TopicId, partition: i32, brokers: &[i32]) {
        self.propose(MetadataRecord::PartitionChange(PartitionChangeRecord {
            partition_id: partition,
            topic_id: topic,
            isr: Some(brokers.to_vec()),
            leader: brokers[0],
            replicas: Some(brokers.to_vec()),
            ..Default::default()
        }))
        .await;
    }

    /// Writes a record to the metadata log, and waits until it is published.
    pub async fn propose(&self, record: MetadataRecord) {
        self.propose_all([record]).await;
    }

    /// As [`Stage::propose`], in one entry.
    pub async fn propose_all(&self, records: impl IntoIterator<Item = MetadataRecord>) {
        let frames = records.into_iter().map(|record| record.to_frame().unwrap()).collect();
        let index = self.node.quorum.propose(frames).await.unwrap();
        let mut published = self.node.published.clone();
        let published = published.wait_for(|at| *at >= index);
        tokio::time::timeout(PATIENCE, published).await.expect("it is published").unwrap();
    }

    /// Serves clients by real sockets for as long as the server is kept.
    pub fn listen(&self) -> (Server, SocketAddr) {
        let any = ([127, 0, 0, 1], 0).into();
        let listener = Listener::bind(LISTENER, SecurityProtocol::Plaintext, any, 16).unwrap();
        let addr = listener.addr();
        let mut server = Server::new(NetSettings::default(), self.node.tasks.clone());
        server.serve(Arc::new(self.service.clone()), listener, Arc::new(Plain));
        (server, addr)
    }

    pub fn connection(&self) -> Connection {
        let any = ([127, 0, 0, 1], 1).into();
        let peer = Peer {
            addr: any,
            local: any,
            listener: LISTENER.into(),
            security_protocol: SecurityProtocol::Plaintext,
            principal: Principal::ANONYMOUS,
            connection: ConnectionId(1),
        };
        Connection { session: self.service.open(&peer), service: self.service.clone() }
    }
}

/// A client's connection.
pub struct Connection {
    service: KafkaService,
    session: Session,
}

impl Connection {
    /// Sends a request and reads the answer. An error is the reason to close the connection.
    pub async fn ask<R: Request>(&mut self, version: i16, request: &R) -> Result<R::Response, CloseReason> {
        Ok(self.ask_muted(version, request).await?.0)
    }

    /// Like [`Connection::ask`]. Also returns how long the connection must not be read.
    pub async fn ask_muted<R: Request>(
        &mut self,
        version: i16,
        request: &R,
    ) -> Result<(R::Response, Duration), CloseReason> {
        let responses = self.send(version, request).await?;
        Ok((read(R::KEY, version, &responses[0]), responses[0].mute))
    }

    /// Sends a request. Returns the answers as the network gets them.
    pub async fn send<R: Request>(
        &mut self,
        version: i16,
        request: &R,
    ) -> Result<Vec<Response>, CloseReason> {
        self.send_body(R::KEY, version, &encode_to_bytes(request, version).unwrap()).await
    }

    /// As [`Connection::ask`], of any API: the body of the answer, if there is one.
    pub async fn exchange(
        &mut self,
        key: ApiKey,
        version: i16,
        body: &[u8],
    ) -> Result<Option<Bytes>, CloseReason> {
        let responses = self.send_body(key, version, body).await?;
        let response = responses.first().filter(|response| response.framed != Some(0));
        Ok(response.map(|response| body_of(key, version, response)))
    }

    async fn send_body(
        &mut self,
        key: ApiKey,
        version: i16,
        body: &[u8],
    ) -> Result<Vec<Response>, CloseReason> {
        let header = RequestHeader {
            request_api_key: key.code(),
            request_api_version: version,
            correlation_id: 7,
            client_id: None,
        };
        let header = encode_to_bytes(&header, request_header_version(key, version)).unwrap();
        let mut frames = VecDeque::from([Frame::unmetered([&header[..], body].concat().into())]);
        match self.service.serve(&mut self.session, &mut frames).await? {
            Responses::Ready(responses) => Ok(responses),
            Responses::Later(later) => later.await,
        }
    }
}

fn read<R: Message>(key: ApiKey, version: i16, response: &Response) -> R {
    let mut reader = Reader::new(body_of(key, version, response));
    let response = R::decode(&mut reader, version).unwrap();
    reader.finish(key.name()).unwrap();
    response
}

/// What follows the header of a response.
fn body_of(key: ApiKey, version: i16, response: &Response) -> Bytes {
    let mut bytes = Vec::new();
    for part in &response.parts {
        match part {
            Part::Bytes(part) => bytes.extend_from_slice(part),
            Part::File { .. } => panic!("a disk in memory has no files to send"),
        }
    }
    // Each response of a run comes with its length.
    let start = if response.framed.is_some() { 4 } else { 0 };
    let bytes = Bytes::from(bytes).slice(start..);
    let mut reader = Reader::new(bytes.clone());
    ResponseHeader::decode(&mut reader, response_header_version(key, version)).unwrap();
    bytes.slice(bytes.len() - reader.remaining()..)
}

/// A batch of one record.
pub fn batch(value: &[u8], at: i64) -> Bytes {
    let mut batch = BatchBuilder::new();
    batch.push(Timestamp(at), None, Some(value));
    batch.build().unwrap()
}
