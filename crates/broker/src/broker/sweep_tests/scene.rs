//! The states of a broker that is asked.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use ottla_net::CloseReason;
use ottla_wire::TopicId;
use ottla_wire::messages::{BrokerRegistrationChangeRecord, MetadataRecord, PartitionChangeRecord};
use ottla_wire::protocol::ApiKey;

use super::any::{self, Found, Place, Schema};
use super::manner::{Knowledge, Manner, OTHER, OTHER_EPOCH, value};
use crate::broker::stage::{Connection, ME, PATIENCE, Stage};
use crate::door::authorize::Requester;
use crate::door::throttle::Charge;
use crate::door::{AllowAll, Authorizer, Door, Operation, Quotas, Resource, Unlimited};

/// A broker in some state, and a client that knows what there is.
pub struct Scene {
    pub name: &'static str,
    pub manners: &'static [Manner],
    pub known: Knowledge,
    connection: Connection,
    _stage: Stage,
}

/// Nobody may do anything, or nothing with topics.
struct Denies {
    only_topics: bool,
}

impl Authorizer for Denies {
    fn allows(&self, _who: Requester<'_>, _operation: Operation, resource: Resource<'_>) -> bool {
        self.only_topics && !matches!(resource, Resource::Topic(_))
    }
}

/// Everybody waits after everything.
struct Slow;

impl Quotas for Slow {
    fn charge(&self, _charge: &Charge<'_>) -> Duration {
        Duration::from_millis(250)
    }
}

const FEW: &[Manner] = &[Manner::Plain, Manner::Twice, Manner::Unknown, Manner::Null, Manner::Empty];

impl Scene {
    pub async fn all() -> Vec<Scene> {
        let door = |authorizer: Arc<dyn Authorizer>| Door { authorizer, quotas: Arc::new(Unlimited) };
        let denied = Stage::behind(door(Arc::new(Denies { only_topics: false }))).await;
        let topics_denied = Stage::behind(door(Arc::new(Denies { only_topics: true }))).await;
        let slow = Door { authorizer: Arc::new(AllowAll), quotas: Arc::new(Slow) };
        let (here, elsewhere, headless) = (furnished().await, furnished().await, furnished().await);
        lead(&here, ME).await;
        lead(&elsewhere, OTHER).await;
        lead(&headless, NOBODY).await;
        fence(&headless).await;
        let passed_on = furnished().await;
        vec![
            Scene::of("an unknown broker", FEW, Stage::unknown(Door::open()).await),
            Scene::of("a new broker", FEW, Stage::new().await),
            Scene::of("the leader", Manner::ALL, here),
            Scene::of("another one leads", Manner::ALL, elsewhere),
            Scene::of("nobody leads", FEW, headless),
            Scene::of("the controller is away", FEW, passed_on.without_controller()),
            Scene::of("nothing is allowed", FEW, denied),
            Scene::of("no topic is allowed", FEW, topics_denied),
            Scene::of("throttled", FEW, Stage::behind(slow).await),
        ]
    }

    fn of(name: &'static str, manners: &'static [Manner], stage: Stage) -> Scene {
        let topic = stage.node.ctx.published.load().image.topic("t").map_or(TopicId::ZERO, |topic| topic.id);
        let known = Knowledge { topic, ..Knowledge::default() };
        Scene { name, manners, known, connection: stage.connection(), _stage: stage }
    }

    /// The body of the answer, if there is one.
    pub async fn ask(
        &mut self,
        key: ApiKey,
        version: i16,
        body: &[u8],
    ) -> Result<Option<Bytes>, CloseReason> {
        let asked = self.connection.exchange(key, version, body);
        let answered = tokio::time::timeout(PATIENCE, asked).await;
        answered.unwrap_or_else(|_| panic!("{}: {key} version {version} is not answered", self.name))
    }
}

const NOBODY: i32 = -1;

/// With a topic, a group with offsets, a group of consumers, a producer with an id, and another broker.
async fn furnished() -> Stage {
    let stage = Stage::new().await;
    // All that is this broker's alone, so that nothing waits for the other one.
    stage.create_topic("t", &[&[ME]]).await;
    let mut connection = stage.connection();
    for (manner, key) in [
        (Manner::Plain, ApiKey::OffsetCommit),
        (Manner::Plain, ApiKey::InitProducerId),
        (Manner::OtherKind, ApiKey::ConsumerGroupHeartbeat),
    ] {
        settle(&mut connection, manner, key).await;
    }
    stage.register(OTHER, OTHER_EPOCH).await;
    stage
}

/// Asks until there is no error: the coordinator's topic comes when it is first asked.
async fn settle(connection: &mut Connection, manner: Manner, key: ApiKey) {
    let (schema, known, version) = (Schema::read(), Knowledge::default(), *key.versions().start());
    let body = any::write(schema.request(key), version, &|place: &Place<'_>| value(manner, &known, place));
    let settled = async {
        loop {
            let answer = connection.exchange(key, version, &body).await.unwrap().unwrap();
            let mut errors = 0;
            any::read(schema.response(key), version, answer, &mut |place, found| {
                errors += i32::from(place.field.name == "ErrorCode" && found != Found::Number(0));
            });
            if errors == 0 {
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(PATIENCE, settled).await.unwrap_or_else(|_| panic!("{key} is not served"));
}

/// Every partition is led by this broker, another one, or nobody, in a new epoch.
async fn lead(stage: &Stage, leader: i32) {
    let published = stage.node.ctx.published.load_full();
    for name in ["t", "__consumer_offsets", "__transaction_state"] {
        let Some(topic) = published.image.topic(name) else { panic!("{name} is not there") };
        let brokers = if leader == OTHER { vec![OTHER, ME] } else { vec![ME, OTHER] };
        stage
            .propose(MetadataRecord::PartitionChange(PartitionChangeRecord {
                partition_id: 0,
                topic_id: topic.id,
                isr: Some(if leader == ME { vec![ME] } else { brokers.clone() }),
                leader,
                replicas: Some(brokers),
                ..Default::default()
            }))
            .await;
    }
}

/// The other broker is not heard of any more.
async fn fence(stage: &Stage) {
    let change = BrokerRegistrationChangeRecord {
        broker_id: OTHER,
        broker_epoch: OTHER_EPOCH,
        fenced: 1,
        ..Default::default()
    };
    stage.propose(MetadataRecord::BrokerRegistrationChange(change)).await;
}
