//! The controller's task on a metadata log that tests control.

use std::collections::VecDeque;
use std::pin::pin;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use arc_swap::ArcSwap;
use bytes::Bytes;
use ottla_controller::controller::{ENTRY_BYTES_MAX, Request, Response, bootstrap_records};
use ottla_controller::image::Feature;
use ottla_link::Office;
use ottla_link::seam::now;
use ottla_quorum::{Leadership, MetadataLog, ProposeError, StateMachine};
use ottla_settings::BrokerSettings;
use ottla_tasks::Tasks;
use ottla_wire::messages::broker_registration_request::Feature as SupportedFeature;
use ottla_wire::messages::create_topics_request::CreatableTopic;
use ottla_wire::messages::{
    AllocateProducerIdsRequest, AllocateProducerIdsResponse, BrokerHeartbeatRequest, BrokerHeartbeatResponse,
    BrokerRegistrationRequest, BrokerRegistrationResponse, CreateTopicsRequest, CreateTopicsResponse,
};
use ottla_wire::primitives::Str;
use ottla_wire::protocol::ErrorCode;
use ottla_wire::{BrokerId, Uuid};
use tokio::sync::watch;

use super::{AskError, ControllerHandle, ControllerTask, Reached};
use crate::clock::Clock;
use crate::metadata::{Applied, Inbox, Machine};

/// As long as a busy machine may take.
const PATIENCE: Duration = Duration::from_secs(60);

const CLUSTER: &str = "cluster";

/// Where large decisions take long on a busy machine: nobody is fenced for being silent meanwhile.
const PATIENT: [(&str, &str); 1] = [("broker.session.timeout.ms", "600000")];

/// What happens to a proposal.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Fate {
    Applied,
    /// It is applied, then another node leads.
    AppliedLast,
    /// Its proposer gets no answer in time. It is applied before the next one.
    Late,
}

/// A metadata log without files or voters.
struct FakeLog {
    leadership: watch::Sender<Leadership>,
    published: watch::Sender<u64>,
    /// How far files are opened and removed.
    open: watch::Sender<u64>,
    held: Mutex<Held>,
}

struct Held {
    machine: Machine,
    index: u64,
    fates: VecDeque<Fate>,
    late: Vec<Vec<Bytes>>,
    /// The size in bytes of each applied proposal.
    sizes: Vec<usize>,
    /// No file is opened or removed.
    stuck: bool,
}

impl FakeLog {
    fn lead(&self, epoch: u64, leader: i32) {
        let leader = Some(BrokerId(leader));
        self.leadership.send_replace(Leadership { leader, epoch, me: leader == Some(BrokerId(1)) });
    }

    fn next(&self, fates: &[Fate]) {
        self.held.lock().unwrap().fates.extend(fates);
    }

    fn decide(&self, epoch: u64, records: Vec<Bytes>) -> Result<u64, ProposeError> {
        let now = *self.leadership.borrow();
        if !now.me || now.epoch != epoch {
            return Err(ProposeError::NotLeader { leader: now.leader });
        }
        let mut held = self.held.lock().unwrap();
        let fate = held.fates.pop_front().unwrap_or(Fate::Applied);
        if fate == Fate::Late {
            held.late.push(records);
            return Err(ProposeError::Unavailable);
        }
        let proposals: Vec<Vec<Bytes>> = held.late.drain(..).chain([records]).collect();
        for records in proposals {
            held.index += 1;
            held.sizes.push(records.iter().map(|record| record.len() + 4).sum());
            let index = held.index;
            held.machine.apply(index, records);
        }
        self.published.send_replace(held.index);
        if !held.stuck {
            self.open.send_replace(held.index);
        }
        if fate == Fate::AppliedLast {
            self.lead(epoch + 1, 2);
        }
        Ok(held.index)
    }
}

impl MetadataLog for FakeLog {
    async fn propose(&self, records: Vec<Bytes>) -> Result<u64, ProposeError> {
        let epoch = self.leadership.borrow().epoch;
        self.decide(epoch, records)
    }

