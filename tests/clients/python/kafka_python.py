"""kafka-python (pure Python): `kafka_python.py BOOTSTRAP [NAME...]`."""

import os
import threading
import time

from kafka import TopicPartition, errors
from kafka.admin import AlterConfigOp, ConfigResource, ConfigResourceType, OffsetSpec

import harness
import kafka_python_groups
from harness import KEEP, TIME, check_filled, eventually, fails, same, settle, that, value
from kafka_python_cluster import BOOTSTRAP, admin, consumer, create, fill, is_a, name, polled, read, read_from, send, topic

CREATE_TIME, LOG_APPEND_TIME = 0, 1


def filled(scenario, count, **settings):
    where = topic(scenario, 3)
    fill(where, 3, count, **settings)
    check_filled([(r.partition, r.offset, r.value) for r in read_from(where, count, 3)], 3)


def create_topic():
    created = name("create")
    create(created, 3, {"retention.ms": "3600000"})
    same(3, len(describe(created)["partitions"]), "partitions")
    fails(lambda: create(created, 3, {}), is_a(errors.TopicAlreadyExistsError), "TopicAlreadyExistsError")


def describe(where):
    return admin.describe_topics([where])[0]


def describe_topic():
    description = describe(topic("describe", 3))
    brokers = [broker["broker_id"] for broker in admin.describe_cluster()["brokers"]]
    same([0, 1, 2], sorted(p["partition_index"] for p in description["partitions"]), "partitions")
    for partition in description["partitions"]:
        that(partition["leader_id"] in brokers, f"leader {partition['leader_id']} is not one of {brokers}")
        same([partition["leader_id"]], partition["replica_nodes"], "replicas")
        same([partition["leader_id"]], partition["isr_nodes"], "in-sync replicas")


def list_topics():
    where = topic("list")
    that(where in admin.list_topics(), f"{where} is not listed")


def describe_cluster():
    description = admin.describe_cluster()
    that(description["cluster_id"], "no cluster id")
    brokers = description["brokers"]
    that(description["controller_id"] in [broker["broker_id"] for broker in brokers], "the controller is not a broker")
    that(BOOTSTRAP in [f"{broker['host']}:{broker['port']}" for broker in brokers], f"no broker at {BOOTSTRAP}")


def round_trip():
    where = topic("trip", **KEEP)
    # This client sends no null header value.
    headers = [("a", b"\x00\xff\x07"), ("a", b"again"), ("empty", b""), ("ключ", b"v")]
    sent = [
        {"key": b"key", "value": b"value", "timestamp_ms": TIME, "headers": headers},
        {"key": None, "value": b"no key", "timestamp_ms": TIME + 5},
        {"key": b"no value", "value": None, "timestamp_ms": TIME - 5},
        {"key": b"", "value": b"", "timestamp_ms": TIME},
    ]
    told = send([{"topic": where, "partition": 0, **record} for record in sent], compression_type="lz4", linger_ms=100)
    same([0, 1, 2, 3], [answer.offset for answer in told], "offsets told")
    for record, found in zip(sent, read_from(where, len(sent))):
        same(record["key"], found.key, "key")
        same(record["value"], found.value, "value")
        same((CREATE_TIME, record["timestamp_ms"]), (found.timestamp_type, found.timestamp), "timestamp")
        same(record.get("headers", []), list(found.headers), "headers")


def append_time():
    where = topic("time", **{"message.timestamp.type": "LogAppendTime"})
    told = send([{"topic": where, "value": b"x", "timestamp_ms": TIME}])[0].timestamp
    that(abs(time.time() * 1000 - told) < 60_000, f"the time told is not now: {told}")
    found = read_from(where, 1)[0]
    same((LOG_APPEND_TIME, told), (found.timestamp_type, found.timestamp), "timestamp")


def big_record():
    where = topic("big")
    big = os.urandom(900_000)
    send([{"topic": where, "value": big}], compression_type="zstd")
    that(read_from(where, 1)[0].value == big, "the bytes differ")


def fetch_from_offset():
    where = topic("seek")
    fill(where, 1, 100, compression_type="gzip", linger_ms=200)
    first = read_from(where, 58, offset=42)[0]
    same((42, value(42)), (first.offset, first.value), "first record")


def fetch_by_timestamp():
    where = topic("times", **KEEP)
    partition = TopicPartition(where, 0)
    records = [{"topic": where, "partition": 0, "value": value(i), "timestamp_ms": TIME + i * 1_000} for i in range(100)]
    send(records, compression_type="snappy", linger_ms=200)
    client = consumer(where, 1)
    asked = lambda at: client.offsets_for_times({partition: at})[partition]
    try:
        found = asked(TIME + 49_001)
        same((50, TIME + 50_000), (found.offset, found.timestamp), "offset and timestamp")
        same(0, asked(0).offset, "offset of time 0")
        same(None, asked(TIME + 100_000), "after the last")
    finally:
        client.close()
    same(99, offset_of(where, OffsetSpec.MAX_TIMESTAMP), "offset of the largest timestamp")


def offset_of(where, spec):
    partition = TopicPartition(where, 0)
    return admin.list_partition_offsets({partition: spec})[partition].offset


def fetch_at_end():
    where = topic("tail")
    fill(where, 1, 10)
    client = consumer(where, 1)
    try:
        client.seek_to_end()
        same(10, client.position(TopicPartition(where, 0)), "position")
        same([], polled(client, 300), "records at the end")
        later = threading.Timer(0.3, fill, (where, 1, 1))
        later.start()
        same(10, read(client, 1)[0].offset, "offset")
        later.join()
    finally:
        client.close()


