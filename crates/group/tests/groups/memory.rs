//! What groups take in memory: how well it is reckoned, and what becomes of who comes when it is used up.
//!
//! That each part keeps its count right is checked by the maps themselves at every change, in builds for
//! tests.

// An allocator that counts cannot be written without `unsafe`; it only passes on to the one of the system.
#![allow(unsafe_code)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::sync::Arc;

use bytes::Bytes;
use ottla_coordinator::{Frame, Moment, Record};
use ottla_group::{GroupConfig, GroupCoordinator, Request, Response};
use ottla_wire::ErrorCode::{self, CoordinatorNotAvailable};
use ottla_wire::messages::ConsumerGroupHeartbeatRequest;
use ottla_wire::primitives::Str;
use ottla_wire::{Offset, Uuid};

use crate::classic::client::{self as classic, Client, settle};
use crate::consumer::client as consumer;
use crate::offsets::ask::*;
use crate::world::{Entry, World};

struct Counting;

thread_local! {
    /// Bytes that this thread has asked for and not given back.
    static HELD: Cell<isize> = const { Cell::new(0) };
}

unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        HELD.set(HELD.get() + rounded(layout));
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        HELD.set(HELD.get() - rounded(layout));
        unsafe { System.dealloc(at, layout) }
    }
}

/// What an allocator takes for it: a header, and steps of 16 bytes.
fn rounded(layout: Layout) -> isize {
    (layout.size() + 8).next_multiple_of(16) as isize
}

#[global_allocator]
static COUNTING: Counting = Counting;

/// Lets `fill` put something into a coordinator, and gives what it takes by its own reckoning for each byte
/// that it takes.
fn reckoned(fill: impl FnOnce(&mut World)) -> f64 {
    let mut world = classic::world();
    world.change_topics(|topics| {
        for topic in 0..100 {
            topics.set(&format!("topic-{topic}"), 10);
        }
    });
    fill(&mut world);
    let topics = Arc::new(world.topics().clone());
    let before = HELD.get();
    let mut frame = Frame::loading(GroupCoordinator::new(GroupConfig::default(), topics));
    for entry in world.log() {
        let Entry::Record { producer, record } = entry else { continue };
        // As a load does it.
        let copy = |bytes: &Bytes| Bytes::copy_from_slice(bytes);
        let record = Record { key: copy(&record.key), value: record.value.as_ref().map(copy) };
        frame.replay(Offset(0), *producer, record).expect("what was written is read");
    }
    frame.loaded(&Moment { now: world.now(), wall: world.wall(), uuid: Uuid::ZERO });
    drop(frame.take_released());
    let held = HELD.get() - before;
    assert!(held > 100_000, "so much that the rest does not count: {held}");
    frame.core().bytes() as f64 / held as f64
}

/// An estimate that is far off would make the limit another one.
#[test]
fn the_estimate_is_near_what_the_allocator_gives() {
    let offsets = reckoned(|world| {
        for group in 0..100 {
            for partition in 0..20 {
                commits(
                    world,
                    &format!("group-{group}"),
                    &[("orders", partition, 1), ("returns", partition, 2)],
                );
            }
        }
    });
    let small_groups = reckoned(|world| {
        for group in 0..1000 {
            commits(world, &format!("group-{group}"), &[("orders", 0, 1)]);
        }
    });
    let classic_members = reckoned(|world| {
        let mut members: Vec<Client> =
            (0..200).map(|member| Client::new(&format!("client-{member}"))).collect();
        settle(world, &mut members.iter_mut().collect::<Vec<_>>());
    });
    let consumer_members = reckoned(|world| {
        for group in 0..50 {
            for member in 0..10 {
                let client = consumer::Client::of(&format!("member-{member}"), &["topic-1", "topic-2"]);
                let group_id = format!("group-{group}").as_str().into();
                consumer::heartbeat(world, ConsumerGroupHeartbeatRequest { group_id, ..client.joining() });
            }
        }
    });
    for (what, ratio) in [
        ("offsets", offsets),
        ("small groups", small_groups),
        ("classic members", classic_members),
        ("consumer members", consumer_members),
    ] {
        assert!((0.75..1.33).contains(&ratio), "{what}: {ratio}");
    }
}

