//! JoinGroup, SyncGroup, Heartbeat and LeaveGroup of dynamic members.

use ottla_wire::messages::{JoinGroupRequest, LeaveGroupRequest, SyncGroupRequest};

use crate::play::{Play, play};
use crate::requests::{describe, heartbeat, join, leave, protocol, sync};

/// From this version of JoinGroup on a member is given an id first.
const ID_FIRST: i16 = 4;
/// From this version of LeaveGroup on it names several members.
const LEAVE_SEVERAL: i16 = 3;

/// The id that a new member is given.
fn given_id(play: &mut Play, what: &str, group: &str) -> String {
    play.call(&format!("{what}: an id"), &join(group, "")).member_id.as_str().to_owned()
}

/// A stable group of one member.
pub fn alone(play: &mut Play, group: &str) -> String {
    let name = group.rsplit('-').next().unwrap_or_default();
    let member = given_id(play, name, group);
    play.call(&format!("{name}: join"), &join(group, &member));
    play.call(&format!("{name}: sync"), &sync(group, 1, &member, &[(&member, "all")]));
    member
}

#[test]
fn refused_joins() {
    play("refused_joins", |play| {
        play.each("a group without a name", 0, |_| join("", ""));
        let group = play.name("g");
        play.each("a member that nobody knows", 0, |_| join(&group, "nobody"));
        for (what, session) in [("none", 0), ("negative", -1), ("too short", 5_999), ("too long", 1_800_001)]
        {
            let short = |_| JoinGroupRequest { session_timeout_ms: session, ..join(&group, "") };
            play.each(&format!("session timeout {what}"), 0, short);
        }
        let no_type = JoinGroupRequest { protocol_type: "".into(), ..join(&group, "") };
        play.each("no protocol type", 0, |_| no_type.clone());
        let no_protocols = JoinGroupRequest { protocols: Vec::new(), ..join(&group, "") };
        play.each("no protocols", 0, |_| no_protocols.clone());
        play.call("the group was not made", &describe(&group));
        play.each("ids are given first", ID_FIRST, |_| join(&group, ""));
        play.call("a group of ids only", &describe(&group));
    });
}

#[test]
fn unknown_group() {
    play("unknown_group", |play| {
        let group = play.name("g");
        play.each("heartbeat", 0, |_| heartbeat(&group, 1, "m"));
        play.each("heartbeat of nothing", 0, |_| heartbeat("", 1, "m"));
        play.each("sync", 0, |_| sync(&group, 1, "m", &[]));
        play.each("sync of nothing", 0, |_| sync("", 1, "m", &[]));
        let old = |group: &str| LeaveGroupRequest {
            member_id: "m".into(),
            group_id: group.into(),
            ..Default::default()
        };
        let new = |group: &str| leave(group, &[("m", None), ("n", Some("i")), ("", Some("j"))]);
        let either = |version, group: &str| if version < LEAVE_SEVERAL { old(group) } else { new(group) };
        play.each("leave", 0, |version| either(version, &group));
        play.each("leave nothing", 0, |version| either(version, ""));
        play.call("nobody leaves", &leave(&group, &[]));
    });
}

#[test]
fn one_member() {
    play("one_member", |play| {
        let group = play.name("g");
        let member = given_id(play, "g", &group);
        play.call("heartbeat with the given id", &heartbeat(&group, 0, &member));
        play.call("sync with the given id", &sync(&group, 0, &member, &[]));
        play.call("join", &join(&group, &member));
        play.call("not yet synced", &describe(&group));
        play.each("heartbeat before sync", 0, |_| heartbeat(&group, 1, &member));
        play.call("join again before sync", &join(&group, &member));
        play.call("sync with an older generation", &sync(&group, 0, &member, &[]));
        play.call("sync with a newer generation", &sync(&group, 2, &member, &[]));
        play.call("sync of another", &sync(&group, 1, "nobody", &[]));
        play.call("sync without an id", &sync(&group, 1, "", &[]));
        let typed = |kind: &str, name: &str| SyncGroupRequest {
            protocol_type: Some(kind.into()),
            protocol_name: Some(name.into()),
            ..sync(&group, 1, &member, &[(&member, "all")])
        };
        play.call("sync of another type", &typed("connect", "range"));
        play.call("sync of another protocol", &typed("consumer", "sticky"));
        let untyped = SyncGroupRequest { protocol_type: None, protocol_name: None, ..typed("", "") };
        play.call("sync without a protocol", &untyped);
        play.call("sync", &sync(&group, 1, &member, &[(&member, "all")]));
        play.each("sync again", 0, |_| sync(&group, 1, &member, &[]));
        play.each("stable", 0, |_| describe(&group));
        play.each("heartbeat", 0, |_| heartbeat(&group, 1, &member));
        play.each("heartbeat of an older generation", 0, |_| heartbeat(&group, 0, &member));
        play.each("heartbeat of a newer generation", 0, |_| heartbeat(&group, 2, &member));
        play.each("heartbeat of another", 0, |_| heartbeat(&group, 1, "nobody"));
        play.call("heartbeat without an id", &heartbeat(&group, 1, ""));
        let typed = JoinGroupRequest { protocol_type: "connect".into(), ..join(&group, &member) };
        play.call("join with another type", &typed);
        let foreign = JoinGroupRequest { protocols: vec![protocol("sticky", "")], ..join(&group, "") };
        play.call("another joins with a protocol that the first has not", &foreign);
        play.each("join of another", 0, |_| join(&group, "nobody"));
        play.call("the leader joins again", &join(&group, &member));
        play.call("the generation before", &heartbeat(&group, 1, &member));
        play.call("sync again as the leader", &sync(&group, 2, &member, &[]));
        play.call(
            "leave with another",
            &leave(&group, &[(&member, None), ("nobody", None), (&member, None)]),
        );
        play.call("empty", &describe(&group));
        play.call("heartbeat to the empty group", &heartbeat(&group, 2, &member));
        play.call("sync with the empty group", &sync(&group, 2, &member, &[]));
        play.call("join the empty group with the old id", &join(&group, &member));
        play.call("leave the empty group", &leave(&group, &[(&member, None)]));
        let other = JoinGroupRequest { protocol_type: "connect".into(), ..join(&group, "") };
        let other_id = play.call("the empty group gets another type", &other).member_id;
        play.call("and a member", &JoinGroupRequest { member_id: other_id, ..other.clone() });
        play.call("of the other type", &describe(&group));
    });
}

