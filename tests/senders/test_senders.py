"""Real syslog senders: rsyslog, syslog-ng and logger. Every line counts once."""

from __future__ import annotations

import os
import shutil
import subprocess
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import httpx2
import pytest

from tests.support.certificates import certificate
from tests.support.lines import router_text
from tests.support.processes import ROOT, ServiceProcess, free_port
from tests.support.servers import find_program, wait_until

LINES = 5_000
UNPACKED = ROOT / ".servers" / "usr"
WITHIN_S = 40


class Listening(NamedTuple):
    """A service with both kinds of syslog drain."""

    service: ServiceProcess
    port: int
    tls_port: int
    chain: Path


@pytest.fixture(scope="module", params=["ec", "rsa"])
def listening(
    tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> Iterator[Listening]:
    """A service with a certificate of each kind. All tests use it, each with its `own_app`."""
    directory = tmp_path_factory.mktemp(request.param)
    chain, key = certificate(directory, "localhost", rsa=request.param == "rsa")
    port, tls_port = free_port(), free_port()
    service = ServiceProcess(
        directory / "service",
        DYNOMETER_SYSLOG_PORT=str(port),
        DYNOMETER_SYSLOG_TLS_PORT=str(tls_port),
        DYNOMETER_TLS_CERT=str(chain),
        DYNOMETER_TLS_KEY=str(key),
        HOST="localhost",
    )
    service.start()
    yield Listening(service, port, tls_port, chain)
    service.stop()


@pytest.fixture
def own_app() -> str:
    """The name of an app that no other test uses."""
    return f"shop-{uuid.uuid4().hex[:12]}"


def ledger(service: ServiceProcess, app: str) -> Any:
    url = f"http://localhost:{service.port}/api/v1/apps/{app}/ledger?start=now-2h"
    return httpx2.get(url, trust_env=False).json()


def arrived(service: ServiceProcess, app: str, lines: int) -> bool:
    entries = ledger(service, app)
    assert entries.get("received", 0) <= lines
    return bool(entries.get("counted") == lines == entries["received"])


@contextmanager
def sending(directory: Path, command: Sequence[str], **environ: str) -> Iterator[None]:
    with (directory / "sender.log").open("wb") as output:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            env={**os.environ, **environ},
        )
    try:
        yield
    finally:
        process.terminate()
        process.wait(15)


def log_file(directory: Path) -> Path:
    """A file of router lines, for senders that follow files."""
    file = directory / "router.log"
    file.write_text("".join(router_text(service=f"{n % 900}ms") + "\n" for n in range(LINES)))
    return file


RSYSLOG = """
global(workDirectory="{directory}" defaultNetstreamDriverCAFile="{chain}")
module(load="imfile" mode="polling" pollingInterval="1")
template(name="heroku" type="string"
         string="<158>1 %timegenerated:::date-rfc3339% {app} heroku router - - %msg%\\n")
input(type="imfile" file="{file}" tag="router")
action(type="omfwd" target="localhost" port="{port}" protocol="tcp" template="heroku" {options})
"""
OVER_TLS = (
    'streamDriver="ossl" streamDriverMode="1" streamDriverAuthMode="x509/name" '
    'streamDriverPermittedPeers="localhost"'
)


@pytest.mark.parametrize("framing", ["octet-counted", "traditional"])
@pytest.mark.parametrize("over_tls", [False, True])
def test_rsyslog(
    listening: Listening, own_app: str, tmp_path: Path, framing: str, over_tls: bool
) -> None:
    config = tmp_path / "rsyslog.conf"
    options = f'tcp_Framing="{framing}" ' + (OVER_TLS if over_tls else "")
    config.write_text(
        RSYSLOG.format(
            directory=tmp_path,
            app=own_app,
            chain=listening.chain,
            file=log_file(tmp_path),
            port=listening.tls_port if over_tls else listening.port,
            options=options,
        )
    )
    command = [
        find_program("rsyslogd"),
        "-n",
        "-f",
        str(config),
        "-i",
        str(tmp_path / "rsyslog.pid"),
    ]
    with sending(tmp_path, command):
        wait_until(lambda: arrived(listening.service, own_app, LINES), WITHIN_S)


SYSLOG_NG = """
@version: 3.38
options {{ keep-hostname(yes); }};
source s_file {{ file("{file}" flags(no-parse) follow-freq(1)); }};
rewrite r_heroku {{
    set("{app}", value("HOST")); set("heroku", value("PROGRAM")); set("router", value("PID"));
}};
destination d_dynometer {{
    syslog("localhost" transport("tls") port({port})
        tls(ca-file("{chain}") peer-verify(required-trusted)));
}};
log {{ source(s_file); rewrite(r_heroku); destination(d_dynometer); }};
"""


def test_syslog_ng_over_tls(listening: Listening, own_app: str, tmp_path: Path) -> None:
    config = tmp_path / "syslog-ng.conf"
    config.write_text(
        SYSLOG_NG.format(
            file=log_file(tmp_path),
            app=own_app,
            port=listening.tls_port,
            chain=listening.chain,
        ).lstrip()
    )
    program_path = shutil.which("syslog-ng")
    library = UNPACKED / "lib" / "syslog-ng"
    command = [
        *(program_path or str(UNPACKED / "sbin" / "syslog-ng"), "-F", "-f", str(config)),
        *("--persist-file", str(tmp_path / "persist"), "--control", str(tmp_path / "control")),
        *("--pidfile", str(tmp_path / "pid")),
        *([] if program_path else ["--module-path", str(library / "3.38")]),
    ]
    environ = {} if program_path else {"LD_LIBRARY_PATH": str(library)}
    with sending(tmp_path, command, **environ):
        wait_until(lambda: arrived(listening.service, own_app, LINES), WITHIN_S)


@pytest.mark.parametrize("framing", ["--octet-count", "--"])
def test_logger(listening: Listening, tmp_path: Path, framing: str) -> None:
    """logger cannot set the procid as Heroku does, so its lines are output of the app.

    The app is the name of this machine, to which earlier tests have sent as well.
    """
    file = tmp_path / "lines"
    file.write_text("hello from a shell\n" * 200)
    options = [framing] if framing != "--" else []
    command = ["logger", "--tcp", *options, "--rfc5424", "--server", "localhost"]
    host = os.uname().nodename.lower()

    def ignored() -> int:
        return int(ledger(listening.service, host).get("ignored", 0))

    before = ignored()
    subprocess.run([*command, "--port", str(listening.port), "-f", str(file)], check=True)
    wait_until(lambda: ignored() == before + 200, WITHIN_S)
