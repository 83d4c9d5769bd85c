"""The syslog drain: which lines count, and where they wait if they cannot be stored."""

from __future__ import annotations

import logging.handlers
import os
import pty
import signal
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest

from tests.support.certificates import certificate
from tests.support.forked_command import run_forked
from tests.support.lines import counted, router_text, timestamp
from tests.support.processes import RedisProcess, ServiceProcess, free_port
from tests.support.servers import wait_until

TOKEN = "d.475fd4b7-03da-4e45-8c89-5d8ac5fff61d"
OTHER = "d.975fd4b7-03da-4e45-8c89-5d8ac5fff61d"
ADMIN = "a-token-of-the-admin"


def line(hostname: str = TOKEN, *, data: str = "-", service: str = "18ms") -> bytes:
    """A message as Logplex sends it over syslog, or another sender with structured data."""
    head = f"<158>1 {timestamp(time.time() - 1)} {hostname} heroku router - {data} "
    return (head + router_text(service=service) + "\n").encode()


def service_of(directory: Path, **environ: str) -> ServiceProcess:
    return ServiceProcess(directory, DYNOMETER_SYSLOG_PORT=str(free_port()), **environ)


def connect(service: ServiceProcess) -> socket.socket:
    address = ("127.0.0.1", int(service.environ["DYNOMETER_SYSLOG_PORT"]))
    return socket.create_connection(address, timeout=10)


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServiceProcess]:
    """A service in local mode. All tests use it, each with apps of its own."""
    service = service_of(tmp_path_factory.mktemp("local"))
    service.start()
    yield service
    service.stop()


@pytest.fixture
def own_token() -> str:
    """A drain token that no other test sends."""
    return f"d.{uuid.uuid4()}"


@pytest.fixture
def token_service(tmp_path: Path) -> Iterator[ServiceProcess]:
    """A service with an admin token."""
    service = service_of(
        tmp_path, DYNOMETER_ADMIN_TOKEN=ADMIN, DYNOMETER_PUBLIC_URL="https://metrics.example.com"
    )
    service.start()
    yield service
    service.stop()


def get(service: ServiceProcess, path: str) -> Any:
    return httpx2.get(f"{service.url}{path}", auth=("x", ADMIN), trust_env=False).json()


def requests_of(service: ServiceProcess, app: str) -> int:
    query = f"/api/v1/apps/{app}/query?metric=requests&step=range&start=now-2h"
    series = get(service, query).get("series", [])
    return sum(entry["values"][0] or 0 for entry in series)


def run(service: ServiceProcess, *arguments: str) -> subprocess.CompletedProcess[bytes]:
    return run_forked(arguments, stdin=b"", environ=service.environ, directory=service.directory)


@pytest.mark.parametrize("frame", [counted, bytes])
def test_in_local_mode_a_hostname_that_is_not_linked_is_an_app(
    service: ServiceProcess, own_token: str, frame: Any
) -> None:
    host = f"{own_token}.example"
    with connect(service) as sender:
        sender.sendall(frame(line(own_token)) * 3 + frame(line(host, data='[a b="c"]')) * 2)
        wait_until(lambda: requests_of(service, own_token) == 3)
        wait_until(lambda: requests_of(service, host) == 2)


def test_messages_of_python_s_handler_which_end_with_nul_are_read(
    service: ServiceProcess, own_token: str
) -> None:
    address = ("127.0.0.1", int(service.environ["DYNOMETER_SYSLOG_PORT"]))
    handler = logging.handlers.SysLogHandler(address, socktype=socket.SOCK_STREAM)
    # The handler writes <PRI> itself, and the format the rest of the header.
    handler.setFormatter(
        logging.Formatter(f"1 {timestamp(time.time())} {own_token} heroku router - - %(message)s")
    )
    for _ in range(7):
        handler.emit(logging.LogRecord("x", logging.INFO, "", 0, router_text(), None, None))
    wait_until(lambda: requests_of(service, own_token) == 7)
    handler.close()


def test_pieces_of_a_message_are_joined_and_an_incomplete_one_is_unparsed(
    service: ServiceProcess, own_token: str
) -> None:
    frame = counted(line(own_token))
    with connect(service) as sender:
        for byte in range(0, len(frame), 40):
            sender.sendall(frame[byte : byte + 40])
        sender.sendall(frame + frame[:50])
    wait_until(lambda: requests_of(service, own_token) == 2)
    path = f"/api/v1/apps/{own_token}/ledger"
    wait_until(lambda: get(service, path)["unparsed"] == {"frame": 1})
    assert get(service, path)["received"] == 3


