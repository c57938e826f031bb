//! ConsumerGroupHeartbeat and ConsumerGroupDescribe (KIP-848).

use ottla_wire::messages::ConsumerGroupHeartbeatRequest;

use crate::play::play;
use crate::requests::{beat, consumer_describe, enter, owned};

/// A change to a heartbeat.
type Change = (&'static str, fn(&mut ConsumerGroupHeartbeatRequest));

/// Each is wrong, or almost.
const CHANGES: [Change; 24] = [
    ("no group", |r| r.group_id = "".into()),
    ("a group of blanks", |r| r.group_id = "  ".into()),
    ("no member", |r| r.member_id = "".into()),
    ("a member of blanks", |r| r.member_id = "  ".into()),
    ("no instance", |r| r.instance_id = Some("".into())),
    ("no rack", |r| r.rack_id = Some("".into())),
    ("no rebalance timeout", |r| r.rebalance_timeout_ms = -1),
    ("rebalance timeout of nothing", |r| r.rebalance_timeout_ms = 0),
    ("a negative rebalance timeout", |r| r.rebalance_timeout_ms = -2),
    ("no partitions", |r| r.topic_partitions = None),
    ("partitions", |r| r.topic_partitions = owned(ottla_wire::Uuid([7; 16]), &[0])),
    ("no subscription", |r| r.subscribed_topic_names = None),
    ("an empty subscription", |r| r.subscribed_topic_names = Some(Vec::new())),
    ("an unknown assignor", |r| r.server_assignor = Some("nonsense".into())),
    ("an assignor in capitals", |r| r.server_assignor = Some("RANGE".into())),
    ("an assignor without a name", |r| r.server_assignor = Some("".into())),
    ("the range assignor", |r| r.server_assignor = Some("range".into())),
    ("epoch -2 without an instance", |r| r.member_epoch = -2),
    ("epoch -3", |r| r.member_epoch = -3),
    ("epoch -1", |r| r.member_epoch = -1),
    ("epoch 1", |r| r.member_epoch = 1),
    ("epoch 1 without a member", |r| (r.member_epoch, r.member_id) = (1, "".into())),
    ("epoch -1 without a member", |r| (r.member_epoch, r.member_id) = (-1, "".into())),
    ("epoch -2 of an unknown instance", |r| (r.member_epoch, r.instance_id) = (-2, Some("i".into()))),
];

#[test]
fn consumer_fields() {
    play("consumer_fields", |play| {
        play.topic("t", 2);
        let topic = play.name("t");
        for (what, change) in CHANGES {
            let group = play.name(format!("{}-v", what.replace(' ', "_")));
            play.each(what, 0, |version| {
                let mut request = enter(&format!("{group}{version}"), "m", &topic);
                change(&mut request);
                request
            });
        }
        let matches = play.name("t.*");
        for (what, regex) in [
            ("that matches", matches.as_str()),
            ("open", "("),
            ("empty", ""),
            ("with a class that is none", "\\p{Nonsense}"),
        ] {
            let group = play.name(format!("regex-{what}"));
            let request = ConsumerGroupHeartbeatRequest {
                subscribed_topic_names: None,
                subscribed_topic_regex: Some(regex.into()),
                ..enter(&group, "m", &topic)
            };
            play.call(&format!("an expression {what}"), &request);
        }
    });
}

#[test]
fn consumer_epochs() {
    play("consumer_epochs", |play| {
        let id = play.topic("t", 3);
        play.topic("other", 1);
        let (topic, other, group) = (play.name("t"), play.name("other"), play.name("g"));
        play.call("enter a topic that is not there", &enter(&play.name("none"), "m", &play.name("absent")));
        play.call("the group without topics", &consumer_describe(&play.name("none")));
        play.call("enter", &enter(&group, "a", &topic));
        play.call("alone", &consumer_describe(&group));
        play.call("nothing new", &beat(&group, "a", 2));
        play.call("an epoch ahead", &beat(&group, "a", 3));
        play.call("nobody", &beat(&group, "x", 2));
        play.call("enter again", &enter(&group, "a", &topic));
        let owns = |member: &str, epoch, partitions: &[i32]| ConsumerGroupHeartbeatRequest {
            topic_partitions: owned(id, partitions),
            ..beat(&group, member, epoch)
        };
        play.call("what it owns", &owns("a", 2, &[0, 1, 2]));
        play.call("more than it owns", &owns("a", 2, &[0, 1, 2, 3]));
        play.call("a second member", &enter(&group, "b", &topic));
        play.call("both", &consumer_describe(&group));
        play.call("the first has to give up", &beat(&group, "a", 2));
        play.call("revoking", &consumer_describe(&group));
        play.call("the second waits", &beat(&group, "b", 3));
        play.call(
            "the second waits, with what it owns",
            &ConsumerGroupHeartbeatRequest { topic_partitions: Some(Vec::new()), ..beat(&group, "b", 3) },
        );
        play.call("the first still owns all", &owns("a", 2, &[0, 1, 2]));
        play.call("the first owns half", &owns("a", 2, &[0, 1]));
        play.call("the epoch before", &owns("a", 2, &[0, 1]));
        play.call("the epoch before, with too much", &owns("a", 2, &[0, 1, 2]));
        play.call("the epoch before, without what it owns", &beat(&group, "a", 2));
        play.call("the second gets the rest", &beat(&group, "b", 3));
        play.call("stable", &consumer_describe(&group));
        let more = ConsumerGroupHeartbeatRequest {
            subscribed_topic_names: Some(vec![
                other.as_str().into(),
                topic.as_str().into(),
                topic.as_str().into(),
            ]),
            ..beat(&group, "b", 3)
        };
        play.call("the second subscribes to more", &more);
        play.call("with more topics", &consumer_describe(&group));
        play.call("the first hears of it", &beat(&group, "a", 3));
        let full = ConsumerGroupHeartbeatRequest {
            topic_partitions: owned(id, &[0, 1]),
            member_epoch: 4,
            ..enter(&group, "a", &topic)
        };
        play.call("a full request", &full);
        let changed = ConsumerGroupHeartbeatRequest {
            server_assignor: Some("range".into()),
            rack_id: Some("r".into()),
            rebalance_timeout_ms: 5,
            ..beat(&group, "a", 4)
        };
        play.call("another assignor", &changed);
        play.call("with another assignor", &consumer_describe(&group));
        play.call("enter once more", &enter(&group, "a", &topic));
        play.call("after it entered once more", &consumer_describe(&group));
        let both = ConsumerGroupHeartbeatRequest {
            subscribed_topic_regex: Some(play.name("o.*").as_str().into()),
            ..enter(&group, "a", &topic)
        };
        play.call("names and an expression", &both);
        play.call("the first leaves", &beat(&group, "a", -1));
        play.call("leaves again", &beat(&group, "a", -1));
        play.call("the second is left", &consumer_describe(&group));
        play.call("the second leaves", &beat(&group, "b", -1));
        play.call("empty", &consumer_describe(&group));
        play.call("beat to the empty group", &beat(&group, "b", 4));
        play.call("enter the empty group", &enter(&group, "c", &topic));
    });
}

#[test]
fn consumer_instances() {
    play("consumer_instances", |play| {
        play.topic("t", 2);
        let (topic, group) = (play.name("t"), play.name("g"));
        let instance = |request: ConsumerGroupHeartbeatRequest| ConsumerGroupHeartbeatRequest {
            instance_id: Some("i".into()),
            ..request
        };
        play.call("enter", &instance(enter(&group, "a", &topic)));
        play.call("beat", &instance(beat(&group, "a", 2)));
        play.call("beat without the instance", &beat(&group, "a", 2));
        play.call("another enters with the instance", &instance(enter(&group, "b", &topic)));
        play.call("another beats with the instance", &instance(beat(&group, "b", 2)));
        let unknown = ConsumerGroupHeartbeatRequest { instance_id: Some("j".into()), ..beat(&group, "a", 2) };
        play.call("beat as an unknown instance", &unknown);
        play.call("another leaves with the instance", &instance(beat(&group, "b", -2)));
        play.call(
            "an unknown instance leaves",
            &ConsumerGroupHeartbeatRequest { member_epoch: -2, ..unknown },
        );
        play.call("it goes for a while", &instance(beat(&group, "a", -2)));
        play.call("away", &consumer_describe(&group));
        play.call("beat while away", &instance(beat(&group, "a", 2)));
        play.call("it goes again", &instance(beat(&group, "a", -2)));
        play.call("its next self enters", &instance(enter(&group, "b", &topic)));
        play.call("back", &consumer_describe(&group));
        play.call("the older self", &instance(beat(&group, "a", 2)));
        play.call("the older self without the instance", &beat(&group, "a", 2));
        play.call("enter again while there", &instance(enter(&group, "b", &topic)));
        play.call("it goes for a while again", &instance(beat(&group, "b", -2)));
        let changed = ConsumerGroupHeartbeatRequest {
            rack_id: Some("r".into()),
            server_assignor: Some("range".into()),
            ..instance(enter(&group, "c", &topic))
        };
        play.call("it comes back with another assignor", &changed);
        play.call("after that", &consumer_describe(&group));
        play.call("it leaves for good", &instance(beat(&group, "c", -1)));
        play.call("left", &consumer_describe(&group));
    });
}
