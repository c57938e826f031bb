//! Requests of one protocol to a group of the other.

use ottla_wire::messages::join_group_request::JoinGroupRequestProtocol;
use ottla_wire::messages::{JoinGroupRequest, OffsetDeleteRequest};

use crate::classic::alone;
use crate::play::play;
use crate::requests::{
    beat, commit, consumer_describe, describe, enter, heartbeat, join, leave, offsets, protocol, sync,
};

#[test]
fn classic_requests_to_a_consumer_group() {
    play("classic_requests_to_a_consumer_group", |play| {
        let id = play.topic("t", 2);
        let (topic, group) = (play.name("t"), play.name("g"));
        play.call("enter", &enter(&group, "c", &topic));
        play.each("heartbeat", 0, |_| heartbeat(&group, 1, "c"));
        play.call("heartbeat of nobody", &heartbeat(&group, 1, "nobody"));
        play.call("sync", &sync(&group, 1, "c", &[]));
        play.call("sync of nobody", &sync(&group, 1, "nobody", &[]));
        play.call("leave", &leave(&group, &[("c", None), ("nobody", None), ("", Some("i"))]));
        play.call("it is out", &consumer_describe(&group));
        play.call("enter again", &enter(&group, "c", &topic));
        play.call("join as nobody", &join(&group, "nobody"));
        play.call("join as the member", &join(&group, "c"));
        play.call(
            "join with another type",
            &JoinGroupRequest { protocol_type: "connect".into(), ..join(&group, "") },
        );
        play.call("join without protocols", &JoinGroupRequest { protocols: Vec::new(), ..join(&group, "") });
        let subscribed = |member: &str, kind: &str| JoinGroupRequest {
            protocols: vec![protocol("range", &topic)],
            protocol_type: kind.into(),
            ..join(&group, member)
        };
        play.call("join with another type and a subscription", &subscribed("", "connect"));
        let classic = play.call("an id for a subscriber", &subscribed("", "consumer")).member_id;
        let generation = play.call("join as a subscriber", &subscribed(&classic, "consumer")).generation_id;
        play.call("heartbeat of the subscriber", &heartbeat(&group, generation, &classic));
        play.call("heartbeat of another generation", &heartbeat(&group, 9, &classic));
        play.call("sync of the subscriber", &sync(&group, generation, &classic, &[]));
        play.call("sync of another generation", &sync(&group, 9, &classic, &[]));
        play.call("its neighbour's heartbeat", &beat(&group, "c", 3));
        play.each("describe as a classic group", 0, |_| describe(&group));
        play.call("the subscriber leaves", &leave(&group, &[(&classic, None)]));
        play.call("the neighbour leaves", &beat(&group, "c", -1));
        play.call("left", &consumer_describe(&group));
        play.call(
            "offsets of the empty group",
            &commit(&group, -1, "", vec![offsets(&topic, id, &[0], None)]),
        );
        let member = play.call("a classic member in the empty group", &join(&group, "")).member_id;
        play.call("joins", &join(&group, &member));
        play.call("it is a classic group now", &describe(&group));
        play.call("with its offsets", &crate::requests::fetch_all(&group));
        let other = play.name("other");
        play.call("other: enter", &enter(&other, "c", &topic));
        let unreadable = JoinGroupRequestProtocol { name: "range".into(), metadata: "subscription".into() };
        let unreadable = JoinGroupRequest { protocols: vec![unreadable], ..join(&other, "") };
        play.call("join with metadata that cannot be read", &unreadable);
        let empty = JoinGroupRequestProtocol { name: "range".into(), metadata: "".into() };
        let empty = JoinGroupRequest { protocols: vec![empty], ..join(&other, "") };
        play.call("join with empty metadata", &empty);
    });
}

#[test]
fn consumer_requests_to_a_classic_group() {
    play("consumer_requests_to_a_classic_group", |play| {
        let _id = play.topic("t", 2);
        let (topic, group) = (play.name("t"), play.name("g"));
        let member = alone(play, &group);
        play.call("beat", &beat(&group, "c", 1));
        play.call("beat of the member", &beat(&group, &member, 1));
        play.call("leave", &beat(&group, "c", -1));
        play.call("enter beside the classic member", &enter(&group, "c", &topic));
        play.call("describe", &consumer_describe(&group));
        play.call("still classic", &heartbeat(&group, 1, &member));
        play.call("the member leaves", &leave(&group, &[(&member, None)]));
        play.call("beat to the empty group", &beat(&group, "c", 1));
        play.call("enter the empty group", &enter(&group, "c", &topic));
        play.call("the old member", &heartbeat(&group, 1, &member));
        play.call("it is a consumer group now", &consumer_describe(&group));
        let connect = play.name("connect");
        let other = JoinGroupRequest { protocol_type: "connect".into(), ..join(&connect, "") };
        let id = play.call("connect: an id", &other).member_id;
        play.call("connect: join", &JoinGroupRequest { member_id: id, ..other });
        play.call("enter a group of another type", &enter(&connect, "c", &topic));
        play.call(
            "delete offsets of it",
            &OffsetDeleteRequest { group_id: connect.as_str().into(), ..Default::default() },
        );
    });
}
