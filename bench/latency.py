"""How long a POST of 100 lines waits for its answer at 10, 50 and 90 % of what the service takes.
`python -m bench.latency`.

What it can take is found first, in the same round: the connections send without pause. Then POSTs
arrive on their own account (exponential gaps), whether or not the last one is answered, and each
is timed from when it was due: a service that stalls cannot hide it. Service, store and sender share
the machine, so these figures hold for this machine alone.
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
from bench.results import keep
from bench.sender import (
    Connection,
    Request,
    connected,
    fail,
    on_last_cpu,
    requests,
    run,
    send,
    sent,
)
from bench.target import Dynometer, dynometer
from bench.traffic import posts

SHARES = (0.1, 0.5, 0.9)
_MS = 1000
_DRAINED_WITHIN_S = 60


class OpenLoop:
    """POSTs that come when they are due; who finds all connections busy waits for one."""

    def __init__(self, source: Iterator[Request], rate: float, count: int) -> None:
        self.waits_s: list[float] = []
        self._source = source
        self._rate = rate
        self._count = count
        self._idle: list[Connection] = []
        self._due: deque[float] = deque()
        self._sent: dict[Connection, float] = {}  # when what it carries was due

    async def send(self, url: str, connections: int) -> list[float]:
        """Seconds that each waited."""
        loop = asyncio.get_running_loop()
        done: asyncio.Future[None] = loop.create_future()
        self._done = done
        async with connected(url, connections, self._on_idle, partial(fail, done)):
            due_s = time.monotonic()
            for _ in range(self._count):
                due_s += random.expovariate(self._rate)
                if (pause_s := due_s - time.monotonic()) > 0:
                    await asyncio.sleep(pause_s)
                self._due.append(due_s)
                self._go_on()
            async with asyncio.timeout(_DRAINED_WITHIN_S):
                await done
        return self.waits_s

    def _on_idle(self, connection: Connection) -> None:
        due_s = self._sent.pop(connection, None)
        if due_s is not None:
            self.waits_s.append(time.monotonic() - due_s)
        self._idle.append(connection)
        if len(self.waits_s) == self._count and not self._done.done():
            self._done.set_result(None)
        self._go_on()

    def _go_on(self) -> None:
        while self._due and self._idle:
            connection = self._idle.pop()
            self._sent[connection] = self._due.popleft()
            connection.post(next(self._source))


def percentile_ms(waits_s: list[float], share: float) -> float:
    """By nearest rank."""
    ordered = sorted(waits_s)
    return _MS * ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def one_round(
    service: Dynometer, arguments: argparse.Namespace
) -> tuple[float, list[tuple[float, ...]]]:
    """(POSTs a second at saturation, (p50, p99, max) in ms at each share of it)."""
    count = int(arguments.saturating)
    corpus = posts(100, 8, arguments.apps)
    source = requests(corpus, arguments.apps)
    rate = count / send(service.url, source, count, arguments.connections)
    service.settle(sent(corpus, count))
    service.check(sent(corpus, count))
    found = []
    for share in SHARES:
        corpus = posts(100, 8, arguments.apps)
        source = requests(corpus, arguments.apps)
        at_share = max(200, round(rate * share * arguments.seconds))
        load = OpenLoop(source, rate * share, at_share)
        with on_last_cpu():
            waits_s = run(load.send(service.url, arguments.connections))
        service.settle(sent(corpus, at_share))
        service.check(sent(corpus, at_share))
        found.append((*(percentile_ms(waits_s, each) for each in (0.5, 0.99)), _MS * max(waits_s)))
    return rate, found


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(prog="python -m bench.latency", description=__doc__)
    parser.add_argument("--apps", type=int, default=20)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--connections", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=10.0, help="at each share")
    parser.add_argument("--saturating", type=int, default=6_000, help="POSTs to find the most")
    parser.add_argument("--keep", action="store_true", help="write bench/results/")
    arguments = parser.parse_args()
    with (
        TemporaryDirectory(prefix="dynometer-") as directory,
        dynometer(Path(directory), arguments.workers) as service,
    ):
        rounds = [one_round(service, arguments) for _ in range(arguments.rounds)]
    rate = median(most for most, _ in rounds)
    rows = []
    for index, share in enumerate(SHARES):
        p50, p99, longest = (
            round(median(found[index][which] for _, found in rounds), 2) for which in range(3)
        )
        rows.append({"share": share, "posts_per_s": round(rate * share)})
        rows[-1] |= {"p50_ms": p50, "p99_ms": p99, "max_ms": longest}
    print(f"\n### Latency ({arguments.apps} apps, saturated at {rate:,.0f} POSTs a second)\n")
    print(shown(rows))
    if arguments.keep:
        names = ("apps", "workers", "connections", "rounds", "seconds")
        keep("latency", rows, {name: getattr(arguments, name) for name in names})


def shown(rows: list[dict[str, float]]) -> str:
    """As a table."""
    head = ("of saturation", "POSTs a second", "p50, ms", "p99, ms", "longest, ms")
    cells = [
        (
            f"{each['share']:.0%}",
            f"{each['posts_per_s']:,}",
            *(f"{each[name]:.1f}" for name in ("p50_ms", "p99_ms", "max_ms")),
        )
        for each in rows
    ]
    return table(head, cells)


if __name__ == "__main__":
    main()
