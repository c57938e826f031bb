//! The life of a member of a classic group as a script: what happens, and what the member then does.

use std::collections::BTreeMap;
use std::sync::Arc;

use ottla_wire::messages::join_group_response::JoinGroupResponseMember;
use ottla_wire::messages::{
    HeartbeatResponse, JoinGroupResponse, LeaveGroupResponse, MetadataResponse, SyncGroupResponse,
    metadata_response,
};

use super::*;
use crate::group::protocol::{Subscribed, decode_assignment, encode_assignment};

/// Drives a core and shows its effects as words.
struct Script {
    core: Classic,
    start: Instant,
    now: u64,
    polled: u64,
    asked: BTreeMap<&'static str, Ticket>,
    told: Option<Ticket>,
    looked: Option<Ticket>,
}

const SECOND: u64 = 1000;

fn set(partitions: &str) -> BTreeSet<TopicPartition> {
    let read = |word: &str| {
        let (topic, partition) = word.split_once('-').unwrap();
        TopicPartition::new(topic, partition.parse().unwrap())
    };
    partitions.split_whitespace().map(read).collect()
}

fn shown(partitions: &BTreeSet<TopicPartition>) -> String {
    partitions.iter().map(TopicPartition::to_string).collect::<Vec<_>>().join(" ")
}

pub(in crate::group::membership) fn metadata(topics: &[(&str, usize)]) -> Metadata {
    let partition =
        |index| metadata_response::MetadataResponsePartition { partition_index: index, ..Default::default() };
    let topic = |&(name, partitions): &(&str, usize)| metadata_response::MetadataResponseTopic {
        name: Some(name.into()),
        topic_id: ottla_wire::Uuid([name.as_bytes()[0]; 16]),
        partitions: (0..partitions as i32).map(partition).collect(),
        ..Default::default()
    };
    let topics = topics.iter().map(topic).collect();
    Metadata::of(MetadataResponse { topics, ..Default::default() })
}