def test_with_a_token_only_linked_drains_count_and_others_are_listed(
    token_service: ServiceProcess,
) -> None:
    assert run(token_service, "drains", "link", "shop", TOKEN).returncode == 0
    with connect(token_service) as sender:
        sender.sendall(counted(line(OTHER)) * 5)

        def is_counted() -> bool:
            sender.sendall(counted(line()))
            return requests_of(token_service, "shop") > 0

        wait_until(is_counted)
    drains = get(token_service, "/api/v1/drains")
    wait_until(lambda: bool(get(token_service, "/api/v1/drains")["refusals"]))
    [refusal] = get(token_service, "/api/v1/drains")["refusals"]
    assert (refusal["token"], refusal["reason"]) == (OTHER, "drain token is linked to no app")
    assert [drain["app"] for drain in drains["drains"]] == ["shop"]
    assert b"syslog" in run(token_service, "drains", "list").stdout
    assert TOKEN not in (token_service.directory / "data" / "drains.json").read_text()

    assert run(token_service, "drains", "link", "blog", TOKEN).returncode == 2
    assert run(token_service, "drains", "unlink", "shop", TOKEN).returncode == 0
    before = requests_of(token_service, "shop")

    def is_rejected() -> bool:
        with connect(token_service) as sender:
            sender.sendall(counted(line()))
        tokens = {refusal["token"] for refusal in get(token_service, "/api/v1/drains")["refusals"]}
        return TOKEN in tokens

    wait_until(is_rejected, 20)
    assert requests_of(token_service, "shop") >= before
    assert run(token_service, "drains", "unlink", "shop", TOKEN).returncode == 2


def test_an_app_may_be_linked_and_have_a_secret_but_only_one_drain_counts(
    token_service: ServiceProcess,
) -> None:
    assert run(token_service, "drains", "link", "shop", TOKEN).returncode == 0
    addition = run(token_service, "drains", "add", "shop")
    secret = addition.stdout.decode().split("shop:")[1].split("@")[0]
    headers = {"Logplex-Drain-Token": OTHER}
    body = counted(line())

    def accepted() -> bool:
        answer = httpx2.post(
            f"{token_service.url}/drain", content=body, headers=headers, auth=("shop", secret)
        )
        return answer.status_code == 200

    wait_until(accepted)
    with connect(token_service) as sender:
        sender.sendall(counted(line()) * 7)
        wait_until(lambda: get(token_service, "/api/v1/apps/shop/ledger")["other_drain"] == 7)
    assert requests_of(token_service, "shop") == 1


def test_no_line_is_lost_while_the_store_is_down(tmp_path: Path) -> None:
    store = RedisProcess(tmp_path / "redis", "--appendfsync", "always")
    service = service_of(
        tmp_path, REDIS_URL=f"redis://127.0.0.1:{store.port}", DYNOMETER_SPOOL_MAX_BYTES="0"
    )
    store.start()
    service.start()
    try:
        with connect(service) as sender:
            sender.sendall(counted(line("shop")))
            wait_until(lambda: requests_of(service, "shop") == 1)
            store.kill()
            for _ in range(50):
                sender.sendall(counted(line("shop")) * 20)
            store.start()
            wait_until(lambda: requests_of(service, "shop") == 1_001, 30)
    finally:
        service.stop()
        store.kill()
        store.client.close()


def test_a_service_without_a_store_shuts_down_in_time(tmp_path: Path) -> None:
    store = RedisProcess(tmp_path / "redis")
    service = service_of(
        tmp_path, REDIS_URL=f"redis://127.0.0.1:{store.port}", DYNOMETER_SPOOL_MAX_BYTES="0"
    )
    store.start()
    service.start()
    try:
        with connect(service) as sender:
            sender.sendall(counted(line("shop")))
            wait_until(lambda: requests_of(service, "shop") == 1)
            store.kill()
            sender.sendall(counted(line("shop")) * 20)
            assert service.terminate() < 12
        assert "Traceback" not in service.log.read_text()
        assert "destroyed" not in service.log.read_text()
    finally:
        service.stop()
        store.client.close()


def test_shutdown_commits_everything_that_was_read(tmp_path: Path) -> None:
    service = service_of(tmp_path)
    service.start()
    with connect(service) as sender:
        sender.sendall(counted(line("shop")) * 200)
        wait_until(lambda: requests_of(service, "shop") > 0)
        sender.sendall(counted(line("shop")) * 200)
        time_s = service.terminate()
    assert time_s < 10
    service.start()
    counted_lines = requests_of(service, "shop")
    service.stop()
    assert counted_lines in (200, 400)  # the second burst was read or rejected, as a whole


