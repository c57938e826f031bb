"""A member of a group with librdkafka: `member_confluent.py BOOTSTRAP GROUP TOPIC classic|consumer`.

Prints `PARTITION OFFSET VALUE` for each record, then commits. SIGTERM makes it leave.
"""

import signal
import sys

from confluent_kafka import Consumer, KafkaException

bootstrap, group, topic, protocol = sys.argv[1:]
stopping = False


def stop(_signal, _frame):
    global stopping
    stopping = True


signal.signal(signal.SIGTERM, stop)
settings = {
    "bootstrap.servers": bootstrap, "group.id": group, "group.protocol": protocol, "auto.offset.reset": "earliest",
    "enable.auto.commit": False, "reconnect.backoff.max.ms": 500, "topic.metadata.refresh.interval.ms": 2000,
}
if protocol == "classic":
    settings |= {
        "session.timeout.ms": 6000, "heartbeat.interval.ms": 1000,
        "partition.assignment.strategy": "cooperative-sticky",
    }
consumer = Consumer(settings)
consumer.subscribe([topic])
while not stopping:
    messages = consumer.consume(500, timeout=0.2)
    good = [message for message in messages if not message.error()]
    for message in good:
        print(message.partition(), message.offset(), message.value().decode())
    sys.stdout.flush()
    if good:
        try:
            consumer.commit(asynchronous=False)
        except KafkaException as error:  # the broker is away, or the partition is another's now: it is read again
            print(error, file=sys.stderr)
consumer.close()
