//! Messages: what is read can be written and is then read as the same.

use std::fmt::Debug;

use bytes::{Buf, Bytes};
use ottla_wire::messages::*;
use ottla_wire::primitives::{Message, Reader, Request, decode_from, encode, encode_to_bytes};
use ottla_wire::protocol::{ApiKey, request_header_version};

/// An API with its two messages behind functions.
pub struct Api {
    pub key: ApiKey,
    /// Kafka's names.
    pub request_name: &'static str,
    pub response_name: &'static str,
    read_request: fn(Bytes, Versions),
    read_response: fn(Bytes, Versions),
}

/// A record or another kind of data that is kept in logs and files.
pub struct Data {
    /// Kafka's name.
    pub name: &'static str,
    pub min_version: i16,
    read: fn(Bytes, Versions),
}

/// Any numbers, of which each message makes versions that it has.
#[derive(Clone, Copy)]
struct Versions {
    read: u8,
    /// Written in this one, too.
    other: u8,
}

macro_rules! apis {
    ($($request:ident),* $(,)?) => {
        /// Every API of the schema.
        pub const APIS: &[Api] = &[$(Api {
            key: <$request as Request>::KEY,
            request_name: <$request as Message>::NAME,
            response_name: <<$request as Request>::Response as Message>::NAME,
            read_request: read_versions::<$request>,
            read_response: read_versions::<<$request as Request>::Response>,
        },)*];
    };
}

macro_rules! data {
    ($($data:ident),* $(,)?) => {
        /// Every message of the schema that is neither a request, a response nor a record of the metadata
        /// log.
        pub const DATA: &[Data] = &[$(Data {
            name: <$data as Message>::NAME,
            min_version: <$data as Message>::MIN_VERSION,
            read: read_versions::<$data>,
        },)*];
    };
}

apis! {
    ProduceRequest, FetchRequest, ListOffsetsRequest, MetadataRequest, OffsetCommitRequest,
    OffsetFetchRequest, FindCoordinatorRequest, JoinGroupRequest, HeartbeatRequest, LeaveGroupRequest,
    SyncGroupRequest, DescribeGroupsRequest, ListGroupsRequest, SaslHandshakeRequest, ApiVersionsRequest,
    CreateTopicsRequest, DeleteTopicsRequest, DeleteRecordsRequest, InitProducerIdRequest,
    OffsetForLeaderEpochRequest, AddPartitionsToTxnRequest, AddOffsetsToTxnRequest, EndTxnRequest,
    WriteTxnMarkersRequest, TxnOffsetCommitRequest, DescribeAclsRequest, CreateAclsRequest,
    DeleteAclsRequest, DescribeConfigsRequest, AlterConfigsRequest, AlterReplicaLogDirsRequest,
    DescribeLogDirsRequest, SaslAuthenticateRequest, CreatePartitionsRequest, CreateDelegationTokenRequest,
    RenewDelegationTokenRequest, ExpireDelegationTokenRequest, DescribeDelegationTokenRequest,
    DeleteGroupsRequest, ElectLeadersRequest, IncrementalAlterConfigsRequest,
    AlterPartitionReassignmentsRequest, ListPartitionReassignmentsRequest, OffsetDeleteRequest,
    DescribeClientQuotasRequest, AlterClientQuotasRequest, DescribeUserScramCredentialsRequest,
    AlterUserScramCredentialsRequest, VoteRequest, BeginQuorumEpochRequest, EndQuorumEpochRequest,
    DescribeQuorumRequest, AlterPartitionRequest, UpdateFeaturesRequest, EnvelopeRequest,
    FetchSnapshotRequest, DescribeClusterRequest, DescribeProducersRequest, BrokerRegistrationRequest,
    BrokerHeartbeatRequest, UnregisterBrokerRequest, DescribeTransactionsRequest, ListTransactionsRequest,
    AllocateProducerIdsRequest, ConsumerGroupHeartbeatRequest, ConsumerGroupDescribeRequest,
    ControllerRegistrationRequest, GetTelemetrySubscriptionsRequest, PushTelemetryRequest,
    AssignReplicasToDirsRequest, ListConfigResourcesRequest, DescribeTopicPartitionsRequest,
    ShareGroupHeartbeatRequest, ShareGroupDescribeRequest, ShareFetchRequest, ShareAcknowledgeRequest,
    AddRaftVoterRequest, RemoveRaftVoterRequest, UpdateRaftVoterRequest, InitializeShareGroupStateRequest,
    ReadShareGroupStateRequest, WriteShareGroupStateRequest, DeleteShareGroupStateRequest,
    ReadShareGroupStateSummaryRequest, StreamsGroupHeartbeatRequest, StreamsGroupDescribeRequest,
    DescribeShareGroupOffsetsRequest, AlterShareGroupOffsetsRequest, DeleteShareGroupOffsetsRequest,
}

