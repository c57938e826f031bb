//! How old is what a group reads next.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use ottla_client::{Admin, Consumer, ConsumerConfig, OffsetReset, Seek, TopicPartition};
use ottla_wire::{Offset, Timestamp};

/// What is fetched of a partition to see one record. A larger batch comes all the same, but with others in
/// its way.
const BYTES_A_PARTITION: i32 = 16 << 10;
/// What one fetch may bring.
const BYTES_A_FETCH: i32 = 1 << 20;
/// How long records are waited for, all in all. What has not come by then is not known.
const WAIT: Duration = Duration::from_secs(3);

/// The timestamps of the first records at or after these offsets, as far as they can be had soon. There MUST
/// be such records: each partition is waited for.
pub async fn timestamps(
    admin: &Admin,
    at: &BTreeMap<TopicPartition, Offset>,
) -> BTreeMap<TopicPartition, Timestamp> {
    let mut found = BTreeMap::new();
    let config = ConsumerConfig {
        fetch_max_bytes: BYTES_A_FETCH,
        max_partition_fetch_bytes: BYTES_A_PARTITION,
        // One record of one partition: the others are not unpacked.
        max_poll_records: 1,
        // What the group would read next is deleted: the oldest record that is left is as old as it gets.
        auto_offset_reset: OffsetReset::Earliest,
        ..ConsumerConfig::default()
    };
    let mut consumer = Consumer::on(admin.cluster().clone(), config);
    consumer.assign(at.keys().cloned());
    for (partition, offset) in at {
        if let Err(error) = consumer.seek(partition, Seek::Offset(*offset)) {
            tracing::info!(%partition, %error, "its age is not known");
        }
    }
    let deadline = Instant::now() + WAIT;
    while found.len() < at.len() && Instant::now() < deadline {
        let polled = consumer.poll(deadline.saturating_duration_since(Instant::now())).await;
        let records = polled.unwrap_or_else(|error| {
            tracing::info!(%error, "the age of a record is not known");
            Vec::new()
        });
        for of in records {
            if let (Some(first), Ok(())) = (of.records.first(), consumer.pause(&of.partition)) {
                found.entry(of.partition).or_insert(first.timestamp);
            }
        }
    }
    found
}
