//! Idempotent producers: a repeat is recognized, also by a broker that has been killed in between.

use bytes::Bytes;
use ottla_wire::batch::BatchBuilder;
use ottla_wire::messages::InitProducerIdRequest;
use ottla_wire::{ErrorCode, ProducerEpoch, ProducerId, Sequence};

use crate::harness::{Setup, Wire, batch_of, create_topic, read_all, segments, try_produce, values};

fn producer(wire: &mut Wire) -> (ProducerId, ProducerEpoch) {
    let request = InitProducerIdRequest {
        transactional_id: None,
        transaction_timeout_ms: 60_000,
        ..Default::default()
    };
    let answer = wire.call(&request, 4);
    assert_eq!(answer.error_code, 0);
    (ProducerId(answer.producer_id), ProducerEpoch(answer.producer_epoch))
}

fn sequenced((id, epoch): (ProducerId, ProducerEpoch), sequence: i32, count: i32) -> Bytes {
    let values = (sequence..sequence + count).map(|number| number.to_string());
    batch_of(BatchBuilder::new().producer(id, epoch, Sequence(sequence)), values)
}

/// Error and first offset.
fn send(wire: &mut Wire, topic: &str, batch: Bytes) -> (ErrorCode, i64) {
    let answer = try_produce(wire, topic, 0, batch).unwrap();
    (ErrorCode::from_code(answer.error_code).unwrap(), answer.base_offset)
}

#[test]
fn a_repeat_after_a_kill_is_recognized() {
    for clean in [false, true] {
        let mut setup = Setup::new();
        let broker = setup.start();
        let mut wire = broker.connect();
        create_topic(&mut wire, "once", 1, &[]);
        let me = producer(&mut wire);
        for number in 0..8 {
            assert_eq!(
                send(&mut wire, "once", sequenced(me, 2 * number, 2)),
                (ErrorCode::None, (2 * number).into())
            );
        }
        match clean {
            true => assert_eq!(broker.stop().0, 0),
            false => broker.kill(),
        }
        let broker = setup.start();
        let mut wire = broker.connect();
        // The last five batches are remembered, each with its first offset.
        for number in 3..8 {
            let repeat = send(&mut wire, "once", sequenced(me, 2 * number, 2));
            assert_eq!(repeat, (ErrorCode::None, (2 * number).into()), "clean: {clean}, batch {number}");
        }
        // Older ones are known to be old; a gap is a gap; the next is the next.
        let older = send(&mut wire, "once", sequenced(me, 0, 2)).0;
        assert!(
            matches!(older, ErrorCode::DuplicateSequenceNumber | ErrorCode::OutOfOrderSequenceNumber),
            "{older}"
        );
        assert_eq!(send(&mut wire, "once", sequenced(me, 30, 2)).0, ErrorCode::OutOfOrderSequenceNumber);
        assert_eq!(send(&mut wire, "once", sequenced(me, 16, 1)), (ErrorCode::None, 16));
        let read = values(&read_all(&mut wire, "once", 0));
        assert!(
            read.iter().enumerate().all(|(at, value)| *value == at.to_string()) && read.len() == 17,
            "{read:?}"
        );
        // Ids are never given out twice.
        assert!(producer(&mut wire).0 > me.0);
    }
}

/// Also when the segments that knew the producer have been rolled, and its snapshot is what is left.
#[test]
fn a_repeat_is_recognized_across_segments() {
    let mut setup = Setup::new();
    let broker = setup.start();
    let mut wire = broker.connect();
    create_topic(&mut wire, "once", 1, &[("segment.bytes", "1048576")]);
    let (me, noise) = (producer(&mut wire), producer(&mut wire));
    assert_eq!(send(&mut wire, "once", sequenced(me, 0, 1)), (ErrorCode::None, 0));
    for number in 0..10 {
        let (id, epoch) = noise;
        let large =
            batch_of(BatchBuilder::new().producer(id, epoch, Sequence(number)), ["x".repeat(500_000)]);
        assert_eq!(send(&mut wire, "once", large).0, ErrorCode::None);
    }
    assert!(segments(&setup.data, "once", 0).len() > 3);
    broker.kill();
    let broker = setup.start();
    let mut wire = broker.connect();
    assert_eq!(send(&mut wire, "once", sequenced(me, 0, 1)), (ErrorCode::None, 0));
    assert_eq!(send(&mut wire, "once", sequenced(me, 1, 1)), (ErrorCode::None, 11));
}

#[test]
fn an_old_epoch_is_fenced() {
    let mut setup = Setup::new();
    let broker = setup.start();
    let mut wire = broker.connect();
    create_topic(&mut wire, "once", 1, &[]);
    let (id, epoch) = producer(&mut wire);
    assert_eq!(send(&mut wire, "once", sequenced((id, epoch), 0, 1)).0, ErrorCode::None);
    let newer = (id, ProducerEpoch(epoch.0 + 1));
    assert_eq!(send(&mut wire, "once", sequenced(newer, 5, 1)).0, ErrorCode::OutOfOrderSequenceNumber);
    assert_eq!(send(&mut wire, "once", sequenced(newer, 0, 1)), (ErrorCode::None, 1));
    assert_eq!(send(&mut wire, "once", sequenced((id, epoch), 1, 1)).0, ErrorCode::InvalidProducerEpoch);
    broker.kill();
    let broker = setup.start();
    let mut wire = broker.connect();
    assert_eq!(send(&mut wire, "once", sequenced((id, epoch), 1, 1)).0, ErrorCode::InvalidProducerEpoch);
}