    async fn propose_in(&self, epoch: u64, records: Vec<Bytes>) -> Result<u64, ProposeError> {
        self.decide(epoch, records)
    }

    fn leadership(&self) -> watch::Receiver<Leadership> {
        self.leadership.subscribe()
    }

    fn applied(&self) -> watch::Receiver<u64> {
        self.published.subscribe()
    }

    async fn shutdown(&self) {}
}

/// A running task, and the parts it works with.
struct World {
    log: Arc<FakeLog>,
    controller: ControllerHandle,
    applied: Arc<ArcSwap<Applied>>,
}

impl World {
    /// A new cluster in which this node is 1 and leads in epoch 1.
    fn start(settings: &[(&str, &str)]) -> World {
        let settings =
            BrokerSettings::from_pairs([("node.id", "1")].iter().chain(settings).copied()).unwrap();
        let applied = Arc::new(ArcSwap::from_pointee(Applied::default()));
        let machine = Machine::new(applied.clone(), Arc::new(Inbox::default()));
        let (leadership, _) = watch::channel(Leadership::default());
        let (published, published_index) = watch::channel(0);
        let (open, open_index) = watch::channel(0);
        let held = Held {
            machine,
            index: 0,
            fates: VecDeque::new(),
            late: Vec::new(),
            sizes: Vec::new(),
            stuck: false,
        };
        let log = Arc::new(FakeLog { leadership, published, open, held: Mutex::new(held) });
        log.lead(1, 1);
        let frames = bootstrap_records(&settings).iter().map(|record| record.to_frame().unwrap()).collect();
        log.decide(1, frames).unwrap();
        let (controller, asked) = ControllerHandle::new();
        let task = ControllerTask {
            log: log.clone(),
            settings: Arc::new(settings),
            cluster_id: CLUSTER.to_owned(),
            open_max: usize::MAX,
            clock: Clock::start(),
            applied: applied.clone(),
            reached: Reached { published: published_index, open: open_index },
            tasks: Tasks::default(),
        };
        tokio::spawn(task.run(asked));
        World { log, controller, applied }
    }

    async fn register(&self, id: i32, process: u8) -> Result<i16, AskError> {
        let feature = |feature: &Feature| SupportedFeature {
            name: Str::from_static(feature.name),
            min_supported_version: feature.min,
            max_supported_version: feature.max,
        };
        let request = BrokerRegistrationRequest {
            broker_id: id,
            cluster_id: CLUSTER.into(),
            incarnation_id: Uuid([process; 16]),
            features: Feature::ALL.iter().map(feature).collect(),
            log_dirs: vec![Uuid([id as u8 + 100; 16])],
            previous_broker_epoch: -1,
            ..Default::default()
        };
        let response: BrokerRegistrationResponse = self.ask_once(request).await?;
        Ok(response.error_code)
    }

    async fn heartbeat(&self, id: i32, want_fence: bool) -> Result<BrokerHeartbeatResponse, AskError> {
        let applied = self.applied.load_full();
        let request = BrokerHeartbeatRequest {
            broker_id: id,
            broker_epoch: applied.image.broker_epoch(BrokerId(id)).unwrap().0,
            current_metadata_offset: applied.index as i64,
            want_fence,
            ..Default::default()
        };
        self.ask_once(request).await
    }

    /// Registers and unfences these brokers.
    async fn join(&self, brokers: &[i32]) {
        for id in brokers {
            assert_eq!(self.register(*id, 1).await, Ok(0));
            assert!(!self.heartbeat(*id, false).await.unwrap().is_fenced);
        }
    }

    async fn create(&self, name: &str, partitions: i32, replicas: i16) -> Result<ErrorCode, AskError> {
        let response: CreateTopicsResponse = self.ask_once(creation(name, partitions, replicas)).await?;
        Ok(ErrorCode::from_code(response.topics[0].error_code).unwrap())
    }

