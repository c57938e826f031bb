//! OffsetCommit, OffsetFetch and OffsetDelete.

use ottla_wire::messages::offset_delete_request::{OffsetDeleteRequestPartition, OffsetDeleteRequestTopic};
use ottla_wire::messages::offset_fetch_request::{
    OffsetFetchRequestGroup, OffsetFetchRequestTopic, OffsetFetchRequestTopics,
};
use ottla_wire::messages::{
    JoinGroupRequest, OffsetCommitRequest, OffsetDeleteRequest, OffsetFetchRequest, SyncGroupRequest,
};
use ottla_wire::{TopicId, Uuid};

use crate::classic::alone;
use crate::play::play;
use crate::requests::{beat, commit, enter, fetch_all, join, leave, offsets, static_join, sync};

/// From this version of OffsetFetch on a request asks for several groups.
const SEVERAL: i16 = 8;
/// From this version of both on topics are named by their ids.
const BY_ID: i16 = 10;
/// The last version that names topics.
const BY_NAME: i16 = 9;

const NO_TOPIC: TopicId = Uuid([7; 16]);
const ZERO: TopicId = Uuid([0; 16]);

/// What is fetched of one group, in the form of the version.
fn fetch(version: i16, group: &str, topics: Option<&[(&str, TopicId, &[i32])]>) -> OffsetFetchRequest {
    if version < SEVERAL {
        let topic = |(name, _, partitions): &(&str, TopicId, &[i32])| OffsetFetchRequestTopic {
            name: (*name).into(),
            partition_indexes: partitions.to_vec(),
        };
        let topics = topics.map(|topics| topics.iter().map(topic).collect());
        return OffsetFetchRequest { group_id: group.into(), topics, ..Default::default() };
    }
    let topic = |(name, id, partitions): &(&str, TopicId, &[i32])| OffsetFetchRequestTopics {
        name: (*name).into(),
        topic_id: if version >= BY_ID { *id } else { ZERO },
        partition_indexes: partitions.to_vec(),
    };
    let topics = topics.map(|topics| topics.iter().map(topic).collect());
    let group = OffsetFetchRequestGroup { group_id: group.into(), topics, ..Default::default() };
    OffsetFetchRequest { groups: vec![group], ..Default::default() }
}

fn by_version(version: i16, id: TopicId) -> TopicId {
    if version >= BY_ID { id } else { ZERO }
}

