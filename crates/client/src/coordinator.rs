//! Finds the broker that coordinates a group or a transaction (FindCoordinator), and remembers it.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use ottla_link::{Connection, Office};
use ottla_wire::BrokerId;
use ottla_wire::messages::FindCoordinatorRequest;
use ottla_wire::primitives::Str;
use ottla_wire::protocol::{ApiKey, ErrorCode};

use crate::cluster::{Cluster, Lane};
use crate::error::{ApiError, Error};

/// The first version of FindCoordinator that takes many keys (KIP-699).
const MANY_KEYS_MIN: i16 = 4;

/// How long to wait when the transaction before is not quite over. As in Kafka: that takes the coordinator
/// little time, and everyone waits for it.
const CONCURRENT_PAUSE_MAX: Duration = Duration::from_millis(20);

/// What a coordinator coordinates.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Coordinated {
    Group,
    /// The transactions of a transactional id.
    Transactions,
}

impl Coordinated {
    /// `KeyType` of FindCoordinator.
    fn on_wire(self) -> i8 {
        match self {
            Coordinated::Group => 0,
            Coordinated::Transactions => 1,
        }
    }
}

/// The coordinator of one group or transactional id, found when needed and again when it has moved.
pub(crate) struct Coordinator {
    cluster: Cluster,
    of: Coordinated,
    /// The id of the group, or the transactional id.
    key: Str,
    /// For requests that the coordinator answers late.
    waiting_lane: Lane,
    known: Mutex<Option<BrokerId>>,
}

impl Coordinator {
    pub(crate) fn new(cluster: Cluster, of: Coordinated, key: Str) -> Coordinator {
        Coordinator { waiting_lane: cluster.new_lane(), cluster, of, key, known: Mutex::default() }
    }

    pub(crate) fn cluster(&self) -> &Cluster {
        &self.cluster
    }

    /// The id of the group, or the transactional id.
    pub(crate) fn key(&self) -> &Str {
        &self.key
    }

    pub(crate) fn waiting_lane(&self) -> Lane {
        self.waiting_lane
    }

    /// A connection to it; asks where it is if that is not known. Does not try again.
    pub(crate) async fn connection(&self, lane: Lane) -> Result<Connection, Error> {
        let known = *self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let broker = match known {
            Some(broker) => broker,
            None => {
                let keys = [self.key.clone()];
                let found = find(&self.cluster, self.of, &keys).await.remove(&self.key);
                let broker = found.unwrap_or_else(|| Err(missing()))?;
                *self.known.lock().unwrap_or_else(PoisonError::into_inner) = Some(broker);
                broker
            }
        };
        let connection = connect(&self.cluster, broker, lane).await;
        if connection.is_err() {
            self.forget();
        }
        connection
    }

    /// Asks again where it is if this error says that it is not where it was, or that it cannot be reached.
    pub(crate) fn learn_from(&self, error: &Error) {
        if self.has_moved(error) {
            self.forget();
        }
    }
}

impl Office for Coordinator {
    type Holder = Connection;
    type Error = Error;

    async fn find(&self) -> Result<Connection, Error> {
        self.connection(Lane::SHARED).await
    }

    fn has_moved(&self, error: &Error) -> bool {
        match error {
            Error::Api(error) => {
                matches!(error.code, ErrorCode::NotCoordinator | ErrorCode::CoordinatorNotAvailable)
            }
            error => error.is_retriable(),
        }
    }

    fn may_be_found(&self, error: &Error) -> bool {
        error.is_retriable()
    }

    fn forget(&self) {
        *self.known.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    fn pause(&self, error: &Error, failures: u32) -> Duration {
        pause_after(error, self.cluster.retry_delay(failures))
    }

    fn late(&self, after: Duration) -> Error {
        Error::Waited { what: "the coordinator", after }
    }
}

/// How long to wait after this error, if other errors cost `pause`.
pub(crate) fn pause_after(error: &Error, pause: Duration) -> Duration {
    match error.code() {
        Some(ErrorCode::ConcurrentTransactions) => pause.min(CONCURRENT_PAUSE_MAX),
        _ => pause,
    }
}

/// A connection to a coordinator, which may be a broker that the metadata does not name yet.
pub(crate) async fn connect(cluster: &Cluster, broker: BrokerId, lane: Lane) -> Result<Connection, Error> {
    if !cluster.metadata().brokers.contains_key(&broker) {
        cluster.refresh().await?;
    }
    cluster.connection(broker, lane).await
}

/// Asks any broker, once, who coordinates these groups or transactional ids. Every key is in the answer.
pub(crate) async fn find(
    cluster: &Cluster,
    of: Coordinated,
    keys: &[Str],
) -> BTreeMap<Str, Result<BrokerId, Error>> {
    let connection = match cluster.any().await {
        Ok(connection) => connection,
        Err(error) => return keys.iter().map(|key| (key.clone(), Err(error.clone()))).collect(),
    };
    match connection.version_of::<FindCoordinatorRequest>() {
        Ok(MANY_KEYS_MIN..) => find_many(&connection, of, keys).await,
        Ok(_) => {
            let mut found = BTreeMap::new();
            for key in keys {
                found.insert(key.clone(), find_one(&connection, of, key).await);
            }
            found
        }
        Err(error) => keys.iter().map(|key| (key.clone(), Err(error.clone().into()))).collect(),
    }
}

async fn find_many(
    connection: &Connection,
    of: Coordinated,
    keys: &[Str],
) -> BTreeMap<Str, Result<BrokerId, Error>> {
    let request = FindCoordinatorRequest {
        key_type: of.on_wire(),
        coordinator_keys: keys.to_vec(),
        ..FindCoordinatorRequest::default()
    };
    let answer = connection.call(&request).await;
    let mut found = BTreeMap::new();
    if let Ok(response) = &answer {
        for one in &response.coordinators {
            let outcome = ApiError::check(one.error_code, one.error_message.as_deref());
            found.insert(one.key.detached(), outcome.map(|()| BrokerId(one.node_id)).map_err(Error::Api));
        }
    }
    let absent = || Err(answer.as_ref().map_or_else(|error| error.clone().into(), |_| missing()));
    keys.iter().map(|key| (key.clone(), found.remove(key).unwrap_or_else(absent))).collect()
}

async fn find_one(connection: &Connection, of: Coordinated, key: &Str) -> Result<BrokerId, Error> {
    let request = FindCoordinatorRequest {
        key: key.clone(),
        key_type: of.on_wire(),
        ..FindCoordinatorRequest::default()
    };
    let response = connection.call(&request).await?;
    ApiError::check(response.error_code, response.error_message.as_deref())?;
    Ok(BrokerId(response.node_id))
}

fn missing() -> Error {
    Error::malformed(ApiKey::FindCoordinator, "a broker", "the key that was asked for is missing".to_owned())
}
