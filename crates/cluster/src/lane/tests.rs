//! A lane, step by step.

use bytes::Bytes;
use ottla_wire::{BrokerId, PartitionIndex, Uuid};

use super::*;

const HOUR: Duration = Duration::from_secs(3_600);

/// A lane with the time beside it.
struct Stage {
    lane: Lane,
    now: Instant,
    effects: Vec<LaneEffect>,
}

fn id(index: i32) -> PartitionId {
    PartitionId { topic: Uuid([1; 16]), index: PartitionIndex(index) }
}

fn fetch(offset: i64) -> FetchRequest {
    FetchRequest {
        leader: BrokerId(1),
        epoch: LeaderEpoch(3),
        offset: Offset(offset),
        last_fetched_epoch: None,
        log_start: Offset(0),
        after_pause: false,
    }
}

fn records(text: &'static str) -> PartitionOutcome {
    let records = Bytes::from_static(text.as_bytes());
    PartitionOutcome::Records { records, high_watermark: Offset(0), log_start: Offset(0) }
}

impl Stage {
    /// Connected, and nothing is wanted.
    fn new() -> Stage {
        let mut lane = Lane::new(LaneConfig::default());
        lane.connected();
        Stage { lane, now: Instant(0), effects: Vec::new() }
    }

    /// With a session that holds these partitions, whose first request the leader has not answered.
    fn opened(partitions: &[i32]) -> Stage {
        let mut stage = Stage::new();
        for &index in partitions {
            stage.want(index, fetch(0));
        }
        stage.expect_request("new session");
        stage.answer(1, Ok(7), vec![]);
        stage.expect_request("session 7.1");
        stage
    }

    fn want(&mut self, index: i32, fetch: FetchRequest) {
        self.lane.want(self.now, id(index), fetch);
    }

    fn after(&mut self, time: Duration) {
        self.now = self.now + time;
    }

    fn answer(
        &mut self,
        number: u64,
        outcome: Result<i32, ErrorCode>,
        partitions: Vec<(i32, PartitionOutcome)>,
    ) {
        let partitions = partitions
            .into_iter()
            .map(|(index, outcome)| PartitionAnswer { partition: id(index), outcome })
            .collect();
        let answer = LaneAnswer { outcome, partitions };
        self.lane.answered(self.now, RequestNumber(number), answer, &mut self.effects);
    }

    /// The next request, in words.
    fn request(&mut self) -> Option<String> {
        let request = self.lane.next_request(self.now)?;
        let mut words = match request.session_id {
            0 => "new session".to_owned(),
            id => format!("session {id}.{}", request.session_epoch),
        };
        for (partition, want) in &request.wanted {
            words += &format!(" {}@{}", partition.index, want.offset);
        }
        for partition in &request.forgotten {
            words += &format!(" -{}", partition.index);
        }
        Some(words)
    }

    #[track_caller]
    fn expect_request(&mut self, start: &str) {
        let request = self.request();
        assert!(request.as_ref().is_some_and(|words| words.starts_with(start)), "{request:?}, not {start}");
    }

    #[track_caller]
    fn expect_nothing_to_send(&mut self) {
        assert_eq!(self.request(), None);
    }

    /// What replicas were told since the last time, in words.
    fn told(&mut self) -> Vec<String> {
        let effects = std::mem::take(&mut self.effects).into_iter();
        effects
            .map(|effect| match effect {
                LaneEffect::Answer(partition, LeaderAnswer { offset, reply, .. }) => {
                    let reply = match reply {
                        LeaderReply::Records { records, .. } => format!("{} bytes", records.len()),
                        other => format!("{other:?}"),
                    };
                    format!("{}@{offset}: {reply}", partition.index)
                }
                LaneEffect::AskBounds { partition, offset, .. } => {
                    format!("{}@{offset}: bounds?", partition.index)
                }
            })
            .collect()
    }
}

#[test]
fn a_session_begins_with_everything_and_goes_on_with_what_changes() {
    let mut stage = Stage::new();
    stage.want(0, fetch(0));
    stage.want(1, fetch(5));
    stage.expect_request("new session 0@0 1@5");
    stage.expect_nothing_to_send();
    stage.answer(1, Ok(7), vec![(0, records("abc"))]);
    assert_eq!(stage.told(), ["0@0: 3 bytes"]);
    // Partition 1 is still waited for.
    stage.expect_request("session 7.1");
    stage.want(0, fetch(3));
    stage.expect_request("session 7.2 0@3");
    stage.expect_nothing_to_send();
}

#[test]
fn what_is_safe_is_told_while_the_leader_waits_and_no_third_request_is_sent() {
    let mut stage = Stage::opened(&[0, 1]);
    stage.answer(2, Ok(7), vec![(0, records("abc"))]);
    stage.expect_request("session 7.2");
    stage.want(0, fetch(3));
    stage.expect_request("session 7.3 0@3");
    stage.lane.want(stage.now, id(2), fetch(0));
    stage.expect_nothing_to_send();
    stage.answer(3, Ok(7), vec![]);
    stage.expect_request("session 7.4 2@0");
}

#[test]
fn nothing_is_asked_while_all_are_busy_writing() {
    let mut stage = Stage::opened(&[0]);
    stage.answer(2, Ok(7), vec![(0, records("abc"))]);
    stage.expect_nothing_to_send();
    stage.want(0, fetch(3));
    stage.expect_request("session 7.2 0@3");
}

#[test]
fn an_answer_without_records_leaves_the_leader_waiting() {
    let mut stage = Stage::opened(&[0]);
    stage.answer(2, Ok(7), vec![(0, records(""))]);
    assert_eq!(stage.told(), ["0@0: 0 bytes"]);
    stage.want(0, fetch(0));
    stage.expect_request("session 7.2");
    stage.answer(3, Ok(7), vec![(0, records("abc"))]);
    assert_eq!(stage.told(), ["0@0: 3 bytes"]);
}

