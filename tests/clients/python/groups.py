"""Consumer groups under fire: members of real clients come and go while the broker is killed and started again.

A producer writes numbered records all the time. After each blow everything that was acknowledged must reach some member
again, and committed offsets must never go back. At the end every record was read and every partition is committed to its
end.
"""

import random
import threading
import time

from fire import (
    GO, HERE, JAVA, JAVA_NEEDS, PYTHON, SETTINGS, Client, Committed, Program, Stream, create_topics, run)

PARTITIONS = 6
MEMBERS = 3
RECORDS_PER_S = 300
CATCH_UP_S_MAX = 60
MEMBER_CONFLUENT = [*PYTHON, HERE / "python/member_confluent.py"]


class Members(Client):
    """A client, what its members are called with (before BOOTSTRAP GROUP TOPIC PROTOCOL), and the protocol."""

    def __init__(self, command, protocol, folder, needs):
        super().__init__(folder, needs)
        self.command, self.protocol = command, protocol


CLIENTS = {
    "java-classic": Members([*JAVA, "Member"], "classic", "java", JAVA_NEEDS),
    "java-consumer": Members([*JAVA, "Member"], "consumer", "java", JAVA_NEEDS),
    "librdkafka-classic": Members(MEMBER_CONFLUENT, "classic", "python", []),
    "librdkafka-consumer": Members(MEMBER_CONFLUENT, "consumer", "python", []),
    "franz-go": Members([*GO, "member"], "classic", "go", ["go"]),
    "kafkajs": Members(["node", HERE / "node/member.js"], "classic", "node", ["node", "npm"]),
    "aiokafka": Members([*PYTHON, HERE / "python/member_aiokafka.py"], "classic", "python", []),
}


class Ledger:
    """What was acknowledged, and what members say they have read."""

    def __init__(self):
        self.lock = threading.Lock()
        self.acknowledged = set()
        self.read = {}
        self.repeats = 0

    def acknowledge(self, _topic, value):
        with self.lock:
            self.acknowledged.add(value)

    def note(self, line):
        partition, offset, value = (int(word) for word in line.split())
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


class Scene:
    """One client, one group, one topic, one broker."""

    def __init__(self, name, folder, log, broker, seed):
        self.client, self.log = CLIENTS[name], log
        self.random = random.Random(seed)
        self.group, self.topic = f"group-{name}", f"topic-{name}"
        self.ledger = Ledger()
        self.broker = broker(folder, log, SETTINGS)
        self.stream = Stream(self.broker.address, [self.topic], PARTITIONS, RECORDS_PER_S, self.ledger.acknowledge)
        self.committed = Committed(self.broker.address, self.group, self.topic, PARTITIONS)
        self.members = []
        self.slowest = 0.0

    def play(self):
        self.broker.start()
        create_topics(self.broker.address, [self.topic], PARTITIONS)
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
        command = [*self.client.command, self.broker.address, self.group, self.topic, self.client.protocol]
        self.members.append(Program(command, self.log, self.ledger.note))

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
        self.committed.wait_for(ends, CATCH_UP_S_MAX)

    def end(self):
        for member in self.members:
            member.process.kill()
        self.broker.kill()


def play(name, folder, log, broker, seed):
    scene = Scene(name, folder, log, broker, seed)
    try:
        scene.play()
    finally:
        scene.end()
    ledger = scene.ledger
    return f"{len(ledger.acknowledged)} records, {ledger.repeats} read again, back within {scene.slowest:.1f} s"


if __name__ == "__main__":
    run("groups", __doc__, CLIENTS, play)
