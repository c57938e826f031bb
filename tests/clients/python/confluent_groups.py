"""Groups with confluent-kafka: members, committed offsets, and what an administrator does with them."""

import time

from confluent_kafka import (
    OFFSET_INVALID,
    ConsumerGroupState,
    ConsumerGroupTopicPartitions,
    ConsumerGroupType,
    KafkaError,
    TopicPartition,
)
from confluent_kafka.admin import NewTopic

import harness
from confluent_cluster import admin, fill, is_error, member, name, read, topic, wait, without_errors
from harness import BALANCE_S_MAX, check_filled, eventually, fails, same, settle, that


def group_read():
    where, group = topic("group", 3), name("read")
    fill(where, 3, 300)
    first = member(group, enable_auto_commit=True)
    first.subscribe([where])
    check_filled([(m.partition(), m.offset(), m.value()) for m in read(first, 300)], 3)
    first.close()
    fill(where, 3, 30)
    second = member(group, enable_auto_commit=True)
    second.subscribe([where])
    same(100, min(m.offset() for m in read(second, 30)), "lowest offset read by the second")
    second.close()


def group_commit():
    where, group = topic("commit", 2), name("commit")
    fill(where, 2, 20)
    partitions = [TopicPartition(where, 0), TopicPartition(where, 1)]
    first = member(group)
    first.subscribe([where])
    read(first, 20)
    first.commit(offsets=[TopicPartition(where, 0, 4, metadata="as far as four")], asynchronous=False)
    large = [TopicPartition(where, 0, 5, metadata="x" * 5_000)]
    too_large = is_error(KafkaError.OFFSET_METADATA_TOO_LARGE)
    fails(lambda: first.commit(offsets=large, asynchronous=False), too_large, "OFFSET_METADATA_TOO_LARGE")
    zero, one = first.committed(partitions, timeout=10)
    same((4, "as far as four", OFFSET_INVALID), (zero.offset, zero.metadata, one.offset), "committed")
    first.seek(TopicPartition(where, 0, 2))
    same(2, read(first, 8)[0].offset(), "first offset after seeking")
    first.close()
    following = member(group, auto_offset_reset="latest")
    following.subscribe([where])
    same([(0, o) for o in range(4, 10)], [(m.partition(), m.offset()) for m in read(following, 6)], "read by the next")
    following.close()


def balance(members, count):
    """Polls the members, to which no record may come, until the partitions are shared evenly."""

    def assignments():
        for one in members:
            same([], without_errors(one.consume(1, 0.05)), "records while balancing")
        return [{(p.topic, p.partition) for p in one.assignment()} for one in members]

    return harness.balance(assignments, count)


