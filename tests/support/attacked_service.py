"""A service under attack, and an honest sender beside it whose answers are recorded."""

from __future__ import annotations

import asyncio
import base64
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import httpx2

from bench.process import resident_bytes
from tests.support.lines import router
from tests.support.processes import ROOT, ServiceProcess
from tests.support.servers import wait_until

# Attacks that add up: those that hold the most memory, and those that take the most time.
MIXES = (
    "half_posts,hostile_names,readiness",
    "half_posts,hostile_marks,language_reports",
    "gzip_bombs,hostile_marks",
    "declared_posts,gzip_members,wrong_secrets",
    "declared_bodies,gzip_bombs,tiny_chunks,idle_connections",
    "chunked_bodies,gzip_bombs,half_posts,hostile_names,partial_heads,unread_pipelines",
)
_ADMIN = "an-admin-token-of-the-drill"
_POST_INTERVAL_S = 0.02
_HANG_S = 60.0  # no answer after that: the service does not work any more


class Outcome(NamedTuple):
    """The answers to the honest sender, and the most memory of the worker, in bytes."""

    statuses: list[int]
    times_s: list[float]
    peak_bytes: int

    @property
    def p99_s(self) -> float:
        """99 % of the answers took at most so long."""
        return sorted(self.times_s)[int(len(self.times_s) * 0.99)]


class AttackedService(NamedTuple):
    """A service, and the Authorization headers of the attacker's app and the honest sender's."""

    service: ServiceProcess
    attacker: str
    sender: str

    async def attack(self, names: str, seconds: float) -> Outcome:
        """Attack with all of `names` at once (tests.support.attacks), while the sender sends."""
        honest = _HonestSender(self.service.port, self.sender)
        await honest.send(0.5)
        _reset_peak(self.service.pid)
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "tests.support.attacks", names),
            *(str(self.service.port), self.attacker, str(seconds)),
            cwd=ROOT,
        )
        await honest.send(seconds + 1)
        await process.wait()
        assert process.returncode == 0
        peak_bytes = resident_bytes(self.service.pid, "VmHWM")
        return Outcome(honest.statuses, honest.times_s, peak_bytes)


def _reset_peak(pid: int) -> None:
    """Forget the most memory that a process has had."""
    Path(f"/proc/{pid}/clear_refs").write_text("5")


@contextmanager
def attacked_service(directory: Path) -> Iterator[AttackedService]:
    """Run a service with two apps."""
    service = ServiceProcess(
        directory,
        DYNOMETER_ADMIN_TOKEN=_ADMIN,
        DYNOMETER_PUBLIC_URL="https://m.example",
        DYNOMETER_LOG_FORMAT="json",
    )
    service.start()
    try:
        attacker = _authorization(service, "evil")
        _switch_custom_on(service, "evil")
        yield AttackedService(service, attacker, _authorization(service, "shop"))
    finally:
        service.stop()


def _switch_custom_on(service: ServiceProcess, app: str) -> None:
    answer = httpx2.put(
        f"{service.url}/api/v1/apps/{app}/custom",
        json={"on": True},
        headers={"Authorization": f"Bearer {_ADMIN}"},
        trust_env=False,
    )
    assert answer.status_code == 200, answer.text


def _authorization(service: ServiceProcess, app: str) -> str:
    """The header of an app with a new drain secret, which the worker knows already."""
    answer = httpx2.post(
        f"{service.url}/api/v1/drains",
        json={"apps": [app]},
        headers={"Authorization": f"Bearer {_ADMIN}"},
        trust_env=False,
    )
    credentials = answer.text.split("https://")[1].split("@")[0]
    header = "Basic " + base64.b64encode(credentials.encode()).decode()

    def is_accepted() -> bool:
        answer = httpx2.post(
            f"{service.url}/drain",
            content=router(time.time()),
            headers={"Authorization": header},
            trust_env=False,
        )
        return answer.status_code == 200

    wait_until(is_accepted)
    return header


class _HonestSender:
    """Sends small POSTs, each second one over a new connection."""

    def __init__(self, port: int, authorization: str) -> None:
        self.statuses: list[int] = []
        self.times_s: list[float] = []
        self._port = port
        self._authorization = authorization

    async def send(self, seconds: float) -> None:
        """Send for some seconds, at least once."""
        end_s = time.monotonic() + seconds
        connection = await asyncio.open_connection("127.0.0.1", self._port)
        is_new = True
        while True:
            start_s = time.monotonic()
            async with asyncio.timeout(_HANG_S):
                if is_new:
                    connection[1].close()
                    connection = await asyncio.open_connection("127.0.0.1", self._port)
                self.statuses.append(await self._post(*connection))
            self.times_s.append(time.monotonic() - start_s)
            is_new = not is_new
            if time.monotonic() >= end_s:
                break
            await asyncio.sleep(_POST_INTERVAL_S)
        connection[1].close()

    async def _post(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> int:
        body = router(time.time()) * 10
        writer.write(
            f"POST /drain HTTP/1.1\r\nHost: localhost\r\nAuthorization: {self._authorization}\r\n"
            f"Logplex-Frame-Id: {os.urandom(16).hex()}\r\nContent-Length: {len(body)}\r\n\r\n"
            .encode() + body
        )  # fmt: skip
        answer = await reader.readuntil(b"\r\n\r\n")
        return int(answer.split(b" ")[1])