#[test]
fn old_versions() {
    play("old_versions", |play| {
        for version in 0..=3 {
            let group = play.name(format!("g{version}"));
            let joined = play.call_version(&format!("v{version}: join"), &join(&group, ""), version);
            let member = joined.member_id.as_str();
            play.call_version(&format!("v{version}: sync"), &sync(&group, 1, member, &[(member, "all")]), 0);
            play.call_version(&format!("v{version}: describe"), &describe(&group), version);
            let leave = LeaveGroupRequest {
                group_id: group.as_str().into(),
                member_id: member.into(),
                ..Default::default()
            };
            play.call_version(&format!("v{version}: leave"), &leave, version.min(2));
            play.call_version(&format!("v{version}: leave again"), &leave, version.min(2));
        }
    });
}

#[test]
fn pending_members() {
    play("pending_members", |play| {
        let group = play.name("g");
        let one = alone(play, &group);
        let two = given_id(play, "two", &group);
        let waits = play.send(1, &join(&group, &one));
        play.until(&group, "PreparingRebalance");
        play.call("heartbeat of who is expected", &heartbeat(&group, 0, &two));
        play.call("heartbeat of who has joined", &heartbeat(&group, 0, &one));
        play.call("sync of who has joined", &sync(&group, 0, &one, &[]));
        play.call("who is expected leaves", &leave(&group, &[(&two, None)]));
        play.answer::<JoinGroupRequest>("nobody else is expected", waits);
        play.call("who has left joins", &join(&group, &two));
        play.call(
            "a static member takes the id",
            &JoinGroupRequest { group_instance_id: Some("i".into()), ..join(&group, &one) },
        );
    });
}

#[test]
fn two_members() {
    play("two_members", |play| {
        let group = play.name("g");
        let one = alone(play, &group);
        let two = given_id(play, "two", &group);
        play.call("an id does not disturb", &heartbeat(&group, 1, &one));
        let second = JoinGroupRequest {
            protocols: vec![protocol("range", "r"), protocol("sticky", "s")],
            ..join(&group, &two)
        };
        let joining = play.send(1, &second);
        play.until(&group, "PreparingRebalance");
        play.call("preparing", &describe(&group));
        play.each("heartbeat while preparing", 0, |_| heartbeat(&group, 1, &one));
        play.call("old heartbeat while preparing", &heartbeat(&group, 0, &one));
        play.call("newcomer's heartbeat", &heartbeat(&group, 1, &two));
        play.call("sync while preparing", &sync(&group, 1, &one, &[]));
        let both = JoinGroupRequest {
            protocols: vec![protocol("range", "r"), protocol("sticky", "s")],
            ..join(&group, &one)
        };
        play.call("the first joins", &both);
        play.answer::<JoinGroupRequest>("the second has joined", joining);
        play.call("completing", &describe(&group));
        play.call("heartbeat while completing", &heartbeat(&group, 2, &two));
        let following = play.send(1, &sync(&group, 2, &two, &[]));
        play.pause();
        let leading = sync(&group, 2, &one, &[(&one, "left"), ("nobody", "gone")]);
        play.call("the leader syncs", &leading);
        play.answer::<SyncGroupRequest>("the follower is left out", following);
        play.call("both", &describe(&group));
        play.call(
            "the follower joins as before",
            &JoinGroupRequest { session_timeout_ms: 40_000, ..second.clone() },
        );
        play.call("nothing has changed", &heartbeat(&group, 2, &one));
        let changed = JoinGroupRequest { protocols: vec![protocol("range", "more")], ..join(&group, &two) };
        let joining = play.send(1, &changed);
        play.until(&group, "PreparingRebalance");
        play.call("the subscription has changed", &heartbeat(&group, 2, &one));
        play.call("the leader joins", &both);
        play.answer::<JoinGroupRequest>("the follower has joined", joining);
        let following = play.send(1, &sync(&group, 3, &two, &[]));
        play.pause();
        let joining = play.send(
            2,
            &JoinGroupRequest { protocols: vec![protocol("range", "even more")], ..join(&group, &two) },
        );
        play.answer::<SyncGroupRequest>("sync is cut short", following);
        play.call("the leader syncs too late", &sync(&group, 3, &one, &[]));
        play.call("the leader leaves", &leave(&group, &[(&one, None)]));
        play.answer::<JoinGroupRequest>("the follower leads", joining);
    });
}