def certificate_of(port: int, *options: str) -> str:
    """The certificate of the service, as openssl prints it."""
    client = subprocess.run(
        ["openssl", "s_client", "-connect", f"127.0.0.1:{port}", *options],
        input=b"",
        capture_output=True,
        check=False,
        timeout=20,
    )
    return client.stdout.decode()


def test_sighup_reloads_the_certificate_and_connections_stay_open(
    tmp_path: Path,
) -> None:
    chain, key = certificate(tmp_path, "first")
    port = free_port()
    service = service_of(
        tmp_path,
        DYNOMETER_SYSLOG_TLS_PORT=str(port),
        DYNOMETER_TLS_CERT=str(chain),
        DYNOMETER_TLS_KEY=str(key),
        WEB_CONCURRENCY="2",
    )
    service.start()
    try:
        # Logplex speaks TLS 1.2 with AES-128.
        old = certificate_of(port, "-tls1_2", "-cipher", "ECDHE-ECDSA-AES128-SHA256")
        assert "CN = first" in old
        assert "ECDHE-ECDSA-AES128-SHA256" in old
        assert "TLSv1.3" in certificate_of(port)
        with connect(service) as sender:
            sender.sendall(counted(line("shop")))
            wait_until(lambda: requests_of(service, "shop") == 1)
            second = certificate(tmp_path, "second")
            for new, file in zip(second, (chain, key), strict=True):
                file.write_bytes(new.read_bytes())
            os.kill(service.pid, signal.SIGHUP)
            wait_until(lambda: all("CN = second" in certificate_of(port) for _ in range(8)), 20)
            sender.sendall(counted(line("shop")))
            wait_until(lambda: requests_of(service, "shop") == 2)
    finally:
        service.stop()


def test_https_is_served_with_a_certificate(tmp_path: Path) -> None:
    chain, key = certificate(tmp_path, "localhost")
    port = free_port()
    environ = {**os.environ, "PORT": str(port), "DYNOMETER_DATA_DIR": str(tmp_path / "data")}
    command = [sys.executable, "-m", "app.cli", "serve", "--tls-cert", str(chain)]
    wrong = subprocess.run(command, env=environ, capture_output=True, text=True, check=False)
    assert wrong.returncode == 2
    assert "--tls-key" in wrong.stderr
    process = subprocess.Popen([*command, "--tls-key", str(key)], env=environ)
    try:
        wait_until(lambda: "CN = localhost" in certificate_of(port), 20)
        answer = httpx2.get(f"https://localhost:{port}/healthz", verify=False, trust_env=False)
        assert answer.text == "ok\n"
        # What a client says may arrive before the service has begun TLS on its connection.
        assert all("CN = localhost" in certificate_of(port) for _ in range(20))
    finally:
        process.terminate()
        process.wait(15)


def test_a_separate_syslog_process(service: ServiceProcess, own_token: str) -> None:
    port = free_port()
    environ = {**service.environ, "DYNOMETER_SYSLOG_PORT": str(port)}
    process = subprocess.Popen([sys.executable, "-m", "app.cli", "syslog"], env=environ)
    try:
        wait_until(lambda: _listens(port), 20)
        with socket.create_connection(("127.0.0.1", port)) as sender:
            sender.sendall(counted(line(own_token)) * 4)
            wait_until(lambda: requests_of(service, own_token) == 4)
    finally:
        process.terminate()
        assert process.wait(15) == 0


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def test_a_new_drain_token_is_linked_after_confirmation(token_service: ServiceProcess) -> None:
    terminal, terminal_of_cli = pty.openpty()
    command = [
        sys.executable,
        "-m",
        "app.cli",
        "drains",
        "add",
        "shop",
        "--syslog",
        "--wait",
        "20",
    ]
    adding = subprocess.Popen(
        command,
        env=token_service.environ,
        cwd=token_service.directory,
        stdin=terminal_of_cli,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert adding.stdout is not None
    port = token_service.environ["DYNOMETER_SYSLOG_PORT"]
    run_this = f"heroku drains:add syslog://metrics.example.com:{port} -a shop\n"
    assert adding.stdout.readline() == run_this
    os.write(terminal, b"yes\n")
    with connect(token_service) as sender:
        sender.sendall(counted(line()))
        _, said = adding.communicate(timeout=30)
        assert adding.returncode == 0, said
        assert f"Token {TOKEN} appeared. Does it belong to shop?" in said

        def is_counted() -> bool:
            sender.sendall(counted(line()))
            return requests_of(token_service, "shop") > 0

        wait_until(is_counted)
    os.close(terminal)
    os.close(terminal_of_cli)
