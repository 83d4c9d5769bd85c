"""What is measured: Dynometer and the floor, each as processes of its own; what they have spent
and, of Dynometer, whether what it counted is what was sent.
"""

from __future__ import annotations

import re
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx2
import redis

from app.storage import embedded
from bench.cpu import cpu_by_role, roles
from bench.process import resident_bytes, service
from bench.traffic import Sent

FOLDED_WITHIN_S = 600
_POLL_S = 0.5  # each look costs the store some
_SAMPLE = re.compile(r"^(\w+)\{(.*)\} (\S+)$", re.MULTILINE)
_LABEL = re.compile(r'(\w+)="([^"]*)"')
_COUNTERS = {
    "heroku_router_requests_total": "status",
    "heroku_errors_total": "code",
    "dynometer_messages_total": "result",
}


class Target:
    """Processes that take POSTs."""

    name = "floor"
    posts_min = 10_000  # so few take a quarter of a second: less could not be told from noise

    def __init__(self, pid: int, url: str) -> None:
        self.url = url
        self._processes = roles(pid)

    @property
    def workers(self) -> list[int]:
        """Their pids."""
        return [pid for pid, role in self._processes.items() if role == "worker"]

    def resident_mib(self) -> int:
        """The most memory that a worker had so far."""
        return round(max(resident_bytes(pid, "VmHWM") for pid in self.workers) / 2**20)

    def spent(self) -> Counter[str]:
        """CPU seconds so far, by role."""
        return cpu_by_role(self._processes)

    def settle(self, sent: Sent) -> None:
        """Wait until all that was sent is dealt with."""

    def check(self, sent: Sent) -> None:
        """Fail unless what was counted is what was sent."""


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
        self._total = Sent()
        self._before: dict[str, Counter[str]] = {label: Counter() for label in _COUNTERS.values()}

    def starts_here(self) -> None:
        """What the store holds already was not sent by us."""
        self._before = self._counted()

    def settle(self, sent: Sent) -> None:
        """Until no inbox holds anything."""
        deadline_s = time.monotonic() + FOLDED_WITHIN_S
        while waiting := self._waiting():
            if time.monotonic() > deadline_s:
                raise SystemExit(f"{waiting:,} inboxes are still not folded")
            time.sleep(_POLL_S)

    def _waiting(self) -> int:
        apps = self.store.zrange("dm:apps:last_seen", 0, -1)
        return self.store.exists(*(b"dm:{%b}:inbox" % app for app in apps)) if apps else 0

    def check(self, sent: Sent) -> None:
        """Lines, requests by status and errors by code, of all apps and rounds."""
        total = self._total
        total.posts += sent.posts
        total.lines += sent.lines
        total.statuses.update(sent.statuses)
        total.codes.update(sent.codes)
        found = self._counted()
        results = found["result"]
        taken = results["counted"] + results["ignored"]
        if not (found["status"], found["code"]) == (total.statuses, total.codes) or not (
            results["received"] == taken == total.lines
        ):
            raise SystemExit(f"sent {total}\ncounted {found}")

    def _counted(self) -> dict[str, Counter[str]]:
        found: dict[str, Counter[str]] = {label: Counter() for label in _COUNTERS.values()}
        text = httpx2.get(f"{self.url}/metrics", trust_env=False, timeout=300).text
        for name, labels, value in _SAMPLE.findall(text):
            if name in _COUNTERS and float(value):
                label = _COUNTERS[name]
                found[label][dict(_LABEL.findall(labels))[label]] += int(float(value))
        for label, counts in self._before.items():
            found[label].subtract(counts)
        return found


@contextmanager
def dynometer(directory: Path, workers: int = 1, **settings: str) -> Iterator[Dynometer]:
    """`dynometer serve` as it comes, in an empty directory."""
    with service(directory, "app.cli serve", WEB_CONCURRENCY=str(workers), **settings) as running:
        _wait_for_workers(running[0], workers)
        yield Dynometer(*running, directory)


@contextmanager
def floor(workers: int = 1) -> Iterator[Target]:
    """uvicorn that throws bodies away."""
    with service(Path("unused"), "bench.floor", WEB_CONCURRENCY=str(workers)) as running:
        _wait_for_workers(running[0], workers)
        yield Target(*running)


def _wait_for_workers(pid: int, workers: int) -> None:
    """Each of several has started to serve; one answers when it has."""
    if workers > 1:
        time.sleep(3)
        found = Counter(roles(pid).values())
        if found["worker"] != workers:
            raise SystemExit(f"of {workers} workers {found['worker']} have started")