#[test]
fn simple_consumers() {
    play("simple_consumers", |play| {
        let id = play.topic("t", 2);
        play.topic("other", 1);
        let (topic, other, absent) = (play.name("t"), play.name("other"), play.name("absent"));
        let group = play.name("g");
        play.each("fetch before anything is there", 0, |v| fetch(v, &group, Some(&[(&topic, id, &[0, 1])])));
        play.each("fetch all before anything is there", 2, |v| fetch(v, &group, None));
        play.each("fetch nothing", 0, |v| fetch(v, &group, Some(&[])));
        let of = |v: i16, partitions: &[i32], metadata| {
            vec![offsets(&topic, by_version(v, id), partitions, metadata)]
        };
        play.each("commit", 0, |v| commit(&group, -1, "", of(v, &[0, 1], Some("note"))));
        play.each("commit with no metadata", 0, |v| commit(&group, -1, "", of(v, &[1], None)));
        play.each("commit to partitions that are not there", 0, |v| {
            commit(&group, -1, "", of(v, &[0, 2, -1], None))
        });
        play.each("commit to a topic that is not there", 0, |v| {
            commit(&group, -1, "", vec![offsets(&absent, by_version(v, NO_TOPIC), &[0], None)])
        });
        play.each("commit to both", 0, |v| {
            let mut topics = vec![offsets(&absent, by_version(v, NO_TOPIC), &[0], None)];
            topics.extend(of(v, &[1], None));
            commit(&group, -1, "", topics)
        });
        play.call("commit to no id", &commit(&group, -1, "", vec![offsets("", ZERO, &[0], None)]));
        play.call_version(
            "commit to no name",
            &commit(&group, -1, "", vec![offsets("", ZERO, &[0], None)]),
            BY_NAME,
        );
        play.each("commit nothing", 0, |_| commit(&group, -1, "", Vec::new()));
        play.each("commit no partitions", 0, |v| commit(&group, -1, "", of(v, &[], None)));
        let long = "x".repeat(4097);
        play.each("commit too much metadata", 0, |v| {
            let mut topics = of(v, &[0], Some(&long));
            topics[0].partitions.extend(of(v, &[1], Some(&long[..4096])).remove(0).partitions);
            commit(&group, -1, "", topics)
        });
        play.each("commit with a generation", 0, |v| commit(&group, 0, "", of(v, &[0], None)));
        play.each("commit with a member", 0, |v| commit(&group, -1, "m", of(v, &[0], None)));
        play.each("commit with both", 0, |v| commit(&group, 3, "m", of(v, &[0], None)));
        let instance = |v| OffsetCommitRequest {
            group_instance_id: Some("i".into()),
            ..commit(&group, -1, "", of(v, &[0], None))
        };
        play.each("commit with an instance", 7, instance);
        play.each("commit without a group", 0, |v| commit("", -1, "", of(v, &[0], None)));
        let fresh = play.name("fresh");
        play.each("a group of its own", 0, |v| commit(&fresh, 1, "m", of(v, &[0], None)));
        let negative = |v| {
            let mut topics = of(v, &[0], None);
            topics[0].partitions[0].committed_offset = -1;
            commit(&group, -1, "", topics)
        };
        play.each("commit a negative offset", 0, negative);
        play.each("fetch a negative offset", 0, |v| fetch(v, &group, Some(&[(&topic, id, &[0])])));
        play.each("commit again", 0, |v| commit(&group, -1, "", of(v, &[0], Some("again"))));

        play.each("fetch", 0, |v| fetch(v, &group, Some(&[(&topic, id, &[1, 0, 5, -1])])));
        play.each("fetch all", 2, |v| fetch(v, &group, None));
        play.each("fetch of a topic that is not there", 0, |v| {
            fetch(v, &group, Some(&[(&absent, NO_TOPIC, &[0]), (&topic, id, &[0])]))
        });
        play.each("fetch of no id", BY_ID, |v| fetch(v, &group, Some(&[("", ZERO, &[0])])));
        play.each("fetch no partitions", 0, |v| fetch(v, &group, Some(&[(&topic, id, &[])])));
        play.each("fetch the empty name", 0, |v| fetch(v, "", Some(&[(&topic, id, &[0])])));
        let stable = |v| OffsetFetchRequest { require_stable: true, ..fetch(v, &group, None) };
        play.each("fetch what is stable", 7, stable);
        let member = |v, member: Option<&str>, epoch| {
            let mut request = fetch(v, &group, None);
            request.groups[0].member_id = member.map(Into::into);
            request.groups[0].member_epoch = epoch;
            request
        };
        play.each("fetch with an epoch", 9, |v| member(v, None, 1));
        play.each("fetch as a member", 9, |v| member(v, Some("m"), 1));
        play.each("fetch as a member without an epoch", 9, |v| member(v, Some("m"), -1));
        play.each("fetch as the empty member", 9, |v| member(v, Some(""), 0));
        play.each("fetch as a member of what is not there", 9, |v| {
            let mut request = fetch(v, "never-seen", Some(&[(&topic, id, &[0])]));
            request.groups[0].member_id = Some("m".into());
            request.groups[0].member_epoch = 1;
            request
        });
        let mut several = fetch_all(&group);
        several.groups.extend(fetch_all("never-seen").groups);
        several.groups.extend(fetch_all(&group).groups);
        play.call("fetch of several groups", &several);
        play.call("fetch of no groups", &OffsetFetchRequest::default());

        let delete = |group: &str, topics: &[(&str, &[i32])]| OffsetDeleteRequest {
            group_id: group.into(),
            topics: topics
                .iter()
                .map(|(name, partitions)| OffsetDeleteRequestTopic {
                    name: (*name).into(),
                    partitions: partitions
                        .iter()
                        .map(|it| OffsetDeleteRequestPartition { partition_index: *it })
                        .collect(),
                })
                .collect(),
        };
        play.call("delete of what is not there", &delete("never-seen", &[(&topic, &[0])]));
        play.call("delete without a group", &delete("", &[(&topic, &[0])]));
        play.call("delete in topics that are not there", &delete(&group, &[(&absent, &[0])]));
        play.call(
            "delete in topics that are not there, of what is not there",
            &delete("never-seen", &[(&absent, &[0])]),
        );
        play.call("delete nothing", &delete(&group, &[]));
        play.call("delete nothing of what is not there", &delete("never-seen", &[]));
        play.call("delete no partitions", &delete(&group, &[(&topic, &[])]));
        play.call("delete", &delete(&group, &[(&topic, &[0, 7]), (&other, &[0]), (&absent, &[1])]));
        play.call("one is left", &fetch_all(&group));
        play.call("delete the last", &delete(&group, &[(&topic, &[1])]));
        play.call("none is left", &fetch_all(&group));
        play.call("the group without offsets", &crate::requests::describe(&group));

        let members = play.name("members");
        let member = alone(play, &members);
        let reads = of(9, &[0], None);
        play.call_version("the member commits", &commit(&members, 1, &member, reads), 9);
        play.call(
            "delete while there are members whose topics are not known",
            &delete(&members, &[(&topic, &[0])]),
        );
        play.call("the member leaves", &leave(&members, &[(&member, None)]));
        play.call("delete when it has left", &delete(&members, &[(&topic, &[0])]));
        let consumer = play.name("consumer");
        play.call("a consumer enters", &enter(&consumer, "c", &topic));
        play.call("delete of a consumer group", &delete(&consumer, &[(&topic, &[0]), (&other, &[0])]));
        play.call("it leaves", &beat(&consumer, "c", -1));
        play.call("delete of a consumer group that was left", &delete(&consumer, &[(&topic, &[0])]));
    });
}