data! {
    ConsumerProtocolAssignment, ConsumerProtocolSubscription, ControlRecordTypeSchema,
    DefaultPrincipalData, EndTxnMarker, KRaftVersionRecord, LeaderChangeMessage, ProducerSnapshot,
    QuorumStateData, SnapshotFooterRecord, SnapshotHeaderRecord, SubscriptionInfoData, VotersRecord,
    LegacyOffsetCommitKey, LegacyOffsetCommitValue, ShareSnapshotKey, ShareSnapshotValue,
    TransactionLogKey, TransactionLogValue, OffsetCommitKey, OffsetCommitValue, ShareUpdateKey,
    ShareUpdateValue, GroupMetadataKey, GroupMetadataValue, ConsumerGroupMetadataKey,
    ConsumerGroupMetadataValue, ConsumerGroupPartitionMetadataKey, ConsumerGroupPartitionMetadataValue,
    ConsumerGroupMemberMetadataKey, ConsumerGroupMemberMetadataValue,
    ConsumerGroupTargetAssignmentMetadataKey, ConsumerGroupTargetAssignmentMetadataValue,
    ConsumerGroupTargetAssignmentMemberKey, ConsumerGroupTargetAssignmentMemberValue,
    ConsumerGroupCurrentMemberAssignmentKey, ConsumerGroupCurrentMemberAssignmentValue,
    ShareGroupMemberMetadataKey, ShareGroupMemberMetadataValue, ShareGroupMetadataKey,
    ShareGroupMetadataValue, ShareGroupTargetAssignmentMetadataKey,
    ShareGroupTargetAssignmentMetadataValue, ShareGroupTargetAssignmentMemberKey,
    ShareGroupTargetAssignmentMemberValue, ShareGroupCurrentMemberAssignmentKey,
    ShareGroupCurrentMemberAssignmentValue, ShareGroupStatePartitionMetadataKey,
    ShareGroupStatePartitionMetadataValue, ConsumerGroupRegularExpressionKey,
    ConsumerGroupRegularExpressionValue, StreamsGroupMetadataKey, StreamsGroupMetadataValue,
    StreamsGroupMemberMetadataKey, StreamsGroupMemberMetadataValue,
    StreamsGroupTargetAssignmentMetadataKey, StreamsGroupTargetAssignmentMetadataValue,
    StreamsGroupTargetAssignmentMemberKey, StreamsGroupTargetAssignmentMemberValue,
    StreamsGroupCurrentMemberAssignmentKey, StreamsGroupCurrentMemberAssignmentValue,
    StreamsGroupTopologyKey, StreamsGroupTopologyValue,
}

/// What a client sends after the length of a frame, as the broker takes it apart: API key and version, the
/// header of that version, the body. Bytes after the body are allowed, as Kafka allows them.
pub fn frame(data: &[u8]) {
    let frame = Bytes::copy_from_slice(data);
    let Some(mut start) = frame.get(..4) else { return };
    let (code, version) = (start.get_i16(), start.get_i16());
    let Ok(key) = ApiKey::try_from(code) else { return };
    let header_version = request_header_version(key, version);
    let mut reader = Reader::new(frame.clone());
    let Ok(header) = RequestHeader::decode(&mut reader, header_version) else { return };
    assert_eq!((header.request_api_key, header.request_api_version), (code, version));
    let header_len = frame.len() - reader.remaining();
    check_again(&header, header_version);
    if !key.versions().contains(&version) {
        return;
    }
    let api = APIS.iter().find(|api| api.key == key).expect("the table has every key");
    let number = u8::try_from(version - key.versions().start()).expect("no API has that many versions");
    (api.read_request)(frame.slice(header_len..), Versions { read: number, other: code as u8 });
}