def list_offsets():
    where = topic("offsets", 3)
    fill(where, 3, 31)
    partitions = [TopicPartition(where, p) for p in range(3)]
    client = consumer(where, 3)
    try:
        same([0, 0, 0], [client.beginning_offsets(partitions)[p] for p in partitions], "earliest")
        same([11, 10, 10], [client.end_offsets(partitions)[p] for p in partitions], "latest")
    finally:
        client.close()


def auto_create():
    where = name("auto")
    fill(where, 1, 10)
    check_filled([(r.partition, r.offset, r.value) for r in read_from(where, 10)], 1)


def config(where):
    resource = ConfigResource(ConfigResourceType.TOPIC, where)
    return admin.describe_configs([resource], config_filter="all")["topic"][where]


def describe_configs():
    found = config(topic("configs", **{"max.message.bytes": "123456"}))
    summary = lambda setting: (found[setting]["value"], found[setting]["config_source"])
    same(("123456", "DYNAMIC_TOPIC_CONFIG"), summary("max.message.bytes"), "max.message.bytes")
    same(("delete", "DEFAULT_CONFIG"), summary("cleanup.policy"), "cleanup.policy")


def alter(where, change):
    """The result of altering, `OK` or the error as text; what the client knows of settings is not asked."""
    resource = ConfigResource(ConfigResourceType.TOPIC, where, configs=change)
    result = admin.alter_configs([resource], raise_on_unknown=False, incremental=True)["topic"][where]
    settle()
    return result


def alter_configs():
    where = topic("alter", **{"retention.ms": "3600000", "max.message.bytes": "200000"})
    change = {"segment.bytes": (AlterConfigOp.SET, "2097152"), "max.message.bytes": (AlterConfigOp.DELETE, None)}
    same("OK", alter(where, change), "the result")
    found = config(where)
    same("2097152", found["segment.bytes"]["value"], "the one set")
    same("1048588", found["max.message.bytes"]["value"], "the one deleted")
    same("3600000", found["retention.ms"]["value"], "the one not named")


def create_partitions():
    where = topic("grow", 3)
    admin.create_partitions({where: 5})
    settle()
    same(5, len(describe(where)["partitions"]), "partitions")
    fill(where, 5, 50)
    check_filled([(r.partition, r.offset, r.value) for r in read_from(where, 50, 5)], 5)


def delete_records():
    where = topic("trim")
    fill(where, 1, 100)
    partition = TopicPartition(where, 0)
    same(30, admin.delete_records({partition: 30})[partition]["low_watermark"], "low watermark")
    same(30, offset_of(where, OffsetSpec.EARLIEST), "earliest")
    first = read_from(where, 70)[0]
    same((30, value(30)), (first.offset, first.value), "first record")
    fails(lambda: read_from(where, 1, offset=10), is_a(errors.OffsetOutOfRangeError), "OffsetOutOfRangeError")


def delete_topic():
    where = topic("delete", 2)
    fill(where, 2, 10)
    admin.delete_topics([where])
    eventually(lambda: where not in admin.list_topics(), f"{where} is still listed")


def unknown_topic():
    where = name("unknown")
    same(errors.UnknownTopicOrPartitionError.errno, describe(where)["error_code"], "error of describing")
    unknown = is_a(errors.UnknownTopicOrPartitionError)
    fails(lambda: admin.delete_topics([where]), unknown, "UnknownTopicOrPartitionError")


def too_large():
    where = topic("large", **{"max.message.bytes": "1000"})
    sending = lambda: send([{"topic": where, "value": bytes(5_000)}])
    fails(sending, is_a(errors.MessageSizeTooLargeError), "MessageSizeTooLargeError")
    same(0, offset_of(where, OffsetSpec.LATEST), "latest")


def invalid_config():
    invalid = is_a(errors.InvalidConfigurationError)
    for setting, wrong in {"no.such.setting": "1", "retention.ms": "soon", "cleanup.policy": "burn"}.items():
        fails(lambda: topic("wrong", **{setting: wrong}), invalid, "InvalidConfigurationError")
    result = alter(topic("wrong"), {"segment.bytes": (AlterConfigOp.SET, "-5")})
    that("InvalidConfigurationError" in result, f"expected InvalidConfigurationError, found {result}")


def offset_out_of_range():
    where = topic("range")
    fill(where, 1, 10)
    fails(lambda: read_from(where, 1, offset=1_000), is_a(errors.OffsetOutOfRangeError), "OffsetOutOfRangeError")


SCENARIOS = {
    "create-topic": create_topic,
    "describe-topic": describe_topic,
    "list-topics": list_topics,
    "describe-cluster": describe_cluster,
    "produce-none": lambda: filled("none", 200, compression_type=None),
    "produce-gzip": lambda: filled("gzip", 200, compression_type="gzip"),
    "produce-snappy": lambda: filled("snappy", 200, compression_type="snappy"),
    "produce-lz4": lambda: filled("lz4", 200, compression_type="lz4"),
    "produce-zstd": lambda: filled("zstd", 200, compression_type="zstd"),
    "acks-0": lambda: filled("acks0", 200, acks=0, enable_idempotence=False),
    "acks-1": lambda: filled("acks1", 200, acks=1, enable_idempotence=False),
    "acks-all": lambda: filled("acksall", 200, acks="all", enable_idempotence=False),
    "idempotent": lambda: filled("idempotent", 5_000, enable_idempotence=True, batch_size=2_000, linger_ms=0),
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
    harness.main(SCENARIOS | kafka_python_groups.SCENARIOS, kafka_python_groups.LEFT_OUT)
