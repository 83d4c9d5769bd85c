"""Runs the service as a process of its own, to be measured from outside."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import httpx2

_KIB = 1024


@contextmanager
def service(
    directory: Path, module: str, root: Path | None = None, **settings: str
) -> Iterator[tuple[int, str]]:
    """Run a module as the service, with an embedded store; yields (pid, address).

    `root`: a checkout with another version of the code; None for this one.
    """
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    url = f"http://127.0.0.1:{port}"
    environ = {**os.environ, **settings, "PORT": str(port)}
    environ["DYNOMETER_DATA_DIR"] = str(directory)
    with subprocess.Popen(
        [sys.executable, "-m", *module.split()], env=environ, stdout=subprocess.DEVNULL, cwd=root
    ) as process:
        try:
            _wait_for(url, process)
            yield process.pid, url
        finally:
            process.send_signal(signal.SIGTERM)


def _wait_for(url: str, process: subprocess.Popen[bytes]) -> None:
    while process.poll() is None:
        with suppress(httpx2.TransportError):
            httpx2.get(f"{url}/healthz", trust_env=False)
            return
        time.sleep(0.1)
    raise SystemExit("the service did not start")


def resident_bytes(pid: int, field: str = "VmRSS") -> int:
    """Memory of a process: VmRSS now, VmHWM at its peak."""
    status = Path(f"/proc/{pid}/status").read_text()
    line = next(line for line in status.splitlines() if line.startswith(f"{field}:"))
    return int(line.split()[1]) * _KIB
