//! What the cluster is made of: brokers and their log directories.

use std::collections::BTreeMap;

use ottla_wire::BrokerId;
use ottla_wire::messages::{DescribeClusterRequest, DescribeLogDirsRequest};
use ottla_wire::primitives::Str;

use super::{Admin, Repeat};
use crate::cluster::{Broker, TopicPartition};
use crate::error::{ApiError, Error};

/// The cluster and its brokers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClusterDescription {
    pub cluster_id: String,
    pub controller: Option<BrokerId>,
    pub brokers: Vec<DescribedBroker>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DescribedBroker {
    pub broker: Broker,
    /// Registered but not serving (KIP-1073).
    pub fenced: bool,
}

/// A log directory of a broker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogDir {
    pub path: String,
    /// Why it cannot be used, if so.
    pub error: Option<ApiError>,
    pub total_bytes: Option<i64>,
    pub usable_bytes: Option<i64>,
    pub partitions: Vec<LogDirPartition>,
}

/// A replica in a log directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogDirPartition {
    pub partition: TopicPartition,
    pub size_bytes: i64,
    /// How far it is behind.
    pub offset_lag: i64,
    /// It is being moved here from another directory.
    pub future: bool,
}

/// The first version of DescribeCluster that can list fenced brokers.
const FENCED_BROKERS_MIN: i16 = 2;

impl Admin {
    /// The cluster and its brokers, the fenced ones too if the broker can list them.
    pub async fn describe_cluster(&self) -> Result<ClusterDescription, Error> {
        self.repeat(Repeat::Harmless, || async {
            let connection = self.cluster.any().await?;
            let include_fenced_brokers =
                connection.version_of::<DescribeClusterRequest>()? >= FENCED_BROKERS_MIN;
            let request = DescribeClusterRequest { include_fenced_brokers, ..Default::default() };
            let response = connection.call(&request).await?;
            ApiError::check(response.error_code, response.error_message.as_deref())?;
            let brokers = response.brokers.into_iter().map(|broker| DescribedBroker {
                broker: Broker {
                    id: BrokerId(broker.broker_id),
                    host: broker.host.detached(),
                    port: broker.port,
                    rack: broker.rack.as_ref().map(Str::detached),
                },
                fenced: broker.is_fenced,
            });
            Ok(ClusterDescription {
                cluster_id: response.cluster_id.into(),
                controller: (response.controller_id >= 0).then_some(BrokerId(response.controller_id)),
                brokers: brokers.collect(),
            })
        })
        .await
    }

    /// The log directories of these brokers (none named: of all).
    pub async fn describe_log_dirs(
        &self,
        brokers: &[BrokerId],
    ) -> Result<BTreeMap<BrokerId, Result<Vec<LogDir>, Error>>, Error> {
        let brokers = match brokers {
            [] => self.cluster.refresh().await?.brokers.keys().copied().collect(),
            some => some.to_vec(),
        };
        let mut described = BTreeMap::new();
        for broker in brokers {
            described.insert(broker, self.repeat(Repeat::Harmless, || self.log_dirs_of(broker)).await);
        }
        Ok(described)
    }

    async fn log_dirs_of(&self, broker: BrokerId) -> Result<Vec<LogDir>, Error> {
        let request = DescribeLogDirsRequest { topics: None };
        let response = self.call_broker(broker, &request).await?;
        ApiError::check(response.error_code, None)?;
        let dirs = response.results.into_iter().map(|dir| LogDir {
            path: dir.log_dir.into(),
            error: ApiError::check(dir.error_code, None).err(),
            total_bytes: (dir.total_bytes >= 0).then_some(dir.total_bytes),
            usable_bytes: (dir.usable_bytes >= 0).then_some(dir.usable_bytes),
            partitions: dir
                .topics
                .iter()
                .flat_map(|topic| {
                    topic.partitions.iter().map(|partition| LogDirPartition {
                        partition: TopicPartition::new(topic.name.detached(), partition.partition_index),
                        size_bytes: partition.partition_size,
                        offset_lag: partition.offset_lag,
                        future: partition.is_future_key,
                    })
                })
                .collect(),
        });
        Ok(dirs.collect())
    }
}
