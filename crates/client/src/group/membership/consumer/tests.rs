//! The life of a member of a group of the consumer protocol as a script: what happens, and what the member
//! then does.

use std::sync::Arc;

use ottla_wire::Uuid;
use ottla_wire::messages::consumer_group_heartbeat_response::{Assignment, TopicPartitions};

use super::super::classic::metadata_of;
use super::*;
use crate::cluster::TopicPartition;

struct Script {
    core: Consumer,
    start: Instant,
    now: u64,
    polled: u64,
    asked: Ticket,
    told: Option<Ticket>,
    looked: Option<Ticket>,
}

const SECOND: u64 = 1000;

fn id(topic: &str) -> TopicId {
    Uuid([topic.as_bytes()[0]; 16])
}

fn name(id: TopicId) -> char {
    char::from(id.0[0])
}

fn shown(partitions: &BTreeSet<TopicPartition>) -> String {
    partitions.iter().map(TopicPartition::to_string).collect::<Vec<_>>().join(" ")
}

impl Script {
    fn new(instance: Option<&str>) -> Script {
        let settings = Settings {
            group: "g".into(),
            member_id: "me".into(),
            instance: instance.map(Str::from),
            rack: Some("rack".into()),
            assignor: Some("uniform".into()),
            max_poll_interval: Duration::from_secs(300),
        };
        let (core, start) = (Consumer::new(settings), crate::seam::now());
        Script { core, start, now: 0, polled: 0, asked: Ticket::default(), told: None, looked: None }
    }

    fn at(&self, millis: u64) -> Instant {
        self.start + Duration::from_millis(millis)
    }

    fn step(&mut self, event: Event<Answer>) -> String {
        let now = Now { at: self.at(self.now), polled_at: self.at(self.polled) };
        let mut effects = Vec::new();
        self.core.step(now, event, &mut effects);
        effects.into_iter().map(|effect| self.show(effect)).collect::<Vec<_>>().join(", ")
    }

    fn show(&mut self, effect: Effect<Question>) -> String {
        match effect {
            Effect::Ask { ticket, question, failures } => {
                self.asked = ticket;
                let mut words = format!("beat in {}", question.member_epoch);
                if question.rebalance_timeout_ms >= 0 {
                    assert_eq!(
                        (question.rack_id.as_deref(), question.server_assignor.as_deref()),
                        (Some("rack"), Some("uniform"))
                    );
                    words += " in full";
                }
                if let Some(topics) = question.subscribed_topic_names {
                    words +=
                        &format!(" for {:?}", topics.iter().map(|topic| topic.as_str()).collect::<Vec<_>>());
                }
                if let Some(regex) = question.subscribed_topic_regex {
                    words += &format!(" /{regex}/");
                }
                if let Some(owned) = question.topic_partitions {
                    let owned = owned.iter().map(|of| format!("{}{:?}", name(of.topic_id), of.partitions));
                    words += &format!(" owning [{}]", owned.collect::<Vec<_>>().join(" "));
                }
                if failures > 0 { format!("{words} after {failures}") } else { words }
            }
            Effect::Look { ticket, what, .. } => {
                self.looked = Some(ticket);
                let super::super::Look::Ids(ids) = what else { panic!("{what:?}") };
                format!("look {}", ids.into_iter().map(name).collect::<String>())
            }
            Effect::Tell { ticket, change } => {
                self.told = Some(ticket);
                match change {
                    Change::Revoke(partitions) => format!("revoke [{}]", shown(&partitions)),
                    Change::Assign(partitions) => format!("assign [{}]", shown(&partitions)),
                    Change::Lose(partitions) => format!("lose [{}]", shown(&partitions)),
                }
            }
            Effect::Become(metadata) => format!("become {}", metadata.generation),
            Effect::Report(error) => format!("report {error}"),
            Effect::Fail(error) => format!("fail {error}"),
            Effect::Closed => "closed".to_owned(),
        }
    }

    fn subscribe(&mut self, topics: &str, regex: Option<&str>) -> String {
        let topics = topics.split_whitespace().map(Str::from).collect();
        self.step(Event::Subscribed(Subscription { topics, regex: regex.map(Str::from) }))
    }

    /// `"t-0 t-1"`, or nothing new.
    fn heard(&mut self, member_epoch: i32, assigned: Option<&str>) -> String {
        let assignment = assigned.map(|partitions| Assignment {
            topic_partitions: partitions
                .split_whitespace()
                .map(|of| of.split_once('-').unwrap())
                .map(|(topic, of)| TopicPartitions {
                    topic_id: id(topic),
                    partitions: vec![of.parse().unwrap()],
                })
                .collect(),
        });
        let response = ConsumerGroupHeartbeatResponse {
            member_epoch,
            heartbeat_interval_ms: 5000,
            assignment,
            ..Default::default()
        };
        self.step(Event::Answered { ticket: self.asked, answer: Ok(response) })
    }

