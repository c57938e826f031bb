//! The cost of requests, and how long a client must wait for it (KIP-13, KIP-124, KIP-219).
//!
//! The answer leaves at once and states the time. The connection is not read for that long.

use std::time::Duration;

use ottla_wire::messages::*;
use ottla_wire::protocol::ApiKey;

use super::authorize::Requester;

/// The cost of one request.
#[derive(Clone, Copy, Debug)]
pub struct Charge<'a> {
    pub who: Requester<'a>,
    pub client_id: Option<&'a str>,
    pub key: ApiKey,
    /// The time from its arrival to its answer. A Produce is charged before its appends are awaited, because
    /// those cost disks instead of threads.
    pub took: Duration,
    /// Of records: what a Produce brings, and what a Fetch takes along. Other requests have none.
    pub bytes: usize,
}

/// Decides how long clients wait. Called once for each request, so an implementation MUST neither wait nor
/// lock.
pub trait Quotas: Send + Sync {
    /// Zero if the client need not wait.
    fn charge(&self, charge: &Charge<'_>) -> Duration;
}

/// There are no quotas.
pub struct Unlimited;

impl Quotas for Unlimited {
    fn charge(&self, _charge: &Charge<'_>) -> Duration {
        Duration::ZERO
    }
}

/// A response with a field for the client's waiting time.
pub trait Throttled {
    fn set_throttle_time(&mut self, time: Duration);
}

/// The time in whole milliseconds, as responses state it.
fn millis(time: Duration) -> i32 {
    i32::try_from(time.as_millis()).unwrap_or(i32::MAX)
}

macro_rules! throttled {
    ($($response:ident)+) => {$(
        impl Throttled for $response {
            fn set_throttle_time(&mut self, time: Duration) {
                self.throttle_time_ms = millis(time);
            }
        }
    )+};
}

throttled! {
    AddOffsetsToTxnResponse AddPartitionsToTxnResponse AlterConfigsResponse ApiVersionsResponse
    ConsumerGroupDescribeResponse ConsumerGroupHeartbeatResponse CreatePartitionsResponse CreateTopicsResponse
    DeleteGroupsResponse DeleteRecordsResponse DeleteTopicsResponse DescribeClusterResponse DescribeConfigsResponse
    DescribeGroupsResponse DescribeLogDirsResponse DescribeProducersResponse DescribeTopicPartitionsResponse
    DescribeTransactionsResponse EndTxnResponse FetchResponse FindCoordinatorResponse HeartbeatResponse
    IncrementalAlterConfigsResponse InitProducerIdResponse JoinGroupResponse LeaveGroupResponse
    ListConfigResourcesResponse ListGroupsResponse ListOffsetsResponse ListTransactionsResponse MetadataResponse
    OffsetCommitResponse OffsetDeleteResponse OffsetFetchResponse OffsetForLeaderEpochResponse ProduceResponse
    SyncGroupResponse TxnOffsetCommitResponse UpdateFeaturesResponse
}

/// Sent between brokers, who are not throttled. The response has no field for it.
impl Throttled for WriteTxnMarkersResponse {
    fn set_throttle_time(&mut self, _time: Duration) {}
}
