"""A member of a group with aiokafka: `member_aiokafka.py BOOTSTRAP GROUP TOPIC classic`.

Prints `PARTITION OFFSET VALUE` for each record, then commits. SIGTERM makes it leave.
"""

import asyncio
import signal
import sys

from aiokafka import AIOKafkaConsumer
from aiokafka.errors import KafkaError

bootstrap, group, topic, _ = sys.argv[1:]


async def main():
    stopping = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopping.set)
    consumer = AIOKafkaConsumer(
        topic, bootstrap_servers=bootstrap, group_id=group, auto_offset_reset="earliest", enable_auto_commit=False,
        session_timeout_ms=6000, heartbeat_interval_ms=1000, metadata_max_age_ms=2000)
    await consumer.start()
    while not stopping.is_set():
        found = await consumer.getmany(timeout_ms=200, max_records=500)
        for partition, records in found.items():
            for record in records:
                print(partition.partition, record.offset, record.value.decode())
        sys.stdout.flush()
        if found:
            try:
                await consumer.commit()
            except KafkaError as error:  # the broker is away, or the partition is another's now: it is read again
                print(repr(error), file=sys.stderr)
    await consumer.stop()


asyncio.run(main())
