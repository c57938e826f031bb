//! DescribeGroups, ListGroups, DeleteGroups, ConsumerGroupDescribe.

use ottla_wire::messages::{DeleteGroupsRequest, DescribeGroupsRequest, ListGroupsRequest};

use crate::classic::alone;
use crate::play::play;
use crate::requests::{
    beat, commit, consumer_describe, describe, enter, fetch_all, heartbeat, join, leave, offsets, sync,
};

#[test]
fn listings() {
    play("listings", |play| {
        let id = play.topic("t", 2);
        let topic = play.name("t");
        let (simple, empty, stable, ids) =
            (play.name("simple"), play.name("empty"), play.name("stable"), play.name("ids"));
        let (consumer, left, completing) =
            (play.name("consumer"), play.name("left"), play.name("completing"));
        play.call("offsets of nobody", &commit(&simple, -1, "", vec![offsets(&topic, id, &[0], None)]));
        let member = alone(play, &empty);
        play.call("empty: leave", &leave(&empty, &[(&member, None)]));
        let member = alone(play, &stable);
        play.call("ids: an id", &join(&ids, ""));
        let one = play.call("completing: an id", &join(&completing, "")).member_id;
        play.call("completing: join", &join(&completing, &one));
        play.call("consumer: join", &enter(&consumer, "c", &topic));
        play.call("left: join", &enter(&left, "l", &topic));
        play.call("left: leave", &beat(&left, "l", -1));

        let list = |states: &[&str], types: &[&str]| ListGroupsRequest {
            states_filter: states.iter().map(|it| (*it).into()).collect(),
            types_filter: types.iter().map(|it| (*it).into()).collect(),
        };
        play.each("list", 0, |_| list(&[], &[]));
        play.each("list by state", 4, |_| list(&["Stable"], &[]));
        for state in [
            "stable",
            "EMPTY",
            "CompletingRebalance",
            "Completing_Rebalance",
            "Dead",
            "Assigning",
            "Reconciling",
            "NotReady",
            "Unknown",
            "nonsense",
            "",
        ] {
            play.call(&format!("list by state {state}"), &list(&[state], &[]));
        }
        play.call("list by states", &list(&["Stable", "Empty", "nonsense"], &[]));
        for kind in ["classic", "Classic", "CONSUMER", "share", "streams", "unknown", "nonsense", ""] {
            play.call(&format!("list by type {kind}"), &list(&[], &[kind]));
        }
        play.call("list by types", &list(&[], &["consumer", "classic"]));
        play.call("list by types, one of them none", &list(&[], &["consumer", "nonsense"]));
        play.call("list by both", &list(&["Empty"], &["consumer"]));

        let groups = [&simple, &empty, &stable, &ids, &consumer, &left, &completing];
        for group in groups {
            play.each(&format!("describe {group}").replace(&play_prefix(group), ""), 0, |_| describe(group));
            play.call(
                &format!("describe consumer {group}").replace(&play_prefix(group), ""),
                &consumer_describe(group),
            );
        }
        play.each("describe a group that is not there", 0, |_| describe("never-seen"));
        play.call(
            "describe twice",
            &DescribeGroupsRequest {
                groups: vec![stable.as_str().into(), stable.as_str().into()],
                ..Default::default()
            },
        );
        play.each("describe nothing", 0, |_| DescribeGroupsRequest::default());
        play.each("describe a consumer group that is not there", 0, |_| consumer_describe("never-seen"));
        play.each("describe the empty name as a consumer group", 0, |_| consumer_describe(""));

        let delete = |groups: &[&str]| DeleteGroupsRequest {
            groups_names: groups.iter().map(|it| (*it).into()).collect(),
        };
        play.each("delete what is not there", 0, |_| delete(&["never-seen"]));
        play.each("delete members", 0, |_| delete(&[&stable, &consumer, &completing]));
        play.call("delete a group twice", &delete(&[&empty, &empty]));
        play.call("delete a group of ids", &delete(&[&ids]));
        play.call("delete offsets of nobody", &delete(&[&simple]));
        play.call("delete a consumer group that was left", &delete(&[&left]));
        play.call("delete again", &delete(&[&left, &simple, &empty]));
        play.call("the offsets are gone", &fetch_all(&simple));
        play.call("what is left", &list(&[], &[]));
        play.call("the member of the group that was not deleted", &heartbeat(&stable, 1, &member));
        play.call("sync with the deleted group", &sync(&empty, 1, "m", &[]));
    });
}

/// What a name begins with that is of this run.
fn play_prefix(name: &str) -> String {
    name.rsplit_once('-').map_or_else(String::new, |(prefix, _)| format!("{prefix}-"))
}
