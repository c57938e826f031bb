"""kafka-python: one admin client for all scenarios, fresh producers and consumers for each."""

import sys
import time

from kafka import KafkaConsumer, KafkaProducer, TopicPartition
from kafka.admin import KafkaAdminClient

import harness
from harness import READ_S_MAX, same, settle, value

BOOTSTRAP = sys.argv[1]

admin = KafkaAdminClient(bootstrap_servers=BOOTSTRAP, request_timeout_ms=10_000)


def name(scenario):
    return harness.name("kafka-python", scenario)


def topic(scenario, partitions=1, **configs):
    created = name(scenario)
    create(created, partitions, configs)
    return created


def create(created, partitions, configs):
    admin.create_topics({created: {"num_partitions": partitions, "replication_factor": 1, "configs": configs}})
    settle()


def send(records, **settings):
    """Sends keyword arguments of `send` and returns what the broker told of each, in order."""
    client = KafkaProducer(bootstrap_servers=BOOTSTRAP, delivery_timeout_ms=20_000, request_timeout_ms=10_000, **settings)
    try:
        futures = [client.send(**record) for record in records]
        client.flush(timeout=30)
        return [future.get(timeout=20) for future in futures]
    finally:
        client.close()


def fill(where, partitions, count, **settings):
    records = [{"topic": where, "partition": i % partitions, "value": value(i)} for i in range(count)]
    return send(records, **{"linger_ms": 5, **settings})


def consumer(where, partitions):
    client = KafkaConsumer(bootstrap_servers=BOOTSTRAP, auto_offset_reset="none", request_timeout_ms=15_000)
    client.assign([TopicPartition(where, p) for p in range(partitions)])
    return client


def member(where, group, **settings):
    """A member of a group. What it has not committed it reads again."""
    settled = {"auto_offset_reset": "earliest", "enable_auto_commit": False, "heartbeat_interval_ms": 100}
    return KafkaConsumer(where, bootstrap_servers=BOOTSTRAP, group_id=group, **{**settled, **settings})


def read(client, count):
    """Reads until `count` records came, and then a little longer for any too many."""
    records = []
    deadline = time.monotonic() + READ_S_MAX
    while len(records) < count and time.monotonic() < deadline:
        records += polled(client, 500)
    records += polled(client, 200)
    same(count, len(records), "records read")
    return records


def polled(client, timeout_ms):
    return [record for records in client.poll(timeout_ms=timeout_ms).values() for record in records]


def read_from(where, count, partitions=1, offset=None):
    client = consumer(where, partitions)
    try:
        if offset is None:
            client.seek_to_beginning()
        else:
            client.seek(TopicPartition(where, 0), offset)
        return read(client, count)
    finally:
        client.close()


def is_a(error_type):
    return lambda error: isinstance(error, error_type)
