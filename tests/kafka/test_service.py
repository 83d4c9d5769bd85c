"""End to end: POSTs to the real service, brokers, consumers that are killed, a real Redis."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from functools import partial
from pathlib import Path
from typing import Any

import httpx2
import pytest

from app.access.drain_secrets import DrainRecord, Secret, encode, hash_secret
from app.kafka.client_settings import KafkaSettings
from app.kafka.secrets_topic import read_secrets
from tests.support.lines import router
from tests.support.processes import RedisProcess, ServiceProcess
from tests.support.servers import wait_until

WITHIN_S = 40.0
OLD_S = 900  # age of the lines: 'compare' leaves out the last minutes
APPS = [f"app-{number}" for number in range(4)]


class ConsumerProcess:
    """A process of `dynometer fold --from-kafka`."""

    def __init__(self, directory: Path, environ: dict[str, str]) -> None:
        with (directory / "reader.log").open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "app.cli", "fold", "--from-kafka"],
                cwd=directory,
                env=environ,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )

    def kill(self) -> None:
        with suppress(ProcessLookupError):
            os.kill(self._process.pid, signal.SIGKILL)
        self._process.wait()


def cli(*words: str) -> int:
    """Runs a command and returns its exit code."""
    return subprocess.run([sys.executable, "-m", "app.cli", *words], check=False).returncode


class World:
    """A Redis and a service that writes to Kafka. Tests start consumers as they need."""

    def __init__(self, directory: Path, kafka: KafkaSettings, stack: ExitStack) -> None:
        self._stack = stack
        self._directory = directory
        self.kafka = kafka
        self.redis = RedisProcess(directory / "redis")
        self.redis.start()
        stack.callback(self.redis.kill)
        stack.callback(self.redis.client.close)
        self.service = ServiceProcess(
            directory,
            REDIS_URL=f"redis://127.0.0.1:{self.redis.port}/0",
            DYNOMETER_KAFKA=kafka.bootstrap,
            DYNOMETER_KAFKA_TOPIC=kafka.topic,
            DYNOMETER_KAFKA_GROUP=kafka.group,
            WEB_CONCURRENCY="2",
        )
        self.service.start()
        stack.callback(self.service.stop)
        self.lines_sent = dict.fromkeys(APPS, 0)
        self._posts = 0

    def start_consumer(self, **environ: str) -> ConsumerProcess:
        reader = ConsumerProcess(self._directory, {**self.service.environ, **environ})
        self._stack.callback(reader.kill)
        return reader

    def post(self, app: str, lines: int = 10, frame: str = "", count: bool = True) -> int:
        self._posts += 1
        body = b"".join(
            router(time.time() - OLD_S, dyno="web.1", status="200", service=f"{number}ms")
            for number in range(lines)
        )
        headers = {"Logplex-Frame-Id": frame or f"frame-{self._posts}"}
        url = f"http://{app}:any@127.0.0.1:{self.service.port}/drain"
        answer = httpx2.post(url, content=body, headers=headers, trust_env=False, timeout=10)
        if count and answer.status_code == 200:
            self.lines_sent[app] += lines
        return answer.status_code

    def answer(self, app: str, secret: str) -> int:
        url = f"http://{app}:{secret}@127.0.0.1:{self.service.port}/drain"
        body = router(time.time(), dyno="web.1", status="200", service="20ms")
        return httpx2.post(url, content=body, trust_env=False, timeout=10).status_code

    def counted(self) -> dict[str, int]:
        """The counted requests by app, from /metrics."""
        requests_by_app = {}
        for app in APPS:
            url = f"{self.service.url}/metrics"
            text = httpx2.get(url, params={"app": app}, trust_env=False, timeout=10).text
            requests_by_app[app] = sum(
                int(float(line.rsplit(" ", 1)[1]))
                for line in text.splitlines()
                if line.startswith("heroku_router_requests_total{") and f'app="{app}"' in line
            )
        return requests_by_app

    def ledger(self, app: str) -> dict[str, Any]:
        url = f"{self.service.url}/api/v1/apps/{app}/ledger"
        now_s = int(time.time())
        span = {"start": now_s - 3_600, "end": now_s + 60}
        answer = httpx2.get(url, params=span, trust_env=False, timeout=10)
        ledger: dict[str, Any] = answer.json()
        return ledger

    def consumer_counter(self, count: str) -> int:
        """The sum of a counter over all consumers, from /metrics."""
        return sum(
            int(float(line.rsplit(" ", 1)[1]))
            for line in self.metrics().splitlines()
            if line.startswith(f"dynometer_log_{count}_total{{")
        )

    def metrics(self) -> str:
        return httpx2.get(f"{self.service.url}/metrics", trust_env=False).text

    def settle(self) -> None:
        """Waits until every line is counted once, or fails with the difference."""
        with suppress(AssertionError):
            wait_until(lambda: self.counted() == self.lines_sent, WITHIN_S)
        assert self.counted() == self.lines_sent


@pytest.fixture
def world(kafka: KafkaSettings, tmp_path: Path) -> Iterator[World]:
    """A world on the brokers of this run."""
    with ExitStack() as stack:
        yield World(tmp_path, kafka, stack)


@pytest.mark.timeout(120)
def test_lines_are_counted_once_even_if_consumers_are_killed(world: World) -> None:
    consumers = [world.start_consumer(), world.start_consumer()]
    for turn in range(90):
        assert world.post(APPS[turn % len(APPS)]) == 200
        if turn % 30 == 29:
            consumers.pop(0).kill()
            consumers.append(world.start_consumer())
    world.settle()


@pytest.mark.timeout(120)
def test_lines_that_arrive_while_redis_is_down_are_counted_later(world: World) -> None:
    world.start_consumer()
    world.post(APPS[0])
    world.settle()
    world.redis.kill()
    for turn in range(20):
        assert world.post(APPS[turn % len(APPS)]) == 200
    assert not list((world.service.directory / "data").rglob("*.spool"))  # Kafka has it
    world.redis.start()
    world.settle()


@pytest.mark.timeout(120)
def test_a_repeated_post_is_counted_once_and_is_a_duplicate_in_the_ledger(world: World) -> None:
    world.start_consumer()
    assert world.post(APPS[0], frame="same") == 200
    assert world.post(APPS[0], frame="same", count=False) == 200
    world.settle()
    wait_until(lambda: world.ledger(APPS[0]).get("duplicate") == 10, WITHIN_S)
    ledger = world.ledger(APPS[0])
    assert (ledger["received"], ledger["spooled"]) == (10, 0)


@pytest.mark.timeout(120)
def test_a_new_group_changes_nothing_in_a_store_that_has_everything(world: World) -> None:
    first = world.start_consumer()
    for turn in range(20):
        world.post(APPS[turn % len(APPS)])
    world.settle()
    first.kill()
    assert world.redis.client.delete("dm:ids", "dm:ids:before") == 2
    world.start_consumer(DYNOMETER_KAFKA_GROUP="another")
    wait_until(lambda: world.consumer_counter("replayed") == 20, WITHIN_S)
    world.settle()


@pytest.mark.timeout(120)
def test_a_store_rebuilt_from_kafka_is_equal(world: World, tmp_path: Path) -> None:
    world.start_consumer()
    for turn in range(20):
        world.post(APPS[turn % len(APPS)], frame=f"frame-{turn % 8}")  # most are repetitions
    new_redis = RedisProcess(tmp_path / "anew")
    new_redis.start()
    try:
        urls = [f"redis://127.0.0.1:{redis.port}/0" for redis in (world.redis, new_redis)]
        world.start_consumer(REDIS_URL=urls[1], DYNOMETER_KAFKA_GROUP="anew")
        for redis in (world.redis, new_redis):
            app_count = partial(redis.client.zcard, "dm:apps:last_seen")
            wait_until(lambda app_count=app_count: app_count() == len(APPS), WITHIN_S)  # type: ignore[misc]
        wait_until(lambda: cli("compare", *urls) == 0, WITHIN_S)
    finally:
        new_redis.client.close()
        new_redis.kill()


@pytest.mark.timeout(120)
def test_metrics_show_the_lag_of_consumers(world: World) -> None:
    world.start_consumer()
    world.post(APPS[0])
    world.settle()
    wait_until(lambda: 'dynometer_log_lag_records{partition="0"}' in world.metrics(), WITHIN_S)
    assert "dynometer_log_produced_batches_total" in world.metrics()


@pytest.mark.timeout(120)
def test_a_service_started_while_redis_is_down_knows_the_drain_secrets(world: World) -> None:
    record = encode(DrainRecord([Secret(hash_secret("right"), 1)]))
    world.redis.client.hset("dm:drains", "shop", record)
    world.service.stop()
    world.service.environ["DYNOMETER_ADMIN_TOKEN"] = "a" * 32
    world.service.start()
    wait_until(lambda: read_secrets(world.kafka).records == {"shop": record}, WITHIN_S)

    world.service.stop()
    world.redis.kill()
    shutil.rmtree(world.service.directory / "data")
    world.service.start()
    wait_until(lambda: world.answer("shop", "right") == 200, WITHIN_S)
    assert world.answer("shop", "wrong") != 200
    world.redis.start()
