//! What requests say: every field by its name, in several manners.

use ottla_wire::TopicId;
use ottla_wire::protocol::ApiKey;

use super::any::{Place, Value};
use crate::broker::stage::{ME, batch};
use crate::schema::Type;

/// Another broker, which is a record of the metadata log.
pub const OTHER: i32 = 2;
pub const OTHER_EPOCH: i64 = 500;

/// The first version of JoinGroup with static members (KIP-345).
const STATIC_MEMBERS_VERSION: i16 = 5;

/// How a request is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Manner {
    /// It names what there is, and makes sense.
    Plain,
    /// It names all there is twice.
    Twice,
    /// It names what there is not.
    Unknown,
    /// It names a group of consumers of the newer kind where there is a classic one.
    OtherKind,
    /// It believes in epochs, generations and sessions that have passed.
    Passed,
    /// It knows of epochs, generations and sessions that are not there yet.
    Early,
    /// It comes from another broker.
    Follower,
    /// Its reader has gone on where this log has not.
    Parted,
    /// It comes from a static member of a group that has started anew, and has forgotten its id.
    Restarted,
    /// It is without what may be left out.
    Null,
    /// It has no elements, and nothing in its strings.
    Empty,
    /// Its numbers are as small as can be.
    Smallest,
    /// Its numbers are as large as can be.
    Largest,
}

impl Manner {
    pub const ALL: &[Manner] = &[
        Manner::Plain,
        Manner::Twice,
        Manner::Unknown,
        Manner::OtherKind,
        Manner::Passed,
        Manner::Early,
        Manner::Follower,
        Manner::Parted,
        Manner::Restarted,
        Manner::Null,
        Manner::Empty,
        Manner::Smallest,
        Manner::Largest,
    ];

    /// Whether a request of this API and version can be made so.
    pub fn suits(self, key: ApiKey, version: i16) -> bool {
        self != Manner::Restarted || key == ApiKey::JoinGroup && version >= STATIC_MEMBERS_VERSION
    }
}

/// What a client knows, mostly from answers.
#[derive(Clone, Debug)]
pub struct Knowledge {
    pub topic: TopicId,
    pub group: String,
    pub member: String,
    pub generation: i64,
    pub producer: i64,
    pub producer_epoch: i64,
}

impl Default for Knowledge {
    fn default() -> Knowledge {
        Knowledge {
            topic: TopicId::ZERO,
            group: "g".to_owned(),
            member: String::new(),
            generation: -1,
            producer: -1,
            producer_epoch: -1,
        }
    }
}

pub fn value(manner: Manner, known: &Knowledge, place: &Place<'_>) -> Value {
    let field = place.field;
    match &field.ty {
        _ if place.nullable && (manner == Manner::Null || is_left_out(manner, place)) => Value::Null,
        Type::Struct(_) => Value::Fields,
        Type::Array(_) => Value::Elements(elements(manner, place)),
        Type::String if manner == Manner::Empty => Value::Bytes(Vec::new()),
        Type::String => Value::Bytes(text(manner, known, place).into_bytes()),
        Type::Bytes | Type::Records if manner == Manner::Empty => Value::Bytes(Vec::new()),
        Type::Bytes => Value::Bytes(vec![0; 16]),
        Type::Records => Value::Bytes(batch(b"v", 1000).to_vec()),
        Type::Uuid => Value::Bytes(id(manner, known, place).0.to_vec()),
        Type::Bool => Value::Number(flag(manner, place).into()),
        ty => Value::Number(number(manner, known, place, ty)),
    }
}

/// What makes another request of it where it is there.
fn is_left_out(manner: Manner, place: &Place<'_>) -> bool {
    match (place.message.name.as_str(), place.field.name.as_str()) {
        ("ProduceRequest", name) => name == "TransactionalId",
        // By an id that there is not.
        ("MetadataRequest", "Name") => manner == Manner::Unknown,
        (_, name) => matches!(name, "Cursor" | "ClusterId" | "SubscribedTopicRegex" | "ConfigurationKeys"),
    }
}

