//! What is told of a group in the middle of a change.

use ottla_wire::messages::join_group_request::JoinGroupRequestProtocol;
use ottla_wire::messages::{
    ConsumerGroupHeartbeatRequest, IncrementalAlterConfigsRequest, JoinGroupRequest, ListGroupsRequest,
};

use crate::play::{Play, play};
use crate::requests::{
    GROUP, beat, changes, consumer_describe, describe, enter, heartbeat, join, leave, owned, protocol, sync,
};

/// Assignments of the group do not wait for the one before.
fn assign_at_once(play: &mut Play, group: &str) {
    let interval = ("consumer.assignment.interval.ms", 0, Some("0"));
    let resources = vec![changes(GROUP, group, &[interval])];
    play.aside(&IncrementalAlterConfigsRequest { resources, validate_only: false }, 1);
}

fn list(play: &mut Play, what: &str) {
    play.call(what, &ListGroupsRequest::default());
}

#[test]
fn partitions_on_their_way() {
    play("partitions_on_their_way", |play| {
        let id = play.topic("t", 3);
        let (topic, group) = (play.name("t"), play.name("g"));
        assign_at_once(play, &group);
        let ranged = |member: &str| ConsumerGroupHeartbeatRequest {
            server_assignor: Some("range".into()),
            ..enter(&group, member, &topic)
        };
        play.call("a enters", &ranged("a"));
        play.call("with a alone", &consumer_describe(&group));
        play.call("b enters", &ranged("b"));
        play.call("before a has heard", &consumer_describe(&group));
        list(play, "listed before a has heard");
        play.call("b beats", &beat(&group, "b", 3));
        play.call("a hears", &beat(&group, "a", 2));
        play.call("while a gives up", &consumer_describe(&group));
        list(play, "listed while a gives up");
        let has = |member: &str, epoch, partitions: &[i32]| ConsumerGroupHeartbeatRequest {
            topic_partitions: owned(id, partitions),
            ..beat(&group, member, epoch)
        };
        play.call("a still has all", &has("a", 2, &[0, 1, 2]));
        play.call("still while a gives up", &consumer_describe(&group));
        play.call("b beats in vain", &beat(&group, "b", 3));
        play.call("a has given up", &has("a", 2, &[0, 1]));
        play.call("before b has heard", &consumer_describe(&group));
        list(play, "listed before b has heard");
        play.call("b hears", &beat(&group, "b", 3));
        play.call("at rest", &consumer_describe(&group));
        play.call("a leaves", &beat(&group, "a", -1));
        play.call("before b has heard of it", &consumer_describe(&group));
        play.call("b hears of it", &beat(&group, "b", 3));
        play.call(
            "b subscribes to nothing",
            &ConsumerGroupHeartbeatRequest {
                subscribed_topic_names: Some(Vec::new()),
                ..beat(&group, "b", 4)
            },
        );
        play.call("while b gives up all", &consumer_describe(&group));
        play.call("b has given up all", &has("b", 4, &[]));
        play.call("b has none", &consumer_describe(&group));
    });
}

#[test]
fn members_of_both_kinds() {
    play("members_of_both_kinds", |play| {
        let id = play.topic("t", 3);
        let (topic, group) = (play.name("t"), play.name("g"));
        assign_at_once(play, &group);
        play.call("a enters", &enter(&group, "a", &topic));
        let classic = |member: &str| JoinGroupRequest {
            protocols: vec![protocol("range", &topic)],
            ..join(&group, member)
        };
        let empty = |member: &str| JoinGroupRequest {
            protocols: vec![JoinGroupRequestProtocol { name: "range".into(), metadata: "".into() }],
            ..join(&group, member)
        };
        play.call("sync before there is a classic member", &sync(&group, 2, "nobody", &[]));
        let given = play.call("an id with empty metadata", &empty("")).member_id;
        play.call("join with empty metadata", &empty(&given));
        let known = play.call("join with it and a subscription", &classic(&given));
        play.call("describe", &consumer_describe(&group));
        play.call("sync", &sync(&group, known.generation_id, &known.member_id, &[]));
        play.call("heartbeat", &heartbeat(&group, known.generation_id, &known.member_id));
        play.call("a hears", &beat(&group, "a", 2));
        play.call("while a gives up", &consumer_describe(&group));
        play.call(
            "a has given up",
            &ConsumerGroupHeartbeatRequest { topic_partitions: owned(id, &[0, 1]), ..beat(&group, "a", 2) },
        );
        play.call(
            "heartbeat of one that may have more",
            &heartbeat(&group, known.generation_id, &known.member_id),
        );
        play.call(
            "sync of one that may have more",
            &sync(&group, known.generation_id, &known.member_id, &[]),
        );
        play.call("join anew with empty metadata", &empty(&known.member_id));
        let again = play.call("join anew", &classic(&known.member_id));
        play.call("sync anew", &sync(&group, again.generation_id, &again.member_id, &[]));
        play.call("at rest", &consumer_describe(&group));
        play.call("a leaves", &beat(&group, "a", -1));
        play.call("it is classic now", &describe(&group));
        list(play, "listed as classic");
        play.call("as a consumer group it is not there", &consumer_describe(&group));
        play.call("the last leaves", &leave(&group, &[(&again.member_id, None)]));
    });
}

#[test]
fn refused_by_a_consumer_group() {
    play("refused_by_a_consumer_group", |play| {
        play.topic("t", 1);
        let (topic, group) = (play.name("t"), play.name("g"));
        play.call("a enters", &enter(&group, "a", &topic));
        let with = |member: &str, kind: &str, protocols: Vec<JoinGroupRequestProtocol>| JoinGroupRequest {
            protocol_type: kind.into(),
            protocols,
            ..join(&group, member)
        };
        let range = || vec![protocol("range", &topic)];
        let unreadable = || vec![JoinGroupRequestProtocol { name: "range".into(), metadata: "x".into() }];
        let empty = || vec![JoinGroupRequestProtocol { name: "range".into(), metadata: "".into() }];
        for (who, member) in [("without an id", ""), ("with an id", "m"), ("as the member", "a")] {
            for (how, kind, protocols) in [
                ("another type", "connect", range()),
                ("no protocol", "consumer", Vec::new()),
                ("no type", "", range()),
                ("what cannot be read", "consumer", unreadable()),
                ("empty metadata", "consumer", empty()),
                ("another type and empty metadata", "connect", empty()),
            ] {
                play.each(&format!("join {who} with {how}"), 0, |_| with(member, kind, protocols.clone()));
                play.call(&format!("left after {who} with {how}"), &consumer_describe(&group));
            }
        }
        let short =
            |member: &str| JoinGroupRequest { session_timeout_ms: 1, ..with(member, "connect", empty()) };
        play.call("too short a session", &short(""));
        play.call("too short a session with an id", &short("m"));
        let instance = |member: &str| JoinGroupRequest {
            group_instance_id: Some("i".into()),
            ..with(member, "consumer", range())
        };
        play.call("an instance that is not known, with an id", &instance("m"));
        let unknown =
            JoinGroupRequest { group_instance_id: Some("i".into()), ..with("m", "consumer", empty()) };
        play.call("the same with empty metadata", &unknown);
    });
}