    fn refused(&mut self, code: ErrorCode) -> String {
        let response = ConsumerGroupHeartbeatResponse { error_code: code.code(), ..Default::default() };
        self.step(Event::Answered { ticket: self.asked, answer: Ok(response) })
    }

    fn done(&mut self) -> String {
        let ticket = self.told.unwrap();
        self.step(Event::Done { ticket })
    }

    fn after(&mut self, millis: u64) -> String {
        self.now += millis;
        self.step(Event::Tick)
    }

    fn polling_for(&mut self, millis: u64) -> String {
        self.polled = self.now + millis;
        self.after(millis)
    }

    fn know(&mut self, topics: &[(&str, usize)]) -> String {
        self.step(Event::Metadata(Arc::new(metadata_of(topics))))
    }

    fn looked(&mut self, topics: &[(&str, usize)]) -> String {
        let ticket = self.looked.unwrap();
        self.step(Event::Looked { ticket, metadata: Arc::new(metadata_of(topics)) })
    }

    /// In epoch 1, with t-0 and t-1.
    fn stable(instance: Option<&str>) -> Script {
        let mut s = Script::new(instance);
        s.subscribe("t", None);
        s.heard(1, Some("t-0 t-1"));
        s.looked(&[("t", 2)]);
        assert_eq!(s.done(), "beat in 1 owning [t[0, 1]]");
        assert_eq!(s.heard(1, None), "");
        s
    }
}