/// Kinds of resources that have settings, and one of each.
const RESOURCES: [(i64, &str); 5] = [(2, "t"), (4, "1"), (32, "g"), (8, "1"), (99, "what")];

fn elements(manner: Manner, place: &Place<'_>) -> usize {
    match (manner, place.field.name.as_str()) {
        (Manner::Empty, _) => 0,
        (_, "Resources") => RESOURCES.len(),
        // Who joins owns nothing.
        (Manner::Plain | Manner::OtherKind, "TopicPartitions") => 0,
        // An assignment goes before the number of partitions.
        (_, "Assignments") if place.message.name.starts_with("Create") => 0,
        (_, "StatesFilter" | "TypesFilter" | "StateFilters" | "ProducerIdFilters") => 0,
        (Manner::Twice, _) => 2,
        _ => 1,
    }
}

fn text(manner: Manner, known: &Knowledge, place: &Place<'_>) -> String {
    let unknown = manner == Manner::Unknown;
    let topic = if unknown { "absent" } else { "t" };
    let group = match manner {
        Manner::Unknown => "nobody",
        Manner::OtherKind => "c",
        _ => &known.group,
    };
    let text = match (place.message.name.as_str(), place.of.name.as_str(), place.field.name.as_str()) {
        ("CreateTopicsRequest", _, "Name") if place.of.name == "CreatableTopic" => "new",
        ("DeleteTopicsRequest", _, "Name" | "TopicNames") if !unknown => "new",
        (_, "CreatableTopicConfig" | "AlterableConfig", "Name") if !unknown => "retention.ms",
        (_, "JoinGroupRequestProtocol", "Name") => "range",
        (_, _, "Value") => "1000000",
        (_, _, "ResourceName") if !unknown => RESOURCES[place.nth % RESOURCES.len()].1,
        (_, _, "GroupId" | "Groups" | "GroupIds" | "GroupsNames" | "Key" | "CoordinatorKeys") => group,
        (_, _, "TransactionalId" | "TransactionalIds" | "V3AndBelowTransactionalId") => {
            if unknown {
                "nobody"
            } else {
                "x"
            }
        }
        (_, _, "MemberId") if unknown => "nobody",
        ("JoinGroupRequest", _, "MemberId") if manner == Manner::Restarted => "",
        ("ConsumerGroupHeartbeatRequest", _, "MemberId") => "m",
        (_, _, "MemberId") => &known.member,
        (_, _, "GroupInstanceId" | "InstanceId") => "i",
        (_, _, "ProtocolType") => "consumer",
        (_, _, "ProtocolName") => "range",
        (_, _, "ServerAssignor") if !unknown => "uniform",
        (_, _, "TransactionalIdPattern") => ".*",
        (_, _, "Feature") if !unknown => "group.version",
        (_, _, "ClientSoftwareName" | "ClientSoftwareVersion") if unknown => "not software",
        (_, _, "ClientSoftwareName" | "ClientSoftwareVersion") => "sweep",
        _ => topic,
    };
    text.to_owned()
}

fn id(manner: Manner, known: &Knowledge, place: &Place<'_>) -> TopicId {
    let absent = TopicId::from(ottla_wire::Uuid([7; 16]));
    match (place.message.name.as_str(), place.field.name.as_str(), manner) {
        (_, "ReplicaDirectoryId", _) => TopicId::ZERO,
        // These are asked by name, or by id where there is no name.
        ("MetadataRequest", _, Manner::Unknown) => absent,
        ("DeleteTopicsRequest", _, Manner::Null | Manner::Unknown) => absent,
        ("MetadataRequest" | "DeleteTopicsRequest", ..) => TopicId::ZERO,
        (_, _, Manner::Unknown) => absent,
        (_, _, Manner::Empty) => TopicId::ZERO,
        _ => known.topic,
    }
}