impl Script {
    fn new(assignors: &[Assignor], instance: Option<&str>) -> Script {
        let settings = Settings {
            group: "g".into(),
            instance: instance.map(Str::from),
            rack: None,
            assignors: assignors.to_vec(),
            session_timeout: Duration::from_secs(45),
            heartbeat_interval: Duration::from_secs(3),
            max_poll_interval: Duration::from_secs(300),
        };
        let (asked, start) = (BTreeMap::new(), crate::seam::now());
        Script { core: Classic::new(settings), start, now: 0, polled: 0, asked, told: None, looked: None }
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
                let (name, words) = match question {
                    Question::Join(request) => {
                        let owned = Subscribed::decode(request.protocols[0].metadata.clone()).unwrap().owned;
                        ("join", format!("join as {:?} with [{}]", &*request.member_id, shown(&owned)))
                    }
                    Question::Sync(request) => {
                        let shares = request.assignments.iter().map(|of| {
                            let share = decode_assignment(of.assignment.clone()).unwrap();
                            format!(" {}: [{}]", of.member_id, shown(&share))
                        });
                        ("sync", format!("sync{}", shares.collect::<String>()))
                    }
                    Question::Heartbeat(request) => ("beat", format!("beat in {}", request.generation_id)),
                    Question::Leave { member_id, .. } => ("leave", format!("leave as {:?}", &*member_id)),
                };
                self.asked.insert(name, ticket);
                if failures > 0 { format!("{words} after {failures}") } else { words }
            }
            Effect::Look { ticket, .. } => {
                self.looked = Some(ticket);
                "look".to_owned()
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

    fn subscribe(&mut self, topics: &str) -> String {
        let topics = topics.split_whitespace().map(Str::from).collect();
        self.step(Event::Subscribed(Subscription { topics, regex: None }))
    }

    fn joined(&mut self, response: JoinGroupResponse) -> String {
        let ticket = self.asked["join"];
        self.step(Event::Answered { ticket, answer: Answer::Join(Ok(response)) })
    }

    fn follows(&mut self, generation_id: i32) -> String {
        self.joined(JoinGroupResponse {
            generation_id,
            protocol_name: Some(self.core.settings.assignors[0].name().into()),
            leader: "other".into(),
            member_id: "me".into(),
            ..Default::default()
        })
    }

    fn join_fails(&mut self, code: ErrorCode) -> String {
        self.joined(JoinGroupResponse {
            error_code: code.code(),
            member_id: "me".into(),
            ..Default::default()
        })
    }

    fn synced(&mut self, share: &str) -> String {
        let assignment = encode_assignment(&set(share)).unwrap();
        let (ticket, answer) =
            (self.asked["sync"], Ok(SyncGroupResponse { assignment, ..Default::default() }));
        self.step(Event::Answered { ticket, answer: Answer::Sync(answer) })
    }

    fn sync_fails(&mut self, code: ErrorCode) -> String {
        let answer = Ok(SyncGroupResponse { error_code: code.code(), ..Default::default() });
        self.step(Event::Answered { ticket: self.asked["sync"], answer: Answer::Sync(answer) })
    }

    fn done(&mut self) -> String {
        let ticket = self.told.unwrap();
        self.step(Event::Done { ticket })
    }

    fn after(&mut self, millis: u64) -> String {
        self.now += millis;
        self.step(Event::Tick)
    }

    /// The owner polls all the while.
    fn polling_for(&mut self, millis: u64) -> String {
        self.polled = self.now + millis;
        self.after(millis)
    }

    fn beat(&mut self, code: ErrorCode) -> String {
        let answer = Ok(HeartbeatResponse { error_code: code.code(), ..Default::default() });
        self.step(Event::Answered { ticket: self.asked["beat"], answer: Answer::Heartbeat(answer) })
    }

    fn left(&mut self, code: ErrorCode) -> String {
        let answer = Ok(LeaveGroupResponse { error_code: code.code(), ..Default::default() });
        self.step(Event::Answered { ticket: self.asked["leave"], answer: Answer::Leave(answer) })
    }

    /// In generation 1, with these partitions of t and u.
    fn stable(assignors: &[Assignor], share: &str) -> Script {
        let mut script = Script::new(assignors, None);
        script.subscribe("t u");
        script.follows(1);
        script.synced(share);
        assert_eq!(script.done(), "");
        script
    }
}

const EAGER: &[Assignor] = &[Assignor::Range];
const COOPERATIVE: &[Assignor] = &[Assignor::CooperativeSticky];

#[test]
fn a_member_joins_and_follows() {
    let mut s = Script::new(EAGER, None);
    assert_eq!(s.subscribe("t"), r#"join as "" with []"#);
    assert_eq!(s.join_fails(ErrorCode::MemberIdRequired), r#"join as "me" with []"#);
    assert_eq!(s.follows(1), "become 1, sync");
    assert_eq!(s.synced("t-0 t-1"), "assign [t-0 t-1]");
    assert_eq!(s.done(), "");
    assert_eq!(s.polling_for(3 * SECOND), "beat in 1");
    assert_eq!(s.polling_for(3 * SECOND), "", "one at a time");
    assert_eq!(s.beat(ErrorCode::None), "");
    assert_eq!(s.polling_for(3 * SECOND), "beat in 1");
    assert_eq!(s.step(Event::Close(Departure::Default)), r#"become -1, leave as "me""#);
    assert_eq!(s.left(ErrorCode::None), "closed");
}

#[test]
fn the_leader_shares_and_watches_the_partitions() {
    let mut s = Script::new(EAGER, None);
    s.subscribe("t");
    let member = |id: &str, topics: [&str; 1]| JoinGroupResponseMember {
        member_id: id.into(),
        metadata: Subscribed { topics: topics.map(Str::from).into(), ..Default::default() }
            .encode(None)
            .unwrap(),
        ..Default::default()
    };
    let broken = JoinGroupResponseMember { member_id: "z".into(), ..Default::default() };
    let lead = JoinGroupResponse {
        generation_id: 1,
        protocol_name: Some("range".into()),
        leader: "me".into(),
        member_id: "me".into(),
        members: vec![member("me", ["t"]), member("you", ["u"]), broken],
        ..Default::default()
    };
    assert_eq!(s.joined(lead.clone()), "become 1, look");
    let known = Arc::new(metadata(&[("t", 2), ("u", 1)]));
    let looked = Event::Looked { ticket: s.looked.unwrap(), metadata: known.clone() };
    assert_eq!(s.step(looked), "sync me: [t-0 t-1] you: [u-0] z: []");
    assert_eq!(s.synced("t-0 t-1"), "assign [t-0 t-1]");
    assert_eq!(s.done(), "");
    assert_eq!(s.step(Event::Metadata(known)), "", "no news");
    let more = Arc::new(metadata(&[("t", 2), ("u", 2)]));
    assert_eq!(s.step(Event::Metadata(more)), "revoke [t-0 t-1]", "a topic of another member");
    assert_eq!(s.done(), r#"join as "me" with []"#);
    assert_eq!(
        s.joined(JoinGroupResponse { generation_id: 2, skip_assignment: true, ..lead }),
        "become 2, look"
    );
    let looked = Event::Looked { ticket: s.looked.unwrap(), metadata: Arc::new(metadata(&[("t", 2)])) };
    assert_eq!(s.step(looked), "sync", "the coordinator keeps the shares");
}

#[test]
fn an_eager_member_gives_up_all_before_it_joins() {
    let mut s = Script::stable(EAGER, "t-0 u-0");
    s.polling_for(3 * SECOND);
    assert_eq!(s.beat(ErrorCode::RebalanceInProgress), "revoke [t-0 u-0]");
    assert_eq!(s.polling_for(3 * SECOND), "beat in 1", "the owner may take its time");
    assert_eq!(s.beat(ErrorCode::RebalanceInProgress), "");
    assert_eq!(s.done(), r#"join as "me" with []"#);
    assert_eq!(s.polling_for(10 * SECOND), "", "the coordinator knows that it is there");
    assert_eq!(s.follows(2), "become 2, sync");
    assert_eq!(s.synced("t-0"), "assign [t-0]");
}

#[test]
fn a_cooperative_member_keeps_what_it_can() {
    let mut s = Script::stable(COOPERATIVE, "t-0 t-1");
    s.polling_for(3 * SECOND);
    assert_eq!(s.beat(ErrorCode::RebalanceInProgress), r#"join as "me" with [t-0 t-1]"#);
    s.follows(2);
    assert_eq!(s.synced("t-0 u-0"), "revoke [t-1]");
    assert_eq!(s.done(), "assign [u-0]");
    assert_eq!(s.done(), r#"join as "me" with [t-0 u-0]"#, "another waits for t-1");
    s.follows(3);
    assert_eq!(s.synced("t-0 u-0"), "assign []");
    assert_eq!(s.done(), "");
    assert_eq!(s.subscribe("u"), "revoke [t-0]");
    assert_eq!(s.done(), r#"join as "me" with [u-0]"#);
}

#[test]
fn a_subscription_that_changes_meanwhile_is_told_after() {
    let mut s = Script::new(EAGER, None);
    s.subscribe("t");
    assert_eq!(s.subscribe("t"), "");
    assert_eq!(s.subscribe("u"), "");
    s.follows(1);
    assert_eq!(s.synced("t-0"), "assign []", "t is not wanted any more");
    assert_eq!(s.done(), r#"join as "me" with []"#);
}

#[test]
fn who_was_put_out_loses_all_and_joins_anew() {
    for (code, id) in [(ErrorCode::UnknownMemberId, ""), (ErrorCode::IllegalGeneration, "me")] {
        for assignors in [EAGER, COOPERATIVE] {
            let mut s = Script::stable(assignors, "t-0");
            s.polling_for(3 * SECOND);
            assert_eq!(s.beat(code), "become -1, lose [t-0]");
            assert_eq!(s.done(), format!("join as {id:?} with [] after 1"));
        }
        let mut s = Script::new(EAGER, None);
        s.subscribe("t");
        s.follows(1);
        assert_eq!(s.sync_fails(code), format!("become -1, join as {id:?} with [] after 1"));
    }
}

#[test]
fn a_loss_overtakes_what_was_under_way() {
    let mut s = Script::stable(EAGER, "t-0");
    s.polling_for(3 * SECOND);
    s.beat(ErrorCode::RebalanceInProgress);
    let revoke = s.told.unwrap();
    s.polling_for(3 * SECOND);
    assert_eq!(s.beat(ErrorCode::UnknownMemberId), "become -1, lose [t-0]");
    assert_eq!(s.step(Event::Done { ticket: revoke }), "", "too late");
    assert_eq!(s.done(), r#"join as "" with [] after 1"#);
    s.follows(2);
    assert_eq!(s.synced(""), "assign []");
    s.polling_for(3 * SECOND);
    let did = s.beat(ErrorCode::UnknownMemberId);
    assert_eq!(did, "become -1, lose []", "an owner that is busy is waited for, even with nothing to lose");
    assert_eq!(s.done(), r#"join as "" with [] after 2"#);
}

#[test]
fn what_passes_is_tried_again_and_what_does_not_ends_it() {
    type Fail = fn(&mut Script, ErrorCode) -> String;
    let failures: [(&str, Fail); 2] = [
        ("join", Script::join_fails),
        ("sync", |s, code| {
            s.follows(1);
            s.sync_fails(code)
        }),
    ];
    for (step, fail) in failures {
        for code in
            [ErrorCode::CoordinatorLoadInProgress, ErrorCode::NotCoordinator, ErrorCode::RebalanceInProgress]
        {
            let mut s = Script::new(EAGER, None);
            s.subscribe("t");
            let did = fail(&mut s, code);
            assert!(did.ends_with("with [] after 1"), "{step} {code}: {did}");
        }
        for code in [
            ErrorCode::FencedInstanceId,
            ErrorCode::GroupAuthorizationFailed,
            ErrorCode::InvalidSessionTimeout,
        ] {
            let mut s = Script::new(EAGER, Some("one"));
            s.subscribe("t");
            let did = fail(&mut s, code);
            assert_eq!(did, format!("become -1, lose [], fail {}", code.name()), "{step}");
            assert_eq!(s.subscribe("u"), "", "it does not come back");
            assert_eq!(s.step(Event::Close(Departure::Default)), "closed");
        }
    }
    let mut s = Script::stable(EAGER, "t-0");
    s.polling_for(3 * SECOND);
    assert_eq!(s.beat(ErrorCode::CoordinatorNotAvailable), "");
    assert_eq!(s.polling_for(0), "beat in 1 after 1");
    assert_eq!(s.beat(ErrorCode::FencedInstanceId), "become -1, lose [t-0], fail FENCED_INSTANCE_ID");
}

#[test]
fn an_owner_that_does_not_poll_costs_the_place() {
    for (instance, goodbye) in [(None, r#"leave as "me", "#), (Some("one"), "")] {
        let mut s = Script::new(EAGER, instance);
        s.subscribe("t");
        s.follows(1);
        s.synced("t-0");
        s.done();
        assert_eq!(s.core.deadline(s.at(0)), Some(s.at(3 * SECOND)));
        assert_eq!(s.after(299 * SECOND), "beat in 1");
        s.beat(ErrorCode::None);
        assert_eq!(s.after(SECOND), format!("{goodbye}become -1, lose [t-0]"));
        assert_eq!(s.after(300 * SECOND), "", "it waits for its owner");
        assert_eq!(s.core.deadline(s.at(0)), None);
        s.polled = s.now;
        assert_eq!(s.done(), r#"join as "" with []"#);
    }
}

#[test]
fn how_it_goes_is_up_to_its_kind_and_the_owner() {
    use Departure::{Default, Leave, Remain};
    for (instance, departure, says) in [
        (None, Default, true),
        (None, Remain, false),
        (Some("one"), Default, false),
        (Some("one"), Leave, true),
        (Some("one"), Remain, false),
    ] {
        let mut s = Script::new(EAGER, instance);
        assert_eq!(s.subscribe("t"), r#"join as "" with []"#);
        s.follows(1);
        let did = s.step(Event::Close(departure));
        let expected = if says { r#"become -1, leave as "me""# } else { "become -1, closed" };
        assert_eq!(did, expected, "{instance:?} {departure:?}");
    }
    let mut s = Script::stable(EAGER, "t-0");
    s.step(Event::Close(Departure::Default));
    assert_eq!(s.left(ErrorCode::NotCoordinator), r#"leave as "me" after 1"#);
    assert_eq!(s.left(ErrorCode::NotCoordinator), r#"leave as "me" after 2"#);
    assert_eq!(s.left(ErrorCode::NotCoordinator), "closed", "it does not wait for ever");
    let mut s = Script::stable(EAGER, "t-0");
    assert_eq!(s.step(Event::Unsubscribed), r#"leave as "me", become -1"#);
    assert_eq!(s.core.deadline(s.at(0)), None);
    assert_eq!(s.subscribe("t"), r#"join as "" with []"#);
}
