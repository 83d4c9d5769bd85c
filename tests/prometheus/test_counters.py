"""Counters never fall, even while lines arrive and are folded and workers are killed.

They are scraped without pause from several workers.
"""

from __future__ import annotations

import os
import signal
import threading
import time
import uuid
from pathlib import Path

import httpx2
from prometheus_client.parser import text_string_to_metric_families

from app.traffic.simulated_lines import frame
from tests.support.processes import ServiceProcess
from tests.support.servers import wait_until

BATCHES = 150
LINES = 20
KILLS = 6
COUNTERS = ("_total", "_bucket", "_count", "_sum")
Series = tuple[str, tuple[tuple[str, str], ...]]


def scrape(client: httpx2.Client) -> dict[Series, float]:
    """All counter series; empty while no worker answers."""
    try:
        text = client.get("/metrics").text
    except httpx2.TransportError:
        return {}
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if sample.name.endswith(COUNTERS)
    }


def deliver(url: str, app: str, stop: threading.Event) -> None:
    """Send each batch until it is acknowledged, as Logplex would, but without a limit."""
    text = 'at=info method=GET path="/" dyno=web.1 connect=1ms service=7ms status=200 bytes=9'
    for _ in range(BATCHES):
        body = b"".join(frame(158, time.time(), "heroku", "router", text) for _ in range(LINES))
        headers = {"Logplex-Frame-Id": uuid.uuid4().hex}
        while not stop.is_set() and not _accepted(url, app, body, headers):
            pass


def _accepted(url: str, app: str, body: bytes, headers: dict[str, str]) -> bool:
    try:
        answer = httpx2.post(
            f"{url}/drain", content=body, headers=headers, auth=(app, "any"), trust_env=False
        )
    except httpx2.TransportError:
        return False
    return answer.status_code == 200


def requests_of(counters: dict[Series, float], app: str) -> float:
    return sum(
        value
        for (name, labels), value in counters.items()
        if name == "heroku_router_requests_total" and ("app", app) in labels
    )


def test_no_series_ever_falls_or_counts_twice(tmp_path: Path) -> None:
    service = ServiceProcess(
        tmp_path, WEB_CONCURRENCY="2", DYNOMETER_FOLD_INTERVAL="1s", DYNOMETER_FOLD_BATCHES="8"
    )
    service.start()
    stop = threading.Event()
    apps = ("shop", "blog")
    senders = [threading.Thread(target=deliver, args=(service.url, app, stop)) for app in apps]
    highest: dict[Series, float] = {}
    scrapes = kills = 0
    try:
        for sender in senders:
            sender.start()
        while any(sender.is_alive() for sender in senders) or kills < KILLS:
            with httpx2.Client(base_url=service.url, trust_env=False, timeout=20) as client:
                counters = scrape(client)
            scrapes += bool(counters)
            decreased_series = {
                series: (highest[series], value)
                for series, value in counters.items()
                if value < highest.get(series, 0)
            }
            assert not decreased_series
            highest.update(counters)
            for app in apps:
                assert requests_of(counters, app) <= BATCHES * LINES
            if scrapes % 5 == 4 and kills < KILLS and len(service.workers) == 2:
                os.kill(service.workers[kills % 2], signal.SIGKILL)
                kills += 1

        def all_counted() -> bool:
            with httpx2.Client(base_url=service.url, trust_env=False, timeout=20) as client:
                counters = scrape(client)
            return all(requests_of(counters, app) == BATCHES * LINES for app in apps)

        wait_until(all_counted, 30)
    finally:
        stop.set()
        for sender in senders:
            sender.join()
        service.stop()
    assert scrapes > 20
