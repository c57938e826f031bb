"""confluent-kafka (librdkafka): `confluent.py BOOTSTRAP [NAME...]`."""

import os
import threading
import time

from confluent_kafka import (
    OFFSET_END,
    TIMESTAMP_CREATE_TIME,
    TIMESTAMP_LOG_APPEND_TIME,
    KafkaError,
    TopicCollection,
    TopicPartition,
)
from confluent_kafka.admin import (
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    ConfigSource,
    NewPartitions,
    NewTopic,
    OffsetSpec,
    ResourceType,
)

import confluent_groups
import harness
from confluent_cluster import (
    BOOTSTRAP,
    admin,
    consumer,
    fill,
    is_error,
    name,
    producer,
    read,
    read_from,
    send,
    topic,
    wait,
    without_errors,
)
from harness import KEEP, TIME, check_filled, eventually, fails, same, settle, that, value


def filled(scenario, count, **settings):
    where = topic(scenario, 3)
    fill(where, 3, count, **settings)
    check_filled([(m.partition(), m.offset(), m.value()) for m in read_from(where, count, 3)], 3)


def create_topic():
    asked = NewTopic(name("create"), 3, 1, config={"retention.ms": "3600000"})
    wait(admin.create_topics([asked]))
    settle()
    same(3, len(describe(asked.topic).partitions), "partitions")
    fails(lambda: wait(admin.create_topics([asked])), is_error(KafkaError.TOPIC_ALREADY_EXISTS), "TOPIC_ALREADY_EXISTS")


def describe(where):
    return wait(admin.describe_topics(TopicCollection([where])))


def describe_topic():
    description = describe(topic("describe", 3))
    brokers = {node.id for node in admin.describe_cluster().result(20).nodes}
    same([0, 1, 2], [p.id for p in description.partitions], "partitions")
    for partition in description.partitions:
        that(partition.leader.id in brokers, f"leader {partition.leader.id} is not one of {brokers}")
        same([partition.leader.id], [node.id for node in partition.replicas], "replicas")
        same([partition.leader.id], [node.id for node in partition.isr], "in-sync replicas")


def list_topics():
    where = topic("list", 2)
    listed = admin.list_topics(timeout=10).topics
    that(where in listed, f"{where} is not listed")
    same(2, len(listed[where].partitions), "partitions")


def describe_cluster():
    description = admin.describe_cluster().result(20)
    that(description.cluster_id, "no cluster id")
    that(description.controller.id in [node.id for node in description.nodes], "the controller is not a node")
    that(BOOTSTRAP in [f"{node.host}:{node.port}" for node in description.nodes], f"no node at {BOOTSTRAP}")


def round_trip():
    where = topic("trip", **KEEP)
    headers = [("a", b"\x00\xff\x07"), ("a", b"again"), ("none", None), ("empty", b""), ("ключ", b"v")]
    sent = [
        {"key": b"key", "value": b"value", "timestamp": TIME, "headers": headers},
        {"key": None, "value": b"no key", "timestamp": TIME + 5},
        {"key": b"no value", "value": None, "timestamp": TIME - 5},
        {"key": b"", "value": b"", "timestamp": TIME},
    ]
    delivered = send(producer(compression_type="lz4", linger_ms=100), [{"topic": where, "partition": 0, **r} for r in sent])
    same([0, 1, 2, 3], [message.offset() for message in delivered], "offsets told")
    for record, message in zip(sent, read_from(where, len(sent))):
        same(record["key"], message.key(), "key")
        same(record["value"], message.value(), "value")
        same((TIMESTAMP_CREATE_TIME, record["timestamp"]), message.timestamp(), "timestamp")
        same(record.get("headers"), message.headers(), "headers")


def append_time():
    where = topic("time", **{"message.timestamp.type": "LogAppendTime"})
    send(producer(), [{"topic": where, "value": b"x", "timestamp": TIME}])
    (kind, found) = read_from(where, 1)[0].timestamp()
    same(TIMESTAMP_LOG_APPEND_TIME, kind, "timestamp type")
    that(abs(time.time() * 1000 - found) < 60_000, f"the timestamp is not now: {found}")


