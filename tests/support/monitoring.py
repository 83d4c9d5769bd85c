"""Real Prometheus and Alertmanager processes, each with its own port and directory."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx2

from tests.support.processes import free_port
from tests.support.servers import find_program, wait_until

START_WITHIN_S = 30.0


@contextmanager
def running(log: Path, command: Sequence[str], ready: str) -> Iterator[None]:
    """Run a program once it answers at the URL `ready`, and stop it at the end."""
    with log.open("wb") as output:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, cwd=log.parent
        )
    try:
        wait_until(lambda: process.poll() is not None or _answers(ready), START_WITHIN_S)
        assert process.poll() is None, log.read_text()
        yield
    finally:
        process.kill()
        process.wait()


def _answers(url: str) -> bool:
    try:
        return httpx2.get(url, trust_env=False).status_code == 200
    except httpx2.TransportError:
        return False


class Prometheus:
    """Queries a Prometheus server."""

    def __init__(self, url: str) -> None:
        self.url = url

    def query(self, expression: str) -> list[dict[str, Any]]:
        """An instant query; each result has `metric` and `value`."""
        answer = httpx2.get(
            f"{self.url}/api/v1/query", params={"query": expression}, trust_env=False
        ).json()
        assert answer["status"] == "success", (expression, answer)
        result: list[dict[str, Any]] = answer["data"]["result"]
        return result

    def value(self, expression: str) -> float:
        """The only value of an instant query."""
        [result] = self.query(expression)
        return float(result["value"][1])

    def values(self, expression: str, label: str) -> dict[str, float]:
        """Values of an instant query by a label."""
        return {
            result["metric"].get(label, ""): float(result["value"][1])
            for result in self.query(expression)
        }


@contextmanager
def prometheus(directory: Path, config: str) -> Iterator[Prometheus]:
    """A Prometheus that runs with this configuration."""
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "prometheus.yml").write_text(config)
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    command = [
        find_program("prometheus"),
        "--config.file=prometheus.yml",
        "--storage.tsdb.path=data",
        f"--web.listen-address=127.0.0.1:{port}",
    ]
    with running(directory / "prometheus.log", command, f"{url}/-/ready"):
        yield Prometheus(url)


@contextmanager
def alertmanager(directory: Path, config: str) -> Iterator[str]:
    """The URL of an Alertmanager that runs with this configuration."""
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "alertmanager.yml").write_text(config)
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    command = [
        find_program("prometheus-alertmanager"),
        "--config.file=alertmanager.yml",
        "--storage.path=data",
        f"--web.listen-address=127.0.0.1:{port}",
        "--cluster.listen-address=",
    ]
    with running(directory / "alertmanager.log", command, f"{url}/-/ready"):
        yield url
