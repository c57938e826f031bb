"""What the tests under fire share: a broker that is killed and started again, a producer that writes numbered records,
programs written with real clients, and the way a test is told and counted.
"""

import argparse
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

from confluent_kafka import OFFSET_INVALID, Consumer, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

HERE = Path(__file__).resolve().parent.parent
ROOT = HERE.parent.parent
TARGET = Path(os.environ["CLIENTS_TARGET"])
BINARY = os.environ.get("OTTLA_BIN", ROOT / "target/release/ottla")

PYTHON = [TARGET / "python/bin/python"]
JAVA = ["java", "-Xmx128m", "-XX:TieredStopAtLevel=1", "-cp", f"{TARGET}/java/classes:{TARGET}/java/libs/*"]
GO = [TARGET / "go/clients-go"]
JAVA_NEEDS = ["java", "javac", "mvn"]

SETTINGS = {
    "group.initial.rebalance.delay.ms": 0,
    "group.consumer.min.session.timeout.ms": 6000,
    "group.consumer.session.timeout.ms": 6000,
    "group.consumer.min.heartbeat.interval.ms": 500,
    "group.consumer.heartbeat.interval.ms": 1000,
}

STOP_S_MAX = 30
LOOK_S = 1


def settings_of(settings):
    return [word for name, value in settings.items() for word in ("--set", f"{name}={value}")]


class Broker:
    """The binary in a directory of its own, always on the same port."""

    def __init__(self, folder, log, settings):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.address = f"127.0.0.1:{free.getsockname()[1]}"
        self.log = log
        self.command = [BINARY, "start", "--data", folder / "data", "--listen", self.address, "--metrics", "off",
                        *settings_of(settings)]
        self.process = None

    def start(self):
        self.process = subprocess.Popen(self.command, stdout=self.log, stderr=self.log, stdin=subprocess.DEVNULL)
        deadline = time.monotonic() + 30
        while not self.answers():
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise AssertionError(f"the broker does not start, exit code {self.process.returncode}")
            time.sleep(0.02)

    def answers(self):
        host, port = self.address.split(":")
        with socket.socket() as probe:
            return probe.connect_ex((host, int(port))) == 0

    def kill(self):
        if self.process:
            self.process.kill()
            self.process.wait()

    def stop(self):
        self.process.terminate()
        code = self.process.wait(STOP_S_MAX)
        if code != 0:
            raise AssertionError(f"the broker ended with {code}")


class Kafka(Broker):
    """Apache Kafka in place of the binary. It is nobody's child: it is known by its pid."""

    SETTINGS = {
        # It looks for transactions that took too long only now and then.
        "transaction.abort.timed.out.transaction.cleanup.interval.ms": 500,
        # It does not start before its former life has timed out, and the markers that it would write before are lost.
        "broker.session.timeout.ms": 1000,
        "broker.heartbeat.interval.ms": 200,
    }

    def __init__(self, folder, log, settings):
        super().__init__(folder, log, {})
        self.command = [ROOT / "bench/kafka/run", "--data", folder / "data", "--listen", self.address,
                        *settings_of({**settings, **self.SETTINGS})]
        self.pid = None

    def start(self):
        environment = {**os.environ, "KAFKA_HEAP_OPTS": "-Xmx512m"}
        self.pid = int(subprocess.check_output(self.command, stderr=self.log, env=environment))

    def kill(self):
        self.end(signal.SIGKILL)

    def stop(self):
        self.end(signal.SIGTERM)

    def end(self, how):
        if not self.pid:
            return
        os.kill(self.pid, how)
        deadline = time.monotonic() + STOP_S_MAX
        while self.lives():
            if time.monotonic() > deadline:
                raise AssertionError(f"Kafka does not end, pid {self.pid}")
            time.sleep(0.05)
        self.pid = None

    def lives(self):
        try:
            return Path(f"/proc/{self.pid}/cmdline").read_bytes() != b""  # a process that is dead has none
        except (FileNotFoundError, ProcessLookupError):
            return False


def create_topics(address, names, partitions):
    admin = AdminClient({"bootstrap.servers": address, "log_level": 0})
    for one in admin.create_topics([NewTopic(name, partitions, 1) for name in names]).values():
        one.result(10)