def big_record():
    where = topic("big")
    big = os.urandom(900_000)
    send(producer(compression_type="zstd"), [{"topic": where, "value": big}])
    that(read_from(where, 1)[0].value() == big, "the bytes differ")


def fetch_from_offset():
    where = topic("seek")
    fill(where, 1, 100, compression_type="gzip", linger_ms=200)
    first = read_from(where, 58, offset=42)[0]
    same((42, value(42)), (first.offset(), first.value()), "first record")


def fetch_by_timestamp():
    where = topic("times", **KEEP)
    records = [{"topic": where, "partition": 0, "value": value(i), "timestamp": TIME + i * 1_000} for i in range(100)]
    send(producer(compression_type="snappy", linger_ms=200), records)
    client = consumer([])
    asked = lambda at: client.offsets_for_times([TopicPartition(where, 0, at)], timeout=10)[0].offset
    try:
        same(50, asked(TIME + 49_001), "offset")
        same(0, asked(0), "offset of time 0")
        same(OFFSET_END, asked(TIME + 100_000), "after the last")
    finally:
        client.close()
    same(99, offset_of(where, OffsetSpec.max_timestamp()), "offset of the largest timestamp")


def offset_of(where, spec, partition=0):
    return wait(admin.list_offsets({TopicPartition(where, partition): spec})).offset


def fetch_at_end():
    where = topic("tail")
    fill(where, 1, 10)
    client = consumer([TopicPartition(where, 0, OFFSET_END)])
    try:
        same([], without_errors(client.consume(1, 1.0)), "records at the end")
        later = threading.Timer(0.3, fill, (where, 1, 1))
        later.start()
        same(10, read(client, 1)[0].offset(), "offset")
        later.join()
    finally:
        client.close()


def list_offsets():
    where = topic("offsets", 3)
    fill(where, 3, 31)
    client = consumer([])
    try:
        found = [client.get_watermark_offsets(TopicPartition(where, p), timeout=10) for p in range(3)]
    finally:
        client.close()
    same([(0, 11), (0, 10), (0, 10)], found, "earliest and latest")
    same(11, offset_of(where, OffsetSpec.latest()), "latest, by the admin client")
    same(0, offset_of(where, OffsetSpec.earliest()), "earliest, by the admin client")


def auto_create():
    where = name("auto")
    fill(where, 1, 10)
    check_filled([(m.partition(), m.offset(), m.value()) for m in read_from(where, 10)], 1)


def config(where):
    return wait(admin.describe_configs([ConfigResource(ResourceType.TOPIC, where)]))


def describe_configs():
    found = config(topic("configs", **{"max.message.bytes": "123456"}))
    same("123456", found["max.message.bytes"].value, "max.message.bytes")
    same(ConfigSource.DYNAMIC_TOPIC_CONFIG.value, found["max.message.bytes"].source, "its source")
    same("delete", found["cleanup.policy"].value, "cleanup.policy")
    same(ConfigSource.DEFAULT_CONFIG.value, found["cleanup.policy"].source, "its source")


def alter_configs():
    where = topic("alter", **{"retention.ms": "3600000", "max.message.bytes": "200000"})
    change = [
        ConfigEntry("segment.bytes", "2097152", incremental_operation=AlterConfigOpType.SET),
        ConfigEntry("max.message.bytes", None, incremental_operation=AlterConfigOpType.DELETE),
    ]
    wait(admin.incremental_alter_configs([ConfigResource(ResourceType.TOPIC, where, incremental_configs=change)]))
    settle()
    found = config(where)
    same("2097152", found["segment.bytes"].value, "the one set")
    same("1048588", found["max.message.bytes"].value, "the one deleted")
    same("3600000", found["retention.ms"].value, "the one not named")


def create_partitions():
    where = topic("grow", 3)
    wait(admin.create_partitions([NewPartitions(where, 5)]))
    settle()
    same(5, len(describe(where).partitions), "partitions")
    fill(where, 5, 50)
    check_filled([(m.partition(), m.offset(), m.value()) for m in read_from(where, 50, 5)], 5)


