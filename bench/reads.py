"""The cost of reads, also beside another checkout: `python -m bench.reads --beside CHECKOUT`.

Versions before add-ons ignore their samples. `--without-addons` leaves them out of the lines, so
that both versions store the same.

Each service runs in processes of its own, with an embedded store that is filled by POSTs of the
same lines. They are asked in turns, and lines keep coming, as the list and `/metrics` are about
the present. A figure is the CPU time of worker and store for a request, including what the service
does to judge the apps if it does that on demand.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import cache
from itertools import groupby
from pathlib import Path
from statistics import median
from typing import NamedTuple

import httpx2

from app.rollup.resolutions import DAY_S, HOUR_S, MINUTE_S, align
from app.traffic.simulated_lines import timestamp
from bench.corpus import simulated_lines
from bench.cpu import cpu_by_role, roles
from bench.measure import median_ratio, table
from bench.process import service
from bench.sender import connected_sender, requests
from bench.traffic import Post

ROUNDS = 7
SETTLE_MINUTES = 4  # in which a service judges the apps for the first time
DISTINCT = 60  # minutes of an app, which repeat: a deploy an hour, and restarts after it
_LIST_EVERY_S = 11  # the list of apps is cached for 10 s
_SETTINGS = {  # lines of the whole range are accepted
    "DYNOMETER_HORIZON_PAST": "91d",
    "DYNOMETER_RETENTION_10M": "91d",
    "DYNOMETER_RETENTION_1H": "91d",
}
_LINES_PER_REQUEST = 1.55
_LINES_PER_DYNO_S = 0.1
_CONNECTIONS = 4
_QUIET_CPU_S, _QUIET_S = 0.003, 0.2  # a service that uses less has nothing to do
_SENT_AFTER_S = 3  # after the end of a minute
_MINUTE_CHARACTERS = len("2026-11-22T10:00")
_MS = 1000


class Apps(NamedTuple):
    """Apps with the same lines: `prefix-0` and so on."""

    prefix: str
    number: int
    dynos: int
    requests_per_minute: int


MANY = Apps("app", 200, 8, 100)
SHOP = Apps("shop", 1, 100, 300)
SINGLE = Apps("single", 1, 8, 1_000)
SHOP_DAYS = 90
_ADDONS = (b"heroku-postgres", b"heroku-pgbouncer", b"heroku-redis")  # their procids

_QUERY = "/api/v1/apps/single-0/query?start=now-24h&step=1m"
READS = {
    "list of 200 apps": "/",
    "page of an app, 1h": "/apps/shop-0?range=1h",
    "page of an app, 24h": "/apps/shop-0?range=24h",
    "page of an app, 7d": "/apps/shop-0?range=7d",
    "page of an app, 90d": "/apps/shop-0?range=90d",
    "/metrics of 200 apps": "/metrics",
    "24 h by 1m, p95": f"{_QUERY}&metric=service_time_ms&stat=p95&by=process_type",
    "24 h by 1m, requests by status": f"{_QUERY}&metric=requests&stat=sum&by=status",
    "24 h by 1m, memory by dyno": f"{_QUERY}&metric=memory_total_bytes&stat=avg&by=dyno",
}


class Minute(NamedTuple):
    """The lines of a minute, and the part of their timestamps that stands for it."""

    prefix: bytes
    body: bytes
    lines: int

    def post(self, start_s: int) -> Post:
        """The same lines in another minute. Octet counts stay as they are."""
        body = self.body.replace(self.prefix, _minute_prefix(start_s))
        return Post(body, self.lines, Counter(), Counter())


def _minute_prefix(start_s: int) -> bytes:
    return timestamp(start_s)[:_MINUTE_CHARACTERS].encode()


@cache
def _distinct_minutes(apps: Apps, *, with_addons: bool) -> list[Minute]:
    per_s = apps.requests_per_minute / 60 * _LINES_PER_REQUEST + apps.dynos * _LINES_PER_DYNO_S
    lines = simulated_lines(dynos=apps.dynos, lines_per_s=per_s, seconds=DISTINCT * MINUTE_S)
    distinct_minutes = []
    for start_s, minute_lines in groupby(lines, lambda line: align(int(line.at_s), MINUTE_S)):
        frames = [line.frame for line in minute_lines if with_addons or not _is_addon(line.frame)]
        distinct_minutes.append(Minute(_minute_prefix(start_s), b"".join(frames), len(frames)))
    return distinct_minutes


def _is_addon(frame: bytes) -> bool:
    return frame.split(b" ", 6)[5] in _ADDONS


class Service:
    """A running service and its store."""

    def __init__(self, name: str, pid: int, url: str) -> None:
        self.name = name
        self._url = url
        self._processes = roles(pid)
        self._client = httpx2.Client(trust_env=False, timeout=300)

    def send(self, apps: Apps, starts_s: Iterable[int], *, with_addons: bool) -> None:
        """Send these minutes of the apps."""
        distinct_minutes = _distinct_minutes(apps, with_addons=with_addons)
        connections = min(_CONNECTIONS, apps.number)
        with connected_sender(self._url, connections) as sender:
            for start_s in starts_s:
                number = start_s // MINUTE_S + start_s // HOUR_S  # another minute of each hour
                post = distinct_minutes[number % DISTINCT].post(start_s)
                source = requests([post], apps.number, apps.prefix)
                sender.send([source] * connections, apps.number)

    def read(self, path: str) -> tuple[float, int]:
        """CPU ms of a request, and the bytes of its answer before compression."""
        self._wait_until_quiet()
        before_s = self._cpu_s()
        answer = self._client.get(self._url + path, headers={"Accept-Encoding": "gzip"})
        answer.raise_for_status()
        return _MS * (self._cpu_s() - before_s), len(answer.content)

    def _cpu_s(self) -> float:
        return sum(cpu_by_role(self._processes).values())

    def _wait_until_quiet(self) -> None:
        while True:
            before_s = self._cpu_s()
            time.sleep(_QUIET_S)
            if self._cpu_s() - before_s < _QUIET_CPU_S:
                return


class Traffic:
    """Sends the same lines to all services, up to the present."""

    def __init__(self, services: Sequence[Service], *, with_addons: bool = True) -> None:
        self._services = services
        self._with_addons = with_addons
        self._sent_until_s = 0

    def fill(self) -> None:
        """Send the past: a minute of each hour of 90 days, all of the last day or hour."""
        now_s = align(int(time.time()), MINUTE_S)
        self._sent_until_s = now_s
        day_s = align(now_s - DAY_S, HOUR_S)
        hours = range(day_s - SHOP_DAYS * DAY_S + DAY_S, day_s, HOUR_S)
        for target in self._services:
            self._send(target, SHOP, hours)
            self._send(target, SHOP, range(day_s, now_s, MINUTE_S))
            self._send(target, SINGLE, range(day_s, now_s, MINUTE_S))
            self._send(target, MANY, range(now_s - HOUR_S, now_s, MINUTE_S))

    def catch_up(self) -> None:
        """Send the minutes that have ended since."""
        until_s = align(int(time.time()) - _SENT_AFTER_S, MINUTE_S)
        minutes = range(self._sent_until_s, until_s, MINUTE_S)
        for target in self._services:
            for apps in (SHOP, SINGLE, MANY):
                self._send(target, apps, minutes)
        self._sent_until_s = max(until_s, self._sent_until_s)

    def _send(self, target: Service, apps: Apps, starts_s: Iterable[int]) -> None:
        target.send(apps, starts_s, with_addons=self._with_addons)

    def wait(self, until_s: float) -> None:
        """Keep sending until a time of the monotonic clock."""
        while time.monotonic() < until_s:
            self.catch_up()
            time.sleep(max(min(1, until_s - time.monotonic()), 0))


def measure(services: Sequence[Service], traffic: Traffic, rounds: int) -> dict[str, Costs]:
    """Ask all services all questions in turns. The first round warms up and is not counted."""
    costs = {name: Costs({target.name: [] for target in services}, {}) for name in READS}
    for number in range(rounds + 1):
        next_s = time.monotonic() + _LIST_EVERY_S
        for name, path in READS.items():
            traffic.catch_up()
            for target in services if number % 2 else reversed(services):
                took_ms, size = target.read(path)
                costs[name].sizes[target.name] = size
                if number:
                    costs[name].cpu_ms[target.name].append(took_ms)
        traffic.wait(next_s)
    return costs


class Costs(NamedTuple):
    """By service: the CPU ms of each round, and the size of the last answer in bytes."""

    cpu_ms: dict[str, list[float]]
    sizes: dict[str, int]


def format_table(costs: dict[str, Costs]) -> str:
    """The medians, and the ratio of the first service to each other."""
    names = list(next(iter(costs.values())).cpu_ms)
    head = ["read", *(f"{name}, CPU ms" for name in names), *(f"{name}, kB" for name in names)]
    rows = []
    for read, (cpu_ms, sizes) in costs.items():
        cells = [read, *(f"{median(cpu_ms[name]):.1f}" for name in names)]
        cells += [f"{sizes[name] / 1000:.0f}" for name in names]
        cells += [f"{median_ratio(cpu_ms[names[0]], cpu_ms[name]):.2f}" for name in names[1:]]
        rows.append(cells)
    return table([*head, *(f"ratio to {name}" for name in names[1:])], rows)


@contextmanager
def running(checkouts: dict[str, Path]) -> Iterator[list[Service]]:
    """Run the service of each checkout."""
    with ExitStack() as stack:
        services = []
        for name, root in checkouts.items():
            directory = stack.enter_context(tempfile.TemporaryDirectory(prefix="dynometer-"))
            started = service(Path(directory), "app.cli serve", root=root, **_SETTINGS)
            services.append(Service(name, *stack.enter_context(started)))
        yield services


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(prog="python -m bench.reads", description=__doc__)
    parser.add_argument("--beside", type=Path, action="append", default=[], metavar="CHECKOUT")
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--settle", type=int, default=SETTLE_MINUTES, metavar="MINUTES")
    parser.add_argument("--without-addons", action="store_true")
    arguments = parser.parse_args()
    checkouts = {"this checkout": Path.cwd(), **{path.name: path for path in arguments.beside}}
    with running(checkouts) as services:
        traffic = Traffic(services, with_addons=not arguments.without_addons)
        traffic.fill()
        traffic.wait(time.monotonic() + arguments.settle * MINUTE_S)
        costs = measure(services, traffic, arguments.rounds)
    print(f"\n### Reads (CPU of worker and store, medians of {arguments.rounds})\n")
    print(format_table(costs))


if __name__ == "__main__":
    main()
