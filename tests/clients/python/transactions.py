"""Exactly once under fire: applications of real clients in transactions, while they and the broker are killed.

A producer writes numbered records all the time. Applications of a client copy them in transactions, some of which they
abort, and one more copies the copies; every record must be read exactly once and in order. Applications of Kafka Streams
count words and join two topics; every count and every pair must be read exactly once. Readers of what is committed read
along, and once more at the end.
"""

import random
import signal
import time

from exactly_once import Copies, Counts, Follower, Pairs, check_none_open, ends, note, read_to_end
from fire import (
    GO, HERE, JAVA, JAVA_NEEDS, PYTHON, ROOT, SETTINGS, Client, Committed, Program, Stream, create_topics, run)

CATCH_UP_S_MAX = 60
PAUSE_S = 12  # longer than a session and a transaction may take
FENCED = 3  # how a program ends that was told its producer is of no more use
COPIERS = 3
TRANSFORM_CONFLUENT = [*PYTHON, HERE / "python/transform_confluent.py"]
OURS = [ROOT / "target/debug/examples/transform"]


class Copying(Client):
    """A client whose applications copy topics: what they are called with, and the protocol of their groups."""

    group, apps, partitions, per_s, topics = "copiers", COPIERS + 1, 6, 300, ["in"]

    def __init__(self, command, protocol, folder, needs):
        super().__init__(folder, needs)
        self.command, self.protocol = command, protocol

    def app(self, number, address, _folder):
        where = [self.group, "in", "copied"] if number < COPIERS else ["copiers-of-copies", "copied", "out"]
        return [*self.command, address, *where, f"copier-{number}", self.protocol]

    def books(self):
        return [Copies("copied", self.partitions), Copies("out", self.partitions)]

    def blows(self, scene):
        return [scene.usurp]

    def told(self, scene):
        committed, aborted, fenced = (
            sum(getattr(app, what) for app in scene.apps) for what in ("committed", "aborted", "fenced"))
        if aborted == 0:
            raise AssertionError("no transaction was aborted")
        return (f"{scene.stream.numbers} records copied twice, {scene.uncommitted} copies with what was aborted; "
                f"{committed} transactions committed, {aborted} aborted, {fenced} applications fenced; "
                f"back within {scene.slowest:.1f} s")


class Streams(Client):
    """Applications of Kafka Streams."""

    group, apps, partitions, per_s, topics = "streaming", 2, 3, 150, ["left", "right"]

    def app(self, number, address, folder):
        return [*JAVA, "Streaming", address, self.group, folder / f"state-{number}"]

    def books(self):
        return [Counts("counts", self.partitions), Pairs("joined", self.partitions)]

    def blows(self, scene):
        return [scene.kill_app]

    def told(self, scene):
        return (f"{scene.stream.numbers} records counted and joined, {scene.uncommitted} results with what was aborted; "
                f"back within {scene.slowest:.1f} s")


CLIENTS = {
    "java-classic": Copying([*JAVA, "Transform"], "classic", "java", JAVA_NEEDS),
    "java-consumer": Copying([*JAVA, "Transform"], "consumer", "java", JAVA_NEEDS),
    "librdkafka-classic": Copying(TRANSFORM_CONFLUENT, "classic", "python", []),
    "librdkafka-consumer": Copying(TRANSFORM_CONFLUENT, "consumer", "python", []),
    "franz-go": Copying([*GO, "transform"], "classic", "go", ["go"]),
    "ours-classic": Copying(OURS, "classic", "ours", ["cargo"]),
    "ours-consumer": Copying(OURS, "consumer", "ours", ["cargo"]),
    "streams": Streams("java", JAVA_NEEDS),
}


class App:
    """An application that is started again when it is killed, or finds that its producer is of no more use."""

    def __init__(self, command, log):
        self.command, self.log = command, log
        self.committed, self.aborted, self.fenced = 0, 0, 0
        self.start()

    def start(self):
        self.program = Program(self.command, self.log, self.take)

    def take(self, line):
        match line.split():
            case ["committed", _]:
                self.committed += 1
            case ["aborted", _]:
                self.aborted += 1
            case _:
                raise AssertionError("what is this?")

    def tend(self):
        if self.program.process.poll() == FENCED:
            self.fenced += 1
            self.start()
        self.program.check()

    def kill(self):
        self.program.kill()
        self.start()

    def stop(self):
        self.tend()
        self.program.stop()


