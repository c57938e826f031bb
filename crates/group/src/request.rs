//! The requests to a group coordinator, and their answers.
//!
//! Requests are those of the wire, cut down to one group each where the wire allows several: the API files
//! put the answers together again. Topics are known by name; the API files translate ids.
//!
//! A request is declared once: by its row in [`each_request`], and by [`GroupRequest`] beside its logic.

use ottla_coordinator::Ticket;
use ottla_wire::ErrorCode;
use ottla_wire::messages::{
    ConsumerGroupHeartbeatRequest, ConsumerGroupHeartbeatResponse, HeartbeatRequest, HeartbeatResponse,
    JoinGroupRequest, JoinGroupResponse, LeaveGroupRequest, LeaveGroupResponse, ListGroupsRequest,
    ListGroupsResponse, OffsetCommitRequest, OffsetCommitResponse, OffsetDeleteRequest, OffsetDeleteResponse,
    SyncGroupRequest, SyncGroupResponse, TxnOffsetCommitRequest, TxnOffsetCommitResponse,
    consumer_group_describe_response, delete_groups_response, describe_groups_response, offset_fetch_request,
    offset_fetch_response,
};
use ottla_wire::primitives::Str;

use crate::config::GroupConfig;
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
    /// Version of the API that is called: some answers depend on it.
    pub version: i16,
}

/// An answer on its way to who waits for it.
#[derive(Clone, Debug, PartialEq)]
pub struct Reply {
    pub to: Ticket,
    pub response: Response,
}

/// The declaration of a request. It stands beside the request's logic.
pub trait GroupRequest: Sized {
    /// The answer to it.
    type Response;

    /// It leaves the records as they are. Such a request is served even while nothing can be written.
    const READS_ONLY: bool = false;

    /// It may make a group that does not exist.
    const MAY_CREATE: bool = false;

    /// The empty group id is refused. Kafka lets old clients keep offsets under it, so a few requests take
    /// it.
    const NEEDS_NAME: bool = true;

    /// The group that it is for; `None` if it is for all groups of the partition.
    fn group(&self) -> Option<&Str>;

    /// Whether it has something that a member there is already would be kept with, and that may be large.
    /// Offsets are checked one by one where they are committed.
    fn brings_much(&self) -> bool {
        false
    }

    /// Ids and names in it that go into records. Those that are only compared need not be given.
    fn ids(&self) -> [Option<&Str>; 4] {
        [None; 4]
    }

    /// Checks it against the settings.
    fn check(&self, _config: &GroupConfig) -> Result<(), ErrorCode> {
        Ok(())
    }

    /// The answer if it is refused as a whole.
    fn refuse(self, error: ErrorCode) -> Self::Response;
}

/// A request that has a row in [`each_request`].
pub trait Declared: GroupRequest + Into<Request> {
    /// Its answer, of all that there are; `None` for the answer to another request.
    fn response(response: Response) -> Option<Self::Response>;
}

/// The requests: each with its type and the type of its answer.
macro_rules! each_request {
    ($make:ident) => {
        $make! {
            JoinGroup: JoinGroupRequest => JoinGroupResponse,
            SyncGroup: SyncGroupRequest => SyncGroupResponse,
            Heartbeat: HeartbeatRequest => HeartbeatResponse,
            LeaveGroup: LeaveGroupRequest => LeaveGroupResponse,
            ConsumerGroupHeartbeat: ConsumerGroupHeartbeatRequest => ConsumerGroupHeartbeatResponse,
            OffsetCommit: OffsetCommitRequest => OffsetCommitResponse,
            TxnOffsetCommit: TxnOffsetCommitRequest => TxnOffsetCommitResponse,
            OffsetFetch: FetchOfGroup => offset_fetch_response::OffsetFetchResponseGroup,
            OffsetDelete: OffsetDeleteRequest => OffsetDeleteResponse,
            ListGroups: ListGroupsRequest => ListGroupsResponse,
            DescribeGroup: DescribeGroup => describe_groups_response::DescribedGroup,
            ConsumerGroupDescribe: ConsumerGroupDescribe => consumer_group_describe_response::DescribedGroup,
            DeleteGroup: DeleteGroup => delete_groups_response::DeletableGroupResult,
            History: History => Vec<Rebalance>,
        }
    };
}
pub(crate) use each_request;

/// OffsetFetch, of one group.
#[derive(Clone, Debug)]
pub struct FetchOfGroup {
    pub group: offset_fetch_request::OffsetFetchRequestGroup,
    pub require_stable: bool,
}

/// Requests that say nothing but the group.
macro_rules! of_a_group {
    ($($(#[$doc:meta])* $name:ident)+) => {$(
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq)]
        pub struct $name {
            pub group_id: Str,
        }

        impl<S: Into<Str>> From<S> for $name {
            fn from(group_id: S) -> $name {
                $name { group_id: group_id.into() }
            }
        }
    )+};
}

of_a_group! {
    /// DescribeGroups, of one group.
    DescribeGroup
    /// ConsumerGroupDescribe, of one group.
    ConsumerGroupDescribe
    /// DeleteGroups, of one group.
    DeleteGroup
    /// The rebalances of a group that are still remembered, the newest last; none for a group that does not
    /// exist.
    History
}

macro_rules! declare {
    ($($name:ident: $request:ty => $response:ty,)+) => {
        /// One thing that is asked of one group, or of all groups of this partition.
        #[derive(Clone, Debug)]
        pub enum Request {
            $($name($request)),+
        }

        /// The answer to the request of the same name.
        #[derive(Clone, Debug, PartialEq)]
        pub enum Response {
            $($name($response)),+
        }

        /// As [`GroupRequest`], of any request.
        impl Request {
            /// The name of the request.
            pub fn name(&self) -> &'static str {
                match self {
                    $(Request::$name(_) => stringify!($name)),+
                }
            }

            pub fn reads_only(&self) -> bool {
                match self {
                    $(Request::$name(_) => <$request>::READS_ONLY),+
                }
            }

            pub fn may_create(&self) -> bool {
                match self {
                    $(Request::$name(_) => <$request>::MAY_CREATE),+
                }
            }

            pub fn needs_name(&self) -> bool {
                match self {
                    $(Request::$name(_) => <$request>::NEEDS_NAME),+
                }
            }

            pub fn group(&self) -> Option<&Str> {
                match self {
                    $(Request::$name(request) => request.group()),+
                }
            }

            pub fn brings_much(&self) -> bool {
                match self {
                    $(Request::$name(request) => request.brings_much()),+
                }
            }

            pub fn ids(&self) -> [Option<&Str>; 4] {
                match self {
                    $(Request::$name(request) => request.ids()),+
                }
            }

            pub fn check(&self, config: &GroupConfig) -> Result<(), ErrorCode> {
                match self {
                    $(Request::$name(request) => request.check(config)),+
                }
            }

            pub fn refuse(self, error: ErrorCode) -> Response {
                match self {
                    $(Request::$name(request) => Response::$name(request.refuse(error))),+
                }
            }
        }

        $(
            impl From<$request> for Request {
                fn from(request: $request) -> Request {
                    Request::$name(request)
                }
            }

            impl Declared for $request {
                fn response(response: Response) -> Option<$response> {
                    if let Response::$name(response) = response { Some(response) } else { None }
                }
            }
        )+
    };
}

each_request!(declare);
