"""Every command that the first steps print is run in a shell, in local mode and with a token.

Heroku's own command is a stand-in that records its arguments and prints a log.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from html import unescape
from pathlib import Path

import httpx2
import pytest

from tests.support.logtext import router_text
from tests.support.processes import ROOT, ServiceProcess, answers, free_port
from tests.support.servers import wait_until

TOKEN = "an-admin-token-of-some-length"
ADMIN = {"Authorization": f"Bearer {TOKEN}"}
HISTORY_LINES = 50_000  # of an hour that is simulated, at least
LOG_LINES = 50

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]


class Terminal:
    """A shell in the directory of a service, with its settings."""

    def __init__(self, service: ServiceProcess) -> None:
        self.service = service
        self.directory = service.directory
        programs = self.directory / "bin"
        programs.mkdir()
        self.heroku_log = self.directory / "heroku.log"
        log = self.directory / "heroku-logs.txt"
        now_s = time.time()
        log.write_text("".join(router_text(at=now_s - 60 + each) for each in range(LOG_LINES)))
        for name, script in (
            ("dynometer", f'exec {sys.executable} -m app.cli "$@"'),
            ("heroku", f'[ "$1" = logs ] && cat {log} || echo "$*" >> {self.heroku_log}'),
        ):
            (programs / name).write_text(f"#!/bin/sh\n{script}\n")
            (programs / name).chmod(0o755)
        path = f"{programs}:{os.environ['PATH']}"
        self.environ = {**service.environ, "PATH": path, "PYTHONPATH": str(ROOT)}

    def begin(self, command: str) -> subprocess.Popen[str]:
        """Start a command in the foreground, as somebody who copied it does."""
        return subprocess.Popen(
            ["sh", "-ec", command],
            cwd=self.directory,
            env=self.environ,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def run(self, command: str) -> str:
        """What a command prints."""
        process = self.begin(command)
        output, _ = process.communicate(timeout=60)
        assert process.returncode == 0, f"{command}\n{output}"
        return output

    def simulate(self, command: str) -> str:
        """What a simulation prints at its end: Ctrl-C, once its history is there."""
        process = self.begin(command)
        try:
            wait_until(lambda: received(self.service, "demo") > HISTORY_LINES, 60)
        finally:
            os.killpg(process.pid, signal.SIGINT)
            output, _ = process.communicate(timeout=30)
        return output


def received(service: ServiceProcess, app: str) -> int:
    """How many lines of an app have arrived."""
    url = f"{service.url}/api/v1/apps/{app}/ledger?start=now-2h"
    lines: int = httpx2.get(url, headers=ADMIN, trust_env=False).json().get("received", 0)
    return lines


def printed(service: ServiceProcess, path: str = "/") -> dict[str, str]:
    """The commands of a page, by the id of their box."""
    html = httpx2.get(service.url + path, headers=ADMIN, trust_env=False).text
    boxes = re.findall(r'<pre id="([^"]*)">([^<]*)</pre>', html)
    return {box: unescape(command) for box, command in boxes}


@pytest.fixture
def local(tmp_path: Path) -> Iterator[Terminal]:
    service = ServiceProcess(tmp_path)
    service.start()
    yield Terminal(service)
    service.stop()


@pytest.fixture
def remote(tmp_path: Path) -> Iterator[Terminal]:
    """With a token, at an address which is only public in name."""
    service = ServiceProcess(tmp_path, DYNOMETER_ADMIN_TOKEN=TOKEN)
    service.environ["DYNOMETER_PUBLIC_URL"] = service.url
    service.start()
    yield Terminal(service)
    service.stop()


def check_simulation(output: str) -> None:
    assert re.search(r"log lines +([\d,]+) +\1  ✓", output), output
    assert "✗" not in output


def test_the_commands_of_local_mode_work(local: Terminal) -> None:
    commands = printed(local.service)
    assert [*commands] == ["simulate", "replay", "labs", "public", "drains", "query", "errors"]
    welcome = local.service.log.read_text()
    assert all(f"  {commands[box]}\n" in welcome for box in ("simulate", "replay", "query"))
    check_simulation(local.simulate(commands["simulate"]))
    assert f"{LOG_LINES} read, {LOG_LINES} sent" in local.run(commands["replay"])
    assert received(local.service, "shop") == LOG_LINES
    local.run(commands["labs"])
    for box in ("query", "errors"):
        assert '"values":[' in local.run(commands[box])
    assert local.heroku_log.read_text().splitlines() == [
        "labs:enable log-runtime-metrics -a shop",
        "restart -a shop",
    ]


def test_the_way_from_local_mode_to_a_public_service_works(local: Terminal) -> None:
    commands = printed(local.service)
    local.service.stop()
    port = local.environ["PORT"] = str(free_port())
    process = local.begin(commands["public"].replace("0.0.0.0", "127.0.0.1"))
    try:
        wait_until(lambda: answers(f"http://127.0.0.1:{port}"), 30)
        local.run(commands["drains"])
        url = r"https://shop:[\w-]{43}@metrics\.example\.com/drain"
        assert re.fullmatch(f"drains:add {url} -a shop\n", local.heroku_log.read_text())
        page = httpx2.get(f"http://127.0.0.1:{port}/api/v1/apps", trust_env=False)
        assert page.status_code == 401  # the token is in force
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        process.communicate(timeout=30)


def test_the_commands_of_a_service_with_a_token_work(remote: Terminal) -> None:
    commands = printed(remote.service)
    assert [*commands] == ["drains", "labs", "simulate", "query"]
    check_simulation(remote.simulate(commands["simulate"]))
    assert '"app":"demo"' in remote.run(commands["query"])
    again = remote.begin(commands["simulate"])
    output, _ = again.communicate(timeout=30)
    assert again.returncode != 0
    assert "demo: already has a drain" in output
    assert "--to: expected http" in output
    remote.run("dynometer apps remove demo --yes")
    remote.run(commands["drains"])
    remote.run(commands["labs"])
    drain, *labs = remote.heroku_log.read_text().splitlines()
    assert labs == ["labs:enable log-runtime-metrics -a shop", "restart -a shop"]
    (url,) = re.findall(r"drains:add (\S+) -a shop", drain)
    body = b"73 <158>1 2026-11-30T10:00:00+00:00 host app web.1 - not of interest to metrics\n"
    assert httpx2.post(url, content=body, trust_env=False).status_code == 200


def test_the_commands_of_added_apps_work(remote: Terminal) -> None:
    form = {"Content-Type": "application/x-www-form-urlencoded", **ADMIN}
    answer = httpx2.post(
        f"{remote.service.url}/add", content="apps=shop+blog", headers=form, trust_env=False
    )
    boxes = dict(re.findall(r'<pre id="([^"]*)">([^<]*)</pre>', answer.text))
    for box in ("commands", "labs"):
        remote.run(unescape(boxes[box]))
    calls = [line.split() for line in remote.heroku_log.read_text().splitlines()]
    assert [(call[0], call[-1]) for call in calls] == [
        ("drains:add", "shop"),
        ("drains:add", "blog"),
        ("labs:enable", "shop"),
        ("restart", "shop"),
        ("labs:enable", "blog"),
        ("restart", "blog"),
    ]
