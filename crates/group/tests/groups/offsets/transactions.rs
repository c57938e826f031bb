//! Offsets in transactions.

use ottla_coordinator::Producer;
use ottla_wire::ErrorCode::{self, IllegalGeneration, UnstableOffsetCommit};
use ottla_wire::ProducerEpoch;
use ottla_wire::messages::TxnOffsetCommitRequest;

use super::ask::*;
use crate::world::World;

const ORDERS: (&str, i32) = ("orders", 0);

fn offset(world: &mut World) -> i64 {
    let response = fetch(world, ask_fetch("g", Some(&[ORDERS])), false);
    assert_eq!(response.topics[0].partitions[0].error_code, 0);
    response.topics[0].partitions[0].committed_offset
}

#[test]
fn an_offset_counts_once_its_transaction_commits() {
    let mut world = world();
    commits(&mut world, "g", &[("orders", 0, 1), ("orders", 1, 1)]);
    commits_in(&mut world, producer(1), "g", &[("orders", 0, 5)]);
    assert_eq!(offset(&mut world), 1);
    assert_eq!(stable(&mut world, "g", ORDERS), (-1, UnstableOffsetCommit));
    assert_eq!(stable(&mut world, "g", ("orders", 1)), (1, ErrorCode::None));
    world.reload();
    assert_eq!(stable(&mut world, "g", ORDERS), (-1, UnstableOffsetCommit));
    world.end_transaction(producer(1), true);
    assert_eq!(stable(&mut world, "g", ORDERS), (5, ErrorCode::None));
    world.check_against_log();
}

#[test]
fn an_aborted_transaction_leaves_nothing() {
    let mut world = world();
    commits(&mut world, "g", &[("orders", 0, 1)]);
    commits_in(&mut world, producer(1), "g", &[("orders", 0, 5), ("orders", 1, 5)]);
    world.end_transaction(producer(1), false);
    assert_eq!(stable(&mut world, "g", ORDERS), (1, ErrorCode::None));
    assert_eq!(fetched(&mut world, "g").len(), 1);
    assert_eq!(world.core().offsets().pending_len(), 0);
    world.check_against_log();
}

/// One table of what can meet at one partition: which offset is there when everything has ended.
#[test]
fn the_later_record_wins_whenever_its_transaction_ends() {
    type Step = fn(&mut World);
    let plain: Step = |world| commits(world, "g", &[("orders", 0, 100)]);
    let first: Step = |world| commits_in(world, producer(1), "g", &[("orders", 0, 1)]);
    let second: Step = |world| commits_in(world, producer(2), "g", &[("orders", 0, 2)]);
    let first_ends: Step = |world| world.end_transaction(producer(1), true);
    let second_ends: Step = |world| world.end_transaction(producer(2), true);
    let second_aborts: Step = |world| world.end_transaction(producer(2), false);
    let deleted: Step = |world| {
        assert_eq!(delete(world, "g", &[ORDERS]).1, [ErrorCode::None]);
    };
    let cases: &[(&str, &[Step], i64)] = &[
        ("plain after", &[first, plain, first_ends], 100),
        ("plain before", &[plain, first, first_ends], 1),
        ("two in order", &[first, second, first_ends, second_ends], 2),
        ("two crosswise", &[first, second, second_ends, first_ends], 2),
        ("the later aborts", &[first, second, second_aborts, first_ends], 1),
        ("plain between", &[first, plain, second, second_ends, first_ends], 2),
        ("deleted while pending", &[first, deleted, first_ends], -1),
        ("deleted while both", &[plain, first, deleted, first_ends], -1),
        ("after the deletion", &[first, deleted, second, first_ends, second_ends], 2),
    ];
    for (name, steps, expected) in cases {
        for reload_after in 0..=steps.len() {
            let mut world = world();
            for (index, step) in steps.iter().enumerate() {
                if index == reload_after {
                    world.reload();
                }
                step(&mut world);
                world.check_against_log();
            }
            assert_eq!(offset(&mut world), *expected, "{name}, new broker before step {reload_after}");
        }
    }
}

/// The epoch may be raised between a commit and the marker (KIP-890).
#[test]
fn the_end_of_a_later_epoch_ends_the_transaction() {
    let mut world = world();
    commits_in(&mut world, producer(1), "g", &[("orders", 0, 5)]);
    world.end_transaction(Producer { epoch: ProducerEpoch(1), ..producer(1) }, true);
    assert_eq!(stable(&mut world, "g", ORDERS), (5, ErrorCode::None));
    world.end_transaction(producer(1), false);
    assert_eq!(offset(&mut world), 5);
}

#[test]
fn an_end_without_offsets_changes_nothing() {
    let mut world = world();
    commits(&mut world, "g", &[("orders", 0, 1)]);
    world.end_transaction(producer(1), true);
    assert_eq!(offset(&mut world), 1);
}

/// Only its pending offsets hold a group that nothing is recorded of.
#[test]
fn a_group_that_only_an_aborted_transaction_knew_is_gone() {
    let mut world = world();
    commits_in(&mut world, producer(1), "g", &[("orders", 0, 5)]);
    commits_in(&mut world, producer(1), "h", &[("orders", 0, 5)]);
    assert!(exists(&world, "g"));
    world.end_transaction(producer(1), false);
    assert!(!exists(&world, "g") && !exists(&world, "h"));
    world.check_against_log();
}

#[test]
fn what_is_refused() {
    let base = || txn_commit(producer(1), "g", &[("orders", 0, 1), ("orders", 1, 1)]);
    let cases = [
        (TxnOffsetCommitRequest { group_id: "".into(), ..base() }, ErrorCode::InvalidGroupId),
        (TxnOffsetCommitRequest { producer_id: -1, ..base() }, ErrorCode::InvalidProducerIdMapping),
        (TxnOffsetCommitRequest { producer_epoch: -1, ..base() }, ErrorCode::InvalidProducerIdMapping),
        (TxnOffsetCommitRequest { generation_id: 0, ..base() }, IllegalGeneration),
        (TxnOffsetCommitRequest { generation_id: -1, ..base() }, ErrorCode::None),
    ];
    for (request, expected) in cases {
        let mut world = world();
        assert_eq!(errors_of_txn_commit(&mut world, request), [expected; 2]);
        assert_eq!(exists(&world, "g"), expected == ErrorCode::None);
    }
    let mut world = world();
    let mut request = base();
    request.topics[0].partitions[0].committed_metadata = Some("x".repeat(4097).into());
    let expected = [ErrorCode::OffsetMetadataTooLarge, ErrorCode::None];
    assert_eq!(errors_of_txn_commit(&mut world, request), expected);
}
