"""The measured targets: Dynometer and the floor, each in processes of its own.

A target knows its CPU time. Dynometer's also checks its counts against the traffic.
"""

from __future__ import annotations

import re
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx2
import redis

from app.access.cached_copy import MAX_STALENESS_S
from app.storage import embedded
from bench.cpu import cpu_by_role, roles
from bench.process import resident_bytes, service
from bench.traffic import Totals

FOLDED_WITHIN_S = 600
_POLL_S = 0.5  # each poll costs the store CPU time
_SAMPLE = re.compile(r"^(\w+)\{(.*)\} (\S+)$", re.MULTILINE)
_LABEL = re.compile(r'(\w+)="([^"]*)"')
_COUNTERS = {
    "heroku_router_requests_total": "status",
    "heroku_errors_total": "code",
    "dynometer_message_results_total": "result",
}


class Target:
    """Processes that receive POSTs; this base class is the floor."""

    name = "floor"
    posts_min = 5_000  # a tenth of a second or more; less would drown in noise
    received_mib = 0.0  # the memory of the largest worker after the first round

    def __init__(self, pid: int, url: str) -> None:
        self.url = url
        self._processes = roles(pid)

    @property
    def workers(self) -> list[int]:
        """The pids of the workers."""
        return [pid for pid, role in self._processes.items() if role == "worker"]

    def resident_mib(self, field: str) -> float:
        """The memory of the largest worker: VmRSS now, VmHWM at its peak."""
        return round(max(resident_bytes(pid, field) for pid in self.workers) / 2**20, 1)

    def cpu_s(self) -> Counter[str]:
        """CPU seconds so far, by role."""
        return cpu_by_role(self._processes)

    def settle(self, total: Totals) -> None:
        """Wait until the traffic is processed."""

    def check(self, round_total: Totals) -> None:
        """Fail unless the counts match the traffic."""

    def note_memory(self) -> None:
        """Keep the memory of the first round, before `check` reads all apps."""
        self.received_mib = self.received_mib or self.resident_mib("VmRSS")


class Dynometer(Target):
    """The service, with its embedded store."""

    name = "dynometer"
    posts_min = 0

    def __init__(self, pid: int, url: str, directory: Path) -> None:
        super().__init__(pid, url)
        store_url = embedded.find_running(directory)
        assert store_url is not None
        self.store_url = store_url
        self.store = redis.Redis.from_url(store_url)
        self._total = Totals()
        self._before: dict[str, Counter[str]] = {label: Counter() for label in _COUNTERS.values()}

    def switch_custom_on(self, apps: Sequence[str]) -> None:
        """Switch custom metrics on, which takes up to MAX_STALENESS_S."""
        self.store.hset("dm:access", mapping={f"custom:{app}": "on" for app in apps})
        time.sleep(MAX_STALENESS_S)

    def ignore_present_data(self) -> None:
        """Exclude the present data from later checks."""
        self._before = self._read_counters()

    def settle(self, total: Totals) -> None:
        """Wait until every inbox is empty."""
        deadline_s = time.monotonic() + FOLDED_WITHIN_S
        apps: Any = self.store.zrange("dm:apps:last_seen", 0, -1)
        inboxes = [b"dm:{%b}:inbox" % app for app in apps]
        while inboxes and (pending := self.store.exists(*inboxes)):
            if time.monotonic() > deadline_s:
                raise SystemExit(f"{pending:,} inboxes are still not folded")
            time.sleep(_POLL_S)

    def check(self, round_total: Totals) -> None:
        """Compare lines, requests by status and errors by code, of all apps and rounds."""
        total = self._total
        total.posts += round_total.posts
        total.lines += round_total.lines
        total.statuses.update(round_total.statuses)
        total.codes.update(round_total.codes)
        counters = self._read_counters()
        results = counters["result"]
        lines_accepted = results["counted"] + results["ignored"]
        if not (counters["status"], counters["code"]) == (total.statuses, total.codes) or not (
            results.total() == lines_accepted == total.lines
        ):
            raise SystemExit(f"sent {total}\ncounted {counters}")

    def _read_counters(self) -> dict[str, Counter[str]]:
        counters: dict[str, Counter[str]] = {label: Counter() for label in _COUNTERS.values()}
        text = httpx2.get(f"{self.url}/metrics", trust_env=False, timeout=300).text
        for name, labels, value in _SAMPLE.findall(text):
            if name in _COUNTERS and float(value):
                label = _COUNTERS[name]
                counters[label][dict(_LABEL.findall(labels))[label]] += int(float(value))
        for label, counts in self._before.items():
            counters[label].subtract(counts)
        return counters


@contextmanager
def dynometer(
    directory: Path, workers: int = 1, checkout: Path | None = None, **settings: str
) -> Iterator[Dynometer]:
    """`dynometer serve` with default settings, in an empty directory.

    `checkout`: runs the code of another one, as the target "other".
    """
    settings["WEB_CONCURRENCY"] = str(workers)
    with service(directory, "app.cli serve", checkout, **settings) as running:
        _wait_for_workers(running[0], workers)
        target = Dynometer(*running, directory)
        if checkout is not None:
            target.name = "other"
        yield target


@contextmanager
def floor(workers: int = 1) -> Iterator[Target]:
    """uvicorn that discards bodies."""
    with service(Path("unused"), "bench.floor", WEB_CONCURRENCY=str(workers)) as running:
        _wait_for_workers(running[0], workers)
        yield Target(*running)


def _wait_for_workers(pid: int, workers: int) -> None:
    """Wait until all of several workers serve; the address answers once the first one does."""
    if workers > 1:
        time.sleep(3)
        role_counts = Counter(roles(pid).values())
        if role_counts["worker"] != workers:
            raise SystemExit(f"of {workers} workers {role_counts['worker']} have started")
