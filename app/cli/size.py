"""`dynometer size`: estimates the resources for a load."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator

from app.cli.arguments import argument, duration
from app.config import Settings, parse_count, parse_size
from app.rollup.resolutions import DAY_S, resolutions
from app.support.capacity import (
    REDIS_POST_US,
    SLOT_BYTES,
    WORKER_LINE_US,
    WORKER_POST_US,
    Estimate,
    Load,
    Machine,
    archive_bytes,
    estimate,
)

ARCHIVE_HOURS_S, YEAR_S = 400 * DAY_S, 365 * DAY_S
_GIB, _MIB = 2**30, 2**20


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add options for the load and the machines."""
    count = argument(parse_count)
    parser.add_argument(
        "--apps", type=count, default=20, help="number of apps (default: %(default)s)"
    )
    parser.add_argument(
        "--requests-per-s", type=_rate, default=1_000.0, help="of all apps (default: 1000)"
    )
    parser.add_argument("--dynos", type=count, help="of all apps (default: 4 per app)")
    parser.add_argument(
        "--largest",
        type=_share,
        default=0.2,
        metavar="SHARE",
        help="share of all traffic that the largest app has (default: %(default)s)",
    )
    parser.add_argument(
        "--app-lines",
        type=_rate,
        default=2.0,
        help="lines of application output per request (default: 2)",
    )
    parser.add_argument(
        "--lines-per-post",
        type=count,
        default=100,
        help="lines in a POST of a busy app (default: %(default)s)",
    )
    for name, default in (("1m", "24h"), ("10m", "15d"), ("1h", "90d")):
        parser.add_argument(
            f"--retention-{name}",
            type=duration,
            default=default,
            help=f"how long intervals of {name} are kept (default: {default})",
        )
    parser.add_argument(
        "--busy",
        type=_share,
        default=0.5,
        metavar="SHARE",
        help="share of a core that may be used; the rest is headroom (default: %(default)s)",
    )
    parser.add_argument(
        "--shard-memory",
        type=argument(parse_size),
        default="8GiB",
        help="memory of one Redis (default: 8GiB)",
    )
    parser.add_argument(
        "--replicas", type=int, default=1, help="replicas of each primary (default: %(default)s)"
    )
    parser.add_argument("--json", action="store_true", help="print JSON")


def run(arguments: argparse.Namespace, settings: Settings) -> int:
    """Print the estimate."""
    tiers = resolutions(arguments.retention_1m, arguments.retention_10m, arguments.retention_1h)
    load = Load(
        apps=arguments.apps,
        requests_s=arguments.requests_per_s,
        dynos=arguments.dynos or 4 * arguments.apps,
        largest=arguments.largest,
        app_lines=arguments.app_lines,
        lines_max=arguments.lines_per_post,
        retention_s={tier.name: tier.retention_s for tier in tiers},
        slot_s={tier.name: tier.seconds for tier in tiers},
    )
    machine = Machine(arguments.busy, arguments.shard_memory, arguments.replicas)
    result = estimate(load, machine)
    if arguments.json:
        print(json.dumps(result._asdict(), indent=2))
    else:
        print("\n".join(lines(load, machine, result)))
    return 0


def lines(load: Load, machine: Machine, result: Estimate) -> Iterator[str]:
    """The estimate as lines of text."""
    yield (
        f"{load.apps:,} apps, {load.requests_s:,.0f} requests/s, {load.dynos:,} dynos; "
        f"the largest app has {load.largest:.0%} of the traffic"
    )
    yield ""
    yield (
        f"Lines      {result.lines_s:,.0f}/s: per request 1 router line and {load.app_lines:g} of "
        "application output, per dyno 2 every 20 s"
    )
    yield (
        f"POSTs      {result.posts_s:,.0f}/s of {result.lines_a_post:.0f} lines, "
        f"{result.network_bytes_s / _MIB:,.1f} MiB/s"
    )
    yield (
        f"Workers    {result.workers:,}: {result.worker_cores:.2f} cores "
        f"({WORKER_POST_US:g} µs per POST and {WORKER_LINE_US:g} µs per line), "
        f"each {machine.busy:.0%} busy"
    )
    yield (
        f"Redis      {result.redis_cores:.2f} cores ({REDIS_POST_US:g} µs per POST), "
        f"{result.redis_bytes / _GIB:,.2f} GiB: {_shards(result)}"
    )
    if result.largest_cores > machine.busy:
        yield (
            f"WARN       the largest app needs {result.largest_cores:.2f} cores of Redis, more "
            "than one primary has; an app cannot be split between primaries"
        )
    yield (
        f"Kafka      if used: {result.kafka_partitions} partitions, {_readers(result)}, "
        f"{result.kafka_bytes_s / _MIB:,.1f} MiB/s to each broker that holds them"
    )
    retention = ", ".join(f"{load.retention_s[name] / 86_400:g} d at {name}" for name in SLOT_BYTES)
    yield (
        f"Archive    if used: {archive_bytes(load, '1h', ARCHIVE_HOURS_S) / _GIB:,.1f} GiB of "
        f"PostgreSQL for {ARCHIVE_HOURS_S / DAY_S:g} d of hours, and "
        f"{archive_bytes(load, '1d', YEAR_S) / _GIB:,.2f} GiB for each year of days"
    )
    yield f"Retention  {retention}"


def _shards(result: Estimate) -> str:
    if result.shards == 1:
        return "one Redis" + (f", {result.nodes - 1} replica" if result.nodes > 1 else "")
    return f"a cluster of {result.shards} primaries, {result.nodes} nodes in total"


def _readers(result: Estimate) -> str:
    return f"{result.readers} reader{'s' if result.readers > 1 else ''}"


def _rate(text: str) -> float:
    try:
        rate = float(text)
    except ValueError:
        rate = -1.0
    if not 0 <= rate < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r}: expected a number from 0")
    return rate


def _share(text: str) -> float:
    try:
        share = float(text)
    except ValueError:
        share = -1.0
    if not 0 < share <= 1:
        raise argparse.ArgumentTypeError(f"{text!r}: expected a share, above 0 and up to 1")
    return share
