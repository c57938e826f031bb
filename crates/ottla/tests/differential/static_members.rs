//! Static members (KIP-345): they are replaced, fenced, and removed by name.

use ottla_wire::messages::{HeartbeatRequest, JoinGroupRequest, SyncGroupRequest};

use crate::play::play;
use crate::requests::{describe, heartbeat, join, leave, protocol, static_join, sync};

#[test]
fn static_members() {
    play("static_members", |play| {
        let group = play.name("g");
        play.call("an id and an instance that nobody knows", &static_join(&group, "nobody", "i"));
        let old = play.call("join", &static_join(&group, "", "i")).member_id;
        play.call(
            "sync",
            &SyncGroupRequest {
                group_instance_id: Some("i".into()),
                ..sync(&group, 1, &old, &[(&old, "all")])
            },
        );
        let beat = |member: &str, instance: &str| HeartbeatRequest {
            group_instance_id: Some(instance.into()),
            ..heartbeat(&group, 1, member)
        };
        play.call("heartbeat", &beat(&old, "i"));
        play.call("heartbeat without the instance", &heartbeat(&group, 1, &old));
        play.call("heartbeat of another instance", &beat(&old, "j"));
        play.call("heartbeat of another member", &beat("nobody", "i"));
        play.call("empty instance", &static_join(&group, "", ""));
        play.call("join of another member", &static_join(&group, "nobody", "i"));
        play.call("join as another instance", &static_join(&group, &old, "j"));
        let new = play.call("the instance comes back", &static_join(&group, "", "i")).member_id;
        play.call("it has the assignment", &sync(&group, 1, &new, &[]));
        play.call("the older self is fenced", &beat(&old, "i"));
        play.call("the older self without its instance", &heartbeat(&group, 1, &old));
        play.call("the older self joins", &static_join(&group, &old, "i"));
        let fenced = SyncGroupRequest { group_instance_id: Some("i".into()), ..sync(&group, 1, &old, &[]) };
        play.call("the older self syncs", &fenced);
        play.call("the older self leaves", &leave(&group, &[(&old, Some("i"))]));
        play.call("the older self leaves without its instance", &leave(&group, &[(&old, None)]));
        let newer =
            play.call_version("it comes back with version 8", &static_join(&group, "", "i"), 8).member_id;
        play.call("stable", &describe(&group));
        let changed =
            JoinGroupRequest { protocols: vec![protocol("range", "more")], ..static_join(&group, "", "i") };
        let newest = play.call("it comes back with another subscription", &changed).member_id;
        play.call("the one before", &beat(&newer, "i"));
        play.call("after it came back", &describe(&group));
        let other =
            JoinGroupRequest { protocols: vec![protocol("sticky", "s")], ..static_join(&group, "", "i") };
        let last = play.call("it comes back with another protocol", &other).member_id;
        play.call("the newest before", &beat(&newest, "i"));
        play.call("after the other protocol", &describe(&group));
        play.call(
            "it is removed by its instance, with others",
            &leave(&group, &[("", Some("k")), ("", Some("i"))]),
        );
        play.call("nobody is left", &heartbeat(&group, 3, &last));
        play.call("its instance is free", &static_join(&group, "", "i"));
    });
}

/// A static member is replaced while its older self waits.
#[test]
fn replaced_while_waiting() {
    play("replaced_while_waiting", |play| {
        let group = play.name("g");
        let one = play.call("one: an id", &join(&group, "")).member_id;
        play.call("one: join", &join(&group, &one));
        play.call("one: sync", &sync(&group, 1, &one, &[]));
        let old = play.send(1, &static_join(&group, "", "i"));
        play.until(&group, "PreparingRebalance");
        let new = play.send(2, &static_join(&group, "", "i"));
        let old = play.answer::<JoinGroupRequest>("the older self does not wait any more", old).member_id;
        play.call("one: join again", &join(&group, &one));
        let new = play.answer::<JoinGroupRequest>("the newer self has joined", new).member_id;
        play.call(
            "a fenced sync",
            &SyncGroupRequest { group_instance_id: Some("i".into()), ..sync(&group, 2, &old, &[]) },
        );
        let waiting = play.send(1, &sync(&group, 2, &new, &[]));
        play.pause();
        let newest = play.send(2, &static_join(&group, "", "i"));
        play.answer::<SyncGroupRequest>("the sync does not wait any more", waiting);
        play.call("one: join once more", &join(&group, &one));
        play.answer::<JoinGroupRequest>("the newest self has joined", newest);
    });
}
