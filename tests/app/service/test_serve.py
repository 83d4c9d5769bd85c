"""`dynometer serve`: its settings, its greeting, and what ends it."""

from __future__ import annotations

import os
import pty
import signal
import subprocess
import sys
from pathlib import Path

import httpx2
import pytest

from tests.support.processes import START_WITHIN_S, ServiceProcess, answers, free_port
from tests.support.servers import wait_until

TOKEN = "0123456789abcdef"


def wait_for_end(pid: int) -> None:
    """Wait until this child ends with code 0."""
    ended: list[int] = []

    def has_ended() -> bool:
        waited_pid, status = os.waitpid(pid, os.WNOHANG)
        if waited_pid:
            ended.append(os.waitstatus_to_exitcode(status))
        return bool(ended)

    wait_until(has_ended)
    assert ended == [0]


def test_the_token_in_an_env_file_survives_the_next_start(tmp_path: Path) -> None:
    service = ServiceProcess(tmp_path)
    env_file = tmp_path / ".env"
    env_file.write_text(f"# of Dynometer\nDYNOMETER_ADMIN_TOKEN={TOKEN}\nPORT=1\nSHELL=none\n")
    for _ in range(2):
        service.start()  # PORT of the environment wins
        try:
            url = f"{service.url}/api/v1/apps"
            assert httpx2.get(url).status_code == 401
            headers = {"Authorization": f"Bearer {TOKEN}"}
            assert httpx2.get(url, headers=headers).status_code == 200
        finally:
            service.stop()


def test_the_option_port_wins_over_the_setting(tmp_path: Path) -> None:
    service = ServiceProcess(tmp_path)
    service.environ["PORT"] = "1"
    service.arguments = ("--port", str(service.port), "--host", "127.0.0.1")
    service.start()
    service.stop()
    assert f"Dynometer is up: {service.url}/" in service.log.read_text()


def test_without_its_store_the_service_does_not_claim_to_be_up(tmp_path: Path) -> None:
    service = ServiceProcess(tmp_path, REDIS_URL=f"redis://127.0.0.1:{free_port()}")
    service.start()
    service.stop()
    log = service.log.read_text()
    assert "is up" not in log
    assert f"listens on {service.url}/, but its store is not ready" in log
    assert "Check that it is running, and check REDIS_URL" in log
    assert f"log lines wait on disk in {service.environ['DYNOMETER_DATA_DIR']}" in log


@pytest.mark.parametrize("workers", ["1", "2"])
def test_the_end_of_its_terminal_ends_the_service(tmp_path: Path, workers: str) -> None:
    service = ServiceProcess(tmp_path, WEB_CONCURRENCY=workers)
    pid, terminal = pty.fork()
    if not pid:
        signal.signal(signal.SIGHUP, signal.SIG_DFL)  # ignored if the tests run under nohup
        os.chdir(tmp_path)
        os.execve(sys.executable, [sys.executable, "-m", "app.cli", "serve"], service.environ)
    wait_until(lambda: answers(service.url), START_WITHIN_S)
    os.close(terminal)
    wait_for_end(pid)


def test_a_service_under_nohup_outlives_a_hangup(tmp_path: Path) -> None:
    service = ServiceProcess(tmp_path)
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)  # inherited, as from nohup
    try:
        service.start()
    finally:
        signal.signal(signal.SIGHUP, before)
    os.kill(service.pid, signal.SIGHUP)
    assert httpx2.get(f"{service.url}/healthz").text == "ok\n"
    service.stop()


def test_a_reader_that_stops_reading_does_not_stop_the_service(tmp_path: Path) -> None:
    service = ServiceProcess(tmp_path)
    reading, writing = os.pipe()
    os.close(reading)
    with subprocess.Popen(
        [sys.executable, "-m", "app.cli", "serve"],
        cwd=tmp_path,
        env=service.environ,
        stdout=writing,
        stderr=subprocess.PIPE,
    ) as process:
        os.close(writing)
        wait_until(lambda: answers(service.url), START_WITHIN_S)
        process.terminate()
        _, errors = process.communicate()
    assert (process.returncode, errors) == (0, b"")
