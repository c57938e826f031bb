"""What both Python programs share: numbered records, checks, and one line a scenario."""

import os
import sys
import time
import uuid

RUN = uuid.uuid4().hex[:8]
TIME = 1_700_000_000_000
# Records of that time are older than the default retention.
KEEP = {"retention.ms": "-1"}
READ_S_MAX = 30
BALANCE_S_MAX = 20


def name(client, scenario):
    """A topic name that no other scenario or run has."""
    return f"{client}-{scenario}-{RUN}-{uuid.uuid4().hex[:4]}"


def value(i):
    return f"value-{i}-{'abcdefgh' * 12}".encode()


def that(holds, what):
    if not holds:
        raise AssertionError(what)


def same(expected, found, what):
    if expected != found:
        raise AssertionError(f"{what}: expected {expected!r:.200}, found {found!r:.200}")


def fails(action, is_expected, what):
    """The action raises an exception of which `is_expected(exception)` holds, and it is returned."""
    try:
        action()
    except Exception as error:  # which one it is, is the question
        if is_expected(error):
            return error
        raise AssertionError(f"expected {what}, found {error!r}") from error
    raise AssertionError(f"expected {what}, found success")


def settle():
    """Waits after a change for a cluster that answers before all of it knows (SETTLE_MS, see `run`)."""
    time.sleep(int(os.environ.get("SETTLE_MS", "0")) / 1000)


def eventually(condition, otherwise):
    """For what a cluster may show a moment later than it promised it."""
    deadline = time.monotonic() + 10
    while not condition():
        that(time.monotonic() < deadline, otherwise)
        time.sleep(0.05)


def check_filled(records, partitions):
    """The numbered records, as (partition, offset, value), came back: each once, in order, no gap in a partition."""
    following = [0] * partitions
    for partition, offset, found in records:
        position = following[partition]
        following[partition] += 1
        same(position, offset, f"partition {partition} record {position} offset")
        same(value(position * partitions + partition), found, f"partition {partition} record {position} value")


def balance(assignments, count):
    """Asks for the sets of partitions of all members until they are even and, together, `count`; returns them."""
    deadline = time.monotonic() + BALANCE_S_MAX
    while True:
        assigned = assignments()
        if len(set().union(*assigned)) == count and all(len(one) == count // len(assigned) for one in assigned):
            return assigned
        that(time.monotonic() < deadline, f"not balanced: {assigned}")


def main(scenarios, left_out):
    """Runs the scenarios named on the command line after BOOTSTRAP, or all, and exits."""
    only = sys.argv[2:]
    failed = False
    for scenario, why in left_out.items():
        if not only:
            print(f"left out {scenario}: {why}", flush=True)
    for scenario, run in scenarios.items():
        if only and scenario not in only:
            continue
        try:
            run()
            print(f"ok {scenario}", flush=True)
        except Exception as error:  # every failure is reported, and the rest still runs
            failed = True
            line = error.__traceback__.tb_next.tb_lineno if error.__traceback__.tb_next else "?"
            print(f"FAILED {scenario}: {error!r} (line {line})".replace("\n", " "), flush=True)
    sys.exit(1 if failed else 0)
