//! What each topic setting is for, in a sentence (DescribeConfigs with documentation).

/// The sentence for a topic setting; Ottla's own table may say more.
pub fn topic_doc(name: &str) -> Option<&'static str> {
    if let Some(own) = crate::tables::topic(name).and_then(|definition| definition.doc) {
        return Some(own);
    }
    Some(match name {
        "cleanup.policy" => {
            "What happens to old records: delete drops whole segments by age and size, compact keeps the last record of each key, both may be named."
        }
        "compression.gzip.level" => {
            "How hard gzip works when compression.type is gzip; -1 is its usual level."
        }
        "compression.lz4.level" => "How hard lz4 works when compression.type is lz4.",
        "compression.type" => {
            "How batches are stored: producer keeps them as they came, uncompressed or a codec stores all of them that way."
        }
        "compression.zstd.level" => "How hard zstd works when compression.type is zstd.",
        "delete.retention.ms" => {
            "How long the mark of a deletion outlives its key in a compacted topic, so that readers see it."
        }
        "file.delete.delay.ms" => "How long a file that is no longer part of the log stays on disk.",
        "flush.ms" => "The longest time that a written record may wait to be flushed to stable storage.",
        "follower.replication.throttled.replicas" => {
            "Follower replicas whose replication is slowed by the quota, as partition:broker pairs or *."
        }
        "index.interval.bytes" => "Bytes of log between two entries of the offset index.",
        "leader.replication.throttled.replicas" => {
            "Leader replicas whose replication is slowed by the quota, as partition:broker pairs or *."
        }
        "local.retention.bytes" => {
            "Bytes kept on local disk when older segments are in remote storage; -2 means what retention.bytes says."
        }
        "local.retention.ms" => {
            "Time kept on local disk when older segments are in remote storage; -2 means what retention.ms says."
        }
        "max.compaction.lag.ms" => "The longest time a record stays out of reach of compaction.",
        "max.message.bytes" => "The largest batch, as it is stored, that the topic takes.",
        "message.timestamp.after.max.ms" => "How far ahead of the broker's clock a record's time may be.",
        "message.timestamp.before.max.ms" => "How far behind the broker's clock a record's time may be.",
        "message.timestamp.type" => {
            "Whose clock stamps the records: CreateTime the producer's, LogAppendTime the broker's."
        }
        "min.cleanable.dirty.ratio" => {
            "The share of a log that must be new since its last compaction before it is compacted again."
        }
        "min.compaction.lag.ms" => "The shortest time a record stays before compaction may remove it.",
        "min.insync.replicas" => "How many replicas must be in sync for a write with acks=all to be taken.",
        "preallocate" => "Reserve the space of a segment on disk when it is created.",
        "remote.log.copy.disable" => "Stop copying segments to remote storage and keep those that are there.",
        "remote.log.delete.on.disable" => {
            "Delete what is in remote storage when remote storage is turned off."
        }
        "remote.storage.enable" => "Keep older segments in remote storage.",
        "retention.bytes" => {
            "The size a partition may grow to before its oldest segments go; -1 is no limit."
        }
        "retention.ms" => "The age at which segments go; -1 is no limit.",
        "segment.bytes" => "The size at which a new segment file begins.",
        "segment.index.bytes" => "The size the index of a segment may grow to.",
        "segment.jitter.ms" => "Up to how much sooner a segment may end, so that not all end at once.",
        "segment.ms" => "The age at which a new segment file begins even if the current one is not full.",
        "unclean.leader.election.enable" => {
            "Let a replica that is not in sync lead when no other is left, at the cost of records that were acknowledged."
        }
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use crate::tables;

    #[test]
    fn every_topic_setting_is_explained() {
        for definition in tables::topics().iter().filter(|definition| !definition.internal) {
            assert!(super::topic_doc(definition.name).is_some(), "{}", definition.name);
        }
    }
}