class Scene:
    """One client, its applications, one broker."""

    def __init__(self, name, folder, log, broker, seed):
        self.client, self.folder, self.log = CLIENTS[name], folder, log
        self.random = random.Random(seed)
        self.broker = broker(folder, log, SETTINGS)
        address, client = self.broker.address, self.client
        self.stream = Stream(address, client.topics, client.partitions, client.per_s, lambda _topic, _number: None)
        self.committed = [Committed(address, client.group, topic, client.partitions) for topic in client.topics]
        self.followers = [Follower(address, book) for book in client.books()]
        self.apps = []
        self.slowest = 0.0
        self.uncommitted = 0

    def play(self):
        client = self.client
        self.broker.start()
        create_topics(self.broker.address, client.topics + [book.topic for book in client.books()], client.partitions)
        self.apps = [App(client.app(number, self.broker.address, self.folder), self.log) for number in range(client.apps)]
        for follower in self.followers:
            follower.start()
        self.stream.start()
        self.catch_up("the start")
        for blow in [self.kill_app, self.restart_broker, self.kill_both, self.pause, *client.blows(self), self.burst]:
            self.tell(f"{blow.__doc__}, at {self.stream.numbers}")
            blow()
            self.catch_up(blow.__doc__)
        self.stream.finish()
        self.catch_up("the last record")
        self.check_end()
        self.broker.stop()

    def kill_app(self):
        """an application killed and started again"""
        self.random.choice(self.apps).kill()

    def restart_broker(self):
        """the broker killed and started again"""
        self.broker.kill()
        time.sleep(self.random.uniform(0, 1))
        self.broker.start()

    def kill_both(self):
        """an application and the broker killed at once"""
        self.broker.kill()
        self.random.choice(self.apps).kill()
        self.broker.start()

    def pause(self):
        """an application that slept longer than its session and its transaction last"""
        process = self.random.choice(self.apps).program.process
        process.send_signal(signal.SIGSTOP)
        time.sleep(PAUSE_S)
        process.send_signal(signal.SIGCONT)

    def usurp(self):
        """a second application with the transactional id of a first"""
        app = self.random.choice(self.apps)
        first = app.program.process
        app.start()
        try:
            code = first.wait(CATCH_UP_S_MAX)
        finally:
            first.kill()
        if code != FENCED:
            raise AssertionError(f"an application whose transactional id was taken over ended with {code}")

    def burst(self):
        """the broker killed three times"""
        for _ in range(3):
            self.restart_broker()
            time.sleep(self.random.uniform(0, 1))

    def tell(self, text):
        """Into the log, among what the programs write there."""
        self.log.write(f"{time.strftime('%H:%M:%S')} {text}\n".encode())

    def catch_up(self, since):
        """Waits until all that was written up to now is through, and one second more of it."""
        time.sleep(1)
        count, started = self.stream.numbers, time.monotonic()
        while not all(follower.has(count) for follower in self.followers):
            waited = time.monotonic() - started
            if waited > CATCH_UP_S_MAX:
                raise AssertionError(f"not all of {count} numbers are through {waited:.0f} s after {since}")
            for app in self.apps:
                app.tend()
            for committed in self.committed:
                committed.look()
            time.sleep(0.1)
        self.slowest = max(self.slowest, time.monotonic() - started)

    def check_end(self):
        address, partitions = self.broker.address, self.client.partitions
        for committed in self.committed:
            committed.wait_for(ends(address, committed.topic, partitions), CATCH_UP_S_MAX)
        for app in self.apps:
            app.stop()
        for follower in self.followers:
            follower.finish(self.stream.numbers)
        for book in self.client.books():
            check_none_open(address, book.topic, partitions)
            for message in read_to_end(address, book.topic, partitions, "read_committed"):
                note(book, message)
            book.settle(self.stream.numbers)
            self.uncommitted += len(read_to_end(address, book.topic, partitions, "read_uncommitted"))

    def end(self):
        for app in self.apps:
            app.program.process.kill()
        self.broker.kill()


def play(name, folder, log, broker, seed):
    scene = Scene(name, folder, log, broker, seed)
    try:
        scene.play()
    finally:
        scene.end()
    return scene.client.told(scene)


if __name__ == "__main__":
    run("transactions", __doc__, CLIENTS, play)
