"""While strangers or one sender attack, an honest sender is answered, and memory stays bounded."""

from __future__ import annotations

import asyncio
import base64
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest

from tests.support.attacks import ATTACKS
from tests.support.lines import router
from tests.support.processes import ROOT, ServiceProcess
from tests.support.servers import wait_until

ADMIN = "an-admin-token-of-the-drill"
ATTACK_S = 4.0
POST_INTERVAL_S = 0.02
P99_MAX_S = 1.0
RSS_MAX_BYTES = 400 * 2**20
MIXES = (
    "half_posts,hostile_names,readiness",
    "declared_posts,gzip_members,wrong_secrets",
)


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServiceProcess]:
    service = ServiceProcess(
        tmp_path_factory.mktemp("attacked"),
        DYNOMETER_ADMIN_TOKEN=ADMIN,
        DYNOMETER_PUBLIC_URL="https://m.example",
        DYNOMETER_LOG_FORMAT="json",
    )
    service.start()
    yield service
    service.stop()


@pytest.fixture(scope="module")
def secrets(service: ServiceProcess) -> tuple[str, str]:
    """The Authorization headers of the attacker's app and of the honest sender's."""
    headers = authorization(service, "evil"), authorization(service, "shop")
    for header in headers:
        wait_until(lambda header=header: is_accepted(service, header))  # type: ignore[misc]
    return headers


def is_accepted(service: ServiceProcess, header: str) -> bool:
    """Whether the worker knows the secret already."""
    answer = httpx2.post(
        f"{service.url}/drain",
        content=router(time.time()),
        headers={"Authorization": header},
        trust_env=False,
    )
    return answer.status_code == 200


def authorization(service: ServiceProcess, app: str) -> str:
    """The header of an app with a new drain secret."""
    answer = httpx2.post(
        f"{service.url}/api/v1/drains",
        json={"apps": [app]},
        headers={"Authorization": f"Bearer {ADMIN}"},
        trust_env=False,
    )
    credentials = answer.text.split("https://")[1].split("@")[0]
    return "Basic " + base64.b64encode(credentials.encode()).decode()


class HonestSender:
    """Sends small POSTs, each second one over a new connection."""

    def __init__(self, port: int, authorization: str) -> None:
        self.statuses: list[int] = []
        self.times_s: list[float] = []
        self._port = port
        self._authorization = authorization

    async def send(self, seconds: float) -> None:
        end_s = time.monotonic() + seconds
        connection = await asyncio.open_connection("127.0.0.1", self._port)
        is_new = True
        while time.monotonic() < end_s:
            start_s = time.monotonic()
            if is_new:
                connection[1].close()
                connection = await asyncio.open_connection("127.0.0.1", self._port)
            self.statuses.append(await self._post(*connection))
            self.times_s.append(time.monotonic() - start_s)
            is_new = not is_new
            await asyncio.sleep(POST_INTERVAL_S)
        connection[1].close()

    async def _post(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> int:
        body = router(time.time()) * 10
        writer.write(
            f"POST /drain HTTP/1.1\r\nHost: localhost\r\nAuthorization: {self._authorization}\r\n"
            f"Logplex-Frame-Id: {os.urandom(16).hex()}\r\nContent-Length: {len(body)}\r\n\r\n"
            .encode() + body
        )  # fmt: skip
        async with asyncio.timeout(20):
            answer = await reader.readuntil(b"\r\n\r\n")
        return int(answer.split(b" ")[1])

    @property
    def p99_s(self) -> float:
        return sorted(self.times_s)[int(len(self.times_s) * 0.99)]


def reset_peak(pid: int) -> None:
    """Forget the most memory that a process has had."""
    Path(f"/proc/{pid}/clear_refs").write_text("5")


def peak_bytes(pid: int) -> int:
    """The most memory that a process has had since its peak was reset."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmHWM"):
            return int(line.split()[1]) * 1024
    raise AssertionError("no VmHWM")


@pytest.mark.timeout(180)
@pytest.mark.parametrize("names", [*ATTACKS, *MIXES])
async def test_an_honest_sender_is_answered_during_an_attack(
    service: ServiceProcess, secrets: tuple[str, str], names: str
) -> None:
    attacker, sender = secrets
    honest = HonestSender(service.port, sender)
    await honest.send(0.5)
    reset_peak(service.pid)
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.support.attacks", names),
        *(str(service.port), attacker, str(ATTACK_S)),
        cwd=ROOT,
    )
    await honest.send(ATTACK_S + 1)
    await process.wait()
    peak = peak_bytes(service.pid)
    print(f"{names}: {len(honest.times_s)} POSTs, p99 {honest.p99_s:.3f} s, {peak / 2**20:.0f} MiB")
    assert process.returncode == 0
    assert set(honest.statuses) == {200}
    assert honest.p99_s < P99_MAX_S
    assert peak < RSS_MAX_BYTES
