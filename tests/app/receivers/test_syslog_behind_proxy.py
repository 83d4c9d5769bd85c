"""Syslog behind a real haproxy that speaks the PROXY protocol."""

from __future__ import annotations

import socket
import ssl
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.app.receivers.test_syslog_listener import line, requests_of
from tests.support.certificates import certificate
from tests.support.lines import counted
from tests.support.processes import ServiceProcess, free_port
from tests.support.servers import find_program, wait_until

HAPROXY = """
defaults
  mode tcp
  timeout connect 5s
  timeout client 300s
  timeout server 300s
listen plain
  bind 127.0.0.1:{plain}
  server s 127.0.0.1:{to_plain} {version}
listen tls
  bind 127.0.0.1:{tls}
  server s 127.0.0.1:{to_tls} {version}
"""


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServiceProcess]:
    """A service for all tests; each sends as another host."""
    directory = tmp_path_factory.mktemp("behind_proxy")
    chain, key = certificate(directory, "localhost")
    service = ServiceProcess(
        directory / "service",
        DYNOMETER_SYSLOG_PORT=str(free_port()),
        DYNOMETER_SYSLOG_TLS_PORT=str(free_port()),
        DYNOMETER_TLS_CERT=str(chain),
        DYNOMETER_TLS_KEY=str(key),
        DYNOMETER_SYSLOG_PROXY_PROTOCOL="1",
    )
    service.start()
    yield service
    service.stop()


@contextmanager
def haproxy(directory: Path, service: ServiceProcess, version: str) -> Iterator[tuple[int, int]]:
    plain, tls = free_port(), free_port()
    config = directory / "haproxy.cfg"
    config.write_text(
        HAPROXY.format(
            plain=plain,
            tls=tls,
            to_plain=service.environ["DYNOMETER_SYSLOG_PORT"],
            to_tls=service.environ["DYNOMETER_SYSLOG_TLS_PORT"],
            version=version,
        )
    )
    process = subprocess.Popen([find_program("haproxy"), "-db", "-f", str(config)])
    try:
        wait_until(lambda: accepts(plain) and accepts(tls))
        yield plain, tls
    finally:
        process.terminate()
        process.wait(10)


def accepts(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@pytest.mark.parametrize("version", ["send-proxy", "send-proxy-v2"])
def test_lines_arrive_through_a_proxy_that_sends_headers(
    service: ServiceProcess, tmp_path: Path, version: str
) -> None:
    context = ssl.create_default_context(cafile=service.environ["DYNOMETER_TLS_CERT"])
    with haproxy(tmp_path, service, version) as (plain, tls):
        with socket.create_connection(("127.0.0.1", plain), timeout=10) as sender:
            sender.sendall(counted(line(version)) * 5)
            wait_until(lambda: requests_of(service, version) == 5)
        raw = socket.create_connection(("127.0.0.1", tls), timeout=10)
        with context.wrap_socket(raw, server_hostname="localhost") as sender:
            sender.sendall(counted(line(version)) * 4)
            wait_until(lambda: requests_of(service, version) == 9)


def test_a_connection_without_the_header_is_closed_and_the_log_names_the_fix(
    service: ServiceProcess,
) -> None:
    port = int(service.environ["DYNOMETER_SYSLOG_PORT"])
    with socket.create_connection(("127.0.0.1", port), timeout=10) as sender:
        sender.sendall(counted(line("without-header")))
        assert closed(sender)
    wait_until(lambda: "DYNOMETER_SYSLOG_PROXY_PROTOCOL=0" in service.log.read_text())
    assert requests_of(service, "without-header") == 0


def closed(sender: socket.socket) -> bool:
    try:
        return sender.recv(1) == b""
    except ConnectionResetError:
        return True


def test_a_header_may_arrive_in_single_bytes(service: ServiceProcess) -> None:
    port = int(service.environ["DYNOMETER_SYSLOG_PORT"])
    with socket.create_connection(("127.0.0.1", port), timeout=10) as sender:
        sender.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for byte in b"PROXY TCP4 192.0.2.7 192.0.2.8 1 2\r\n":
            sender.sendall(bytes([byte]))
        sender.sendall(counted(line("in-bytes")))
        wait_until(lambda: requests_of(service, "in-bytes") == 1)
