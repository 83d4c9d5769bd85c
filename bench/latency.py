"""Latency of a POST of 100 lines at 10, 50 and 90 % of saturation: `python -m bench.latency`.

The saturation rate is found first, in the same round, with connections that send without pause.
Then POSTs arrive with exponential gaps, whether or not the previous one is answered. Each is timed
from the moment when it was due, so a stall of the service cannot hide. Service, store and sender
share the machine: these figures hold for this machine alone.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import time
from collections import deque
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

from bench.measure import table
from bench.results import save
from bench.sender import (
    Connection,
    OpenConnections,
    Request,
    connected_sender,
    fail,
    on_last_cpu,
    requests,
    requests_by_connection,
    run,
    sent_totals,
)
from bench.target import Dynometer, dynometer
from bench.traffic import posts

SHARES = (0.1, 0.5, 0.9)
_MS = 1000
_DRAINED_WITHIN_S = 60


class OpenLoop:
    """Sends POSTs when they are due; if all connections are busy, a POST waits for one."""

    def __init__(self, source: Iterator[Request], rate: float, count: int) -> None:
        self.waits_s: list[float] = []
        self._source = source
        self._rate = rate
        self._count = count
        self._idle: list[Connection] = []
        self._due: deque[float] = deque()
        self._due_by_connection: dict[Connection, float] = {}

    async def send(self, url: str, connections: int) -> list[float]:
        """Send all POSTs; returns the seconds that each waited."""
        loop = asyncio.get_running_loop()
        completion: asyncio.Future[None] = loop.create_future()
        self._completion = completion
        async with OpenConnections(url, connections, self._on_idle, partial(fail, completion)):
            due_s = time.monotonic()
            for _ in range(self._count):
                due_s += random.expovariate(self._rate)
                if (pause_s := due_s - time.monotonic()) > 0:
                    await asyncio.sleep(pause_s)
                self._due.append(due_s)
                self._post_due()
            async with asyncio.timeout(_DRAINED_WITHIN_S):
                await completion
        return self.waits_s

    def _on_idle(self, connection: Connection) -> None:
        due_s = self._due_by_connection.pop(connection, None)
        if due_s is not None:
            self.waits_s.append(time.monotonic() - due_s)
        self._idle.append(connection)
        if len(self.waits_s) == self._count and not self._completion.done():
            self._completion.set_result(None)
        self._post_due()

    def _post_due(self) -> None:
        while self._due and self._idle:
            connection = self._idle.pop()
            self._due_by_connection[connection] = self._due.popleft()
            connection.post(next(self._source))


def percentile_ms(waits_s: list[float], share: float) -> float:
    """A percentile by nearest rank, in ms."""
    sorted_waits_s = sorted(waits_s)
    return _MS * sorted_waits_s[min(len(sorted_waits_s) - 1, int(share * len(sorted_waits_s)))]


def one_round(
    service: Dynometer, arguments: argparse.Namespace
) -> tuple[float, list[tuple[float, ...]]]:
    """(POSTs a second at saturation, (p50, p99, max) in ms at each share of it)."""
    count = int(arguments.saturating)
    corpus = posts(100, 8, arguments.apps)
    sources = requests_by_connection(corpus, arguments.apps, arguments.connections)
    with connected_sender(service.url, arguments.connections) as sender:
        rate = count / sender.send(sources, count)
    service.settle(sent_totals(corpus, count))
    service.check(sent_totals(corpus, count))
    percentiles = []
    for share in SHARES:
        corpus = posts(100, 8, arguments.apps)
        source = requests(corpus, arguments.apps)
        at_share = max(200, round(rate * share * arguments.seconds))
        load = OpenLoop(source, rate * share, at_share)
        with on_last_cpu():
            waits_s = run(load.send(service.url, arguments.connections))
        service.settle(sent_totals(corpus, at_share))
        service.check(sent_totals(corpus, at_share))
        percentiles.append(
            (
                *(percentile_ms(waits_s, percentile) for percentile in (0.5, 0.99)),
                _MS * max(waits_s),
            )
        )
    return rate, percentiles


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(prog="python -m bench.latency", description=__doc__)
    parser.add_argument("--apps", type=int, default=20)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--connections", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=10.0, help="at each share of saturation")
    parser.add_argument(
        "--saturating", type=int, default=6_000, help="POSTs to find the saturation rate"
    )
    parser.add_argument("--keep", action="store_true", help="save to bench/results/")
    arguments = parser.parse_args()
    with (
        TemporaryDirectory(prefix="dynometer-") as directory,
        dynometer(Path(directory), arguments.workers) as service,
    ):
        rounds = [one_round(service, arguments) for _ in range(arguments.rounds)]
    rate = median(saturation for saturation, _ in rounds)
    rows = []
    for index, share in enumerate(SHARES):
        p50, p99, longest = (
            round(median(percentiles[index][column] for _, percentiles in rounds), 2)
            for column in range(3)
        )
        rows.append({"share": share, "posts_per_s": round(rate * share)})
        rows[-1] |= {"p50_ms": p50, "p99_ms": p99, "max_ms": longest}
    print(f"\n### Latency ({arguments.apps} apps, saturated at {rate:,.0f} POSTs a second)\n")
    print(format_table(rows))
    if arguments.keep:
        names = ("apps", "workers", "connections", "rounds", "seconds")
        save("latency", rows, {name: getattr(arguments, name) for name in names})


def format_table(rows: list[dict[str, float]]) -> str:
    """The rows as a table."""
    head = ("share of saturation", "POSTs per second", "p50, ms", "p99, ms", "max, ms")
    cells = [
        (
            f"{row['share']:.0%}",
            f"{row['posts_per_s']:,}",
            *(f"{row[name]:.1f}" for name in ("p50_ms", "p99_ms", "max_ms")),
        )
        for row in rows
    ]
    return table(head, cells)


if __name__ == "__main__":
    main()
