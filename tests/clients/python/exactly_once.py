"""What a reader of committed records must find in a topic, and readers that look.

A book is told each record in the order of its partition and raises at the first that does not belong there. `has(count)`
says whether all that follows from the numbers below `count` is there, `settle(count)` that it is there and nothing else.
"""

import threading
import time

from confluent_kafka import Consumer, IsolationLevel, KafkaError, TopicPartition
from confluent_kafka.admin import AdminClient, OffsetSpec

WORDS = 17
MARKERS_S_MAX = 10


class Copies:
    """The numbers themselves, each in the partition it was first written to, in order."""

    def __init__(self, topic, partitions):
        self.topic, self.partitions = topic, partitions
        self.next = list(range(partitions))

    def note(self, partition, _key, value):
        if int(value) != self.next[partition]:
            raise AssertionError(f"expected {self.next[partition]} and found {value}")
        self.next[partition] += self.partitions

    def has(self, count):
        return all(number >= count for number in self.next)

    def settle(self, count):
        for partition, number in enumerate(self.next):
            if not count <= number < count + self.partitions:
                raise AssertionError(f"{self.topic}, partition {partition}: {number} is next of {count}")


class Counts:
    """How often each word was seen so far: 1, 2, 3 and so on."""

    def __init__(self, topic, partitions):
        self.topic, self.partitions = topic, partitions
        self.counts = [0] * WORDS

    def note(self, _partition, key, value):
        word = int(key.removeprefix("w"))
        if int(value) != self.counts[word] + 1:
            raise AssertionError(f"expected {self.counts[word] + 1} of {key} and found {value}")
        self.counts[word] += 1

    def has(self, count):
        return all(found >= len(range(word, count, WORDS)) for word, found in enumerate(self.counts))

    def settle(self, count):
        expected = [len(range(word, count, WORDS)) for word in range(WORDS)]
        if self.counts != expected:
            raise AssertionError(f"{self.topic}: expected {expected} and found {self.counts}")


class Pairs:
    """Each number joined with itself, once."""

    def __init__(self, topic, partitions):
        self.topic, self.partitions = topic, partitions
        self.seen = set()

    def note(self, _partition, key, value):
        if value != f"{key}={key}":
            raise AssertionError(f"{key} was joined to {value}")
        if int(key) in self.seen:
            raise AssertionError(f"{value} a second time")
        self.seen.add(int(key))

    def has(self, count):
        return self.seen.issuperset(range(count))

    def settle(self, count):
        if self.seen != set(range(count)):
            amiss = sorted(self.seen ^ set(range(count)))
            raise AssertionError(f"{self.topic}: {len(amiss)} pairs are missing or too many: {amiss[:5]}...")


def reader(address, topic, partitions, isolation):
    consumer = Consumer({
        "bootstrap.servers": address, "group.id": "none", "enable.auto.commit": False, "isolation.level": isolation,
        "enable.partition.eof": True, "reconnect.backoff.max.ms": 500, "log_level": 0,
    })
    consumer.assign([TopicPartition(topic, partition, 0) for partition in range(partitions)])
    return consumer


def note(book, message):
    try:
        book.note(message.partition(), message.key().decode(), message.value().decode())
    except AssertionError as error:
        place = f"{message.topic()}, partition {message.partition()}, offset {message.offset()}"
        raise AssertionError(f"{place}: {error}") from None


class Follower(threading.Thread):
    """Reads what is committed as it comes."""

    def __init__(self, address, book):
        super().__init__(daemon=True)
        self.consumer = reader(address, book.topic, book.partitions, "read_committed")
        self.book, self.failure = book, None
        self.stopping = threading.Event()
        self.lock = threading.Lock()

    def run(self):
        while not self.stopping.is_set() and not self.failure:
            messages = self.consumer.consume(500, timeout=0.2)
            with self.lock:
                self.take([message for message in messages if not message.error()])
        self.consumer.close()

    def take(self, messages):
        try:
            for message in messages:
                note(self.book, message)
        except AssertionError as error:  # kept for the one who asks
            self.failure = str(error)

    def has(self, count):
        if self.failure:
            raise AssertionError(self.failure)
        with self.lock:
            return self.book.has(count)

    def finish(self, count):
        self.stopping.set()
        self.join()
        if self.failure:
            raise AssertionError(self.failure)
        self.book.settle(count)


def read_to_end(address, topic, partitions, isolation):
    """All records of a topic, in the order of their partitions."""
    consumer, left, found = reader(address, topic, partitions, isolation), set(range(partitions)), []
    deadline = time.monotonic() + 30
    while left:
        for message in consumer.consume(1000, timeout=0.2):
            if not message.error():
                found.append(message)
            elif message.error().code() == KafkaError._PARTITION_EOF:
                left.discard(message.partition())
        if time.monotonic() > deadline:
            raise AssertionError(f"the end of {topic} was not reached ({isolation}), partitions {sorted(left)}")
    consumer.close()
    return found


def ends(address, topic, partitions, isolation=IsolationLevel.READ_UNCOMMITTED):
    asked = {TopicPartition(topic, partition): OffsetSpec.latest() for partition in range(partitions)}
    admin = AdminClient({"bootstrap.servers": address, "log_level": 0})
    answers = admin.list_offsets(asked, isolation_level=isolation, request_timeout=10)
    return [answers[one].result(10).offset for one in asked]


def check_none_open(address, topic, partitions):
    """No transaction is left open: what is committed reaches to the end."""
    deadline = time.monotonic() + MARKERS_S_MAX
    while True:
        stable = ends(address, topic, partitions, IsolationLevel.READ_COMMITTED)
        last = ends(address, topic, partitions)
        if stable == last:
            return
        if time.monotonic() > deadline:
            raise AssertionError(f"{topic}: a transaction stays open, stable up to {stable} of {last}")
        time.sleep(0.2)
