//! DeleteRecords and retention.

use std::time::Duration;

use ottla_replica::{DeleteError, DeleteTo, Event, Standing};
use ottla_wire::{BrokerId, Offset};

use crate::partition::Partition;

const THREE: [&str; 3] = ["leader", "fast", "slow"];

fn filled() -> Partition {
    let mut p = Partition::of(THREE);
    for value in ["a", "b", "c", "d"] {
        p.append(value);
    }
    p.replicate("fast");
    p.replicate("slow");
    p
}

#[test]
fn records_are_deleted_when_every_live_replica_has_deleted_them() {
    let mut p = filled();
    let deletion = p.delete_records(DeleteTo::Offset(Offset(3)));
    assert_eq!(p.view("leader").log_start, Offset(3));
    p.replicate("fast");
    assert_eq!(p.deletion(deletion), None);
    p.replicate("slow");
    assert_eq!(p.view("slow").log_start, Offset(3));
    assert_eq!(p.deletion(deletion), Some(Ok(Offset(3))));
}

#[test]
fn a_dead_replica_is_not_waited_for() {
    let mut p = filled();
    let deletion = p.delete_records(DeleteTo::HighWatermark);
    p.replicate("fast");
    p.registered(BrokerId(2)).standing = Standing::Fenced;
    p.spread_state();
    p.replicate("fast");
    assert_eq!(p.deletion(deletion), Some(Ok(Offset(4))));
}

#[test]
fn what_is_not_committed_or_not_allowed_is_not_deleted() {
    let mut p = filled();
    p.append("not committed");
    for asked in [-2, 5] {
        let deletion = p.delete_records(DeleteTo::Offset(Offset(asked)));
        let (asked, high_watermark) = (Offset(asked), Offset(4));
        assert_eq!(p.deletion(deletion), Some(Err(DeleteError::OffsetOutOfRange { asked, high_watermark })));
    }
    p.config.records_deletable = false;
    p.step(0, Event::Configured(p.config.clone()));
    let deletion = p.delete_records(DeleteTo::HighWatermark);
    assert_eq!(p.deletion(deletion), Some(Err(DeleteError::Policy)));
    assert_eq!(p.view("leader").log_start, Offset(0));
}

#[test]
fn deletions_end_by_deadline_or_with_leadership_and_are_bounded() {
    let mut p = filled();
    p.config.deletions_max = 1;
    p.step(0, Event::Configured(p.config.clone()));
    let first = p.delete_records(DeleteTo::Offset(Offset(1)));
    let second = p.delete_records(DeleteTo::Offset(Offset(2)));
    assert_eq!(p.deletion(second), Some(Err(DeleteError::TooManyWaiters { limit: 1 })));
    p.after(Duration::from_secs(61));
    assert_eq!(p.deletion(first), Some(Err(DeleteError::TimedOut)));
    let third = p.delete_records(DeleteTo::Offset(Offset(2)));
    p.elect("fast");
    assert_eq!(p.deletion(third), Some(Err(DeleteError::NotLeader)));
}

#[test]
fn deleting_what_is_gone_succeeds_at_once() {
    let mut p = filled();
    p.step(0, Event::LogStartMoved(Offset(2)));
    for node in [1, 2] {
        p.step(node, Event::LogStartMoved(Offset(2)));
    }
    p.replicate("fast");
    p.replicate("slow");
    // Followers tell their log start with each fetch.
    p.read_for(1);
    p.read_for(2);
    let deletion = p.delete_records(DeleteTo::Offset(Offset(1)));
    assert_eq!(p.deletion(deletion), Some(Ok(Offset(2))));
    assert_eq!(p.view("leader").epochs.entries()[0].start, Offset(2));
}