#[test]
fn an_answer_to_what_was_wanted_before_is_none() {
    let mut stage = Stage::opened(&[0]);
    stage.want(0, FetchRequest { epoch: LeaderEpoch(4), ..fetch(0) });
    stage.expect_request("session 7.2 0@0");
    stage.answer(2, Ok(7), vec![(0, records("abc"))]);
    assert!(stage.told().is_empty());
    stage.answer(3, Ok(7), vec![(0, records("abcd"))]);
    assert_eq!(stage.told(), ["0@0: 4 bytes"]);
}

#[test]
fn who_stops_is_forgotten_with_the_next_request_and_can_come_back() {
    let mut stage = Stage::opened(&[0, 1]);
    stage.lane.stop(id(0));
    stage.expect_nothing_to_send();
    stage.answer(2, Ok(7), vec![(0, records("abc"))]);
    assert!(stage.told().is_empty());
    stage.expect_request("session 7.2 -0");
    stage.lane.stop(id(1));
    stage.want(1, fetch(9));
    stage.expect_request("session 7.3 1@9");
    stage.lane.stop(id(1));
    assert!(stage.lane.is_empty());
}

#[test]
fn what_fails_comes_back_later_and_later() {
    let mut stage = Stage::opened(&[0, 1]);
    stage.answer(2, Ok(7), vec![(0, PartitionOutcome::Failed(ErrorCode::NotLeaderOrFollower))]);
    assert_eq!(stage.told(), ["0@0: Failed"]);
    stage.want(0, FetchRequest { after_pause: true, ..fetch(0) });
    stage.expect_request("session 7.2");
    assert_eq!(stage.lane.wake_at(stage.now), Some(stage.now + Duration::from_millis(50)));
    stage.after(Duration::from_millis(50));
    stage.expect_request("session 7.3 0@0");
    stage.answer(3, Ok(7), vec![(0, PartitionOutcome::Failed(ErrorCode::NotLeaderOrFollower))]);
    stage.answer(4, Ok(7), vec![(0, PartitionOutcome::Failed(ErrorCode::NotLeaderOrFollower))]);
    stage.want(0, FetchRequest { after_pause: true, ..fetch(0) });
    assert_eq!(stage.lane.wake_at(stage.now), Some(stage.now + Duration::from_millis(100)));
}

#[test]
fn out_of_range_asks_for_the_bounds_first() {
    let mut stage = Stage::opened(&[0]);
    stage.answer(2, Ok(7), vec![(0, PartitionOutcome::Failed(ErrorCode::OffsetOutOfRange))]);
    assert_eq!(stage.told(), ["0@0: bounds?"]);
    let bounds = Some((Offset(4), Offset(9)));
    stage.lane.bounds(id(0), (LeaderEpoch(2), Offset(0)), bounds, &mut stage.effects);
    assert!(stage.told().is_empty(), "of another epoch");
    stage.lane.bounds(id(0), (LeaderEpoch(3), Offset(0)), bounds, &mut stage.effects);
    assert_eq!(stage.told(), ["0@0: OutOfRange { start: Offset(4), end: Offset(9) }"]);
    stage.want(0, fetch(4));
    stage.expect_request("session 7.2 0@4");
}

#[test]
fn a_lost_session_is_opened_anew_and_its_other_answers_count_for_nothing() {
    let mut stage = Stage::opened(&[0, 1]);
    stage.lane.want(stage.now, id(2), fetch(0));
    stage.expect_request("session 7.2 2@0");
    stage.answer(2, Err(ErrorCode::FetchSessionIdNotFound), vec![]);
    stage.expect_request("new session 0@0 1@0 2@0");
    stage.answer(3, Err(ErrorCode::FetchSessionIdNotFound), vec![]);
    stage.answer(4, Ok(8), vec![(1, records("x"))]);
    assert_eq!(stage.told(), ["1@0: 1 bytes"]);
    stage.expect_request("session 8.1");
}

#[test]
fn a_leader_that_gives_no_session_is_asked_in_full() {
    let mut stage = Stage::new();
    stage.want(0, fetch(0));
    stage.want(1, fetch(0));
    stage.expect_request("new session 0@0 1@0");
    stage.answer(1, Ok(0), vec![(0, records("abc"))]);
    assert_eq!(stage.told(), ["0@0: 3 bytes"]);
    stage.want(0, fetch(3));
    stage.expect_request("new session 0@3 1@0");
}

#[test]
fn a_lane_that_cannot_reach_its_leader_rests_and_forgets_nothing() {
    let mut stage = Stage::opened(&[0, 1]);
    for ms in [50, 100, 200] {
        stage.lane.lost(stage.now);
        assert!(!stage.lane.wants_connection(stage.now));
        assert_eq!(stage.lane.wake_at(stage.now), Some(stage.now + Duration::from_millis(ms)));
        stage.after(Duration::from_millis(ms));
        assert!(stage.lane.wants_connection(stage.now));
    }
    stage.lane.connected();
    stage.expect_request("new session 0@0 1@0");
    stage.answer(3, Ok(9), vec![]);
    stage.lane.lost(stage.now);
    assert_eq!(stage.lane.wake_at(stage.now), Some(stage.now + Duration::from_millis(50)), "it had served");
}

#[test]
fn an_empty_lane_asks_for_nothing() {
    let mut stage = Stage::new();
    stage.expect_nothing_to_send();
    stage.lane.lost(stage.now);
    stage.after(HOUR);
    assert!(!stage.lane.wants_connection(stage.now));
    assert_eq!(stage.lane.wake_at(stage.now), None);
}
