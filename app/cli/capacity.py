"""How much of what a load needs: unit costs that were measured, and the arithmetic on top.

Costs are CPU time on one core of the machine that bench/README.md names; on another machine measure
them again, or scale by what `python -m bench.end_to_end` says there.
"""

from __future__ import annotations

from math import ceil
from typing import NamedTuple

LINES_A_DYNO_S = 2 / 20  # memory and load, every 20 seconds

# CPU µs of a service of many apps, whose POSTs cannot be added up before they are stored, folding
# included: "How cost grows" in bench/README.md, 200 apps. A line: 500 lines a POST against 100.
WORKER_LINE_US = 0.12
WORKER_POST_US = 54.0
REDIS_POST_US = 25.0
# "Folding", closing: of each app and minute in which something came.
WORKER_MINUTE_US = 6.0
REDIS_MINUTE_US = 3.5
# bench/kafka.py
KAFKA_READ_US = 31.0
KAFKA_POST_BYTES = 300  # of 100 lines, compressed; each broker that has it
# "Redis memory of one app": requests a minute, bytes of a slot of one dyno, of each further one
SLOT_BYTES = {
    "1m": ((60, 566, 198), (1_000, 826, 232), (10_000, 1_261, 280)),
    "10m": ((60, 941, 277), (1_000, 1_347, 293), (10_000, 2_200, 439)),
    "1h": ((60, 1_688, 366), (1_000, 2_712, 366), (10_000, 2_712, 512)),
}
ID_BYTES = 94  # bench/bench_memory.py
ID_KEPT_S = 2 * 75 * 60  # at the most
LINE_BYTES = 300  # of a router line in a POST, about


class Load(NamedTuple):
    """`largest`: the share of the largest app, 0 to 1."""

    apps: int
    requests_s: float
    dynos: int
    largest: float
    app_lines: float  # of the application itself, for each request
    lines_max: int  # a POST has so many at the most
    kept_s: dict[str, int]  # by resolution, and how long an interval lasts:
    slot_s: dict[str, int]


class Machine(NamedTuple):
    """`busy`: how much of a core may be used, 0 to 1."""

    busy: float
    shard_bytes: int
    replicas: int


class Need(NamedTuple):
    """What it comes to; `*_cores` are before the room that `busy` leaves."""

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


def need(load: Load, machine: Machine) -> Need:
    """What a load needs on such machines."""
    lines_s = load.requests_s * (1 + load.app_lines) + load.dynos * LINES_A_DYNO_S
    posts_s = posts_of(load, lines_s)
    minutes_s = load.apps / 60
    worker_s = (
        posts_s * WORKER_POST_US + lines_s * WORKER_LINE_US + minutes_s * WORKER_MINUTE_US
    ) / 1e6
    redis_s = (posts_s * REDIS_POST_US + minutes_s * REDIS_MINUTE_US) / 1e6
    largest_s = redis_s * load.largest if load.apps > 1 else redis_s
    memory = memory_bytes(load, posts_s)
    shards = max(1, ceil(redis_s / machine.busy), ceil(memory / machine.shard_bytes))
    read_s = posts_s * KAFKA_READ_US / 1e6
    return Need(
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


def posts_of(load: Load, lines_s: float) -> float:
    """POSTs a second: an app's lines leave once a second, or as often as a POST is full; those of
    an app with less than a line a second leave one by one. All apps but the largest are alike.
    """
    largest = lines_s * load.largest if load.apps > 1 else lines_s
    rest = load.apps - 1
    other = (lines_s - largest) / rest if rest else 0.0
    return _posts(largest, load.lines_max) + rest * _posts(other, load.lines_max)


def _posts(lines_s: float, lines_max: int) -> float:
    return max(lines_s / lines_max, min(lines_s, 1.0))


def memory_bytes(load: Load, posts_s: float) -> float:
    """Of all apps' slots, as if all were alike, and of the ids of POSTs."""
    if not load.apps:
        return 0.0
    dynos = load.dynos / load.apps
    requests_a_minute = load.requests_s * 60 / load.apps
    of_app = sum(
        slot_bytes(name, dynos, requests_a_minute) * load.kept_s[name] / load.slot_s[name]
        for name in SLOT_BYTES
    )
    return load.apps * of_app + posts_s * ID_KEPT_S * ID_BYTES


def slot_bytes(resolution: str, dynos: float, requests_a_minute: float) -> float:
    """Of a slot; between measured rates that of the higher one."""
    rows = SLOT_BYTES[resolution]
    _, first, each = next((row for row in rows if requests_a_minute <= row[0]), rows[-1])
    return first + each * max(0.0, dynos - 1)
