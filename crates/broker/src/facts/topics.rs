//! Partitions, by topic, and data directories.

use ottla_http::metrics::{DirFacts, RoomFacts, TopicFacts};
use ottla_log::{DataDir, Level, Reading};

use crate::published::{LocalTopic, Published};

/// All topics with partitions here, by name.
pub fn topics(published: &Published) -> Vec<TopicFacts> {
    let mut all: Vec<TopicFacts> = published.topics().map(|topic| of_topic(published, topic)).collect();
    all.sort_unstable_by(|a, b| a.name.cmp(&b.name));
    all
}

fn of_topic(published: &Published, topic: &LocalTopic) -> TopicFacts {
    use ottla_replica::ViewRole::{Follower, Idle, Leader, Offline, Retired};
    let mut facts = TopicFacts { name: topic.name.clone(), ..TopicFacts::default() };
    for partition in topic.partitions() {
        let view = partition.view();
        let replica = &view.replica;
        facts.partitions += 1;
        facts.uncompacted += u64::from(topic.config.cleanup_compact);
        facts.log_bytes += partition.reader.size();
        facts.end_offsets += u64::try_from(replica.log_end.0).unwrap_or(0);
        match replica.role {
            Leader => {
                let known = published.image.partition(topic.id, partition.index);
                let replicas = known.map_or(0, |known| known.replicas.len());
                facts.leading += 1;
                facts.under_replicated += u64::from(replica.isr.len() < replicas);
                facts.under_min_isr += u64::from(replica.under_min_isr);
            }
            Idle | Offline => facts.offline += 1,
            Follower | Retired => {}
        }
    }
    facts
}

fn room(reading: Reading) -> RoomFacts {
    RoomFacts {
        full: reading.level == Level::Full,
        low: reading.level >= Level::Low,
        reserve: reading.reserve,
        full_in_s: reading.full_in.map(|time| time.as_secs()),
    }
}

/// One data directory.
pub fn dir(dir: &DataDir) -> DirFacts {
    DirFacts {
        path: dir.path().display().to_string(),
        online: dir.health().is_online(),
        space: dir.space().ok().map(|space| (space.total, space.usable)),
        room: dir.health().room().reading().map(room),
    }
}
