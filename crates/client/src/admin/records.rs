//! Records: delete those before an offset, list offsets.

use std::collections::BTreeMap;

use ottla_wire::messages::DeleteRecordsRequest;
use ottla_wire::messages::delete_records_request::{DeleteRecordsPartition, DeleteRecordsTopic};
use ottla_wire::protocol::ApiKey;
use ottla_wire::{BrokerId, Offset};

use super::{Admin, Repeat};
use crate::cluster::{Lane, TopicPartition};
use crate::error::{ApiError, Error};
use crate::offsets::{self, IsolationLevel, Listed, OffsetSpec};

/// "Up to the high watermark" in DeleteRecords.
const HIGH_WATERMARK: i64 = -1;

impl Admin {
    /// Deletes records before an offset (none: up to the high watermark); gives where each log begins then.
    pub async fn delete_records(
        &self,
        before: &BTreeMap<TopicPartition, Option<Offset>>,
    ) -> BTreeMap<TopicPartition, Result<Offset, Error>> {
        let mut deleted = BTreeMap::new();
        for (partition, &offset) in before {
            let outcome = self.repeat(Repeat::Harmless, || self.delete_in(partition, offset)).await;
            deleted.insert(partition.clone(), outcome);
        }
        deleted
    }

    async fn delete_in(&self, of: &TopicPartition, before: Option<Offset>) -> Result<Offset, Error> {
        let timeout = self.cluster.config().default_api_timeout;
        let (leader, _): (BrokerId, _) = self.cluster.leader(of, timeout).await?;
        let offset = before.map_or(HIGH_WATERMARK, |offset| offset.0);
        let partitions = vec![DeleteRecordsPartition { partition_index: of.partition, offset }];
        let request = DeleteRecordsRequest {
            topics: vec![DeleteRecordsTopic { name: of.topic.clone(), partitions }],
            timeout_ms: self.timeout_ms(),
        };
        let response = self.cluster.connection(leader, Lane::SHARED).await?.call(&request).await?;
        let answer = response.topics.iter().flat_map(|topic| &topic.partitions).next();
        let Some(answer) = answer else {
            let reason = "the partition that was asked for is missing".to_owned();
            return Err(Error::malformed(ApiKey::DeleteRecords, &format!("broker {leader}"), reason));
        };
        ApiError::check(answer.error_code, None)?;
        Ok(Offset(answer.low_watermark))
    }

    /// Offsets by place or time. Tries again for up to `default.api.timeout.ms`.
    pub async fn list_offsets(
        &self,
        asked: &BTreeMap<TopicPartition, OffsetSpec>,
        isolation: IsolationLevel,
    ) -> Listed {
        let timeout = self.cluster.config().default_api_timeout;
        offsets::list(&self.cluster, isolation, asked, timeout).await
    }
}