    /// Asks the task of this node, once.
    async fn ask_once<R: TryFrom<Response>>(&self, request: impl Into<Request>) -> Result<R, AskError> {
        let way = self.controller.find().await?;
        let response = way.ask(request.into(), now() + PATIENCE).await?;
        Ok(R::try_from(response).ok().unwrap())
    }

    /// Waits until the image satisfies `is`.
    async fn until(&self, is: impl Fn(&Applied) -> bool) {
        let mut published = self.log.published.subscribe();
        within(published.wait_for(|_| is(&self.applied.load()))).await.unwrap();
    }

    /// The number of partitions that this broker leads.
    fn led_by(&self, id: i32) -> usize {
        let applied = self.applied.load();
        let partitions = applied.image.topics().flat_map(|topic| topic.partitions.values());
        partitions.filter(|partition| partition.leader == Some(BrokerId(id))).count()
    }
}

fn creation(name: &str, partitions: i32, replicas: i16) -> CreateTopicsRequest {
    let topic = CreatableTopic {
        name: name.into(),
        num_partitions: partitions,
        replication_factor: replicas,
        ..Default::default()
    };
    CreateTopicsRequest { topics: vec![topic], ..Default::default() }
}

async fn within<T>(what: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, what).await.unwrap()
}

#[tokio::test]
async fn a_request_waits_for_a_controller() {
    let world = World::start(&[]);
    world.join(&[1]).await;
    world.log.lead(2, 2);
    let asked = within(world.controller.ask_within(60_000, creation("t", 1, 1)));
    let elected = async {
        // It is refused before.
        tokio::time::sleep(Duration::from_millis(50)).await;
        world.log.lead(3, 1);
    };
    let (response, ()) = tokio::join!(asked, elected);
    let response: CreateTopicsResponse = response.unwrap();
    assert_eq!(response.topics[0].error_code, ErrorCode::None.code());
}

#[tokio::test]
async fn the_search_for_a_controller_ends_with_the_time_of_the_request() {
    let world = World::start(&[]);
    world.join(&[1]).await;
    world.log.lead(2, 2);
    let asked = within(world.controller.ask_within::<CreateTopicsResponse>(100, creation("t", 1, 1)));
    let error = asked.await.unwrap_err();
    assert!(matches!(error, AskError::NotController { .. } | AskError::TimedOut), "{error}");
    assert!(world.applied.load().image.topic("t").is_none());
}

#[tokio::test]
async fn who_does_not_lead_answers_nothing() {
    let world = World::start(&[]);
    world.join(&[1]).await;
    world.log.lead(2, 2);
    let elsewhere = AskError::NotController { leader: Some(BrokerId(2)) };
    assert_eq!(elsewhere.to_string(), "this node does not lead the metadata log now, node 2 does; try again");
    // Also a request that needs no record.
    assert_eq!(world.heartbeat(1, false).await.unwrap_err(), elsewhere);
    assert_eq!(world.create("t", 1, 1).await, Err(elsewhere));
    world.log.lead(3, 1);
    // It may not know yet.
    while let Err(error) = world.heartbeat(1, false).await {
        assert!(matches!(error, AskError::NotController { .. }));
        tokio::task::yield_now().await;
    }
    assert_eq!(world.create("t", 1, 1).await, Ok(ErrorCode::None));
}

/// Whoever creates a topic uses it next; whoever is only heard must not be missed because a disk is slow.
#[tokio::test]
async fn only_what_is_said_of_topics_waits_for_their_files() {
    let world = World::start(&[]);
    world.join(&[1]).await;
    world.log.held.lock().unwrap().stuck = true;
    let (controller, topics) = (&world.controller, async || world.create("t", 1, 1).await);
    let created = async {
        let mut created = pin!(topics());
        let mut beats = 0;
        // The answers to requests that came later show that this one is decided, and waits.
        while beats < 100 {
            tokio::select! {
                biased;
                created = &mut created => panic!("its files are not open: {created:?}"),
                beat = world.heartbeat(1, false) => assert!(!beat.unwrap().is_fenced),
            }
            beats += 1;
        }
        // These change the metadata log behind the topic.
        assert_eq!(world.register(2, 1).await, Ok(0));
        let request = AllocateProducerIdsRequest { broker_id: 2, ..Default::default() };
        let allocated: Result<AllocateProducerIdsResponse, _> = within(controller.ask(request)).await;
        assert!(allocated.is_ok());
        let index = world.applied.load().index;
        world.log.open.send_replace(index);
        created.await
    };
    assert_eq!(created.await, Ok(ErrorCode::None));
}

