"""The service and Redis as separate processes that tests can kill and restart."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import httpx2
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from tests.support.servers import find_program, wait_until

ROOT = Path(__file__).parents[2]
START_WITHIN_S = 45.0
STOP_WITHIN_S = 12.0


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class RedisProcess:
    """A Redis that keeps its data when it is killed."""

    def __init__(self, directory: Path, *options: str) -> None:
        self.port = free_port()
        self._directory = directory
        self._options = options
        self._process: subprocess.Popen[bytes] | None = None
        self.client = redis.Redis(port=self.port, retry=Retry(NoBackoff(), 0))
        directory.mkdir(parents=True, exist_ok=True)

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def start(self) -> None:
        with (self._directory / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [
                    *(find_program("redis-server"), "--port", str(self.port), "--save", ""),
                    *("--bind", "127.0.0.1", "--dir", str(self._directory)),
                    *("--appendonly", "yes", *self._options),
                ],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        wait_until(self._answers, START_WITHIN_S)

    def kill(self) -> None:
        assert self._process is not None
        self._process.kill()
        self._process.wait()

    def _answers(self) -> bool:
        try:
            return bool(self.client.ping())
        except redis.exceptions.RedisError:
            return False


class ServiceProcess:
    """`dynometer serve` on its own port."""

    def __init__(self, directory: Path, **environ: str) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.directory = directory
        self.log = directory / "service.log"
        self.arguments: tuple[str, ...] = ()
        self._process: subprocess.Popen[bytes] | None = None
        self.environ: dict[str, str] = {
            **{name: value for name, value in os.environ.items() if "DYNOMETER" not in name},
            "PYTHONPATH": str(ROOT),
            "PORT": str(self.port),
            "DYNOMETER_DATA_DIR": str(directory / "data"),
            **environ,
        }
        directory.mkdir(parents=True, exist_ok=True)

    @property
    def pid(self) -> int:
        """The process id of the supervisor, or of the only process."""
        assert self._process is not None
        return self._process.pid

    @property
    def workers(self) -> list[int]:
        """Process ids of the workers, if there are several."""
        children = Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text().split()
        return [int(child) for child in children if b"spawn_main" in _command_line(child)]

    def start(self) -> None:
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "app.cli", "serve", *self.arguments],
                cwd=self.directory,
                env=self.environ,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        wait_until(self._answers, START_WITHIN_S)

    def terminate(self) -> float:
        """Send SIGTERM and wait; returns the seconds that the shutdown took."""
        assert self._process is not None
        began_s = time.monotonic()
        self._process.send_signal(signal.SIGTERM)
        self._process.wait(STOP_WITHIN_S)
        return time.monotonic() - began_s

    def kill(self) -> None:
        """Kill the supervisor; its workers end with it."""
        assert self._process is not None
        workers = self.workers
        self._process.kill()
        self._process.wait()
        wait_until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in workers))

    def stop(self) -> None:
        """End the service, in whatever state it is."""
        if self._process is not None and self._process.poll() is None:
            try:
                self.terminate()
            except subprocess.TimeoutExpired:
                self.kill()

    def _answers(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, self.log.read_text()
        has_tls = "--tls-cert" in self.arguments
        return answers(self.url.replace("http:", "https:") if has_tls else self.url)


def answers(url: str) -> bool:
    """Whether a service answers at this address."""
    try:
        return httpx2.get(f"{url}/healthz", trust_env=False, verify=False).status_code == 200
    except httpx2.TransportError:
        return False


def _command_line(pid: str) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except FileNotFoundError:
        return b""