#[test]
fn commits_of_members() {
    play("commits_of_members", |play| {
        let id = play.topic("t", 2);
        let (topic, group) = (play.name("t"), play.name("g"));
        let of = |v: i16| vec![offsets(&topic, by_version(v, id), &[0], None)];
        let expected = play.call("an id", &join(&group, "")).member_id;
        play.each("commit of who is expected", 0, |v| commit(&group, -1, &expected, of(v)));
        play.call("join", &join(&group, &expected));
        play.each("commit before sync", 0, |v| commit(&group, 1, &expected, of(v)));
        play.each("commit of nobody before sync", 0, |v| commit(&group, -1, "", of(v)));
        play.call("sync", &sync(&group, 1, &expected, &[]));
        play.each("commit", 0, |v| commit(&group, 1, &expected, of(v)));
        play.each("commit of an older generation", 0, |v| commit(&group, 0, &expected, of(v)));
        play.each("commit of a newer generation", 0, |v| commit(&group, 2, &expected, of(v)));
        play.each("commit without a generation", 0, |v| commit(&group, -1, &expected, of(v)));
        play.each("commit of another", 0, |v| commit(&group, 1, "another", of(v)));
        play.each("commit of nobody", 0, |v| commit(&group, -1, "", of(v)));
        play.each("commit of nobody with a generation", 0, |v| commit(&group, 1, "", of(v)));
        play.each("commit with an instance that is not there", 7, |v| OffsetCommitRequest {
            group_instance_id: Some("i".into()),
            ..commit(&group, 1, &expected, of(v))
        });
        let waits = play.send(1, &JoinGroupRequest { member_id: "".into(), ..static_join(&group, "", "i") });
        play.until(&group, "PreparingRebalance");
        play.each("commit while preparing", 0, |v| commit(&group, 1, &expected, of(v)));
        play.call("join again", &join(&group, &expected));
        let instance = play.answer::<JoinGroupRequest>("the instance has joined", waits).member_id;
        play.call("sync again", &sync(&group, 2, &expected, &[]));
        play.call(
            "the instance syncs",
            &SyncGroupRequest { group_instance_id: Some("i".into()), ..sync(&group, 2, &instance, &[]) },
        );
        let fenced = |v, member: &str| OffsetCommitRequest {
            group_instance_id: Some("i".into()),
            ..commit(&group, 2, member, of(v))
        };
        play.each("commit of the instance", 7, |v| fenced(v, &instance));
        play.each("commit of a fenced instance", 7, |v| fenced(v, &expected));

        let consumers = play.name("consumers");
        play.call("enter", &enter(&consumers, "c", &topic));
        play.each("consumer: commit", 0, |v| commit(&consumers, 2, "c", of(v)));
        play.each("consumer: commit of an older epoch", 0, |v| commit(&consumers, 0, "c", of(v)));
        play.each("consumer: commit of a newer epoch", 0, |v| commit(&consumers, 9, "c", of(v)));
        play.each("consumer: commit of another", 0, |v| commit(&consumers, 2, "another", of(v)));
        play.each("consumer: commit of nobody", 0, |v| commit(&consumers, -1, "", of(v)));
        play.each("consumer: commit without an epoch", 0, |v| commit(&consumers, -1, "c", of(v)));
        let fetched = |v, member: &str, epoch| {
            let mut request = fetch(v, &consumers, Some(&[(&topic, id, &[0])]));
            request.groups[0].member_id = Some(member.into());
            request.groups[0].member_epoch = epoch;
            request
        };
        play.each("consumer: fetch", 9, |v| fetched(v, "c", 2));
        play.each("consumer: fetch of an older epoch", 9, |v| fetched(v, "c", 0));
        play.each("consumer: fetch of a newer epoch", 9, |v| fetched(v, "c", 9));
        play.each("consumer: fetch of another", 9, |v| fetched(v, "another", 2));
        play.each("consumer: fetch without an epoch", 9, |v| fetched(v, "c", -1));
        play.each("consumer: fetch of nobody", 9, |v| fetched(v, "", 0));
        play.call("leave", &beat(&consumers, "c", -1));
        play.each("consumer: commit when all have left", 0, |v| commit(&consumers, -1, "", of(v)));
        play.each("consumer: commit of who has left", 0, |v| commit(&consumers, 2, "c", of(v)));
    });
}