/// A coordinator that may take no more than it takes now, and `percent` less.
fn fill(world: &mut World, percent: usize) {
    let taken = world.core().bytes();
    world.configure(|config| config.state_bytes_max = taken - taken * percent / 100);
}

#[test]
fn nothing_new_is_let_in_when_memory_is_used_up() {
    let mut world = classic::world();
    let mut member = Client::new("a");
    let mut fixed = Client::new("b").instance("b");
    settle(&mut world, &mut [&mut member, &mut fixed]);
    let mut modern = consumer::Client::of("m", &["t"]);
    let beat = |world: &mut World, client: &consumer::Client, epoch: i32| {
        let group_id: Str = "modern".into();
        let request = if epoch == 0 { client.joining() } else { client.living() };
        consumer::error(&consumer::heartbeat(world, ConsumerGroupHeartbeatRequest { group_id, ..request }))
    };
    assert_eq!(beat(&mut world, &modern, 0), ErrorCode::None);
    modern.epoch = 2;
    commits(&mut world, "plain", &[("orders", 0, 1)]);
    commits_in(&mut world, producer(1), "plain", &[("returns", 0, 1)]);
    fill(&mut world, 0);

    assert_eq!(
        Client::new("c").of_group("new").instance("c").join_error(&mut world),
        CoordinatorNotAvailable
    );
    assert_eq!(Client::new("c").instance("c").join_error(&mut world), CoordinatorNotAvailable);
    assert_eq!(Client::new("c").version(3).join_error(&mut world), CoordinatorNotAvailable);
    let unnamed = world.ask(&member.caller, Request::JoinGroup(Client::new("c").join_request()));
    let refused = classic::join_answer(&mut world, unnamed);
    assert_eq!(classic::error(refused.error_code), CoordinatorNotAvailable, "not even an id is given");
    let other = consumer::Client::of("o", &["t"]);
    assert_eq!(beat(&mut world, &other, 0), CoordinatorNotAvailable);
    let more = commit("plain", &[("orders", 0, 2), ("orders", 1, 1)]);
    assert_eq!(errors_of_commit(&mut world, NEWEST, more), [ErrorCode::None, CoordinatorNotAvailable]);
    let more = txn_commit(producer(1), "plain", &[("returns", 0, 2), ("orders", 0, 2), ("returns", 1, 1)]);
    assert_eq!(
        errors_of_txn_commit(&mut world, more),
        [ErrorCode::None, ErrorCode::None, CoordinatorNotAvailable]
    );
    assert_eq!(
        errors_of_commit(&mut world, NEWEST, commit("new", &[("orders", 0, 1)])),
        [CoordinatorNotAvailable]
    );

    // Who is there goes on, also through a rebalance, and a static member may be another process.
    assert_eq!(member.heartbeat(&mut world), ErrorCode::None);
    assert_eq!(beat(&mut world, &modern, 2), ErrorCode::None);
    fixed.id = Str::default();
    classic::rejoin(&mut world, &mut [&mut member, &mut fixed]);
    assert_eq!(fetched(&mut world, "plain"), [("orders".to_owned(), 0, 2)]);

    // Room is made, and the next attempt goes well.
    assert_eq!(fixed.leave(&mut world), ErrorCode::None);
    world.end_transaction(producer(1), false);
    assert_eq!(delete_group(&mut world, "plain"), ErrorCode::None);
    commits(&mut world, "new", &[("orders", 0, 1)]);
}

