"""Copies a topic to another exactly once with librdkafka.

    transform_confluent.py BOOTSTRAP GROUP IN OUT TRANSACTIONAL_ID classic|consumer

Each record goes to the partition with the number of its own. Prints `committed COUNT` or `aborted COUNT` for each
transaction; some are aborted on purpose. SIGTERM makes it leave after its transaction. Ends with 3 when its producer is
of no more use, as another with its transactional id has come.
"""

import signal
import sys
import time

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaException, Producer, TopicPartition

bootstrap, group, source, out, transactional_id, protocol = sys.argv[1:]
FENCED = 3
OPEN_S = 0.04  # time for a blow to fall within a transaction
ABORT_EVERY = 7
stopping = False
reassigned = False


def stop(_signal, _frame):
    global stopping
    stopping = True


def note_reassigned(_consumer, _partitions):
    global reassigned
    reassigned = True


def persist(call, *arguments):
    """Calls until the outcome is known: an error that says it may be tried again is no outcome."""
    while True:
        try:
            return call(*arguments)
        except KafkaException as error:
            if not error.args[0].retriable():
                raise
            print(f"again: {error}", file=sys.stderr)
            time.sleep(0.1)


def consume():
    """Some records of partitions that are still ours, maybe none."""
    global reassigned
    reassigned = False
    messages = [message for message in consumer.consume(200, timeout=0.2) if not message.error()]
    if reassigned and messages:
        rewind()
        return []
    return messages


def rewind():
    """Reads again what was not committed."""
    while True:
        assigned = consumer.assignment()
        try:
            for one in consumer.committed(assigned, timeout=5) if assigned else []:
                if one.error:
                    raise KafkaException(one.error)
                offset = one.offset if one.offset >= 0 else OFFSET_BEGINNING
                consumer.seek(TopicPartition(one.topic, one.partition, offset))
            return
        except KafkaException as error:
            print(f"rewind: {error}", file=sys.stderr)
            time.sleep(0.1)


def copy(messages, commits):
    """One transaction, up to its end; whether it is to be committed."""
    producer.begin_transaction()
    for message in messages:
        producer.produce(out, message.value(), message.key(), partition=message.partition())
    producer.flush()
    time.sleep(OPEN_S)
    following = {}
    for message in messages:
        following[message.partition()] = TopicPartition(source, message.partition(), message.offset() + 1)
    persist(producer.send_offsets_to_transaction, list(following.values()), consumer.consumer_group_metadata())
    if commits:
        persist(producer.commit_transaction)


def turn(messages, commits):
    try:
        copy(messages, commits)
    except KafkaException as error:
        print(error, file=sys.stderr)
        if not error.args[0].txn_requires_abort():
            raise
        commits = False
    if not commits:
        persist(producer.abort_transaction)
        rewind()
    print("committed" if commits else "aborted", len(messages), flush=True)


def run():
    persist(producer.init_transactions)
    consumer.subscribe([source], on_assign=note_reassigned, on_revoke=note_reassigned, on_lost=note_reassigned)
    turns = 0
    while not stopping:
        if messages := consume():
            turns += 1
            turn(messages, turns % ABORT_EVERY != 0)


signal.signal(signal.SIGTERM, stop)
common = {
    "bootstrap.servers": bootstrap, "reconnect.backoff.max.ms": 500, "topic.metadata.refresh.interval.ms": 2000,
    # With `rebootstrap` it waits forever for a coordinator that was away: librdkafka issue 5511.
    "metadata.recovery.strategy": "none",
}
settings = {
    **common, "group.id": group, "group.protocol": protocol, "auto.offset.reset": "earliest", "enable.auto.commit": False,
    "isolation.level": "read_committed",
}
if protocol == "classic":
    settings |= {
        "session.timeout.ms": 6000, "heartbeat.interval.ms": 1000,
        "partition.assignment.strategy": "cooperative-sticky",
    }
consumer = Consumer(settings)
producer = Producer({**common, "transactional.id": transactional_id, "transaction.timeout.ms": 10_000, "linger.ms": 0})
try:
    run()
except KafkaException as error:
    print(f"the end: {error}", file=sys.stderr)
    sys.exit(FENCED)
finally:
    consumer.close()
