//! Cutting a partition's log back: what a follower does whose log has parted from its leader's.

use ottla_log::LogError;
use ottla_replica::Event;
use ottla_wire::Offset;

use super::PartitionDriver;
use crate::metadata::Rebuilt;

impl PartitionDriver {
    /// Cuts the log and rebuilds the producers from what is left. A flush may be under way: the core does not listen to
    /// it, and the next one writes the epochs as they are then.
    pub(super) fn truncate(&mut self, to: Offset) -> Result<Event, LogError> {
        let end = self.log.truncate_to(to)?;
        let mut rebuilt = Rebuilt::new(self.core.config());
        self.log.replay(&mut rebuilt)?;
        Ok(Event::Truncated { end, producers: rebuilt.into_producers() })
    }
}

#[cfg(test)]
pub(super) mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use ottla_log::{DataDir, DirOptions, Identity, Log, LogConfig, MemDisk};
    use ottla_replica::{
        LeaderAnswer, LeaderReply, PartitionState, RecoveryState, Replica, ReplicaBroker, ReplicaConfig,
        Restored, Standing,
    };
    use ottla_wire::batch::{AppendBatch, BatchBuilder, BatchHeader, HEADER_LEN};
    use ottla_wire::{
        BrokerId, EpochStart, Instant, LeaderEpoch, PartitionEpoch, PartitionIndex, ProducerEpoch,
        ProducerId, Sequence, Timestamp, Uuid,
    };

    use super::*;
    use crate::partition::{PartitionHandle, PartitionKey, PartitionView};
    use crate::shard::ShardHandle;
    use crate::shard::driver::Turn;

    const ME: BrokerId = BrokerId(1);
    const LEADER: BrokerId = BrokerId(2);
    const TURN: Turn = Turn { now: Instant(0), wall: Timestamp(0) };

    /// Three batches of ten records each, in epochs 0, 1 and 2, by one producer; all of it flushed.
    pub fn log(dir: &DataDir) -> Log {
        let config = LogConfig::default();
        let mut log = Log::create(dir, "t", PartitionIndex(0), Uuid([7; 16]), config).unwrap();
        for epoch in 0..3 {
            let mut batch = BatchBuilder::new()
                .base_offset(log.log_end())
                .leader_epoch(LeaderEpoch(epoch))
                .producer(ProducerId(5), ProducerEpoch(0), Sequence(epoch * 10));
            for _ in 0..10 {
                batch.push(Timestamp(1), None, Some(b"v"));
            }
            let bytes = batch.build().unwrap();
            let header = BatchHeader::parse(&bytes).unwrap();
            log.append(AppendBatch { body: bytes.slice(HEADER_LEN..), header }).unwrap();
        }
        log.write().unwrap();
        let flushed = log.begin_flush(&mut Default::default).unwrap().run();
        log.finish_flush(flushed);
        log
    }

    /// A follower of [`LEADER`] in epoch 3 with this log, of which the first ten records are committed.
    pub fn follower(mut log: Log) -> PartitionDriver {
        let config = ReplicaConfig::new(ME);
        let mut rebuilt = Rebuilt::new(&config);
        log.replay(&mut rebuilt).unwrap();
        let start =
            |epoch: i32| EpochStart { epoch: LeaderEpoch(epoch), start: Offset(i64::from(epoch) * 10) };
        let restored = Restored {
            log_start: log.log_start(),
            log_end: log.log_end(),
            durable_end: log.durable_end(),
            high_watermark: Offset(10),
            epochs: (0..3).map(start).collect(),
            producers: rebuilt.into_producers(),
        };
        let core = Replica::new(config, restored);
        let bound = log.bound(log.log_end());
        let view = PartitionView {
            high_watermark: bound,
            last_stable: bound,
            log_end: bound,
            held_since: None,
            replica: core.view(),
        };
        let (shard, _mail) = ShardHandle::new(0);
        let name = ("t".into(), Uuid([7; 16]), PartitionIndex(0));
        let handle = PartitionHandle::new(name, PartitionKey(0), shard, Uuid([8; 16]), log.reader(), view);
        let mut driver = PartitionDriver::new(Arc::new(handle), core, log);
        let replica = |broker| ReplicaBroker { broker, epoch: None, standing: Standing::Active };
        driver.step(
            TURN,
            Event::Assigned(PartitionState {
                leader: Some(LEADER),
                leader_epoch: LeaderEpoch(3),
                partition_epoch: PartitionEpoch(3),
                isr: vec![LEADER],
                elr: Vec::new(),
                last_known_elr: Vec::new(),
                replicas: vec![replica(ME), replica(LEADER)],
                recovery: RecoveryState::Recovered,
            }),
        );
        driver
    }

    /// The leader's answer to a fetch from the end of the log.
    fn answer(driver: &mut PartitionDriver, reply: LeaderReply) {
        let (epoch, offset) = (LeaderEpoch(3), driver.log.log_end());
        driver.step(TURN, Event::LeaderAnswered(LeaderAnswer { epoch, offset, reply }));
        assert!(driver.end_turn(TURN).is_none(), "nothing is left to flush");
    }

    fn last_sequence(driver: &PartitionDriver) -> Option<Sequence> {
        driver.producers().first().map(|producer| producer.last_sequence)
    }

    pub fn in_memory(disk: &MemDisk) -> DataDir {
        let identity = Identity { node_id: Some(1), cluster_id: Some("c".to_owned()) };
        let options = DirOptions {
            disk: Arc::new(disk.clone()),
            background: false,
            checkpoint_interval: Duration::from_secs(3600),
        };
        DataDir::open_with("/data", &identity, options).unwrap()
    }

    #[test]
    fn a_log_that_has_parted_from_its_leaders_is_cut_and_forgets_what_was_cut() {
        let mut driver = follower(log(&in_memory(&MemDisk::new())));
        assert_eq!(last_sequence(&driver), Some(Sequence(29)));
        // The leader's epoch 1 ends inside our second batch: no batch is cut in two.
        answer(&mut driver, LeaderReply::Diverged { epoch: LeaderEpoch(1), end: Offset(15) });
        assert_eq!((driver.log.log_end(), driver.core.view().log_end), (Offset(10), Offset(10)));
        assert_eq!(last_sequence(&driver), Some(Sequence(9)));
        let view = driver.handle().view();
        assert_eq!((view.log_end.offset, view.replica.epochs.latest()), (Offset(10), Some(LeaderEpoch(0))));
        // The core goes on: it takes the answer to the fetch that it asked for after the cut.
        answer(&mut driver, LeaderReply::OutOfRange { start: Offset(100), end: Offset(200) });
        assert_eq!((driver.log.log_start(), driver.log.log_end()), (Offset(100), Offset(100)));
        assert_eq!(driver.handle().view().replica.log_start, Offset(100));
        assert_eq!(last_sequence(&driver), None);
    }

    #[test]
    fn a_disk_that_fails_at_it_takes_the_partition_offline() {
        let disk = MemDisk::new();
        let mut driver = follower(log(&in_memory(&disk)));
        disk.set_faults(ottla_log::Faults { syncs_fail: true, ..Default::default() });
        answer(&mut driver, LeaderReply::Diverged { epoch: LeaderEpoch(1), end: Offset(15) });
        assert_eq!(driver.core.view().role, ottla_replica::ViewRole::Offline);
    }
}