/// A request body: which API, which version, which other version to write it in, and the bytes.
pub fn request(data: &[u8]) {
    let Some((&[api, read, other], body)) = data.split_first_chunk::<3>() else { return };
    let api = &APIS[usize::from(api) % APIS.len()];
    (api.read_request)(Bytes::copy_from_slice(body), Versions { read, other });
}

/// A response body, as [`request`].
pub fn response(data: &[u8]) {
    let Some((&[api, read, other], body)) = data.split_first_chunk::<3>() else { return };
    let api = &APIS[usize::from(api) % APIS.len()];
    (api.read_response)(Bytes::copy_from_slice(body), Versions { read, other });
}

/// What is kept in logs and files: which kind, as [`request`]; the kind after the last is a record of the
/// metadata log in its frame.
pub fn record(data: &[u8]) {
    let Some((&[kind, read, other], body)) = data.split_first_chunk::<3>() else { return };
    let body = Bytes::copy_from_slice(body);
    match DATA.get(usize::from(kind) % (DATA.len() + 1)) {
        Some(data) => (data.read)(body, Versions { read, other }),
        None => metadata_record(body),
    }
}

fn metadata_record(frame: Bytes) {
    let Ok(record) = MetadataRecord::from_frame(frame) else { return };
    let written = record.to_frame().expect("the newest version holds whatever was read");
    let again = MetadataRecord::from_frame(written.clone()).expect("what was written can be read");
    assert!(same(&again, &record), "{record:?}\n{again:?}");
    assert_eq!(again.to_frame().as_ref(), Ok(&written));
    for version in 0..record.newest_version() {
        if let Ok(older) = record.to_frame_at(version) {
            MetadataRecord::from_frame(older).expect("what was written at an older version can be read");
        }
    }
}

fn read_versions<M: Message + PartialEq + Debug>(bytes: Bytes, versions: Versions) {
    let count = M::MAX_VERSION - M::MIN_VERSION + 1;
    let version = |number: u8| M::MIN_VERSION + i16::from(number) % count;
    let mut reader = Reader::new(bytes);
    let Ok(message) = M::decode(&mut reader, version(versions.read)) else { return };
    check_again(&message, version(versions.read));
    // Another version may lack a field and say so; what it does write is a message.
    let other = version(versions.other);
    if let Ok(written) = encode_to_bytes(&message, other) {
        let read = decode_from::<M>(written.clone(), other);
        let read = read.unwrap_or_else(|error| panic!("{} v{other}: {error}\n{message:?}", M::NAME));
        assert_eq!(encode_to_bytes(&read, other).as_ref(), Ok(&written), "{} v{other}", M::NAME);
    }
}

/// Writes a message that was read at `version`, and reads it again.
fn check_again<M: Message + PartialEq + Debug>(message: &M, version: i16) {
    let written = encode_to_bytes(message, version);
    let written = written.unwrap_or_else(|error| panic!("{} v{version}: {error}\n{message:?}", M::NAME));
    assert_eq!(message.size(version), Ok(written.len()), "{} v{version}", M::NAME);
    assert_eq!(
        encode(message, version).map(|parts| parts.len()),
        Ok(written.len()),
        "{} v{version}",
        M::NAME
    );
    let again = decode_from::<M>(written.clone(), version);
    let again = again.unwrap_or_else(|error| panic!("{} v{version}: {error}\n{message:?}", M::NAME));
    assert!(same(&again, message), "{} v{version}\n{message:?}\n{again:?}", M::NAME);
    assert_eq!(encode_to_bytes(&again, version).as_ref(), Ok(&written), "{} v{version}", M::NAME);
}

/// Equality in which NaN is equal to itself.
fn same<T: PartialEq + Debug>(a: &T, b: &T) -> bool {
    a == b || format!("{a:?}") == format!("{b:?}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_api_is_in_the_table() {
        assert!(ApiKey::ALL.iter().all(|key| APIS.iter().any(|api| api.key == *key)));
        assert_eq!(APIS.len(), ApiKey::ALL.len());
    }
}
