"""While anybody attacks the syslog ports, honest senders go on, and the worker stays small."""

from __future__ import annotations

import re
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import httpx2
import pytest

from bench.process import resident_bytes
from tests.app.receivers.test_syslog_listener import ADMIN, TOKEN, line, requests_of, run
from tests.support.certificates import certificate
from tests.support.lines import counted
from tests.support.processes import ServiceProcess, free_port
from tests.support.servers import wait_until

DURATION_S = 6.0
POST_INTERVAL_S = 0.05
ANSWERED_WITHIN_S = 60.0  # shows a service that hangs; bench.attacks measures how fast it is
RESIDENT_BYTES_MAX = 400 * 2**20
ATTACKER_TOKEN = "d.99999999-03da-4e45-8c89-5d8ac5fff61d"

# By attack: the reason that the metric gives; "" if turns alone are the answer.
PLAIN = {
    "one_byte": "syslog_connections",
    "garbage_frames": "syslog_messages",
    "unlinked_lines": "syslog_messages",
    "short_headers": "syslog_messages",
    "hurry": "",
    "garbage_frames_of_an_app": "",
    "small_frames_of_an_app": "",
    "halves": "buffers",
    "other_tokens_of_an_app": "",
}
TLS = {
    "nothing": "syslog_connections",
    "tls_one_byte": "syslog_connections",
    "tls_hurry": "",
    "tls_garbage_frames": "syslog_messages",
    "tls_halves": "buffers",
}


@pytest.fixture
def service(tmp_path: Path) -> Iterator[ServiceProcess]:
    chain, key = certificate(tmp_path, "localhost", rsa=True)
    service = ServiceProcess(
        tmp_path / "service",
        DYNOMETER_ADMIN_TOKEN=ADMIN,
        DYNOMETER_PUBLIC_URL="https://metrics.example.com",
        DYNOMETER_SYSLOG_PORT=str(free_port()),
        DYNOMETER_SYSLOG_TLS_PORT=str(free_port()),
        DYNOMETER_TLS_CERT=str(chain),
        DYNOMETER_TLS_KEY=str(key),
    )
    service.start()
    yield service
    service.stop()


@contextmanager
def attack(name: str, port: str) -> Iterator[None]:
    command = [sys.executable, "-m", "tests.guarantees.syslog_attacks", name, port, ATTACKER_TOKEN]
    process = subprocess.Popen(command)
    try:
        yield
        assert process.poll() is None
    finally:
        process.kill()
        process.wait()


class HonestSenders:
    """One posts, one keeps a syslog connection, and one opens a new one each time."""

    def __init__(self, service: ServiceProcess) -> None:
        self._service = service
        addition = run(service, "drains", "add", "blog")
        secret = addition.stdout.decode().split("blog:")[1].split("@")[0]
        self._client = httpx2.Client(auth=("blog", secret), trust_env=False)
        self._connection = self._connect()
        self._connection.sendall(counted(line()))
        wait_until(lambda: requests_of(service, "shop") == 1)
        wait_until(lambda: self._post() == 200)
        self.posts, self.lines = 1, 1
        self.times_s: list[float] = []
        self.resident_bytes = 0

    def close(self) -> None:
        self._client.close()
        self._connection.close()

    def _connect(self) -> socket.socket:
        port = int(self._service.environ["DYNOMETER_SYSLOG_PORT"])
        return socket.create_connection(("127.0.0.1", port), timeout=10)

    def _post(self) -> int:
        answer = self._client.post(f"{self._service.url}/drain", content=counted(line("blog")))
        return answer.status_code

    def send(self) -> None:
        """Send for a while; each POST is answered 200."""
        end_s = time.monotonic() + DURATION_S
        while time.monotonic() < end_s:
            start_s = time.monotonic()
            assert self._post() == 200
            self.times_s.append(time.monotonic() - start_s)
            self.posts += 1
            self._connection.sendall(counted(line()))
            self.lines += 1
            if self.posts % 10 == 0:
                with self._connect() as sender:
                    sender.sendall(counted(line()))
                    self.lines += 1
            self.resident_bytes = max(self.resident_bytes, resident_bytes(self._service.pid))
            time.sleep(POST_INTERVAL_S)


def rejected(service: ServiceProcess, reason: str) -> float:
    """How often the service says that it rejected something for this reason."""
    text = httpx2.get(f"{service.url}/metrics", auth=("x", ADMIN), trust_env=False).text
    found = re.findall(rf'dynometer_rejected_total{{.*reason="{reason}".*}} (.*)', text)
    return sum(map(float, found))


@pytest.mark.timeout(120)
@pytest.mark.parametrize(("name", "reason"), [*PLAIN.items(), *TLS.items()])
def test_honest_senders_go_on(service: ServiceProcess, name: str, reason: str) -> None:
    assert run(service, "drains", "link", "shop", TOKEN).returncode == 0
    assert run(service, "drains", "link", "attacker", ATTACKER_TOKEN).returncode == 0
    senders = HonestSenders(service)
    setting = "DYNOMETER_SYSLOG_TLS_PORT" if name in TLS else "DYNOMETER_SYSLOG_PORT"
    with closing(senders), attack(name, service.environ[setting]):
        senders.send()
        wait_until(lambda: requests_of(service, "shop") == senders.lines, 20)
        if reason:
            wait_until(lambda: rejected(service, reason) > 0, 30)
    assert requests_of(service, "blog") == senders.posts
    assert max(senders.times_s) < ANSWERED_WITHIN_S
    assert senders.resident_bytes < RESIDENT_BYTES_MAX
    if reason:
        assert service.log.read_text().count("dynometer_rejected_total") <= 2  # once a minute each
