"""Consumer groups under fire: members of real clients come and go while the broker is killed and started again.

A producer writes numbered records all the time. After each blow everything that was acknowledged must reach some member
again, and committed offsets must never go back. At the end every record was read and every partition is committed to its
end.
"""

import argparse
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

from confluent_kafka import OFFSET_INVALID, ConsumerGroupTopicPartitions, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

HERE = Path(__file__).resolve().parent.parent
ROOT = HERE.parent.parent
TARGET = Path(os.environ["CLIENTS_TARGET"])
BINARY = os.environ.get("OTTLA_BIN", ROOT / "target/release/ottla")

PARTITIONS = 6
MEMBERS = 3
RECORDS_PER_S = 300
CATCH_UP_S_MAX = 60
STOP_S_MAX = 30
LOOK_S = 1
SETTINGS = {
    "group.initial.rebalance.delay.ms": 0,
    "group.consumer.min.session.timeout.ms": 6000,
    "group.consumer.session.timeout.ms": 6000,
    "group.consumer.min.heartbeat.interval.ms": 500,
    "group.consumer.heartbeat.interval.ms": 1000,
}

PYTHON = [TARGET / "python/bin/python"]
JAVA = ["java", "-Xmx128m", "-cp", f"{TARGET}/java/classes:{TARGET}/java/libs/*", "Member"]
# name: what its members are called with (before BOOTSTRAP GROUP TOPIC), its protocol, the folder with `install`, its needs
CLIENTS = {
    "java-classic": (JAVA, "classic", "java", ["java", "javac", "mvn"]),
    "java-consumer": (JAVA, "consumer", "java", ["java", "javac", "mvn"]),
    "librdkafka-classic": ([*PYTHON, HERE / "python/member_confluent.py"], "classic", "python", []),
    "librdkafka-consumer": ([*PYTHON, HERE / "python/member_confluent.py"], "consumer", "python", []),
    "franz-go": ([TARGET / "go/clients-go", "member"], "classic", "go", ["go"]),
    "kafkajs": (["node", HERE / "node/member.js"], "classic", "node", ["node", "npm"]),
    "aiokafka": ([*PYTHON, HERE / "python/member_aiokafka.py"], "classic", "python", []),
}


class Broker:
    """The binary in a directory of its own, always on the same port."""

    def __init__(self, folder, log):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.address = f"127.0.0.1:{free.getsockname()[1]}"
        self.log = log
        self.command = [BINARY, "start", "--data", folder / "data", "--listen", self.address]
        for name, value in SETTINGS.items():
            self.command += ["--set", f"{name}={value}"]
        self.process = None

    def start(self):
        self.process = subprocess.Popen(self.command, stdout=self.log, stderr=self.log, stdin=subprocess.DEVNULL)
        host, port = self.address.split(":")
        deadline = time.monotonic() + 30
        while True:
            with socket.socket() as probe:
                if probe.connect_ex((host, int(port))) == 0:
                    return
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise AssertionError(f"the broker does not start, exit code {self.process.returncode}")
            time.sleep(0.02)

    def kill(self):
        self.process.kill()
        self.process.wait()

    def stop(self):
        self.process.terminate()
        code = self.process.wait(STOP_S_MAX)
        if code != 0:
            raise AssertionError(f"the broker ended with {code}")


class Ledger:
    """What was acknowledged, and what members say they have read."""

    def __init__(self):
        self.lock = threading.Lock()
        self.acknowledged = set()
        self.read = {}
        self.repeats = 0

    def acknowledge(self, value):
        with self.lock:
            self.acknowledged.add(value)

    def note(self, partition, offset, value):
        with self.lock:
            place = (partition, offset)
            if value in self.read:
                self.repeats += 1
                if self.read[value] != place:
                    raise AssertionError(f"value {value} was read at {self.read[value]} and at {place}")
            self.read[value] = place

    def missing(self):
        with self.lock:
            return self.acknowledged - self.read.keys()


