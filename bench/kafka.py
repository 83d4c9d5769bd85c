"""What the way into Kafka costs the drain, with each property of the client pinned, and varied one
at a time: `python -m bench.kafka`. `--check` compares with what is kept.

The broker is the mock within librdkafka, in a process of its own whose CPU time is not counted: so
this says what the client costs and sends, not what brokers can take. CPU time is that of the
producing process, all its threads, divided by what packing the records costs in the same run, since
a busy machine makes both slower.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from statistics import median
from typing import Any, NamedTuple

from app.ingest.aggregator import AcceptanceWindow, Aggregator
from app.ingest.received_batch import ReceivedBatch, pack_received
from app.kafka.client_settings import KafkaSettings
from app.kafka.consumer import BatchConsumer
from app.kafka.offset_writer import OffsetBatchWriter
from app.kafka.producer import RecordProducer, TopicRecord
from app.rollup.rollup import DEFAULT_LIMITS
from app.storage.memory import MemoryStore
from app.support.aio import cancel_and_wait
from bench.corpus import START_S, simulated_lines
from bench.measure import table
from bench.results import keep, kept
from parsers.framing import split

NAME = "kafka"
SENDERS = 64  # POSTs under way at a time
RECORDS = 12_000
READ = 8_000
LINES = 100
MARGIN = 0.25
TRIES = 3
PINNED: dict[str, Any] = {
    "acks": "all",
    "enable.idempotence": True,
    "compression.type": "lz4",
    "linger.ms": 2,
    "batch.size": 1_000_000,
}
VARIED: tuple[dict[str, Any], ...] = (
    {},
    {"linger.ms": 0},
    {"linger.ms": 10},
    {"linger.ms": 50},
    {"batch.size": 16_384},
    {"batch.size": 131_072},
    {"compression.type": "none"},
    {"compression.type": "snappy"},
    {"compression.type": "zstd"},
    {"compression.type": "gzip"},
    {"acks": "1", "enable.idempotence": False},
    {"enable.idempotence": False},
)
_MOCK = """
import sys, time
from confluent_kafka import Producer
producer = Producer({"test.mock.num.brokers": 3, "bootstrap.servers": "mock", "log_level": 0})
brokers = producer.list_topics("dynometer", timeout=10).brokers.values()
print(",".join(f"{each.host}:{each.port}" for each in brokers), flush=True)
sys.stdin.read()
"""


class Found(NamedTuple):
    """Medians of the rounds."""

    record_us: float  # of the producing process's CPU
    ratio: float  # of that to packing a record
    record_bytes: float  # on the wire
    p50_ms: float
    p99_ms: float


@contextmanager
def broker() -> Iterator[str]:
    """Where the mock is."""
    command = [sys.executable, "-c", _MOCK]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        yield process.stdout.readline().strip()
        process.communicate()


def arrivals() -> list[ReceivedBatch]:
    """POSTs of 100 lines of an app with 8 dynos."""
    lines = [line.frame for line in simulated_lines(dynos=8, lines_per_s=500, seconds=40)]
    found = []
    for first in range(0, len(lines) - LINES, LINES):
        aggregator = Aggregator(START_S + 60, AcceptanceWindow(86_400, 300))
        aggregator.add_frames(split(b"".join(lines[first : first + LINES])))
        found.append(ReceivedBatch("shop", b"i" * 16, aggregator.build_body()))
    return found


def packing_us(some: list[ReceivedBatch]) -> float:
    """What packing a record costs."""
    began_s = time.process_time()
    for number in range(RECORDS):
        pack_received(some[number % len(some)], entry="")
    return (time.process_time() - began_s) / RECORDS * 1e6


async def produce(
    where: KafkaSettings, records: list[TopicRecord], changed: dict[str, Any]
) -> Found:
    """One round."""
    sent: dict[str, int] = {}

    def statistics(text: str) -> None:
        sent["bytes"] = json.loads(text)["txmsg_bytes"] and json.loads(text)["tx_bytes"]

    properties = {**where.producer_properties(), **PINNED, **changed}
    producer = RecordProducer({**properties, "statistics.interval.ms": 100, "stats_cb": statistics})
    took_ms: list[float] = []

    async def sender(first: int) -> None:
        for number in range(first, RECORDS, SENDERS):
            began_s = time.monotonic()
            errors = await producer.send(where.topic, [records[number % len(records)]])
            assert errors == [None], errors
            took_ms.append((time.monotonic() - began_s) * 1000)

    await producer.send(where.topic, records[:10])  # connects
    began_s = time.process_time()
    await asyncio.gather(*map(sender, range(SENDERS)))
    record_us = (time.process_time() - began_s) / RECORDS * 1e6
    await asyncio.sleep(0.3)  # for the statistics
    await producer.close()
    took_ms.sort()
    return Found(
        record_us,
        0,
        sent["bytes"] / RECORDS,
        took_ms[len(took_ms) // 2],
        took_ms[len(took_ms) * 99 // 100],
    )


async def read_us(bootstrap: str, records: list[TopicRecord]) -> float:
    """CPU of a reader for each record, up to a store in memory."""
    where = KafkaSettings(bootstrap, "dynometer-read", "bench", {})
    producer = RecordProducer(where.producer_properties())
    for _ in range(READ // 1_000):
        await producer.send(where.topic, [records[i % len(records)] for i in range(1_000)])
    await producer.close()
    appender = OffsetBatchWriter(
        MemoryStore(time.time),
        id_ttl_s=3_600,
        inbox_ttl_s=3_600,
        verified_s=3_600,
        clock=time.time,
        on_stored=lambda lengths: None,
    )
    reader = BatchConsumer(
        where, appender, limits=DEFAULT_LIMITS, topic_id="", on_stored=_nobody, clock=time.time
    )
    task = asyncio.create_task(reader.run())
    while not reader.records_read:  # noqa: ASYNC110 - it tells nobody
        await asyncio.sleep(0.001)
    first, began_s = reader.records_read, time.process_time()
    while reader.records_read < READ:  # noqa: ASYNC110
        await asyncio.sleep(0.001)
    used_s = time.process_time() - began_s
    await cancel_and_wait([task])
    return used_s / (READ - first) * 1e6


async def _nobody(stored: object) -> None:
    """Is told."""


def measure(variants: tuple[dict[str, Any], ...], rounds: int) -> list[dict[str, Any]]:
    """A row for each, of interleaved rounds."""
    some = arrivals()
    records = [TopicRecord(each.app.encode(), pack_received(each, entry="")) for each in some]
    found: list[list[Found]] = [[] for _ in variants]
    with broker() as bootstrap:
        where = KafkaSettings(bootstrap, "dynometer", "bench", {})
        for _ in range(rounds):
            packing = packing_us(some)
            for rows, changed in zip(found, variants, strict=True):
                one = asyncio.run(produce(where, records, changed))
                rows.append(one._replace(ratio=one.record_us / packing))
    return [
        {"changed": changed}
        | {name: round(median(getattr(each, name) for each in rows), 2) for name in Found._fields}
        for rows, changed in zip(found, variants, strict=True)
    ]


def shown(rows: list[dict[str, Any]]) -> str:
    """As a table."""
    head = ("what is changed", "µs a record", "× packing it", "bytes", "p50 ms", "p99 ms")
    return table(
        head,
        [
            (
                " ".join(f"`{name}={value}`" for name, value in each["changed"].items())
                or "nothing",
                f"{each['record_us']:.0f}",
                f"{each['ratio']:.1f}",
                f"{each['record_bytes']:,.0f}",
                f"{each['p50_ms']:.1f}",
                f"{each['p99_ms']:.1f}",
            )
            for each in rows
        ],
    )


def main() -> int:
    """Print the table; with --check, 1 when it has become slower."""
    parser = argparse.ArgumentParser(prog="python -m bench.kafka", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--keep", action="store_true", help="write bench/results/")
    parser.add_argument("--check", action="store_true", help="compare with what is kept")
    arguments = parser.parse_args()
    if arguments.check:
        return int(is_slower(arguments.rounds))
    rows = measure(VARIED, arguments.rounds)
    print(shown(rows))
    records = [TopicRecord(each.app.encode(), pack_received(each, entry="")) for each in arrivals()]
    reading_us = []
    for _ in range(arguments.rounds):
        with broker() as bootstrap:
            reading_us.append(asyncio.run(read_us(bootstrap, records)))
    print(f"\nA reader, up to a store in memory: {median(reading_us):.0f} µs of CPU a record.")
    if arguments.keep:
        configuration = {"rounds": arguments.rounds, "pinned": PINNED, "senders": SENDERS}
        keep(NAME, rows, {**configuration, "read_us": round(median(reading_us), 1)})
    return 0


def is_slower(rounds: int) -> bool:
    """Whether the kept ratio is exceeded by a quarter, every time."""
    before = kept(NAME)["rows"][0]["ratio"]
    for number in range(TRIES):
        (now,) = measure(VARIED[:1], rounds)
        print(f"kept: {before}; try {number + 1}: {now['ratio']}", flush=True)
        if now["ratio"] <= before * (1 + MARGIN):
            return False
    return True


if __name__ == "__main__":
    sys.exit(main())