#[test]
fn what_is_there_may_grow_by_a_quarter() {
    let mut world = classic::world();
    let mut member = Client::new("a");
    settle(&mut world, &mut [&mut member]);
    commits(&mut world, "g2", &[("orders", 0, 1)]);
    let mut modern = consumer::Client::of("m", &["t"]);
    modern.epoch = 2;
    let group_id: Str = "modern".into();
    consumer::heartbeat(
        &mut world,
        ConsumerGroupHeartbeatRequest { group_id: group_id.clone(), ..modern.joining() },
    );
    fill(&mut world, 30);

    assert_eq!(member.join_error(&mut world), CoordinatorNotAvailable);
    let sync = member.sync(&mut world, &[(&member, "assignment")]);
    let refused = classic::sync_answer(&mut world, sync);
    assert_eq!(classic::error(refused.error_code), CoordinatorNotAvailable);
    let request = ConsumerGroupHeartbeatRequest { group_id: group_id.clone(), ..modern.owning() };
    assert_eq!(consumer::error(&consumer::heartbeat(&mut world, request)), CoordinatorNotAvailable);
    let mut with_metadata = commit("g2", &[("orders", 0, 2)]);
    with_metadata.topics[0].partitions[0].committed_metadata = Some("more than before".into());
    assert_eq!(errors_of_commit(&mut world, NEWEST, with_metadata), [CoordinatorNotAvailable]);
    let in_transaction = txn_commit(producer(1), "g2", &[("orders", 0, 2)]);
    assert_eq!(errors_of_txn_commit(&mut world, in_transaction), [CoordinatorNotAvailable]);

    // What takes no more room is served.
    commits(&mut world, "g2", &[("orders", 0, 3)]);
    assert_eq!(member.heartbeat(&mut world), ErrorCode::None);
    let request = ConsumerGroupHeartbeatRequest { group_id, ..modern.living() };
    assert_eq!(consumer::error(&consumer::heartbeat(&mut world, request)), ErrorCode::None);
    let leave = member.leave(&mut world);
    assert_eq!(leave, ErrorCode::None);
}

#[test]
fn other_coordinators_of_the_broker_count_too() {
    let mut world = world_with(GroupConfig { state_bytes_max: 10_000, ..GroupConfig::default() });
    world.set_others_bytes(10_000);
    let refused = errors_of_commit(&mut world, NEWEST, commit("g", &[("orders", 0, 1)]));
    assert_eq!(refused, [CoordinatorNotAvailable]);
    world.set_others_bytes(0);
    commits(&mut world, "g", &[("orders", 0, 1)]);
}

/// Expressions are the part whose size a client can make large with few bytes.
#[test]
fn an_expression_counts_with_what_it_was_compiled_to() {
    let mut world = world();
    let small = consumer::Client::named("m").regex("a");
    assert_eq!(consumer::error(&consumer::heartbeat(&mut world, small.joining())), ErrorCode::None);
    let before = world.core().bytes();
    let large = consumer::Client::named("n").regex("a{2000}");
    assert_eq!(consumer::error(&consumer::heartbeat(&mut world, large.joining())), ErrorCode::None);
    assert!(world.core().bytes() - before > 30_000);
}

#[test]
fn what_is_gone_takes_nothing() {
    let mut world = classic::world();
    let mut member = Client::new("a").knows(&["range", "roundrobin"]);
    member.protocols.push(("sticky".into(), Bytes::from_static(b"anything")));
    settle(&mut world, &mut [&mut member]);
    let mut modern = consumer::Client::of("m", &["t"]).regex("o.*").instance("i");
    modern.assignor = Some("range".into());
    let group_id: Str = "modern".into();
    let request = ConsumerGroupHeartbeatRequest { group_id: group_id.clone(), ..modern.joining() };
    assert_eq!(consumer::error(&consumer::heartbeat(&mut world, request)), ErrorCode::None);
    commits(&mut world, "plain", &[("orders", 0, 1)]);
    commits_in(&mut world, producer(1), "plain", &[("orders", 1, 1)]);
    assert!(world.core().bytes() > 0);

    assert_eq!(member.leave(&mut world), ErrorCode::None);
    modern.epoch = -1;
    let request = ConsumerGroupHeartbeatRequest { group_id, ..modern.living() };
    assert_eq!(consumer::error(&consumer::heartbeat(&mut world, request)), ErrorCode::None);
    world.end_transaction(producer(1), true);
    for group in ["g", "modern", "plain"] {
        assert_eq!(delete_group(&mut world, group), ErrorCode::None, "{group}");
    }
    assert_eq!(world.core().bytes(), 0);
    let Response::ListGroups(listed) = world.call(&caller(5), Request::ListGroups(Default::default())) else {
        panic!("another answer")
    };
    assert!(listed.groups.is_empty());
}
