"""Estimates the resources for a load, from measured costs per POST, line and minute.

Costs are CPU time on one core of the machine that bench/README.md names. For another machine,
measure them again, or scale by the result of `python -m bench.end_to_end` there.
"""

from __future__ import annotations

from math import ceil
from typing import NamedTuple

LINES_A_DYNO_S = 2 / 20  # memory and load, every 20 seconds

# CPU µs of a service with many apps, each on a connection that waits for its answers; folding
# included. bench/README.md, "A million lines, end to end", 200 apps. A line: 500 lines a POST
# against 100 ("How cost grows").
WORKER_LINE_US = 0.25
WORKER_POST_US = 79.0
REDIS_POST_US = 27.0
# Compaction of each minute of an app that received data. "Folding", closing.
WORKER_MINUTE_US = 6.0
REDIS_MINUTE_US = 3.5
# bench/kafka.py
KAFKA_READ_US = 31.0
KAFKA_POST_BYTES = 300  # of 100 lines, compressed, to each broker that holds it
# "Redis memory of one app": (requests a minute, bytes of a slot with one dyno, bytes of each
# further dyno)
SLOT_BYTES = {
    "1m": ((60, 566, 198), (1_000, 826, 232), (10_000, 1_261, 280)),
    "10m": ((60, 941, 277), (1_000, 1_347, 293), (10_000, 2_200, 439)),
    "1h": ((60, 1_688, 366), (1_000, 2_712, 366), (10_000, 2_712, 512)),
}
ID_BYTES = 94  # bench/bench_memory.py
ID_RETENTION_S = 2 * 75 * 60  # at most
# bench/archive.py: bytes of an app's interval, of each process type and of each dyno in it, with
# indexes. An app counts with PROCESS_TYPES.
ARCHIVE_BYTES = {"1h": (4_420, 2_352, 2_110), "1d": (5_851, 3_774, 2_282)}
PROCESS_TYPES = 2
LINE_BYTES = 300  # of a router line in a POST, about


class Load(NamedTuple):
    """The traffic of all apps. `largest` is the share of the largest app, 0 to 1."""

    apps: int
    requests_s: float
    dynos: int
    largest: float
    app_lines: float  # application output, per request
    lines_max: int  # per POST
    retention_s: dict[str, int]  # by resolution
    slot_s: dict[str, int]  # length of an interval, by resolution


class Machine(NamedTuple):
    """Limits of the machines. `busy` is the share of a core that may be used, 0 to 1."""

    busy: float
    shard_bytes: int
    replicas: int


class Estimate(NamedTuple):
    """The resources for a load; `*_cores` are fully used cores, without the headroom of `busy`."""

    lines_s: float
    posts_s: float
    lines_a_post: float
    worker_cores: float
    workers: int
    redis_cores: float
    redis_bytes: float
    shards: int
    nodes: int
    largest_cores: float
    network_bytes_s: float
    kafka_bytes_s: float
    kafka_partitions: int
    readers: int


def estimate(load: Load, machine: Machine) -> Estimate:
    """The resources that a load needs on such machines."""
    lines_s = load.requests_s * (1 + load.app_lines) + load.dynos * LINES_A_DYNO_S
    posts_s = posts_per_s(load, lines_s)
    minutes_s = load.apps / 60
    worker_s = (
        posts_s * WORKER_POST_US + lines_s * WORKER_LINE_US + minutes_s * WORKER_MINUTE_US
    ) / 1e6
    redis_s = (posts_s * REDIS_POST_US + minutes_s * REDIS_MINUTE_US) / 1e6
    largest_s = redis_s * load.largest if load.apps > 1 else redis_s
    memory = memory_bytes(load, posts_s)
    shards = max(1, ceil(redis_s / machine.busy), ceil(memory / machine.shard_bytes))
    read_s = posts_s * KAFKA_READ_US / 1e6
    return Estimate(
        lines_s=lines_s,
        posts_s=posts_s,
        lines_a_post=lines_s / posts_s if posts_s else 0.0,
        worker_cores=worker_s,
        workers=max(1, ceil(worker_s / machine.busy)),
        redis_cores=redis_s,
        redis_bytes=memory,
        shards=shards,
        nodes=shards * (1 + machine.replicas),
        largest_cores=largest_s,
        network_bytes_s=lines_s * LINE_BYTES,
        kafka_bytes_s=posts_s * KAFKA_POST_BYTES,
        kafka_partitions=max(12, 2 * ceil(read_s / machine.busy)),
        readers=max(1, ceil(read_s / machine.busy)),
    )


def posts_per_s(load: Load, lines_s: float) -> float:
    """POSTs a second of all apps, if all but the largest are alike.

    Logplex sends an app's lines once a second, or whenever a POST is full. An app with less than
    a line a second sends each line by itself.
    """
    largest_lines_s = lines_s * load.largest if load.apps > 1 else lines_s
    small_apps = load.apps - 1
    small_lines_s = (lines_s - largest_lines_s) / small_apps if small_apps else 0.0
    return _app_posts_per_s(largest_lines_s, load.lines_max) + small_apps * _app_posts_per_s(
        small_lines_s, load.lines_max
    )


def _app_posts_per_s(lines_s: float, lines_max: int) -> float:
    return max(lines_s / lines_max, min(lines_s, 1.0))


def memory_bytes(load: Load, posts_s: float) -> float:
    """Redis memory of the slots of all apps, as if all were alike, and of the ids of POSTs."""
    if not load.apps:
        return 0.0
    dynos = load.dynos / load.apps
    requests_a_minute = load.requests_s * 60 / load.apps
    app_bytes = sum(
        slot_bytes(name, dynos, requests_a_minute) * load.retention_s[name] / load.slot_s[name]
        for name in SLOT_BYTES
    )
    return load.apps * app_bytes + posts_s * ID_RETENTION_S * ID_BYTES


def archive_bytes(load: Load, resolution: str, retention_s: float) -> float:
    """Disk space of PostgreSQL for the archived intervals of all apps."""
    app_bytes, type_bytes, dyno_bytes = ARCHIVE_BYTES[resolution]
    seconds = {"1h": 3_600, "1d": 86_400}[resolution]
    interval_bytes = load.apps * (app_bytes + PROCESS_TYPES * type_bytes) + load.dynos * dyno_bytes
    return interval_bytes * retention_s / seconds


def slot_bytes(resolution: str, dynos: float, requests_a_minute: float) -> float:
    """Redis memory of one slot. Between two measured rates, the size at the higher one."""
    rows = SLOT_BYTES[resolution]
    _, first_dyno, further_dyno = next(
        (row for row in rows if requests_a_minute <= row[0]), rows[-1]
    )
    return first_dyno + further_dyno * max(0.0, dynos - 1)
