//! Restart: a snapshot and the log after it tell the same as having lived through it.

use ottla_replica::{Acks, ProducerState, ReplicaConfig, ReplyId, Restorer, WriteMarker};
use ottla_wire::batch::AppendBatch;
use ottla_wire::messages::ProducerSnapshot;
use ottla_wire::primitives::{decode_from, encode_to_bytes};
use ottla_wire::{BrokerId, Instant, Offset, ProducerEpoch, ProducerId};
use proptest::prelude::*;

use crate::batches::Produced;
use crate::disk::replay;
use crate::partition::Partition;

#[derive(Clone, Debug)]
enum Step {
    Data { id: i64, epoch: i16, sequence: Option<i32>, count: i32, transactional: bool, timestamp: i64 },
    Marker { id: i64, epoch: i16, commit: bool },
    Snapshot,
}

fn step() -> impl Strategy<Value = Step> {
    let data = (0..4i64, 0..3i16, prop::option::weighted(0.1, 0..10i32), 1..4i32, any::<bool>(), 0..50i64)
        .prop_map(|(id, epoch, sequence, count, transactional, timestamp)| Step::Data {
            id,
            epoch,
            sequence,
            count,
            transactional,
            timestamp,
        });
    let marker =
        (0..4i64, 0..3i16, any::<bool>()).prop_map(|(id, epoch, commit)| Step::Marker { id, epoch, commit });
    prop_oneof![8 => data, 3 => marker, 1 => Just(Step::Snapshot)]
}

/// Everything that decides how a producer is answered.
fn told(states: &[ProducerState], remembered: impl Fn(ProducerId) -> String) -> Vec<(ProducerState, String)> {
    states.iter().map(|&state| (state, remembered(state.producer_id))).collect()
}

/// Plays the steps on one replica; returns it with the snapshots taken and where in the log.
fn live(steps: &[Step]) -> (Partition, Vec<(usize, ProducerSnapshot)>) {
    let mut p = Partition::of(["leader"]);
    let mut snapshots = vec![(0, ProducerSnapshot::default())];
    for step in steps {
        match *step {
            Step::Data { id, epoch, sequence, count, transactional, timestamp } => {
                let known = p.nodes[0].replica.producers();
                let known = known.iter().find(|state| state.producer_id.0 == id && state.epoch.0 == epoch);
                let next = known.map_or(0, |state| state.last_sequence.0 + 1);
                let sequence = sequence.unwrap_or(next);
                let batch = Produced { id, epoch, sequence, count, transactional, timestamp }.batch();
                p.append_as(0, batch, Acks::InSync);
            }
            Step::Marker { id, epoch, commit } => {
                p.marker(WriteMarker {
                    producer: ProducerId(id),
                    producer_epoch: ProducerEpoch(epoch),
                    coordinator_epoch: 0,
                    commit,
                    transaction_version: 0,
                    deadline: Instant(0),
                    reply: ReplyId(0),
                });
            }
            Step::Snapshot => {
                snapshots.push((p.nodes[0].disk.log.len(), p.nodes[0].replica.snapshot_producers()))
            }
        }
    }
    (p, snapshots)
}