def delete_records():
    where = topic("trim")
    fill(where, 1, 100)
    same(30, wait(admin.delete_records([TopicPartition(where, 0, 30)])).low_watermark, "low watermark")
    same(30, offset_of(where, OffsetSpec.earliest()), "earliest")
    first = read_from(where, 70)[0]
    same((30, value(30)), (first.offset(), first.value()), "first record")


def delete_topic():
    where = topic("delete", 2)
    fill(where, 2, 10)
    wait(admin.delete_topics([where]))
    eventually(lambda: where not in admin.list_topics(timeout=10).topics, f"{where} is still listed")


def unknown_topic():
    where = name("unknown")
    unknown = is_error(KafkaError.UNKNOWN_TOPIC_OR_PART)
    fails(lambda: describe(where), unknown, "UNKNOWN_TOPIC_OR_PART")
    fails(lambda: wait(admin.delete_topics([where])), unknown, "UNKNOWN_TOPIC_OR_PART")


def too_large():
    where = topic("large", **{"max.message.bytes": "1000"})
    sending = lambda: send(producer(), [{"topic": where, "value": bytes(5_000)}])
    fails(sending, is_error(KafkaError.MSG_SIZE_TOO_LARGE), "MSG_SIZE_TOO_LARGE")
    same(0, offset_of(where, OffsetSpec.latest()), "latest")


def invalid_config():
    invalid = is_error(KafkaError.INVALID_CONFIG)
    for setting, wrong in {"no.such.setting": "1", "retention.ms": "soon", "cleanup.policy": "burn"}.items():
        error = fails(lambda: topic("wrong", **{setting: wrong}), invalid, "INVALID_CONFIG")
        that(setting in str(error), f"the message does not name {setting}: {error}")
    change = [ConfigEntry("segment.bytes", "-5", incremental_operation=AlterConfigOpType.SET)]
    resource = ConfigResource(ResourceType.TOPIC, topic("wrong"), incremental_configs=change)
    fails(lambda: wait(admin.incremental_alter_configs([resource])), invalid, "INVALID_CONFIG")


def offset_out_of_range():
    where = topic("range")
    fill(where, 1, 10)
    # The client reports a position it may not reset by an error of its own; the broker's is in the text.
    error = fails(lambda: read_from(where, 1, offset=1_000), is_error(KafkaError._AUTO_OFFSET_RESET), "_AUTO_OFFSET_RESET")
    that("out of range" in str(error), f"not the broker's error: {error}")


SCENARIOS = {
    "create-topic": create_topic,
    "describe-topic": describe_topic,
    "list-topics": list_topics,
    "describe-cluster": describe_cluster,
    "produce-none": lambda: filled("none", 200, compression_type="none"),
    "produce-gzip": lambda: filled("gzip", 200, compression_type="gzip"),
    "produce-snappy": lambda: filled("snappy", 200, compression_type="snappy"),
    "produce-lz4": lambda: filled("lz4", 200, compression_type="lz4"),
    "produce-zstd": lambda: filled("zstd", 200, compression_type="zstd"),
    "acks-0": lambda: filled("acks0", 200, acks=0),
    "acks-1": lambda: filled("acks1", 200, acks=1),
    "acks-all": lambda: filled("acksall", 200, acks="all"),
    "idempotent": lambda: filled("idempotent", 5_000, enable_idempotence=True, batch_num_messages=20, linger_ms=0),
    "round-trip": round_trip,
    "append-time": append_time,
    "big-record": big_record,
    "read-all": lambda: filled("read", 20_000),
    "fetch-from-offset": fetch_from_offset,
    "fetch-by-timestamp": fetch_by_timestamp,
    "fetch-at-end": fetch_at_end,
    "list-offsets": list_offsets,
    "auto-create": auto_create,
    "describe-configs": describe_configs,
    "alter-configs": alter_configs,
    "create-partitions": create_partitions,
    "delete-records": delete_records,
    "delete-topic": delete_topic,
    "error-unknown-topic": unknown_topic,
    "error-too-large": too_large,
    "error-invalid-config": invalid_config,
    "error-offset-out-of-range": offset_out_of_range,
}

if __name__ == "__main__":
    harness.main(SCENARIOS | confluent_groups.SCENARIOS, left_out={})
