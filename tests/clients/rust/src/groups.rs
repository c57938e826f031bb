//! Members of groups, the offsets that they commit, and the little that the crate can do as an administrator.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use rdkafka::admin::AdminOptions;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::Message;
use rdkafka::{Offset, TopicPartitionList};

use crate::cluster::{Cluster, TIMEOUT, poll, read};
use crate::{Outcome, Scenario, check, same};

const BALANCE_MAX: Duration = Duration::from_secs(20);

pub const SCENARIOS: &[Scenario] = &[
    ("group-read", group_read),
    ("group-commit", group_commit),
    ("group-two-members", group_two_members),
    ("group-static", group_static),
    ("group-consumer-protocol", group_consumer_protocol),
    ("group-admin", group_admin),
];

fn group_read(cluster: &Cluster) -> Outcome {
    let topic = cluster.topic("group", 3, &[])?;
    let group = cluster.name("read");
    cluster.fill(&topic, 3, 300, &[])?;
    let committing = || -> Outcome<BaseConsumer> {
        let member = cluster.member(&group, &[("enable.auto.commit", "true")])?;
        member.subscribe(&[&topic])?;
        Ok(member)
    };
    read(&committing()?, 300)?;
    cluster.fill(&topic, 3, 30, &[])?;
    let second = read(&committing()?, 30)?;
    same!(Some(100), second.iter().map(Message::offset).min(), "lowest offset read by the second");
    Ok(())
}

/// One partition and an offset to commit.
fn commit(member: &BaseConsumer, topic: &str, offset: i64, metadata: &str) -> Outcome {
    let mut offsets = TopicPartitionList::new();
    offsets.add_partition(topic, 0).set_offset(Offset::Offset(offset))?;
    if let Some(mut partition) = offsets.find_partition(topic, 0) {
        partition.set_metadata(metadata);
    }
    Ok(member.commit(&offsets, CommitMode::Sync)?)
}

/// Offset and metadata. The client's list of them must be gone before the member is: the end of the member
/// waits for it.
fn committed(member: &BaseConsumer, topic: &str, partition: i32) -> Outcome<(Offset, String)> {
    let all = member.committed(TIMEOUT)?;
    let found = all.find_partition(topic, partition).ok_or("no answer")?;
    Ok((found.offset(), found.metadata().to_owned()))
}

fn fails(result: Outcome, codes: &[RDKafkaErrorCode], what: &str) -> Outcome {
    let error = result.err().ok_or_else(|| format!("{what}: no error"))?;
    let code = error.downcast_ref::<KafkaError>().and_then(KafkaError::rdkafka_error_code);
    check!(code.is_some_and(|code| codes.contains(&code)), "{what}: {error}");
    Ok(())
}

fn group_commit(cluster: &Cluster) -> Outcome {
    let topic = cluster.topic("commit", 2, &[])?;
    let group = cluster.name("commit");
    cluster.fill(&topic, 2, 20, &[])?;
    let first = cluster.member(&group, &[])?;
    first.subscribe(&[&topic])?;
    read(&first, 20)?;
    commit(&first, &topic, 4, "as far as four")?;
    let refused = commit(&first, &topic, 5, &"x".repeat(5_000));
    fails(refused, &[RDKafkaErrorCode::OffsetMetadataTooLarge], "too much metadata")?;
    same!((Offset::Offset(4), "as far as four".into()), committed(&first, &topic, 0)?, "committed");
    same!(
        (Offset::Invalid, String::new()),
        committed(&first, &topic, 1)?,
        "committed of the other partition"
    );
    let mut two = TopicPartitionList::new();
    two.add_partition_offset(&topic, 0, Offset::Offset(2))?;
    first.seek_partitions(two, TIMEOUT)?;
    same!(2, read(&first, 8)?[0].offset(), "first offset after seeking");
    drop(first);
    let next = cluster.member(&group, &[("auto.offset.reset", "latest")])?;
    next.subscribe(&[&topic])?;
    let found: Vec<_> = read(&next, 6)?.iter().map(|one| (one.partition(), one.offset())).collect();
    same!((4..10).map(|offset| (0, offset)).collect::<Vec<_>>(), found, "read by the next");
    Ok(())
}

type Partitions = BTreeSet<(String, i32)>;

/// Polls the members, to which no record may come, until so many partitions are shared evenly.
fn balance(members: &[&BaseConsumer], count: usize) -> Outcome<Vec<Partitions>> {
    let deadline = Instant::now() + BALANCE_MAX;
    loop {
        let mut assigned: Vec<Partitions> = Vec::new();
        for member in members {
            check!(poll(member, Duration::from_millis(50))?.is_none(), "a record while balancing");
            let partitions = member.assignment()?;
            assigned.push(
                partitions.elements().iter().map(|one| (one.topic().to_owned(), one.partition())).collect(),
            );
        }
        let even = assigned.iter().all(|one| one.len() == count / members.len());
        if even && assigned.iter().flatten().collect::<BTreeSet<_>>().len() == count {
            return Ok(assigned);
        }
        check!(Instant::now() < deadline, "not balanced: {assigned:?}");
    }
}

