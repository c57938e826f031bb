//! DescribeLogDirs (key 35): the data directories with the sizes of the partitions in them. KIP-113.
//!
//! - 2: flexible.
//! - 3: an error of the whole.
//! - 4: the space of the disk (KIP-827).
//! - 5: whether a directory is cordoned off (KIP-1066).

use std::collections::BTreeMap;

use ottla_log::DataDir;
use ottla_wire::messages::describe_log_dirs_response::{
    DescribeLogDirsPartition, DescribeLogDirsResult, DescribeLogDirsTopic,
};
use ottla_wire::messages::{DescribeLogDirsRequest, DescribeLogDirsResponse};
use ottla_wire::primitives::Str;
use ottla_wire::protocol::ErrorCode;

use super::call::Call;
use crate::door::{Operation, Resource};
use crate::partition::PartitionHandle;
use crate::published::Published;

pub async fn handle(call: &mut Call<'_>, request: DescribeLogDirsRequest) -> DescribeLogDirsResponse {
    if let Err(code) = call.authorize(Operation::Describe, Resource::Cluster) {
        return DescribeLogDirsResponse { error_code: code.code(), ..Default::default() };
    }
    let published = call.ctx.published.load();
    let wanted = Wanted::of(&request);
    let results = call.ctx.data_dirs.iter().map(|dir| describe(&published, dir, &wanted));
    DescribeLogDirsResponse { results: results.collect(), ..Default::default() }
}

/// The partitions to describe.
enum Wanted<'a> {
    All,
    These(BTreeMap<&'a str, &'a [i32]>),
}

impl Wanted<'_> {
    fn of(request: &DescribeLogDirsRequest) -> Wanted<'_> {
        match &request.topics {
            None => Wanted::All,
            Some(topics) => {
                Wanted::These(topics.iter().map(|topic| (&*topic.topic, &*topic.partitions)).collect())
            }
        }
    }

    fn has(&self, partition: &PartitionHandle) -> bool {
        match self {
            Wanted::All => true,
            Wanted::These(topics) => {
                topics.get(&*partition.topic).is_some_and(|indexes| indexes.contains(&partition.index.0))
            }
        }
    }
}

fn describe(published: &Published, dir: &DataDir, wanted: &Wanted<'_>) -> DescribeLogDirsResult {
    let mut result =
        DescribeLogDirsResult { log_dir: dir.path().display().to_string().into(), ..Default::default() };
    if !dir.health().is_online() {
        result.error_code = ErrorCode::KafkaStorageError.code();
        return result;
    }
    let mut topics: BTreeMap<Str, Vec<DescribeLogDirsPartition>> = BTreeMap::new();
    let partitions = published.topics().flat_map(|topic| topic.partitions());
    for partition in partitions.filter(|one| wanted.has(one) && one.directory == dir.meta().directory_id) {
        let replica = &partition.view().replica;
        topics.entry(partition.topic.clone()).or_default().push(DescribeLogDirsPartition {
            partition_index: partition.index.0,
            partition_size: i64::try_from(partition.reader.size()).unwrap_or(i64::MAX),
            // How far this replica is behind the high watermark that it knows.
            offset_lag: (replica.high_watermark.0 - replica.log_end.0).max(0),
            is_future_key: false,
        });
    }
    result.topics =
        topics.into_iter().map(|(name, partitions)| DescribeLogDirsTopic { name, partitions }).collect();
    if let Ok(space) = dir.space() {
        result.total_bytes = i64::try_from(space.total).unwrap_or(i64::MAX);
        result.usable_bytes = i64::try_from(space.usable).unwrap_or(i64::MAX);
    }
    result
}
