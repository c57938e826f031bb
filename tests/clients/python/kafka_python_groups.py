"""Groups with kafka-python: members, committed offsets, and what an administrator does with them."""

from concurrent.futures import ThreadPoolExecutor

from kafka import OffsetAndMetadata, TopicPartition, errors

import harness
from harness import check_filled, fails, same
from kafka_python_cluster import admin, fill, is_a, member, name, polled, read, topic


def group_read():
    where, group = topic("group", 3), name("read")
    fill(where, 3, 300)
    first = member(where, group, enable_auto_commit=True)
    check_filled([(r.partition, r.offset, r.value) for r in read(first, 300)], 3)
    first.close()
    fill(where, 3, 30)
    second = member(where, group, enable_auto_commit=True)
    same(100, min(r.offset for r in read(second, 30)), "lowest offset read by the second")
    second.close()


def group_commit():
    where, group = topic("commit", 2), name("commit")
    fill(where, 2, 20)
    zero, one = TopicPartition(where, 0), TopicPartition(where, 1)
    first = member(where, group)
    read(first, 20)
    first.commit({zero: OffsetAndMetadata(4, "as far as four", -1)})
    large = lambda: first.commit({zero: OffsetAndMetadata(5, "x" * 5_000, -1)})
    fails(large, is_a(errors.OffsetMetadataTooLargeError), "OffsetMetadataTooLargeError")
    found = first.committed(zero, metadata=True)
    same((4, "as far as four"), (found.offset, found.metadata), "committed")
    same(None, first.committed(one), "committed of the other partition")
    first.seek(zero, 2)
    same(2, read(first, 8)[0].offset, "first offset after seeking")
    first.close()
    following = member(where, group, auto_offset_reset="latest")
    same([(0, o) for o in range(4, 10)], [(r.partition, r.offset) for r in read(following, 6)], "read by the next")
    following.close()


def balance(members, count):
    """Polls the members, to which no record may come, until the partitions are shared evenly.

    At the same time and not for short: this client can lose an assignment that comes as its `poll` ends.
    """

    def assignments():
        with ThreadPoolExecutor() as threads:
            for records in threads.map(lambda one: polled(one, 500), members):
                same([], records, "records while balancing")
        return [one.assignment() for one in members]

    return harness.balance(assignments, count)


def group_two_members():
    where, group = topic("two", 4), name("two")
    stays, leaves = member(where, group), member(where, group)
    assigned = balance([stays, leaves], 4)
    fill(where, 4, 40)
    shared = []
    for one, mine in zip([stays, leaves], assigned):
        found = read(one, 20)
        same(mine, {TopicPartition(r.topic, r.partition) for r in found}, "partitions of the records")
        shared += found
        one.commit()
    check_filled([(r.partition, r.offset, r.value) for r in shared], 4)
    leaves.close()
    balance([stays], 4)
    fill(where, 4, 20)
    read(stays, 20)
    stays.close()


def group_static():
    where, group = topic("static", 2), name("static")
    other, first = member(where, group, group_instance_id="other"), member(where, group, group_instance_id="comes-back")
    before = balance([other, first], 2)
    generation = other.group_metadata().generation_id
    first.close()
    again = member(where, group, group_instance_id="comes-back")
    same(before, balance([other, again], 2), "partitions after coming back")
    same(generation, again.group_metadata().generation_id, "generation after coming back")
    twin = member(where, group, group_instance_id="comes-back")
    balance([twin], 1)
    (partition,) = before[1]
    committing = lambda: again.commit({partition: OffsetAndMetadata(0, "", -1)})
    fails(committing, is_a(errors.FencedInstanceIdError), "FencedInstanceIdError")
    same(generation, other.group_metadata().generation_id, "generation of the other")
    for one in (twin, again, other):
        one.close()


def described(group):
    return admin.describe_groups([group])[group]


def listed(group):
    return [(g["protocol_type"], g["group_state"], g["group_type"]) for g in admin.list_groups() if g["group_id"] == group]


def committed(group):
    """Partition: offset and metadata."""
    found = admin.list_group_offsets({group: None})[group]
    return {where.partition: (commit.offset, commit.metadata) for where, commit in found.items()}


def group_admin():
    where, group = topic("admin", 2), name("admin")
    zero = TopicPartition(where, 0)
    fill(where, 2, 20)
    unknown(group, zero)
    with_member(where, group)
    same("Empty", described(group)["group_state"], "state without members")
    same({zero: errors.NoError}, admin.alter_group_offsets(group, {zero: OffsetAndMetadata(3, "moved", -1)}), "moving")
    same({0: (3, "moved"), 1: (10, "")}, committed(group), "offsets after moving one")
    reader = member(where, group)
    same(3, read(reader, 7)[0].offset, "first offset read after moving")
    reader.close()
    same({zero: errors.NoError}, admin.delete_group_offsets(group, [zero]), "deleting an offset")
    same({1: (10, "")}, committed(group), "offsets after deleting one")
    same({group: "OK"}, admin.delete_groups([group]), "deleting")
    same([], listed(group), "listed after deleting")
    unknown(group, zero)


def unknown(group, partition):
    same("Dead", described(group)["group_state"], "state of an unknown group")
    same({group: "GroupIdNotFoundError"}, admin.delete_groups([group]), "deleting an unknown group")
    not_found = is_a(errors.GroupIdNotFoundError)
    fails(lambda: admin.delete_group_offsets(group, [partition]), not_found, "GroupIdNotFoundError")
    same({}, committed(group), "offsets of an unknown group")


def with_member(where, group):
    zero = TopicPartition(where, 0)
    active = member(where, group, client_id="the-member")
    read(active, 20)
    active.commit()
    same([("consumer", "Stable", "classic")], listed(group), "listed")
    found = described(group)
    same(("Stable", "range"), (found["group_state"], found["protocol_data"]), "state and assignor")
    same(["the-member"], [one["client_id"] for one in found["members"]], "client ids")
    same({group: "NonEmptyGroupError"}, admin.delete_groups([group]), "deleting")
    subscribed = {zero: errors.GroupSubscribedToTopicError}
    same(subscribed, admin.delete_group_offsets(group, [zero]), "deleting an offset")
    moving = admin.alter_group_offsets(group, {zero: OffsetAndMetadata(3, "", -1)})
    same({zero: errors.UnknownMemberIdError}, moving, "moving")
    active.close()


SCENARIOS = {
    "group-read": group_read,
    "group-commit": group_commit,
    "group-two-members": group_two_members,
    "group-static": group_static,
    "group-admin": group_admin,
}
LEFT_OUT = {"group-consumer-protocol": "kafka-python has no KIP-848"}
