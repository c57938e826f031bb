//! Offsets that have outlived their retention.

use std::time::Duration;

use ottla_group::GroupConfig;
use ottla_group::offsets::SWEEP_WORK_MAX;
use ottla_wire::ErrorCode;
use ottla_wire::messages::OffsetCommitRequest;

use super::ask::*;

const HOUR: Duration = Duration::from_secs(3600);
const CHECK: Duration = Duration::from_secs(60);

fn config() -> GroupConfig {
    GroupConfig { offsets_retention: HOUR, offsets_check_interval: CHECK, ..Default::default() }
}

#[test]
fn an_offset_of_a_simple_consumer_expires_by_its_own_age() {
    let mut world = world_with(config());
    commits(&mut world, "g", &[("orders", 0, 1), ("orders", 1, 1)]);
    world.advance(HOUR / 2);
    commits(&mut world, "g", &[("orders", 1, 2)]);
    world.advance(HOUR / 2 - CHECK);
    assert_eq!(fetched(&mut world, "g").len(), 2, "not a check too early");
    world.advance(CHECK * 2);
    assert_eq!(fetched(&mut world, "g"), [("orders".to_owned(), 1, 2)]);
    world.check_against_log();
    world.advance(HOUR / 2);
    assert!(!exists(&world, "g"));
    world.check_against_log();
}

/// The clock of the checks begins anew with a new broker; the age of offsets does not.
#[test]
fn the_age_of_an_offset_outlives_the_broker() {
    let mut world = world_with(config());
    commits(&mut world, "g", &[("orders", 0, 1)]);
    world.advance(HOUR - CHECK);
    world.reload();
    world.advance(CHECK * 2);
    assert!(!exists(&world, "g"));
}

#[test]
fn what_a_commit_said_of_its_expiry_holds() {
    let mut world = world_with(config());
    let short = CHECK.as_millis() as i64 * 2;
    let long = HOUR.as_millis() as i64 * 2;
    for (partition, retention) in [(0, short), (1, long)] {
        let request =
            OffsetCommitRequest { retention_time_ms: retention, ..commit("g", &[("orders", partition, 1)]) };
        assert_eq!(errors_of_commit(&mut world, 4, request), [ErrorCode::None]);
    }
    world.advance(CHECK * 3);
    assert_eq!(fetched(&mut world, "g"), [("orders".to_owned(), 1, 1)]);
    world.advance(HOUR + CHECK);
    assert_eq!(fetched(&mut world, "g").len(), 1, "longer than the broker's own retention");
    world.advance(HOUR);
    assert!(!exists(&world, "g"));
}

#[test]
fn what_a_transaction_is_about_to_change_does_not_expire() {
    let mut world = world_with(config());
    commits(&mut world, "g", &[("orders", 0, 1), ("orders", 1, 1)]);
    commits_in(&mut world, producer(1), "g", &[("orders", 0, 2)]);
    commits_in(&mut world, producer(1), "pending", &[("orders", 0, 2)]);
    world.advance(HOUR * 2);
    assert_eq!(fetched(&mut world, "g"), [("orders".to_owned(), 0, 1)]);
    assert!(exists(&world, "pending"));
    world.end_transaction(producer(1), false);
    world.advance(CHECK * 2);
    assert!(!exists(&world, "g"));
    world.check_against_log();
}

/// More than one step looks at: the check goes on where it stopped, and misses nothing.
#[test]
fn a_check_goes_in_steps() {
    let mut world = world_with(GroupConfig { offsets_check_interval: HOUR / 2, ..config() });
    let groups = SWEEP_WORK_MAX;
    for group in 0..groups {
        commits(&mut world, &format!("{group}"), &[("orders", 0, 1)]);
    }
    world.advance(HOUR - CHECK);
    let before = world.log().len();
    // The moment of the check, and not one step more.
    world.advance(CHECK);
    let in_one_step = world.log().len() - before;
    assert!(in_one_step > 0 && in_one_step < groups, "{in_one_step}");
    world.advance(CHECK / 2);
    assert_eq!(world.core().offsets().len(), 0);
    assert_eq!(world.core().groups().len(), 0);
    world.check_against_log();
}
