//! Who may commit and fetch offsets.

use std::time::Duration;

use ottla_group::GroupConfig;
use ottla_group::group::{Committer, Group};
use ottla_wire::{ErrorCode, PartitionIndex, TopicId};

use super::classic_client::ClassicClient;
use super::client::{Client, GROUP, settle};
use crate::world::World;

const MEMBER_API: i16 = 9;

fn world() -> World {
    let config = GroupConfig { assignment_interval: Duration::ZERO, ..GroupConfig::default() };
    let mut world = World::new(config);
    world.change_topics(|topics| {
        topics.set("a", 2);
    });
    world
}

fn group(world: &World) -> &dyn Group {
    world.core().groups().get(GROUP).expect("the group")
}

fn by(member: &str, epoch: i32) -> Committer<'_> {
    Committer {
        member,
        instance: None,
        generation_or_epoch: epoch,
        transactional: false,
        version: MEMBER_API,
    }
}

fn commit(world: &World, by: &Committer<'_>, partition: (TopicId, i32)) -> Result<(), ErrorCode> {
    group(world).validate_commit(by)?;
    group(world).validate_commit_of(by, partition.0, PartitionIndex(partition.1))
}

#[test]
fn members_commit_in_their_epoch() {
    let mut world = world();
    let mut m1 = Client::of("m1", &["a"]);
    m1.beat(&mut world);
    let partition = *m1.owned.first().unwrap();
    let cases = [
        (by("m1", 2), Ok(())),
        (by("m1", 3), Err(ErrorCode::StaleMemberEpoch)),
        (by("m1", 0), Err(ErrorCode::StaleMemberEpoch)),
        (by("m1", -1), Err(ErrorCode::StaleMemberEpoch)),
        (by("m2", 2), Err(ErrorCode::UnknownMemberId)),
        (by("", -1), Err(ErrorCode::UnknownMemberId)),
        (Committer { version: 8, ..by("m1", 2) }, Err(ErrorCode::UnsupportedVersion)),
        (Committer { version: 3, transactional: true, ..by("m1", 2) }, Ok(())),
        (Committer { version: 3, transactional: true, ..by("", -1) }, Ok(())),
    ];
    for (by, expected) in cases {
        assert_eq!(commit(&world, &by, partition), expected, "{by:?}");
    }
    m1.leave(&mut world, -1);
    assert_eq!(commit(&world, &by("", -1), partition), Ok(()), "the administrator, while it is empty");
    assert_eq!(commit(&world, &by("m1", 2), partition), Err(ErrorCode::UnknownMemberId));
}

/// KIP-1251: what a member reads until it has given it up, it may commit in the epoch in which it read it.
#[test]
fn commits_of_an_older_epoch_count_for_what_the_member_has_since_then() {
    let mut world = world();
    let (mut m1, mut m2) = (Client::of("m1", &["a"]), Client::of("m2", &["a"]));
    m1.beat(&mut world);
    m2.beat(&mut world);
    m1.beat(&mut world);
    let kept = *m1.assigned.first().unwrap();
    let revoked = *m1.owned.difference(&m1.assigned).next().unwrap();
    assert_eq!(commit(&world, &by("m1", 2), revoked), Ok(()), "it is still giving it up");

    settle(&mut world, &mut [&mut m1, &mut m2]);
    assert_eq!((m1.epoch, m2.epoch), (3, 3));
    assert_eq!(commit(&world, &by("m1", 2), kept), Ok(()), "it has had it since epoch 2");
    assert_eq!(commit(&world, &by("m1", 0), kept), Err(ErrorCode::StaleMemberEpoch));
    assert_eq!(commit(&world, &by("m1", 2), revoked), Err(ErrorCode::StaleMemberEpoch));
    assert_eq!(commit(&world, &by("m2", 3), revoked), Ok(()));
    assert_eq!(commit(&world, &by("m2", 2), revoked), Err(ErrorCode::StaleMemberEpoch));
}

#[test]
fn fetches_are_checked_for_those_who_say_who_they_are() {
    let mut world = world();
    Client::of("m1", &["a"]).beat(&mut world);
    let cases = [
        (None, -1, Ok(())),
        (None, 2, Err(ErrorCode::UnknownMemberId)),
        (Some("m1"), 2, Ok(())),
        (Some("m1"), 0, Err(ErrorCode::StaleMemberEpoch)),
        (Some("m1"), 3, Err(ErrorCode::StaleMemberEpoch)),
        (Some("m2"), 2, Err(ErrorCode::UnknownMemberId)),
    ];
    for (member, epoch, expected) in cases {
        assert_eq!(group(&world).validate_fetch(member, epoch), expected, "{member:?} {epoch}");
    }
}

#[test]
fn classic_members_are_told_of_generations() {
    let mut world = world();
    let mut new = Client::of("new", &["a"]);
    new.beat(&mut world);
    let mut classic = ClassicClient::of(&["a"]);
    classic.step(&mut world);
    classic.step(&mut world);
    let generation = classic.generation;
    assert!(generation > 0);
    let partition = *new.owned.first().unwrap();
    let old_api = Committer { version: 7, ..by(&classic.id, generation) };
    assert_eq!(commit(&world, &old_api, partition), Ok(()));
    let ahead = by(&classic.id, generation + 1);
    assert_eq!(commit(&world, &ahead, partition), Err(ErrorCode::IllegalGeneration));
}