fn flag(manner: Manner, place: &Place<'_>) -> bool {
    match place.field.name.as_str() {
        "Enable2Pc" | "KeepPreparedTxn" => manner == Manner::Largest,
        // What is created and deleted has a name of its own.
        "validateOnly" => manner != Manner::Plain,
        _ => manner != Manner::Smallest,
    }
}

fn number(manner: Manner, known: &Knowledge, place: &Place<'_>, ty: &Type) -> i64 {
    let name = place.field.name.as_str();
    match name {
        "MaxWaitMs" => return 0,
        "SessionTimeoutMs" if manner == Manner::Smallest => return 0,
        "SessionTimeoutMs" if manner == Manner::Restarted => return 1_800_000,
        // Members of other manners do not come back, and are not to be waited for.
        "SessionTimeoutMs" => return 50,
        "RebalanceTimeoutMs" => return 50,
        "RetentionTimeMs" => return -1,
        "TransactionTimeoutMs" => return if manner == Manner::Smallest { -1 } else { 60_000 },
        _ if name.to_lowercase().ends_with("ms") => return 5_000,
        _ => {}
    }
    match manner {
        Manner::Smallest => return smallest(ty),
        Manner::Largest => return !smallest(ty),
        _ => {}
    }
    let (belief, generation) = match manner {
        Manner::Passed => (0, 0),
        Manner::Early => (1_000, 1_000),
        _ => (-1, known.generation),
    };
    match name {
        "ReplicaId" if manner == Manner::Follower => OTHER.into(),
        "ReplicaEpoch" if manner == Manner::Follower => OTHER_EPOCH,
        "ReplicaId" | "ReplicaEpoch" | "Timestamp" | "DurationFilter" | "Acks" => -1,
        "CurrentLeaderEpoch" | "CommittedLeaderEpoch" | "LeaderEpoch" => belief,
        "LastFetchedEpoch" if manner == Manner::Parted => 0,
        "FetchOffset" if manner == Manner::Parted => 1_000_000,
        "LastFetchedEpoch" => -1,
        "SessionId" if matches!(manner, Manner::Passed | Manner::Early) => 77,
        "SessionId" => 0,
        "SessionEpoch" => belief.max(0),
        "GenerationId" | "GenerationIdOrMemberEpoch" => generation,
        "MemberEpoch" if manner == Manner::Plain => 0,
        "MemberEpoch" => generation.max(0),
        "ProducerId" | "V3AndBelowProducerId" => known.producer,
        "ProducerEpoch" | "V3AndBelowProducerEpoch" if manner == Manner::Passed => -1,
        "ProducerEpoch" | "V3AndBelowProducerEpoch" if manner == Manner::Early => 1_000,
        "ProducerEpoch" | "V3AndBelowProducerEpoch" => known.producer_epoch,
        "BrokerIds" if manner == Manner::Unknown => 99,
        "BrokerIds" => ME.into(),
        "ResourceType" | "ResourceTypes" => RESOURCES[place.nth % RESOURCES.len()].0,
        "NumPartitions" | "ReplicationFactor" | "MinBytes" | "EndpointType" | "IsolationLevel" => 1,
        "UpgradeType" | "MaxVersionLevel" => 1,
        "Count" => 2,
        "ResponsePartitionLimit" => 10,
        "MaxBytes" | "PartitionMaxBytes" => 1 << 20,
        "Partition" | "Partitions" | "PartitionIndex" | "PartitionIndexes" | "Index"
            if manner == Manner::Unknown =>
        {
            99
        }
        _ => 0,
    }
}

fn smallest(ty: &Type) -> i64 {
    match ty {
        Type::I8 => i8::MIN.into(),
        Type::I16 => i16::MIN.into(),
        Type::I32 => i32::MIN.into(),
        Type::U16 | Type::U32 => 0,
        _ => i64::MIN,
    }
}
