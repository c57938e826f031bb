//! What can be asked of a group coordinator, and the answers.
//!
//! Requests are those of the wire, cut down to one group each where the wire allows several: the API files put the answers
//! together again. Topics are known by name; the API files translate ids.

use ottla_coordinator::Ticket;
use ottla_wire::messages::{
    ConsumerGroupHeartbeatRequest, ConsumerGroupHeartbeatResponse, HeartbeatRequest, HeartbeatResponse,
    JoinGroupRequest, JoinGroupResponse, LeaveGroupRequest, LeaveGroupResponse, ListGroupsRequest,
    ListGroupsResponse, OffsetCommitRequest, OffsetCommitResponse, OffsetDeleteRequest, OffsetDeleteResponse,
    SyncGroupRequest, SyncGroupResponse, TxnOffsetCommitRequest, TxnOffsetCommitResponse,
    consumer_group_describe_response, delete_groups_response, describe_groups_response, offset_fetch_request,
    offset_fetch_response,
};
use ottla_wire::primitives::Str;

use crate::history::Rebalance;

/// A request and who makes it.
#[derive(Clone, Debug)]
pub struct Call {
    pub caller: Caller,
    pub request: Request,
}

/// Who makes a request, as members are described.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Caller {
    pub client_id: Str,
    /// Kafka prints a slash and the address.
    pub client_host: Str,
    /// Version of the API that was asked: some answers depend on it.
    pub version: i16,
}

/// One thing that is asked, of one group (ListGroups: of all groups of this partition).
#[derive(Clone, Debug)]
pub enum Request {
    JoinGroup(JoinGroupRequest),
    SyncGroup(SyncGroupRequest),
    Heartbeat(HeartbeatRequest),
    LeaveGroup(LeaveGroupRequest),
    ConsumerGroupHeartbeat(ConsumerGroupHeartbeatRequest),
    OffsetCommit(OffsetCommitRequest),
    TxnOffsetCommit(TxnOffsetCommitRequest),
    OffsetFetch(FetchOfGroup),
    OffsetDelete(OffsetDeleteRequest),
    ListGroups(ListGroupsRequest),
    DescribeGroup(Str),
    ConsumerGroupDescribe(Str),
    DeleteGroup(Str),
    /// The rebalances of a group that are still remembered.
    History(Str),
}

/// OffsetFetch, of one group.
#[derive(Clone, Debug)]
pub struct FetchOfGroup {
    pub group: offset_fetch_request::OffsetFetchRequestGroup,
    pub require_stable: bool,
}

/// The answer to the request of the same name.
#[derive(Clone, Debug, PartialEq)]
pub enum Response {
    JoinGroup(JoinGroupResponse),
    SyncGroup(SyncGroupResponse),
    Heartbeat(HeartbeatResponse),
    LeaveGroup(LeaveGroupResponse),
    ConsumerGroupHeartbeat(ConsumerGroupHeartbeatResponse),
    OffsetCommit(OffsetCommitResponse),
    TxnOffsetCommit(TxnOffsetCommitResponse),
    OffsetFetch(offset_fetch_response::OffsetFetchResponseGroup),
    OffsetDelete(OffsetDeleteResponse),
    ListGroups(ListGroupsResponse),
    DescribeGroup(describe_groups_response::DescribedGroup),
    ConsumerGroupDescribe(consumer_group_describe_response::DescribedGroup),
    DeleteGroup(delete_groups_response::DeletableGroupResult),
    /// The newest last; empty for a group that does not exist.
    History(Vec<Rebalance>),
}

/// An answer on its way to who waits for it.
#[derive(Clone, Debug, PartialEq)]
pub struct Reply {
    pub to: Ticket,
    pub response: Response,
}
