//! OffsetFetch for those who are no members.

use ottla_wire::ErrorCode::{self, UnstableOffsetCommit};

use super::ask::*;

#[test]
fn a_group_that_never_was_has_no_offsets_and_that_is_no_error() {
    let mut world = world();
    let response = fetch(&mut world, ask_fetch("g", None), true);
    assert_eq!((response.error_code, response.topics.len()), (0, 0));
    let response = fetch(&mut world, ask_fetch("g", Some(&[("orders", 0), ("unheard-of", 9)])), true);
    assert_eq!(response.error_code, 0);
    for topic in &response.topics {
        let found = &topic.partitions[0];
        assert_eq!((found.committed_offset, found.committed_leader_epoch, found.error_code), (-1, -1, 0));
        assert_eq!(found.metadata.as_deref(), Some(""));
    }
    assert!(!exists(&world, "g"), "to look is not to make");
}

#[test]
fn null_is_all_and_none_is_none() {
    let mut world = world();
    commits(&mut world, "g", &[("returns", 1, 2), ("orders", 2, 3), ("orders", 0, 1)]);
    let expected = [("orders", 0, 1), ("orders", 2, 3), ("returns", 1, 2)];
    assert_eq!(fetched(&mut world, "g"), expected.map(|(t, p, o)| (t.to_owned(), p, o)));
    assert_eq!(fetch(&mut world, ask_fetch("g", Some(&[])), false).topics, []);
}

/// Partitions that only a transaction knows are not among all; as in Kafka.
#[test]
fn unstable_is_said_of_each_partition() {
    let mut world = world();
    commits(&mut world, "g", &[("orders", 0, 1), ("orders", 1, 1)]);
    commits_in(&mut world, producer(1), "g", &[("orders", 1, 2), ("orders", 2, 2)]);
    let response = fetch(&mut world, ask_fetch("g", None), true);
    let errors: Vec<_> =
        response.topics[0].partitions.iter().map(|p| (p.partition_index, p.error_code)).collect();
    assert_eq!(errors, [(0, 0), (1, UnstableOffsetCommit.code())]);
    assert_eq!(stable(&mut world, "g", ("orders", 2)), (-1, UnstableOffsetCommit));
    assert_eq!(stable(&mut world, "other", ("orders", 1)), (-1, ErrorCode::None));
}

/// Reads are served while nothing can be written.
#[test]
fn offsets_can_be_read_while_the_partition_is_not_writable() {
    let mut world = world();
    commits(&mut world, "g", &[("orders", 0, 1)]);
    world.set_writable(false);
    assert_eq!(fetched(&mut world, "g"), [("orders".to_owned(), 0, 1)]);
}
