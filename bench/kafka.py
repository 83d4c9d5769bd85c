"""The cost of writing to Kafka, one property changed at a time: `python -m bench.kafka`.

Writes to three brokers of Apache Kafka on this machine, which `make test-kafka` fetches. It
measures the CPU time of all threads of the producing process, and that of all brokers together.
`--check` compares with the saved result: each CPU time divided by that of packing the records in
the same run, since a busy machine slows both, and the bytes of a record.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import sys
import time
from collections.abc import Mapping
from pathlib import Path
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
from bench.results import load, save
from parsers.framing import split
from tests.support.kafka import ApacheKafka, new_topic, running_cluster

NAME = "kafka"
SENDERS = 64  # POSTs in flight
RECORDS = 12_000
READ = 8_000
LINES = 100
MARGIN = 0.25  # what costs a quarter more delivers a fifth less
TRIES = 3
CHECKED = ("ratio", "broker_ratio", "record_bytes")
PARTITIONS = 12
REPLICATION = 3
TICKS_PER_S = os.sysconf("SC_CLK_TCK")
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


class Result(NamedTuple):
    """Medians of the rounds."""

    record_us: float  # CPU of the producing process
    ratio: float  # of that to the cost of packing a record
    broker_us: float  # CPU of all brokers
    broker_ratio: float
    record_bytes: float  # on the wire
    p50_ms: float
    p99_ms: float


def new_log(cluster: ApacheKafka) -> KafkaSettings:
    """A new topic."""
    kafka = KafkaSettings(cluster.bootstrap, new_topic(), "bench", {})
    cluster.create_topics(kafka, REPLICATION, PARTITIONS)
    return kafka


def brokers_cpu_s(cluster: ApacheKafka) -> float:
    """The CPU seconds of all brokers so far."""
    ticks = 0
    for node in cluster.nodes:
        fields = Path(f"/proc/{node.pid}/stat").read_text().rpartition(")")[2].split()
        ticks += int(fields[11]) + int(fields[12])  # utime and stime
    return ticks / TICKS_PER_S


def received_batches() -> list[ReceivedBatch]:
    """POSTs of 100 lines of an app with 8 dynos."""
    lines = [line.frame for line in simulated_lines(dynos=8, lines_per_s=500, seconds=40)]
    batches = []
    for first in range(0, len(lines) - LINES, LINES):
        aggregator = Aggregator(START_S + 60, AcceptanceWindow(86_400, 300))
        aggregator.add_frames(split(b"".join(lines[first : first + LINES])))
        batches.append(ReceivedBatch("shop", b"i" * 16, aggregator.build_body()))
    return batches


def _record_of(batch: ReceivedBatch) -> TopicRecord:
    return TopicRecord(batch.app.encode(), pack_received(batch, entry=""))


def packing_us(batches: list[ReceivedBatch]) -> float:
    """CPU µs to pack a record."""
    began_s = time.process_time()
    for number in range(RECORDS):
        pack_received(batches[number % len(batches)], entry="")
    return (time.process_time() - began_s) / RECORDS * 1e6


async def produce(
    cluster: ApacheKafka, log: KafkaSettings, records: list[TopicRecord], changes: dict[str, Any]
) -> Result:
    """One round. Its ratios are not known yet."""
    stats: dict[str, int] = {}

    def statistics(text: str) -> None:
        stats["bytes"] = json.loads(text)["txmsg_bytes"] and json.loads(text)["tx_bytes"]

    properties = {**log.producer_properties(), **PINNED, **changes}
    producer = RecordProducer({**properties, "statistics.interval.ms": 100, "stats_cb": statistics})
    took_ms: list[float] = []

    async def sender(first: int) -> None:
        for number in range(first, RECORDS, SENDERS):
            began_s = time.monotonic()
            errors = await producer.send(log.topic, [records[number % len(records)]])
            assert errors == [None], errors
            took_ms.append((time.monotonic() - began_s) * 1000)

    await producer.send(log.topic, records[:10])  # to connect
    began_s, brokers_began_s = time.process_time(), brokers_cpu_s(cluster)
    await asyncio.gather(*map(sender, range(SENDERS)))
    record_us = (time.process_time() - began_s) / RECORDS * 1e6
    broker_us = (brokers_cpu_s(cluster) - brokers_began_s) / RECORDS * 1e6
    await asyncio.sleep(0.3)  # for the statistics
    await producer.close()
    took_ms.sort()
    return Result(
        record_us,
        0,
        broker_us,
        0,
        stats["bytes"] / RECORDS,
        took_ms[len(took_ms) // 2],
        took_ms[len(took_ms) * 99 // 100],
    )


async def read_us(log: KafkaSettings, records: list[TopicRecord]) -> float:
    """CPU µs of a reader per record, with a store in memory."""
    producer = RecordProducer(log.producer_properties())
    for _ in range(READ // 1_000):
        await producer.send(log.topic, [records[i % len(records)] for i in range(1_000)])
    await producer.close()
    writer = OffsetBatchWriter(
        MemoryStore(time.time),
        id_ttl_s=3_600,
        inbox_ttl_s=3_600,
        verified_s=3_600,
        clock=time.time,
        on_appended=lambda lengths: None,
    )
    reader = BatchConsumer(
        log, writer, limits=DEFAULT_LIMITS, on_stored=_ignore_stored, clock=time.time
    )
    task = asyncio.create_task(reader.run())
    while not reader.records_read:  # noqa: ASYNC110 - it has no event to wait for
        await asyncio.sleep(0.001)
    first, began_s = reader.records_read, time.process_time()
    while reader.records_read < READ:  # noqa: ASYNC110
        await asyncio.sleep(0.001)
    cpu_s = time.process_time() - began_s
    await cancel_and_wait([task])
    return cpu_s / (READ - first) * 1e6


async def _ignore_stored(activity: object) -> None:
    """Recording sightings is not measured."""


def measure(
    cluster: ApacheKafka, variants: tuple[dict[str, Any], ...], rounds: int
) -> list[dict[str, Any]]:
    """A row for each variant, from alternating rounds; the first one warms up."""
    batches = received_batches()
    records = [_record_of(batch) for batch in batches]
    results: list[list[Result]] = [[] for _ in variants]
    log = new_log(cluster)
    for number in range(rounds + 1):
        record_packing_us = packing_us(batches)
        for rows, changes in zip(results, variants, strict=True):
            result = asyncio.run(produce(cluster, log, records, changes))
            if number:
                rows.append(
                    result._replace(
                        ratio=result.record_us / record_packing_us,
                        broker_ratio=result.broker_us / record_packing_us,
                    )
                )
    return [
        {"changed": changes}
        | {
            name: round(median(getattr(result, name) for result in rows), 2)
            for name in Result._fields
        }
        for rows, changes in zip(results, variants, strict=True)
    ]


def format_table(rows: list[dict[str, Any]]) -> str:
    """The rows as a table."""
    head = ("change", "µs, client", "× packing it", "µs, brokers", "bytes", "p50, ms", "p99, ms")
    return table(
        head,
        [
            (
                " ".join(f"`{name}={value}`" for name, value in row["changed"].items())
                or "nothing",
                f"{row['record_us']:.0f}",
                f"{row['ratio']:.1f}",
                f"{row['broker_us']:.0f}",
                f"{row['record_bytes']:,.0f}",
                f"{row['p50_ms']:.1f}",
                f"{row['p99_ms']:.1f}",
            )
            for row in rows
        ],
    )


def main() -> int:
    """Print the table; with --check, return 1 if it has become slower."""
    parser = argparse.ArgumentParser(prog="python -m bench.kafka", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--keep", action="store_true", help="save to bench/results/")
    parser.add_argument("--check", action="store_true", help="compare with the saved result")
    arguments = parser.parse_args()
    with running_cluster() as cluster:
        if arguments.check:
            return int(is_slower(cluster, arguments.rounds))
        rows = measure(cluster, VARIED, arguments.rounds)
        print(format_table(rows))
        records = [_record_of(batch) for batch in received_batches()]
        reading_us = [
            asyncio.run(read_us(new_log(cluster), records)) for _ in range(arguments.rounds)
        ]
    print(f"\nA reader with a store in memory: {median(reading_us):.0f} µs of CPU per record.")
    if arguments.keep:
        configuration = {"rounds": arguments.rounds, "pinned": PINNED, "senders": SENDERS}
        configuration |= {"kafka": cluster.version, "read_us": round(median(reading_us), 1)}
        save(NAME, rows, configuration)
    return 0


def is_slower(cluster: ApacheKafka, rounds: int) -> bool:
    """Whether a saved figure is exceeded every time."""
    saved = load(NAME)["rows"][0]
    for number in range(TRIES):
        (row,) = measure(cluster, VARIED[:1], rounds)
        slower = slower_figures(saved, row)
        print(f"try {number + 1}: {', '.join(slower) or 'as saved'}", flush=True)
        if not slower:
            return False
    return True


def slower_figures(saved: Mapping[str, Any], row: Mapping[str, Any]) -> list[str]:
    """The figures that exceed the saved ones by more than the margin."""
    return [
        f"{name} {row[name]} (saved: {saved[name]})"
        for name in CHECKED
        if row[name] > saved[name] * (1 + MARGIN)
    ]


if __name__ == "__main__":
    sys.exit(main())
