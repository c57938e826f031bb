//! Every API that is served is asked in every version, in every manner, of a broker in every state that makes
//! it refuse: each answer can be encoded in the version that it is for.
//!
//! Requests are made from the schema and the table of what is served, so nothing here knows the APIs. What
//! makes an answer impossible is a field that is set, or null, where its version does not have or allow it.
//! Each field for which there are such versions must have been seen like that in another one: else the sweep
//! has not come to the state in which it could fail.
//!
//! - [`any`]: any message of the schema, written and read.
//! - [`manner`]: what requests say.
//! - [`scene`]: the states of the broker.

mod any;
mod manner;
mod scene;

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use ottla_wire::protocol::ApiKey::{self, *};
use ottla_wire::protocol::ErrorCode;

use crate::api;
use crate::schema::{Field, Message, Struct};
use any::{Found, Place, Schema, is};
use manner::{Knowledge, Manner, value};
use scene::Scene;

/// Fields that are never set here, and why.
const NEVER_SET: &[(&str, &str)] = &[
    ("FetchResponse PartitionData.SnapshotId", "of the metadata log, which is not fetched by this API"),
    ("FetchResponse PartitionData.PreferredReadReplica", "no replica is preferred yet"),
    ("DescribeClusterResponse DescribeClusterResponse.EndpointType", "controllers are not described"),
    ("InitProducerIdResponse InitProducerIdResponse.OngoingTxnProducerId", "two-phase commit is not served"),
    (
        "InitProducerIdResponse InitProducerIdResponse.OngoingTxnProducerEpoch",
        "two-phase commit is not served",
    ),
];

/// Fields that are never null here, and why.
const NEVER_NULL: &[(&str, &str)] =
    &[("MetadataResponse MetadataResponseTopic.Name", "of an unknown id, the name that came with it")];

/// They list what is here, and leave out what may not be seen.
const NEVER_REFUSE: &[ApiKey] = &[ListGroups, ListTransactions];

/// Errors that the sweep must have met: those of what is not there, is elsewhere, has passed, or may not be.
const ERRORS: &[ErrorCode] = &[
    ErrorCode::UnknownTopicOrPartition,
    ErrorCode::UnknownTopicId,
    ErrorCode::NotLeaderOrFollower,
    ErrorCode::LeaderNotAvailable,
    ErrorCode::FencedLeaderEpoch,
    ErrorCode::UnknownLeaderEpoch,
    ErrorCode::OffsetOutOfRange,
    ErrorCode::FetchSessionIdNotFound,
    ErrorCode::NotController,
    ErrorCode::NotCoordinator,
    ErrorCode::UnknownMemberId,
    ErrorCode::GroupIdNotFound,
    ErrorCode::InvalidProducerEpoch,
    ErrorCode::ProducerFenced,
    ErrorCode::InvalidRequest,
    ErrorCode::TopicAuthorizationFailed,
    ErrorCode::GroupAuthorizationFailed,
    ErrorCode::TransactionalIdAuthorizationFailed,
    ErrorCode::ClusterAuthorizationFailed,
];

#[tokio::test(flavor = "multi_thread")]
async fn every_answer_can_be_encoded_in_the_version_that_it_is_for() {
    let schema = Schema::read();
    let mut sweep = Sweep { schema: &schema, seen: Seen::default(), faults: BTreeMap::new() };
    for scene in Scene::all().await {
        sweep.play(scene).await;
    }
    let Sweep { seen, faults, .. } = sweep;
    assert!(faults.is_empty(), "{} faults: {faults:#?}", faults.len());
    assert_eq!(seen.lacking(&schema), BTreeSet::new(), "nothing has shown these fields in such a state");
    let missed: Vec<_> = ERRORS.iter().filter(|code| !seen.errors.contains(&code.code())).collect();
    assert!(missed.is_empty(), "never met: {missed:?}");
    let refuses = |key: &ApiKey| seen.refusing.contains(key) || NEVER_REFUSE.contains(key);
    let mild: Vec<_> = api::SERVED.iter().filter(|key| !refuses(key)).collect();
    assert!(mild.is_empty(), "these never gave an error: {mild:?}");
}

struct Sweep<'a> {
    schema: &'a Schema,
    seen: Seen,
    /// What went wrong, by API and version, with the first case.
    faults: BTreeMap<(ApiKey, i16), String>,
}

