//! Subscriptions by regular expression.

use std::time::Duration;

use ottla_group::{GroupConfig, GroupRecord};
use ottla_wire::ErrorCode;
use ottla_wire::primitives::Str;

use super::client::{Client, described, error, settle};
use crate::world::World;

fn world() -> World {
    let config = GroupConfig { assignment_interval: Duration::ZERO, ..GroupConfig::default() };
    let mut world = World::new(config);
    world.change_topics(|topics| {
        topics.set("foo", 2);
        topics.set("foobar", 2);
        topics.set("bar", 3);
    });
    world
}

fn resolved(world: &World) -> Vec<(Str, Vec<Str>)> {
    let records = world.core().records().records.into_iter();
    let expression = |record| match record {
        GroupRecord::RegularExpression { key, value: Some(value) } => {
            Some((key.regular_expression, value.topics))
        }
        _ => None,
    };
    records.filter_map(expression).collect()
}

#[test]
fn whole_names_are_matched_and_kept() {
    let mut world = world();
    let mut m1 = Client::named("m1").regex("foo.*");
    assert_eq!(error(&m1.beat(&mut world)), ErrorCode::None);
    assert_eq!(m1.owned.len(), 4);
    assert_eq!(resolved(&world), [("foo.*".into(), vec!["foo".into(), "foobar".into()])]);
    assert_eq!(described(&mut world, "m1").subscribed_topic_regex.as_deref(), Some("foo.*"));
    world.check_against_log();

    let mut m2 = Client::named("m2").regex("foo");
    m2.subscribe(&["bar"]);
    m2.beat(&mut world);
    settle(&mut world, &mut [&mut m1, &mut m2]);
    assert_eq!((m1.owned.len(), m2.owned.len()), (4, 3), "by name and by expression");
    assert_eq!(resolved(&world).len(), 2);

    m2.leave(&mut world, -1);
    assert_eq!(resolved(&world).len(), 1, "what nobody uses goes");
    m1.regex = Some("".into());
    settle(&mut world, &mut [&mut m1]);
    assert_eq!((resolved(&world).len(), m1.owned.len()), (0, 0));
    world.check_against_log();
}

#[test]
fn new_topics_are_found_in_time() {
    let mut world = world();
    let mut m1 = Client::named("m1").regex("foo.*");
    m1.beat(&mut world);
    world.change_topics(|topics| {
        topics.set("foo2", 1);
    });
    let log = world.log().len();
    m1.beat(&mut world);
    assert_eq!(world.log().len(), log, "topics were looked at just now");
    world.advance(Duration::from_secs(10));
    m1.beat(&mut world);
    assert_eq!((m1.owned.len(), m1.epoch), (5, 3));
    let log = world.log().len();
    world.change_topics(|topics| {
        topics.set("other", 1);
    });
    world.advance(Duration::from_secs(10));
    m1.beat(&mut world);
    assert_eq!(world.log().len(), log, "nothing that matches has come");
    world.check_against_log();

    world.change_topics(|topics| topics.delete("foo"));
    m1.beat(&mut world);
    world.advance(Duration::from_secs(10));
    settle(&mut world, &mut [&mut m1]);
    assert_eq!(m1.owned.len(), 3);
    world.check_against_log();
}

#[test]
fn an_expression_that_is_refused_changes_nothing() {
    let mut world = world();
    let mut m1 = Client::named("m1").regex("foo");
    m1.beat(&mut world);
    let log = world.log().len();
    let mut wrong = m1.clone();
    wrong.regex = Some("(".into());
    let response = wrong.beat(&mut world);
    assert_eq!(error(&response), ErrorCode::InvalidRegularExpression);
    assert!(response.error_message.is_some_and(|message| message.contains("`(`")));
    assert_eq!(world.log().len(), log);
    assert_eq!(error(&m1.beat(&mut world)), ErrorCode::None);
}