class Stream(threading.Thread):
    """Writes numbered records to each of the topics until it is told to stop.

    Number n is the key and the value of a record in partition n modulo the number of partitions.
    `acknowledge` is called with the topic and the number of each record that is safe.
    """

    def __init__(self, address, topics, partitions, per_s, acknowledge):
        super().__init__(daemon=True)
        self.producer = Producer({
            "bootstrap.servers": address, "enable.idempotence": True, "delivery.timeout.ms": 120_000,
            "reconnect.backoff.max.ms": 500, "linger.ms": 5, "log_level": 0,
        })
        self.topics, self.partitions, self.per_s, self.acknowledge = topics, partitions, per_s, acknowledge
        self.stopping = threading.Event()
        self.failure = None
        self.numbers = 0

    def run(self):
        while not self.stopping.wait(1 / 50):
            for _ in range(self.per_s // 50):
                for topic in self.topics:
                    self.write(topic, self.numbers)
                self.numbers += 1
            self.producer.poll(0)
        if self.producer.flush(60) > 0:
            self.failure = "records were never acknowledged"

    def write(self, topic, number):
        text = str(number).encode()
        self.producer.produce(
            topic, text, text, partition=number % self.partitions,
            on_delivery=lambda error, _message: self.delivered(error, topic, number))

    def delivered(self, error, topic, number):
        if error:
            self.failure = str(error)
        else:
            self.acknowledge(topic, number)

    def finish(self):
        self.stopping.set()
        self.join()
        if self.failure:
            raise AssertionError(f"the producer failed: {self.failure}")


class Program:
    """A process written with a client, and the lines it prints."""

    def __init__(self, command, log, take):
        self.process = subprocess.Popen(
            [str(part) for part in command], stdout=subprocess.PIPE, stderr=log, stdin=subprocess.DEVNULL, text=True,
            env={**os.environ, "NODE_PATH": str(TARGET / "node/node_modules"), "PYTHONUNBUFFERED": "1"})
        self.take, self.failure = take, None
        self.reader = threading.Thread(target=self.read, daemon=True)
        self.reader.start()

    def read(self):
        for line in self.process.stdout:
            try:
                self.take(line)
            except Exception as error:  # kept for the one who asks
                self.failure = f"{error} ({line.strip()})"

    def check(self):
        if self.failure:
            raise AssertionError(self.failure)
        if self.process.poll() is not None:
            raise AssertionError(f"a program ended by itself with {self.process.returncode}")

    def kill(self):
        self.process.kill()
        self.process.wait()
        self.reader.join()

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        code = self.process.wait(STOP_S_MAX)
        self.reader.join()
        if code != 0:
            raise AssertionError(f"a program ended with {code} when it was told to stop")


class Committed:
    """The committed offsets of the group as one sees them who is no member. They never go back."""

    def __init__(self, address, group, topic, partitions):
        # Not an administrator: librdkafka's dies of an answer from a coordinator that is being loaded.
        self.consumer = Consumer({
            "bootstrap.servers": address, "group.id": group, "isolation.level": "read_uncommitted",
            "reconnect.backoff.max.ms": 500, "log_level": 0,
        })
        self.topic = topic
        self.partitions = [TopicPartition(topic, partition) for partition in range(partitions)]
        self.highest = [OFFSET_INVALID] * partitions
        self.looked_at = 0.0

    def look(self):
        if time.monotonic() < self.looked_at + LOOK_S:
            return self.highest
        self.looked_at = time.monotonic()
        try:
            found = self.consumer.committed(self.partitions, timeout=5)
        except KafkaException:
            return self.highest  # the broker is away, or the coordinator is being loaded
        for one in found:
            if one.error:
                continue
            if one.offset < self.highest[one.partition]:
                raise AssertionError(
                    f"partition {one.partition}: committed {self.highest[one.partition]} before and {one.offset} now")
            self.highest[one.partition] = one.offset
        return self.highest

    def wait_for(self, ends, wait_s_max):
        deadline = time.monotonic() + wait_s_max
        while self.look() != ends:
            if time.monotonic() > deadline:
                raise AssertionError(f"committed {self.highest}, and the ends are {ends}")
            time.sleep(0.2)


class Client:
    """What is tested: the folder with its `install`, and the commands that it needs."""

    def __init__(self, folder, needs):
        self.folder, self.needs = folder, needs


def outcome(test, name, client, play, arguments):
    """How one client fared: whether it is well, and a line about it."""
    lacking = [need for need in client.needs if not shutil.which(need)]
    if lacking:
        return os.environ.get("CI") != "true", f"skipped {name}: no {', '.join(lacking)}"
    path = TARGET / f"{test}-{name}.log"
    with open(path, "wb", buffering=0) as log:
        installed = subprocess.run([HERE / client.folder / "install"], stdout=log, stderr=log, check=False)
        if installed.returncode != 0:
            return False, f"FAILED {name}: it could not be installed, see {path}"
        folder, started = Path(tempfile.mkdtemp(prefix=f"ottla-{test}-")), time.monotonic()
        kept = f", data in {folder}" if arguments.keep else ""
        try:
            told = play(name, folder, log, Kafka if arguments.kafka else Broker, arguments.seed)
            return True, f"ok {name}: {told}, {time.monotonic() - started:.0f} s in all{kept}"
        except Exception as error:  # every client is tried
            return False, f"FAILED {name} (seed {arguments.seed}): {error}, see {path}{kept}"
        finally:
            if not arguments.keep:
                shutil.rmtree(folder, ignore_errors=True)


def run(test, doc, clients, play):
    """Tries the clients that the command line names: `play(name, folder, log, broker class, seed)` says how it went."""
    parser = argparse.ArgumentParser(prog=f"tests/clients/{test}", description=doc)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"any of {', '.join(clients)}")
    parser.add_argument("--seed", type=int, default=1, help="what is hit, and how long the broker is away")
    parser.add_argument("--kafka", action="store_true", help="Apache Kafka in place of Ottla, see bench/kafka/run")
    parser.add_argument("--keep", action="store_true", help="leave the data of the broker where it is")
    arguments = parser.parse_args()
    unknown = [name for name in arguments.names if name not in clients]
    if unknown:
        parser.error(f"unknown: {', '.join(unknown)}")
    outcomes = []
    for name in arguments.names or clients:
        well, line = outcome(test, name, clients[name], play, arguments)
        outcomes.append(well)
        print(line, flush=True)
    print(f"{outcomes.count(True)} passed, {outcomes.count(False)} failed")
    sys.exit(0 if all(outcomes) else 1)