fn restore(config: &ReplicaConfig, snapshot: &ProducerSnapshot, log: &[AppendBatch]) -> Restorer {
    // Through the bytes of the file, too.
    let bytes = encode_to_bytes(snapshot, 1).unwrap();
    let read_back: ProducerSnapshot = decode_from(bytes, 1).unwrap();
    assert_eq!(read_back, *snapshot);
    let mut restorer = Restorer::new(config, []);
    restorer.snapshot(&read_back);
    replay(log, &mut restorer);
    restorer
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_snapshot_and_the_log_after_it_equal_having_lived_through_it(steps in prop::collection::vec(step(), 0..60)) {
        let (p, snapshots) = live(&steps);
        let node = &p.nodes[0];
        let config = ReplicaConfig::new(BrokerId(0));
        // Having lived through it: the same log from its very beginning.
        let lived = restore(&config, &ProducerSnapshot::default(), &node.disk.log);
        let lived_producers = lived.producers();
        prop_assert_eq!(lived_producers.list(), node.replica.producers());
        prop_assert_eq!(lived_producers.snapshot(), node.replica.snapshot_producers());
        for (at, snapshot) in snapshots {
            let restored = restore(&config, &snapshot, &node.disk.log[at..]);
            let restored = restored.producers();
            let remembered = |producer| format!("{:?}", lived_producers.remembered(producer));
            let restored_remembered = |producer| format!("{:?}", restored.remembered(producer));
            prop_assert_eq!(told(&restored.list(), restored_remembered), told(&lived_producers.list(), remembered));
            let mut lived_open: Vec<Option<Offset>> = lived_producers.list().iter().map(|state| state.txn_first).collect();
            lived_open.retain(Option::is_some);
            // What is undecided at the time of the snapshot is behind the high watermark by the time of a
            // restart.
            let mut decided = restored.clone();
            decided.committed(Offset(i64::MAX));
            prop_assert_eq!(decided.first_unstable(), lived_open.into_iter().flatten().min());
        }
    }
}

/// The rows of a snapshot, as Kafka's tools print them.
#[test]
fn a_snapshot_has_a_row_for_each_remembered_batch() {
    let mut p = Partition::of(["leader"]);
    let write = |sequence, timestamp| {
        Produced { id: 9, epoch: 1, sequence, count: 2, transactional: true, timestamp }.batch()
    };
    p.append_as(0, write(0, 10), Acks::InSync);
    p.append_as(0, write(2, 20), Acks::InSync);
    let rows = |p: &Partition| -> Vec<[i64; 8]> {
        let snapshot = p.nodes[0].replica.snapshot_producers();
        let rows = snapshot.producer_entries.iter().map(|row| {
            [
                row.producer_id,
                row.epoch.into(),
                row.last_sequence.into(),
                row.last_offset,
                row.offset_delta.into(),
                row.timestamp,
                row.coordinator_epoch.into(),
                row.current_txn_first_offset,
            ]
        });
        rows.collect()
    };
    assert_eq!(rows(&p), [[9, 1, 1, 1, 1, 10, -1, 0], [9, 1, 3, 3, 1, 20, -1, 0]]);
    let marker = WriteMarker {
        producer: ProducerId(9),
        producer_epoch: ProducerEpoch(1),
        coordinator_epoch: 4,
        commit: true,
        transaction_version: 1,
        deadline: Instant(0),
        reply: ReplyId(0),
    };
    p.marker(marker);
    let now = p.wall.0;
    assert_eq!(
        rows(&p),
        [[9, 1, 1, 1, 1, 10, 4, -1], [9, 1, 3, 3, 1, 20, 4, -1], [9, 1, 3, 3, 1, now, 4, -1]],
        "the last row also says when the producer was last heard"
    );
}

/// The checkpoint of leader epochs may lag behind the log.
#[test]
fn replay_finds_the_epochs_that_the_checkpoint_lacks() {
    let mut p = Partition::of(["one", "two"]);
    p.append("a");
    p.elect("one");
    p.append("b");
    let mut restorer = Restorer::new(&ReplicaConfig::new(BrokerId(0)), []);
    replay(&p.nodes[0].disk.log, &mut restorer);
    let (_, epochs) = restorer.finish();
    assert_eq!(epochs.entries(), p.nodes[0].disk.epochs);
}

#[test]
fn a_crash_loses_what_was_not_flushed_and_no_more() {
    let mut p = Partition::of(["leader"]);
    p.append("safe");
    p.nodes[0].slow_disk = true;
    let lost = p.append("lost");
    p.nodes[0].checkpoint();
    p.crash("leader");
    let view = p.view("leader");
    assert_eq!((view.log_end, view.high_watermark, p.outcome(lost)), (Offset(1), Offset(1), None));
    assert_eq!(p.node("leader").values(), ["safe"]);
}