/// A controller's memory of brokers may be outdated when the same node leads again.
#[tokio::test]
async fn each_leadership_begins_anew() {
    let world = World::start(&[]);
    world.join(&[1, 2]).await;
    assert_eq!(world.register(2, 2).await, Ok(ErrorCode::DuplicateBrokerRegistration.code()));
    world.log.lead(2, 2);
    assert!(matches!(world.register(2, 2).await, Err(AskError::NotController { .. })));
    world.log.lead(3, 1);
    while let Err(error) = world.register(2, 2).await {
        assert!(matches!(error, AskError::NotController { .. }));
        tokio::task::yield_now().await;
    }
    let incarnation = world.applied.load().image.broker(BrokerId(2)).unwrap().incarnation;
    assert_eq!(incarnation, Uuid([2; 16]));
}

#[tokio::test]
async fn all_brokers_that_are_silent_are_fenced() {
    let world = World::start(&[("broker.session.timeout.ms", "1000")]);
    for id in 1..=5 {
        assert_eq!(world.register(id, 1).await, Ok(0));
    }
    for id in 1..=5 {
        // One may be fenced again while others join.
        world.heartbeat(id, false).await.unwrap();
    }
    world.until(|applied| applied.image.brokers.values().all(|broker| broker.fenced)).await;
}

#[tokio::test]
async fn a_large_decision_is_logged_in_small_entries() {
    let world = World::start(&PATIENT);
    world.join(&[1, 2]).await;
    assert_eq!(world.create("t", 10_000, 2).await, Ok(ErrorCode::None));
    let before = world.log.held.lock().unwrap().sizes.len();
    assert!(world.led_by(1) > 4_000);
    assert!(world.heartbeat(1, true).await.unwrap().is_fenced);
    assert_eq!((world.led_by(1), world.led_by(2)), (0, 10_000), "the answer came too early");
    let sizes = world.log.held.lock().unwrap().sizes.split_off(before);
    assert!(sizes.len() > 1 && sizes.iter().all(|size| *size <= ENTRY_BYTES_MAX), "{sizes:?}");
}

#[tokio::test]
async fn what_a_deposed_controller_left_half_done_is_made_whole() {
    let world = World::start(&PATIENT);
    world.join(&[1, 2]).await;
    assert_eq!(world.create("t", 10_000, 2).await, Ok(ErrorCode::None));
    world.log.next(&[Fate::AppliedLast]);
    let error = world.heartbeat(1, true).await.unwrap_err();
    assert!(matches!(error, AskError::Unknown(_)), "{error}");
    assert!(world.applied.load().image.broker(BrokerId(1)).unwrap().fenced);
    assert!(world.led_by(1) > 0, "nothing is left to do");
    world.log.lead(3, 1);
    world.until(|_| world.led_by(2) == 10_000).await;
}

/// Nothing may be decided while a proposal may still be applied, because later decisions could contradict it.
#[tokio::test]
async fn nothing_is_decided_while_it_is_unknown_what_the_log_holds() {
    let world = World::start(&[]);
    world.join(&[1]).await;
    world.log.next(&[Fate::Late, Fate::Late]);
    assert!(matches!(world.create("t", 1, 1).await, Err(AskError::Unknown(_))));
    let answer = loop {
        match world.create("t", 1, 1).await {
            Err(AskError::NotController { .. }) => tokio::task::yield_now().await,
            answer => break answer,
        }
    };
    assert_eq!(answer, Ok(ErrorCode::TopicAlreadyExists));
}
