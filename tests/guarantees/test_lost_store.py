"""A store that comes back empty, under load: no known drain is rejected, by no worker."""

from __future__ import annotations

import re
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx2
import pytest

from tests.support.lines import router
from tests.support.processes import ROOT, RedisProcess, ServiceProcess
from tests.support.servers import wait_until

TOKEN = "an-admin-token-of-some-length"
KEY = "a-secret-key-of-some-length"
APPS = [f"shop-{number}" for number in range(4)]
WITHIN_S = 60.0
REMOVED_WITHIN_S = 5.0
HEADERS = {"Authorization": f"Bearer {TOKEN}"}


class Senders:
    """Drains that deliver all the time, each from a thread of its own."""

    def __init__(self, service: ServiceProcess, secrets: dict[str, str]) -> None:
        self._service = service
        self._secrets = secrets
        self._is_stopping = threading.Event()
        self.statuses = Counter[tuple[str, int]]()

    @contextmanager
    def running(self) -> Iterator[Senders]:
        threads = [threading.Thread(target=self._send, args=(app,)) for app in self._secrets]
        for thread in threads:
            thread.start()
        try:
            yield self
        finally:
            self._is_stopping.set()
            for thread in threads:
                thread.join()

    def _send(self, app: str) -> None:
        number = 0
        with httpx2.Client(base_url=self._service.url, trust_env=False, timeout=30) as client:
            while not self._is_stopping.is_set():
                number += 1
                try:
                    answer = client.post(
                        "/drain",
                        content=router(time.time()),
                        auth=(app, self._secrets[app]),
                        headers={"Logplex-Frame-Id": f"{app}-{number}"},
                    )
                except httpx2.TransportError:  # the service restarts
                    time.sleep(0.05)
                else:
                    self.statuses[app, answer.status_code] += 1

    def wait_for_more(self, count: int = 50) -> None:
        """Wait until each drain has been acknowledged so many more times."""
        goals = {app: self.statuses[app, 200] + count for app in self._secrets}
        wait_until(
            lambda: all(self.statuses[app, 200] >= goal for app, goal in goals.items()), WITHIN_S
        )

    @property
    def answers(self) -> Counter[int]:
        counts = Counter[int]()
        for (_, status), count in self.statuses.items():
            counts[status] += count
        return counts


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[RedisProcess]:
    redis = RedisProcess(tmp_path / "redis", "--appendonly", "no")
    redis.start()
    yield redis
    redis.kill()


def service_on(redis: RedisProcess, directory: Path, **environ: str) -> ServiceProcess:
    return ServiceProcess(
        directory,
        REDIS_URL=f"redis://127.0.0.1:{redis.port}",
        DYNOMETER_ADMIN_TOKEN=TOKEN,
        DYNOMETER_PUBLIC_URL="https://metrics.example.com",
        **environ,
    )


def add_drains(service: ServiceProcess) -> dict[str, str]:
    answer = httpx2.post(
        f"{service.url}/api/v1/drains", json={"apps": APPS}, headers=HEADERS, trust_env=False
    )
    commands = "".join(drain["add"] for drain in answer.raise_for_status().json()["drains"])
    return dict(re.findall(r"//([a-z0-9-]+):([A-Za-z0-9_-]+)@", commands))


def readiness(service: ServiceProcess) -> tuple[int, bool]:
    answer = httpx2.get(f"{service.url}/readyz", trust_env=False)
    return answer.status_code, answer.json()["store"]["lost_data"]


def restart_empty(redis: RedisProcess) -> None:
    redis.kill()
    redis.start()


def run_command(service: ServiceProcess, *arguments: str) -> str:
    return subprocess.run(
        [sys.executable, "-m", "app.cli", *arguments],
        cwd=service.directory,
        env={**service.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=True,
    ).stderr


@pytest.mark.timeout(180)
def test_no_drain_is_rejected_when_the_store_comes_back_empty(
    redis: RedisProcess, tmp_path: Path
) -> None:
    service = service_on(redis, tmp_path / "service", WEB_CONCURRENCY="2")
    service.start()
    try:
        secrets = add_drains(service)
        with Senders(service, secrets).running() as senders:
            senders.wait_for_more()
            redis.client.flushall()
            senders.wait_for_more()
            wait_until(lambda: readiness(service) == (200, True), WITHIN_S)
            restart_empty(redis)
            senders.wait_for_more()
            wait_until(lambda: readiness(service) == (200, True), WITHIN_S)
            service.terminate()
            service.start()
            senders.wait_for_more()
            assert "4 drains" in run_command(service, "restore")
            wait_until(lambda: readiness(service) == (200, False), WITHIN_S)
            senders.wait_for_more()
        assert set(senders.answers) <= {200, 503}
        assert set(redis.client.hkeys("dm:drains")) == {app.encode() for app in APPS}
        run_command(service, "drains", "remove", APPS[0], "--yes")
        with Senders(service, {APPS[0]: secrets[APPS[0]]}).running() as senders:
            wait_until(lambda: senders.answers[401] > 0, REMOVED_WITHIN_S)
    finally:
        service.stop()


@pytest.mark.timeout(180)
def test_a_dyno_without_disk_accepts_derived_secrets_after_a_restart_of_all(
    redis: RedisProcess, tmp_path: Path
) -> None:
    service = service_on(redis, tmp_path / "service", DYNOMETER_SECRET_KEY=KEY)
    service.start()
    try:
        with Senders(service, add_drains(service)).running() as senders:
            senders.wait_for_more()
            service.terminate()
            restart_empty(redis)
            service.environ["DYNOMETER_DATA_DIR"] = str(tmp_path / "empty disk")
            service.start()
            senders.wait_for_more()
            assert readiness(service) == (200, True)
        assert set(senders.answers) <= {200, 503}
        assert set(redis.client.hkeys("dm:drains")) == {app.encode() for app in APPS}
    finally:
        service.stop()