fn group_two_members(cluster: &Cluster) -> Outcome {
    let topic = cluster.topic("two", 4, &[])?;
    two_members(cluster, &topic, &topic, 4, &[])
}

/// Two members share 4 partitions, `partitions` of them those of `topic`; then one leaves.
fn two_members(
    cluster: &Cluster,
    subscription: &str,
    topic: &str,
    partitions: i32,
    settings: &[(&str, &str)],
) -> Outcome {
    let group = cluster.name("two");
    let stays = cluster.member(&group, settings)?;
    let leaves = cluster.member(&group, settings)?;
    stays.subscribe(&[subscription])?;
    leaves.subscribe(&[subscription])?;
    let assigned = balance(&[&stays, &leaves], 4)?;
    cluster.fill(topic, partitions, 40, &[])?;
    for (member, mine) in [&stays, &leaves].into_iter().zip(&assigned) {
        let of_topic = mine.iter().filter(|(name, _)| name == topic).count();
        let records = read(member, of_topic * 40 / partitions as usize)?;
        for record in &records {
            let from = (record.topic().to_owned(), record.partition());
            check!(mine.contains(&from), "a record of another's partition");
        }
        if !records.is_empty() {
            member.commit_consumer_state(CommitMode::Sync)?;
        }
    }
    drop(leaves);
    balance(&[&stays], 4)?;
    cluster.fill(topic, partitions, 20, &[])?;
    read(&stays, 20)?;
    Ok(())
}

// The crate does not tell the generation; that the partitions stay with their members is checked.
fn group_static(cluster: &Cluster) -> Outcome {
    let topic = cluster.topic("static", 2, &[])?;
    let group = cluster.name("static");
    let join = |id: &str| -> Outcome<BaseConsumer> {
        let member = cluster.member(&group, &[("group.instance.id", id)])?;
        member.subscribe(&[&topic])?;
        Ok(member)
    };
    let other = join("other")?;
    let first = join("comes-back")?;
    let before = balance(&[&other, &first], 2)?;
    drop(first);
    let again = join("comes-back")?;
    same!(before, balance(&[&other, &again], 2)?, "partitions after coming back");
    let twin = join("comes-back")?;
    same!(before, balance(&[&other, &twin], 2)?, "partitions of its double");
    // Fencing is fatal for this client: a heartbeat may have told of it before the commit.
    use RDKafkaErrorCode::{Fatal, FencedInstanceId};
    fails(commit(&again, &topic, 0, ""), &[FencedInstanceId, Fatal], "the commit of a fenced member")
}

fn group_consumer_protocol(cluster: &Cluster) -> Outcome {
    let prefix = cluster.name("regex");
    for name in [format!("{prefix}-a"), format!("{prefix}-b"), format!("not-{prefix}-a")] {
        same!(Ok(()), cluster.create(&name, 2, &[])?, "created");
    }
    let settings = [("group.protocol", "consumer")];
    two_members(cluster, &format!("^{prefix}-[ab]"), &format!("{prefix}-b"), 2, &settings)
}

/// State, protocol type, assignor and client ids, as the older requests tell them.
fn described(cluster: &Cluster, group: &str) -> Outcome<(String, String, String, Vec<String>)> {
    let groups = cluster.admin.inner().fetch_group_list(Some(group), TIMEOUT)?;
    let found = groups.groups().first().ok_or("no answer")?;
    let clients = found.members().iter().map(|member| member.client_id().to_owned()).collect();
    Ok((found.state().to_owned(), found.protocol_type().to_owned(), found.protocol().to_owned(), clients))
}

fn listed(cluster: &Cluster, group: &str) -> Outcome<bool> {
    let groups = cluster.admin.inner().fetch_group_list(None, TIMEOUT)?;
    Ok(groups.groups().iter().any(|found| found.name() == group))
}

// Of administering groups, the crate has listing and deleting.
fn group_admin(cluster: &Cluster) -> Outcome {
    let topic = cluster.topic("admin", 2, &[])?;
    let group = cluster.name("admin");
    cluster.fill(&topic, 2, 20, &[])?;
    let delete = || cluster.wait(cluster.admin.delete_groups(&[&group], &AdminOptions::new()));
    let refused = |code| vec![Err((group.clone(), code))];
    same!(refused(RDKafkaErrorCode::GroupIdNotFound), delete()?, "deleting an unknown group");
    let settings = [("client.id", "the-member"), ("partition.assignment.strategy", "range")];
    let member = cluster.member(&group, &settings)?;
    member.subscribe(&[&topic])?;
    read(&member, 20)?;
    commit(&member, &topic, 10, "")?;
    check!(listed(cluster, &group)?, "not listed");
    let stable = ("Stable".into(), "consumer".into(), "range".into(), vec!["the-member".into()]);
    same!(stable, described(cluster, &group)?, "described");
    same!(refused(RDKafkaErrorCode::NonEmptyGroup), delete()?, "deleting a group with a member");
    drop(member);
    same!("Empty", described(cluster, &group)?.0, "state without members");
    same!(vec![Ok(group.clone())], delete()?, "deleting");
    check!(!listed(cluster, &group)?, "listed after deleting");
    Ok(())
}