impl Sweep<'_> {
    /// Asks everything in one scene.
    async fn play(&mut self, mut scene: Scene) {
        for key in api::SERVED {
            for &manner in scene.manners {
                for version in key.versions().filter(|version| manner.suits(*key, *version)) {
                    scene.known.group =
                        if manner == Manner::Restarted { format!("g-{version}") } else { "g".into() };
                    if matches!(manner, Manner::Plain | Manner::Restarted) {
                        self.prepare(&mut scene, manner, *key).await;
                    }
                    self.ask(&mut scene, manner, *key, version).await;
                }
            }
        }
    }

    /// Brings about what a request is about.
    async fn prepare(&mut self, scene: &mut Scene, manner: Manner, key: ApiKey) {
        let before: &[ApiKey] = match key {
            JoinGroup | SyncGroup | Heartbeat | LeaveGroup | OffsetCommit => &[JoinGroup, SyncGroup],
            DescribeGroups | ListGroups => &[JoinGroup, SyncGroup],
            CreateTopics => &[DeleteTopics],
            DeleteTopics => &[CreateTopics],
            AddPartitionsToTxn | AddOffsetsToTxn => &[InitProducerId],
            EndTxn | DescribeTransactions | ListTransactions => &[InitProducerId, AddPartitionsToTxn],
            TxnOffsetCommit => &[InitProducerId, AddOffsetsToTxn],
            _ => &[],
        };
        for key in before {
            // The newest that a client speaks: later versions of one are for brokers.
            let newest = if *key == AddPartitionsToTxn { 3 } else { *key.versions().end() };
            self.ask(scene, manner, *key, newest).await;
        }
    }

    async fn ask(&mut self, scene: &mut Scene, manner: Manner, key: ApiKey, version: i16) {
        let known = scene.known.clone();
        let choose = |place: &Place<'_>| value(manner, &known, place);
        let body = any::write(self.schema.request(key), version, &choose);
        let case = format!("{}, {manner:?}", scene.name);
        let fault = match scene.ask(key, version, &body).await {
            Err(reason) => Some(format!("{case}: closed: {reason}")),
            Ok(None) => Some(format!("{case}: no answer")),
            Ok(Some(body)) => {
                let whole = self.read(scene, key, version, body);
                (!whole).then(|| format!("{case}: something is left of the answer"))
            }
        };
        if let Some(fault) = fault {
            self.faults.entry((key, version)).or_insert(fault);
        }
    }

    fn read(&mut self, scene: &mut Scene, key: ApiKey, version: i16, body: Bytes) -> bool {
        let seen = &mut self.seen;
        any::read(self.schema.response(key), version, body, &mut |place, found| {
            scene.known.learn(place, &found);
            seen.note(key, place, &found);
        })
    }
}

impl Knowledge {
    /// As a client does.
    fn learn(&mut self, place: &Place<'_>, found: &Found) {
        match (place.message.name.as_str(), place.field.name.as_str(), found) {
            ("JoinGroupResponse", "MemberId", Found::Bytes(id))
                if !id.is_empty() && place.of.name == "JoinGroupResponse" =>
            {
                self.member = String::from_utf8(id.to_vec()).unwrap();
            }
            ("JoinGroupResponse", "GenerationId", Found::Number(generation)) if *generation >= 0 => {
                self.generation = *generation;
            }
            ("InitProducerIdResponse", "ProducerId", Found::Number(id)) if *id >= 0 => self.producer = *id,
            ("InitProducerIdResponse", "ProducerEpoch", Found::Number(epoch)) if *epoch >= 0 => {
                self.producer_epoch = *epoch;
            }
            _ => {}
        }
    }
}

/// What answers have held.
#[derive(Default)]
struct Seen {
    set: BTreeSet<String>,
    null: BTreeSet<String>,
    errors: BTreeSet<i16>,
    refusing: BTreeSet<ApiKey>,
}

impl Seen {
    fn note(&mut self, key: ApiKey, place: &Place<'_>, found: &Found) {
        let label = || label(place.message, place.of, place.field);
        if let (true, Found::Number(code)) = (place.field.name.ends_with("ErrorCode"), found) {
            assert!(ErrorCode::from_code(*code as i16).is_some(), "{key} answers with error {code}");
            if *code != 0 {
                self.errors.insert(*code as i16);
                self.refusing.insert(key);
            }
        }
        if *found == Found::Null {
            self.null.insert(label());
        } else if is_set(place.field, found) {
            self.set.insert(label());
        }
    }

    /// Fields that some versions do not have, or do not allow to be null, and that have not been seen like
    /// that; and those that have been, against what is said of them here.
    fn lacking(&self, schema: &Schema) -> BTreeSet<String> {
        let mut lacking = BTreeSet::new();
        for key in api::SERVED {
            let message = schema.response(*key);
            for (of, field) in
                message.structs.iter().flat_map(|of| of.fields.iter().map(move |field| (of, field)))
            {
                let label = label(message, of, field);
                let in_struct = || key.versions().filter(|version| is(Some(of.versions), *version));
                let in_field = || in_struct().filter(|version| is(Some(field.versions), *version));
                let may_be_missed =
                    !field.ignorable && in_field().count() < in_struct().count() && in_field().count() > 0;
                let never = NEVER_SET.iter().any(|(never, _)| *never == label);
                if may_be_missed && self.set.contains(&label) == never {
                    lacking.insert(format!("{label}: set"));
                }
                let nulls = in_field().filter(|version| is(field.nullable, *version)).count();
                let may_be_forbidden = nulls > 0 && nulls < in_field().count();
                let never = NEVER_NULL.iter().any(|(never, _)| *never == label);
                if may_be_forbidden && self.null.contains(&label) == never {
                    lacking.insert(format!("{label}: null"));
                }
            }
        }
        lacking
    }
}

fn label(message: &Message, of: &Struct, field: &Field) -> String {
    format!("{} {}.{}", message.name, of.name, field.name)
}

/// Whether a field holds something else than what it holds where it is left out.
fn is_set(field: &Field, found: &Found) -> bool {
    let default = field.default.as_deref();
    match found {
        Found::Null => false,
        Found::Elements(count) => *count > 0,
        Found::Fields => field.tag.is_some(),
        Found::Bytes(bytes) => bytes.iter().any(|byte| *byte != 0),
        Found::Number(number) => *number != default.map_or(0, as_number),
    }
}

fn as_number(text: &str) -> i64 {
    match (text, text.strip_prefix("0x")) {
        ("true", _) => 1,
        ("false" | "False", _) => 0,
        (_, Some(hex)) => i64::from_str_radix(hex, 16).unwrap(),
        (number, None) => number.parse().unwrap(),
    }
}
