"""`dynometer size`: what a load needs, on paper."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator

from app.cli.capacity import (
    REDIS_POST_US,
    SLOT_BYTES,
    WORKER_LINE_US,
    WORKER_POST_US,
    Load,
    Machine,
    Need,
    need,
)
from app.config import Settings, parse_count, parse_duration, parse_size
from app.rollup.resolutions import resolutions

_GIB, _MIB = 2**30, 2**20


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The load, and the machines."""
    parser.add_argument("--apps", type=parse_count, default=20, help="default: %(default)s")
    parser.add_argument(
        "--requests-per-s", type=_rate, default=1_000.0, help="of all apps (default: 1000)"
    )
    parser.add_argument("--dynos", type=parse_count, help="of all apps (default: 4 an app)")
    parser.add_argument(
        "--largest",
        type=_share,
        default=0.2,
        metavar="SHARE",
        help="of the largest app, of everything (default: %(default)s)",
    )
    parser.add_argument(
        "--app-lines",
        type=_rate,
        default=2.0,
        help="lines that the application writes for a request (default: 2)",
    )
    parser.add_argument(
        "--lines-per-post",
        type=parse_count,
        default=100,
        help="that a busy app's POSTs have (default: %(default)s)",
    )
    for name, kept in (("1m", "24h"), ("10m", "7d"), ("1h", "90d")):
        parser.add_argument(
            f"--retention-{name}", type=parse_duration, default=kept, help=f"default: {kept}"
        )
    parser.add_argument(
        "--busy",
        type=_share,
        default=0.5,
        metavar="SHARE",
        help="of a core that may be used, the rest is for bursts (default: %(default)s)",
    )
    parser.add_argument(
        "--shard-memory", type=parse_size, default="8GiB", help="of a Redis (default: 8GiB)"
    )
    parser.add_argument(
        "--replicas", type=int, default=1, help="of each primary (default: %(default)s)"
    )
    parser.add_argument("--json", action="store_true", help="as JSON")


def run(arguments: argparse.Namespace, settings: Settings) -> int:
    """The command."""
    kept_s = (arguments.retention_1m, arguments.retention_10m, arguments.retention_1h)
    tiers = resolutions(*kept_s)
    load = Load(
        apps=arguments.apps,
        requests_s=arguments.requests_per_s,
        dynos=arguments.dynos or 4 * arguments.apps,
        largest=arguments.largest,
        app_lines=arguments.app_lines,
        lines_max=arguments.lines_per_post,
        kept_s={tier.name: tier.retention_s for tier in tiers},
        slot_s={tier.name: tier.seconds for tier in tiers},
    )
    machine = Machine(arguments.busy, arguments.shard_memory, arguments.replicas)
    found = need(load, machine)
    if arguments.json:
        print(json.dumps(found._asdict(), indent=2))
    else:
        print("\n".join(lines(load, machine, found)))
    return 0


def lines(load: Load, machine: Machine, found: Need) -> Iterator[str]:
    """For people."""
    yield (
        f"{load.apps:,} apps, {load.requests_s:,.0f} requests/s, {load.dynos:,} dynos; the largest "
        f"app {load.largest:.0%} of it"
    )
    yield ""
    yield (
        f"Lines     {found.lines_s:,.0f}/s: a router line and {load.app_lines:g} of the "
        "application for each request, 2 of each dyno in 20 s"
    )
    yield (
        f"POSTs     {found.posts_s:,.0f}/s of {found.lines_a_post:.0f} lines, "
        f"{found.network_bytes_s / _MIB:,.1f} MiB/s"
    )
    yield (
        f"Workers   {found.workers:,}: {found.worker_cores:.2f} cores "
        f"({WORKER_POST_US:g} µs a POST and {WORKER_LINE_US:g} a line), "
        f"each {machine.busy:.0%} busy"
    )
    yield (
        f"Redis     {found.redis_cores:.2f} cores ({REDIS_POST_US:g} µs a POST), "
        f"{found.redis_bytes / _GIB:,.2f} GiB: {_shards(found)}"
    )
    if found.largest_cores > machine.busy:
        yield (
            f"WARN      the largest app needs {found.largest_cores:.2f} cores of Redis, more than "
            "one primary has, and one app stays on one primary"
        )
    yield (
        f"Kafka     if you use it: {found.kafka_partitions} partitions, {_readers(found)}, "
        f"{found.kafka_bytes_s / _MIB:,.1f} MiB/s to each broker that keeps it"
    )
    kept = ", ".join(f"{load.kept_s[name] / 86_400:g} d at {name}" for name in SLOT_BYTES)
    yield f"Kept      {kept}"


def _shards(found: Need) -> str:
    if found.shards == 1:
        return "one Redis" + (f", {found.nodes - 1} replica" if found.nodes > 1 else "")
    return f"a cluster of {found.shards} primaries, {found.nodes} nodes in all"


def _readers(found: Need) -> str:
    return f"{found.readers} reader{'s' if found.readers > 1 else ''}"


def _rate(text: str) -> float:
    rate = float(text)
    if not 0 <= rate < float("inf"):
        raise argparse.ArgumentTypeError("a number from 0")
    return rate


def _share(text: str) -> float:
    share = float(text)
    if not 0 < share <= 1:
        raise argparse.ArgumentTypeError("a share, above 0 and up to 1")
    return share