#[test]
fn a_member_joins_takes_and_says_only_what_is_new() {
    let mut s = Script::new(None);
    assert_eq!(s.subscribe("t", None), r#"beat in 0 in full for ["t"] owning []"#);
    assert_eq!(s.heard(1, Some("t-0 t-1")), "become 1, look t");
    assert_eq!(s.looked(&[("t", 2)]), "assign [t-0 t-1]");
    assert_eq!(s.done(), "beat in 1 owning [t[0, 1]]");
    assert_eq!(s.heard(1, None), "");
    assert_eq!(s.core.deadline(s.at(0)), Some(s.at(5 * SECOND)));
    assert_eq!(s.polling_for(5 * SECOND), "beat in 1");
    assert_eq!(s.polling_for(5 * SECOND), "", "one at a time");
    assert_eq!(s.heard(2, None), "become 2, beat in 2");
    assert_eq!(s.heard(2, None), "");
    assert_eq!(s.subscribe("t u", None), r#"beat in 2 for ["t", "u"]"#);
    s.heard(2, None);
    assert_eq!(s.subscribe("", Some("a.*")), "beat in 2 for [] /a.*/");
    s.heard(2, None);
    assert_eq!(s.subscribe("t", None), r#"beat in 2 for ["t"] //"#, "the pattern is taken back");
    s.heard(2, None);
    assert_eq!(s.step(Event::Close(Departure::Default)), "beat in -1, become -1");
    assert_eq!(s.heard(-1, None), "closed");
}

#[test]
fn it_gives_up_says_so_and_only_then_takes() {
    let mut s = Script::stable(None);
    s.know(&[("t", 3)]);
    s.polling_for(5 * SECOND);
    assert_eq!(s.heard(2, Some("t-1 t-2")), "become 2, revoke [t-0]");
    assert_eq!(s.polling_for(5 * SECOND), "beat in 2", "it lives while its owner commits");
    assert_eq!(s.heard(2, None), "");
    assert_eq!(s.done(), "beat in 2 owning [t[1]]");
    assert_eq!(s.heard(2, None), "assign [t-2]");
    assert_eq!(s.done(), "beat in 2 owning [t[1, 2]]");
}

#[test]
fn what_was_said_before_it_gave_up_does_not_count() {
    let mut s = Script::stable(None);
    s.polling_for(5 * SECOND);
    s.heard(2, Some(""));
    assert_eq!(s.polling_for(5 * SECOND), "beat in 2");
    assert_eq!(s.done(), "", "one at a time");
    s.core.target = [(id("t"), 1)].into();
    assert_eq!(s.heard(2, None), "beat in 2 owning []");
    assert_eq!(s.heard(2, None), "assign [t-1]");
}

#[test]
fn the_newest_target_counts_when_the_owner_is_ready() {
    let mut s = Script::stable(None);
    s.polling_for(5 * SECOND);
    assert_eq!(s.heard(2, Some("t-0")), "become 2, revoke [t-1]");
    s.polling_for(5 * SECOND);
    assert_eq!(s.heard(3, Some("")), "become 3", "one change at a time");
    assert_eq!(s.done(), "beat in 3 owning [t[0]]");
    assert_eq!(s.heard(3, None), "revoke [t-0]");
}

#[test]
fn topics_without_a_name_wait_and_do_not_hold_up_the_others() {
    let mut s = Script::stable(None);
    s.polling_for(5 * SECOND);
    assert_eq!(s.heard(2, Some("t-0 t-1 t-2 u-0")), "become 2, look u, assign [t-2]");
    assert_eq!(s.looked(&[("t", 3)]), "", "its owner is busy");
    assert_eq!(s.done(), "beat in 2 owning [t[0, 1, 2]], look u");
    assert_eq!(s.looked(&[("t", 3)]), "look u");
    assert_eq!(s.know(&[("t", 3), ("u", 1)]), "assign [u-0]");
}

#[test]
fn who_was_fenced_loses_all_and_joins_anew() {
    for code in [ErrorCode::FencedMemberEpoch, ErrorCode::UnknownMemberId, ErrorCode::GroupIdNotFound] {
        let mut s = Script::stable(None);
        s.polling_for(5 * SECOND);
        assert_eq!(s.refused(code), "become -1, lose [t-0 t-1]");
        assert_eq!(s.polling_for(10 * SECOND), "", "first its owner must know");
        assert_eq!(s.done(), r#"beat in 0 in full for ["t"] owning [] after 1"#);
        assert_eq!(s.heard(3, Some("t-0")), "become 3, assign [t-0]");
    }
}

#[test]
fn what_passes_is_tried_again_with_everything() {
    for code in [ErrorCode::NotCoordinator, ErrorCode::CoordinatorLoadInProgress] {
        let mut s = Script::stable(None);
        s.polling_for(5 * SECOND);
        assert_eq!(s.refused(code), r#"beat in 1 in full for ["t"] owning [t[0, 1]] after 1"#, "{code}");
        assert_eq!(s.refused(code), r#"beat in 1 in full for ["t"] owning [t[0, 1]] after 2"#, "{code}");
        assert_eq!(s.heard(1, Some("t-0 t-1")), "");
    }
    let mut s = Script::stable(None);
    s.polling_for(5 * SECOND);
    assert_eq!(s.refused(ErrorCode::TopicAuthorizationFailed), "report TOPIC_AUTHORIZATION_FAILED");
    assert_eq!(s.polling_for(5 * SECOND), r#"beat in 1 in full for ["t"] owning [t[0, 1]] after 1"#);
}

#[test]
fn what_does_not_pass_ends_it() {
    for code in [
        ErrorCode::UnreleasedInstanceId,
        ErrorCode::FencedInstanceId,
        ErrorCode::UnsupportedAssignor,
        ErrorCode::InvalidRegularExpression,
        ErrorCode::GroupAuthorizationFailed,
        ErrorCode::GroupMaxSizeReached,
        ErrorCode::InvalidRequest,
    ] {
        let mut s = Script::stable(Some("one"));
        s.polling_for(5 * SECOND);
        assert_eq!(s.refused(code), format!("become -1, lose [t-0 t-1], fail {}", code.name()));
        assert_eq!(s.subscribe("u", None), "");
        assert_eq!(s.core.deadline(s.at(0)), None);
        assert_eq!(s.step(Event::Close(Departure::Default)), "closed, become -1");
    }
}

#[test]
fn an_owner_that_does_not_poll_costs_the_place() {
    for (instance, epoch) in [(None, -1), (Some("one"), -2)] {
        let mut s = Script::stable(instance);
        assert_eq!(s.after(299 * SECOND), "beat in 1");
        s.heard(1, None);
        assert_eq!(s.after(SECOND), format!("beat in {epoch}, become -1, lose [t-0 t-1]"));
        s.polled = s.now;
        assert_eq!(s.done(), "", "the farewell must be answered first");
        assert_eq!(s.heard(epoch, None), r#"beat in 0 in full for ["t"] owning []"#);
    }
}

#[test]
fn how_it_goes_is_up_to_its_kind_and_the_owner() {
    use Departure::{Default, Leave, Remain};
    for (instance, departure, epoch) in [
        (None, Default, Some(-1)),
        (None, Remain, None),
        (Some("one"), Default, Some(-2)),
        (Some("one"), Leave, Some(-1)),
        (Some("one"), Remain, None),
    ] {
        let mut s = Script::stable(instance);
        let did = s.step(Event::Close(departure));
        match epoch {
            None => assert_eq!(did, "closed, become -1"),
            Some(epoch) => {
                assert_eq!(did, format!("beat in {epoch}, become -1"), "{instance:?} {departure:?}");
                assert_eq!(s.refused(ErrorCode::NotCoordinator), format!("beat in {epoch} after 1"));
                assert_eq!(s.refused(ErrorCode::UnknownMemberId), "closed");
            }
        }
    }
    let answers: [fn(&mut Script) -> String; 2] =
        [|s| s.heard(-1, None), |s| s.refused(ErrorCode::InvalidRequest)];
    for answered in answers {
        let mut s = Script::stable(None);
        assert_eq!(s.step(Event::Unsubscribed), "beat in -1, become -1");
        assert_eq!(s.subscribe("u", None), "", "the farewell must be answered first, in whatever way");
        assert_eq!(answered(&mut s), r#"beat in 0 in full for ["u"] owning []"#);
    }
}
