"""The real service, readers and a real Redis as processes, on Kafka."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import httpx2

from app.kafka.client_settings import KafkaSettings
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

    @property
    def pid(self) -> int:
        return self._process.pid

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
        self._lock = threading.Lock()

    def start_consumer(self, **environ: str) -> ConsumerProcess:
        reader = ConsumerProcess(self._directory, {**self.service.environ, **environ})
        self._stack.callback(reader.kill)
        return reader

    def post(
        self, app: str, lines: int = 10, frame: str = "", count: bool = True, dynos: int = 1
    ) -> int:
        self._posts += 1
        body = b"".join(
            router(
                time.time() - OLD_S,
                dyno=f"web.{number % dynos + 1}",
                status="200",
                service=f"{number}ms",
            )
            for number in range(lines)
        )
        headers = {"Logplex-Frame-Id": frame or f"frame-{self._posts}"}
        url = f"http://{app}:any@127.0.0.1:{self.service.port}/drain"
        answer = httpx2.post(url, content=body, headers=headers, trust_env=False, timeout=10)
        if count and answer.status_code == 200:
            with self._lock:
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

    @property
    def spool_bytes(self) -> int:
        lines = self.metrics().splitlines()
        (line,) = [line for line in lines if line.startswith("dynometer_spool_bytes ")]
        return int(float(line.split()[1]))

    @property
    def consumers_polling(self) -> int:
        """How many readers polled the brokers within the last 3 s."""
        series = "dynometer_log_polled_timestamp_seconds{"
        times = [
            float(line.rsplit(" ", 1)[1])
            for line in self.metrics().splitlines()
            if line.startswith(series)
        ]
        return sum(1 for polled_s in times if polled_s > time.time() - 3)

    def page(self) -> str:
        """The page that lists the apps, with the notices at its top."""
        return httpx2.get(self.service.url, trust_env=False, follow_redirects=True).text

    def settle(self) -> None:
        """Waits until every line is counted once, or fails with the difference."""
        with suppress(AssertionError):
            wait_until(lambda: self.counted() == self.lines_sent, WITHIN_S)
        counted = self.counted()
        assert counted == self.lines_sent, f"counted {counted}, sent {self.lines_sent}"
