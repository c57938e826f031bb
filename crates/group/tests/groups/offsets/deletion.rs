//! OffsetDelete, DeleteGroups, and topics that are deleted.

use ottla_group::offsets::SWEEP_WORK_MAX;
use ottla_wire::ErrorCode::{self, GroupIdNotFound, InvalidGroupId};

use super::ask::*;
use crate::world::World;

#[test]
fn single_offsets_are_deleted_and_what_is_not_there_is_no_error() {
    let mut world = world();
    commits(&mut world, "g", &[("orders", 0, 1), ("orders", 1, 1), ("returns", 0, 1)]);
    let places = [("orders", 0), ("orders", 3), ("unheard-of", 0), ("returns", 0)];
    let before = world.log().len();
    assert_eq!(delete(&mut world, "g", &places), (ErrorCode::None, vec![ErrorCode::None; 4]));
    assert_eq!(world.written_since(before).len(), 2, "tombstones are written for what was there");
    assert_eq!(fetched(&mut world, "g"), [("orders".to_owned(), 1, 1)]);
    world.check_against_log();
}

#[test]
fn offsets_of_no_group_cannot_be_deleted() {
    let mut world = world();
    assert_eq!(delete(&mut world, "g", &[("orders", 0)]), (GroupIdNotFound, vec![]));
    assert_eq!(delete(&mut world, "", &[("orders", 0)]), (InvalidGroupId, vec![]));
}

#[test]
fn a_simple_group_goes_with_its_last_offset() {
    let mut world = world();
    commits(&mut world, "g", &[("orders", 0, 1)]);
    delete(&mut world, "g", &[("orders", 0)]);
    assert!(!exists(&world, "g"));
    world.check_against_log();
}

#[test]
fn a_deleted_group_takes_everything_with_it() {
    let mut world = world();
    commits(&mut world, "g", &[("orders", 0, 1), ("returns", 0, 1)]);
    commits(&mut world, "g2", &[("orders", 0, 1)]);
    commits_in(&mut world, producer(1), "g", &[("orders", 0, 2), ("orders", 1, 2)]);
    let before = world.log().len();
    assert_eq!(delete_group(&mut world, "g"), ErrorCode::None);
    let offsets = world.written_since(before);
    let offsets =
        offsets.iter().filter(|r| matches!(r, ottla_group::GroupRecord::Offset { value: None, .. }));
    assert_eq!(offsets.count(), 3, "one for each place, pending or not");
    world.end_transaction(producer(1), true);
    assert!(!exists(&world, "g"));
    assert_eq!(fetched(&mut world, "g"), []);
    assert_eq!(fetched(&mut world, "g2").len(), 1);
    world.check_against_log();
}

#[test]
fn a_deleted_topic_takes_its_offsets_with_it() {
    let mut world = world();
    commits(&mut world, "g", &[("orders", 0, 1), ("returns", 0, 1)]);
    commits(&mut world, "only", &[("orders", 0, 1)]);
    commits_in(&mut world, producer(1), "pending", &[("orders", 0, 1)]);
    world.change_topics(|topics| topics.delete("orders"));
    world.end_transaction(producer(1), true);
    assert_eq!(fetched(&mut world, "g"), [("returns".to_owned(), 0, 1)]);
    assert!(!exists(&world, "only") && !exists(&world, "pending"));
    world.check_against_log();
}

/// The coordinator may hear of a topic's deletion after its successor was made.
#[test]
fn offsets_of_the_successor_of_a_deleted_topic_stay() {
    let mut world = world();
    commits(&mut world, "g", &[("orders", 0, 1), ("orders", 1, 1)]);
    let mut successor = ottla_wire::Uuid::ZERO;
    let mut request = commit("g", &[("orders", 1, 7)]);
    world.change_topics(|topics| {
        topics.delete("orders");
        successor = topics.set("orders", 4);
    });
    assert_eq!(fetched(&mut world, "g"), []);

    // A commit that names the successor's id, before the coordinator hears of it.
    let mut world = super::ask::world();
    commits(&mut world, "g", &[("orders", 0, 1)]);
    request.topics[0].topic_id = successor;
    assert_eq!(errors_of_commit(&mut world, 10, request), [ErrorCode::None]);
    world.change_topics(|topics| {
        topics.delete("orders");
        assert_eq!(topics.set("orders", 4), successor);
    });
    assert_eq!(fetched(&mut world, "g"), [("orders".to_owned(), 1, 7)]);
}

/// Every group has offsets for the deleted topic: they go step by step, and requests are served in between.
#[test]
fn the_offsets_of_a_deleted_topic_go_in_steps() {
    let mut world = world();
    let groups = SWEEP_WORK_MAX;
    for group in 0..groups {
        commits(&mut world, &format!("{group}"), &[("orders", 0, 1)]);
    }
    let before = world.log().len();
    world.change_topics(|topics| topics.delete("orders"));
    let in_one_step = world.log().len() - before;
    assert!(in_one_step < groups, "{in_one_step}");
    // A commit to a topic that has come since is not swept away.
    world.change_topics(|topics| {
        topics.set("orders", 4);
    });
    commits(&mut world, "9999", &[("orders", 1, 2)]);
    settle(&mut world);
    assert_eq!(world.core().offsets().len(), 1);
    assert_eq!(world.core().groups().len(), 1);
    world.check_against_log();
}

fn settle(world: &mut World) {
    world.advance(ottla_group::offsets::SWEEP_PAUSE * 10);
}