class Stream(threading.Thread):
    """Writes numbered records until it is told to stop."""

    def __init__(self, address, topic, ledger):
        super().__init__(daemon=True)
        self.producer = Producer({
            "bootstrap.servers": address, "enable.idempotence": True, "delivery.timeout.ms": 120_000,
            "reconnect.backoff.max.ms": 500, "linger.ms": 5, "log_level": 0,
        })
        self.topic, self.ledger = topic, ledger
        self.stopping = threading.Event()
        self.failure = None

    def run(self):
        number = 0
        while not self.stopping.wait(1 / 50):
            for _ in range(RECORDS_PER_S // 50):
                self.producer.produce(
                    self.topic, str(number).encode(), partition=number % PARTITIONS,
                    on_delivery=lambda error, message, value=number: self.delivered(error, value))
                number += 1
            self.producer.poll(0)
        if self.producer.flush(60) > 0:
            self.failure = "records were never acknowledged"

    def delivered(self, error, value):
        if error:
            self.failure = str(error)
        else:
            self.ledger.acknowledge(value)

    def finish(self):
        self.stopping.set()
        self.join()
        if self.failure:
            raise AssertionError(f"the producer failed: {self.failure}")


class Member:
    """A process that is a member of the group, and what it prints."""

    def __init__(self, command, log, ledger):
        self.process = subprocess.Popen(
            [str(part) for part in command], stdout=subprocess.PIPE, stderr=log, stdin=subprocess.DEVNULL, text=True,
            env={**os.environ, "NODE_PATH": str(TARGET / "node/node_modules"), "PYTHONUNBUFFERED": "1"})
        self.ledger, self.failure = ledger, None
        self.reader = threading.Thread(target=self.read, daemon=True)
        self.reader.start()

    def read(self):
        for line in self.process.stdout:
            try:
                partition, offset, value = line.split()
                self.ledger.note(int(partition), int(offset), int(value))
            except Exception as error:  # kept for the one who asks
                self.failure = f"{error} ({line.strip()})"

    def check(self):
        if self.failure:
            raise AssertionError(self.failure)
        if self.process.poll() is not None:
            raise AssertionError(f"a member ended by itself with {self.process.returncode}")

    def kill(self):
        self.process.kill()
        self.process.wait()
        self.reader.join()

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        code = self.process.wait(STOP_S_MAX)
        self.reader.join()
        if code != 0:
            raise AssertionError(f"a member ended with {code} when it was told to stop")


class Committed:
    """The committed offsets of the group as an administrator sees them. They never go back."""

    def __init__(self, address, group, topic):
        self.address, self.group, self.topic = address, group, topic
        self.highest = [OFFSET_INVALID] * PARTITIONS
        self.looked_at = 0.0

    def look(self):
        if time.monotonic() < self.looked_at + LOOK_S:
            return self.highest
        self.looked_at = time.monotonic()
        partitions = [TopicPartition(self.topic, partition) for partition in range(PARTITIONS)]
        asked = ConsumerGroupTopicPartitions(self.group, partitions)
        # A new one each time: librdkafka's administrator does not outlive its broker.
        admin = AdminClient({"bootstrap.servers": self.address, "log_level": 0})
        try:
            found = admin.list_consumer_group_offsets([asked], request_timeout=5)[self.group].result(10)
        except KafkaException:
            return self.highest  # the coordinator is being loaded
        for one in found.topic_partitions:
            if one.offset < self.highest[one.partition]:
                raise AssertionError(
                    f"partition {one.partition}: committed {self.highest[one.partition]} before and {one.offset} now")
            self.highest[one.partition] = one.offset
        return self.highest


class Scene:
    """One client, one group, one topic, one broker."""

    def __init__(self, name, folder, log, seed):
        self.name, self.log = name, log
        self.random = random.Random(seed)
        self.broker = Broker(folder, log)
        self.broker.start()
        self.group, self.topic = f"group-{name}", f"topic-{name}"
        admin = AdminClient({"bootstrap.servers": self.broker.address, "log_level": 0})
        admin.create_topics([NewTopic(self.topic, PARTITIONS, 1)])[self.topic].result(10)
        self.ledger = Ledger()
        self.stream = Stream(self.broker.address, self.topic, self.ledger)
        self.committed = Committed(self.broker.address, self.group, self.topic)
        self.members = []
        self.slowest = 0.0

    def play(self):
        for _ in range(MEMBERS):
            self.join()
        self.stream.start()
        self.catch_up("the start")
        blows = [self.replace_killed, self.restart_broker, self.replace_stopped, self.kill_both, self.grow, self.shrink]
        for blow in blows:
            blow()
            self.catch_up(blow.__doc__)
        self.stream.finish()
        self.catch_up("the last record")
        self.check_committed()
        for member in self.members:
            member.stop()
        self.broker.stop()

    def join(self):
        command, protocol, _, _ = CLIENTS[self.name]
        self.members.append(
            Member([*command, self.broker.address, self.group, self.topic, protocol], self.log, self.ledger))

    def pick(self):
        return self.members.pop(self.random.randrange(len(self.members)))

    def replace_killed(self):
        """a member killed and another started"""
        self.pick().kill()
        self.join()

    def restart_broker(self):
        """the broker killed and started again"""
        self.broker.kill()
        time.sleep(self.random.uniform(0, 1))
        self.broker.start()

    def replace_stopped(self):
        """a member that left and another that came"""
        self.pick().stop()
        self.join()

    def kill_both(self):
        """a member and the broker killed at once"""
        victim = self.pick()
        self.broker.kill()
        victim.kill()
        self.broker.start()
        self.join()

    def grow(self):
        """two members more"""
        self.join()
        self.join()

    def shrink(self):
        """three members fewer"""
        self.pick().stop()
        self.pick().kill()
        self.pick().stop()

    def catch_up(self, since):
        """Waits until members have read all that has been acknowledged up to now, and one second more of it."""
        time.sleep(1)
        with self.ledger.lock:
            goal = set(self.ledger.acknowledged)
        started = time.monotonic()
        while missing := goal & self.ledger.missing():
            waited = time.monotonic() - started
            if waited > CATCH_UP_S_MAX:
                some = sorted(missing)[:5]
                raise AssertionError(f"{len(missing)} records were not read {waited:.0f} s after {since}: {some}...")
            for member in self.members:
                member.check()
            self.committed.look()
            time.sleep(0.1)
        self.slowest = max(self.slowest, time.monotonic() - started)

    def check_committed(self):
        ends = [0] * PARTITIONS
        for partition, offset in self.ledger.read.values():
            ends[partition] = max(ends[partition], offset + 1)
        deadline = time.monotonic() + CATCH_UP_S_MAX
        while self.committed.look() != ends:
            if time.monotonic() > deadline:
                raise AssertionError(f"committed {self.committed.highest}, and the ends are {ends}")
            time.sleep(0.2)

    def end(self):
        for member in self.members:
            member.process.kill()
        self.broker.process.kill()


def outcome(name, seed):
    """How one client fared: whether it is well, and a line about it."""
    _, _, folder, needs = CLIENTS[name]
    lacking = [need for need in needs if not shutil.which(need)]
    if lacking:
        return os.environ.get("CI") != "true", f"skipped {name}: no {', '.join(lacking)}"
    path = TARGET / f"group-{name}.log"
    with open(path, "wb") as log:
        installed = subprocess.run([HERE / folder / "install"], stdout=log, stderr=log, check=False)
        if installed.returncode != 0:
            return False, f"FAILED {name}: it could not be installed, see {path}"
        folder = Path(tempfile.mkdtemp(prefix="ottla-groups-"))
        scene, started = None, time.monotonic()
        try:
            scene = Scene(name, folder, log, seed)
            scene.play()
            ledger = scene.ledger
            return True, (f"ok {name}: {len(ledger.acknowledged)} records, {ledger.repeats} read again, "
                          f"back within {scene.slowest:.1f} s, {time.monotonic() - started:.0f} s in all")
        except Exception as error:  # every client is tried
            return False, f"FAILED {name} (seed {seed}): {error}, see {path}"
        finally:
            if scene:
                scene.end()
            shutil.rmtree(folder, ignore_errors=True)


def main():
    parser = argparse.ArgumentParser(prog="tests/clients/groups", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"any of {', '.join(CLIENTS)}")
    parser.add_argument("--seed", type=int, default=1, help="which member is hit, and how long the broker is away")
    arguments = parser.parse_args()
    unknown = [name for name in arguments.names if name not in CLIENTS]
    if unknown:
        parser.error(f"unknown: {', '.join(unknown)}")
    outcomes = []
    for name in arguments.names or CLIENTS:
        well, line = outcome(name, arguments.seed)
        outcomes.append(well)
        print(line, flush=True)
    print(f"{outcomes.count(True)} passed, {outcomes.count(False)} failed")
    sys.exit(0 if all(outcomes) else 1)


if __name__ == "__main__":
    main()