def two_members(subscription, where, partitions, **settings):
    """Two members share 4 partitions, `partitions` of them those of `where`; then one leaves."""
    group = name("two")
    stays, leaves = member(group, **settings), member(group, **settings)
    stays.subscribe(subscription)
    leaves.subscribe(subscription)
    assigned = balance([stays, leaves], 4)
    fill(where, partitions, 40)
    shared = []
    for one, mine in zip([stays, leaves], assigned):
        found = read(one, sum(topic == where for topic, _ in mine) * 40 // partitions)
        that(all((m.topic(), m.partition()) in mine for m in found), "a record of another's partition")
        shared += found
        if found:
            one.commit(asynchronous=False)
    check_filled([(m.partition(), m.offset(), m.value()) for m in shared], partitions)
    leaves.close()
    balance([stays], 4)
    fill(where, partitions, 20)
    read(stays, 20)
    stays.close()
    return group


def group_two_members():
    where = topic("two", 4)
    two_members([where], where, 4)


def group_static():
    where, group = topic("static", 2), name("static")
    balances = []
    other = member(group, group_instance_id="other")
    other.subscribe([where], on_assign=lambda _, partitions: balances.append(partitions))
    first = member(group, group_instance_id="comes-back")
    first.subscribe([where])
    before = balance([other, first], 2)
    first.close()
    seen = len(balances)
    again = member(group, group_instance_id="comes-back")
    again.subscribe([where])
    same(before, balance([other, again], 2), "partitions after coming back")
    twin = member(group, group_instance_id="comes-back")
    twin.subscribe([where])
    balance([twin], 1)
    ((_, partition),) = before[1]
    committing = lambda: again.commit(offsets=[TopicPartition(where, partition, 0)], asynchronous=False)
    fails(committing, fenced, "FENCED_INSTANCE_ID")
    same(before, balance([other, twin], 2), "partitions after fencing")
    same(seen, len(balances), "assignments of the other")
    for one in (again, twin, other):
        one.close()


def fenced(error):
    """The commit was refused, or is no longer sent: fencing is fatal, and a heartbeat may have told of it before."""
    return is_error(KafkaError.FENCED_INSTANCE_ID)(error) or is_error(KafkaError._FATAL)(error)


def group_consumer_protocol():
    prefix = name("regex")
    for created in (f"{prefix}-a", f"{prefix}-b", f"not-{prefix}-a"):
        wait(admin.create_topics([NewTopic(created, 2, 1)]))
    settle()
    group = two_members([f"^{prefix}-[ab]"], f"{prefix}-b", 2, group_protocol="consumer")
    found = described(group)
    same(ConsumerGroupType.CONSUMER, found.type, "type")
    same("uniform", found.partition_assignor, "assignor")
    # What the client itself takes, and RE2 does not.
    wrong = member(group, group_protocol="consumer")
    wrong.subscribe([r"^(a)\1"])
    refused = []
    deadline = time.monotonic() + BALANCE_S_MAX
    while not refused and time.monotonic() < deadline:
        message = wrong.poll(0.2)
        refused += [message.error()] if message else []
    wrong.close()
    that(refused and "The regular expression is not valid" in refused[0].str(), f"not refused: {refused}")


def described(group):
    return wait(admin.describe_consumer_groups([group]))


def emptied(group):
    """Waits for a member that has left: this client does not wait for the answer itself."""
    eventually(lambda: described(group).state == ConsumerGroupState.EMPTY, "not empty without members")


def listed(group):
    groups = admin.list_consumer_groups().result(20).valid
    return [(one.state, one.type) for one in groups if one.group_id == group]


def committed(group):
    """Partition: offset and metadata."""
    found = wait(admin.list_consumer_group_offsets([ConsumerGroupTopicPartitions(group)])).topic_partitions
    return {p.partition: (p.offset, p.metadata) for p in found}


def group_admin():
    where, group = topic("admin", 2), name("admin")
    fill(where, 2, 20)
    unknown(group)
    with_member(where, group)
    emptied(group)
    moved = ConsumerGroupTopicPartitions(group, [TopicPartition(where, 0, 3, metadata="moved")])
    wait(admin.alter_consumer_group_offsets([moved]))
    same({0: (3, "moved"), 1: (10, None)}, committed(group), "offsets after moving one")
    reader = member(group)
    reader.subscribe([where])
    same(3, read(reader, 7)[0].offset(), "first offset read after moving")
    reader.close()
    emptied(group)
    wait(admin.delete_consumer_groups([group]))
    eventually(lambda: listed(group) == [], "still listed after deleting")
    unknown(group)


def unknown(group):
    not_found = is_error(KafkaError.GROUP_ID_NOT_FOUND)
    # This client describes an unknown group as a dead one.
    same(ConsumerGroupState.DEAD, described(group).state, "state of an unknown group")
    fails(lambda: wait(admin.delete_consumer_groups([group])), not_found, "GROUP_ID_NOT_FOUND")
    same({}, committed(group), "offsets of an unknown group")


def with_member(where, group):
    active = member(group, client_id="the-member", partition_assignment_strategy="range")
    active.subscribe([where])
    read(active, 20)
    active.commit(asynchronous=False)
    same([(ConsumerGroupState.STABLE, ConsumerGroupType.CLASSIC)], listed(group), "listed")
    found = described(group)
    same((ConsumerGroupState.STABLE, "range"), (found.state, found.partition_assignor), "state and assignor")
    same(["the-member"], [one.client_id for one in found.members], "client ids")
    assigned = sorted((p.topic, p.partition) for p in found.members[0].assignment.topic_partitions)
    same([(where, 0), (where, 1)], assigned, "assignment")
    not_empty = is_error(KafkaError.NON_EMPTY_GROUP)
    fails(lambda: wait(admin.delete_consumer_groups([group])), not_empty, "NON_EMPTY_GROUP")
    moved = ConsumerGroupTopicPartitions(group, [TopicPartition(where, 0, 3)])
    (refused,) = wait(admin.alter_consumer_group_offsets([moved])).topic_partitions
    same(KafkaError.UNKNOWN_MEMBER_ID, refused.error.code(), "error of moving")
    active.close()


SCENARIOS = {
    "group-read": group_read,
    "group-commit": group_commit,
    "group-two-members": group_two_members,
    "group-static": group_static,
    "group-consumer-protocol": group_consumer_protocol,
    "group-admin": group_admin,
}
