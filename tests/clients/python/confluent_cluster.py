"""confluent-kafka: one admin client for all scenarios, fresh producers and consumers for each."""

import sys
import time

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

import harness
from harness import READ_S_MAX, same, settle, value

BOOTSTRAP = sys.argv[1]
COMMON = {"bootstrap.servers": BOOTSTRAP, "socket.timeout.ms": 10_000}
# The client asks for a group's coordinator because it must be given a group; reading by assignment needs none.
COORDINATOR_ERRORS = (KafkaError._UNSUPPORTED_FEATURE, KafkaError.COORDINATOR_NOT_AVAILABLE, KafkaError.NOT_COORDINATOR)

admin = AdminClient(COMMON)


def name(scenario):
    return harness.name("confluent", scenario)


def wait(futures):
    """The result of the only future in an answer of the admin client."""
    (future,) = futures.values()
    return future.result(timeout=20)


def topic(scenario, partitions=1, **configs):
    created = name(scenario)
    wait(admin.create_topics([NewTopic(created, partitions, 1, config=configs)]))
    settle()
    return created


def producer(**settings):
    renamed = {key.replace("_", "."): setting for key, setting in settings.items()}
    return Producer({**COMMON, "delivery.timeout.ms": 20_000, "request.timeout.ms": 10_000, "linger.ms": 5, **renamed})


def send(client, records):
    """Sends keyword arguments of `produce` and returns the delivered messages in order."""
    delivered = []
    for record in records:
        client.produce(**record, on_delivery=lambda error, message: delivered.append((error, message)))
        client.poll(0)
    same(0, client.flush(30), "records not delivered")
    for error, _ in delivered:
        if error:
            raise KafkaException(error)
    return [message for _, message in delivered]


def fill(where, partitions, count, **settings):
    send(producer(**settings), [{"topic": where, "partition": i % partitions, "value": value(i)} for i in range(count)])


def consumer(assignment):
    client = Consumer({**COMMON, "group.id": "never-used", "enable.auto.commit": False, "auto.offset.reset": "error"})
    client.assign(assignment)
    return client


def member(group, **settings):
    """A member-to-be of a group. What it has not committed it reads again."""
    renamed = {key.replace("_", "."): setting for key, setting in settings.items()}
    if renamed.get("group.protocol") != "consumer":
        renamed |= {"session.timeout.ms": 6_000, "heartbeat.interval.ms": 100}
    settled = {"group.id": group, "auto.offset.reset": "earliest", "enable.auto.commit": False}
    return Consumer({**COMMON, **settled, **renamed})


def read(client, count):
    """Reads until `count` messages came, and then a little longer for any too many."""
    messages = []
    deadline = time.monotonic() + READ_S_MAX
    while len(messages) < count and time.monotonic() < deadline:
        messages += without_errors(client.consume(1_000, 0.2))
    messages += without_errors(client.consume(10, 0.2))
    same(count, len(messages), "records read")
    return messages


def without_errors(messages):
    for message in messages:
        if message.error() and message.error().code() not in COORDINATOR_ERRORS:
            raise KafkaException(message.error())
    return [message for message in messages if not message.error()]


def read_from(where, count, partitions=1, offset=OFFSET_BEGINNING):
    client = consumer([TopicPartition(where, p, offset) for p in range(partitions)])
    try:
        return read(client, count)
    finally:
        client.close()


def is_error(code):
    return lambda error: isinstance(error, KafkaException) and error.args[0].code() == code
