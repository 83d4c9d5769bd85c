"""What the documentation says is so."""

from __future__ import annotations

import asyncio
import re
import subprocess
import time
from pathlib import Path
from typing import Any

import playwright
import pytest

from app.cli.main import COMMANDS, Command
from app.config import SETTINGS, Setting
from app.receivers import (
    connection_guard,
    http_protocol,
    request_body,
    syslog_guard,
    syslog_listener,
)
from app.rollup.schema import METRICS
from app.service import serve
from app.storage.memory import MemoryStore
from app.support import fair_turns
from parsers import custom_marks
from parsers.samples import EVENTS, REASONS
from tests.support.lines import app_line, frame, load, lost, memory, router
from tests.support.service import Clock, client_of, post

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"


def page(name: str) -> str:
    return (DOCS / name).read_text()


BODY = (
    router()
    + router(status="503", head='at=error code=H12 desc="x"', service="30000ms")
    + memory()
    + load()
    + frame("Error R14 (Memory quota exceeded)")
    + lost(3)
    + app_line()
    + frame("Process exited with status 1")
    + b"junk"
)


@pytest.mark.parametrize("setting", SETTINGS, ids=lambda setting: setting.name)
def test_every_setting_is_documented_with_its_help_and_default(setting: Setting) -> None:
    section = page("configuration.md").partition(f"## `{setting.name}`\n")[2].partition("\n## ")[0]
    assert section.replace("`", "").lstrip().startswith(setting.help)
    assert f"Default: {f'`{setting.default}`' if setting.default else 'empty'}." in section


@pytest.mark.parametrize("name", METRICS)
def test_every_metric_is_documented(name: str) -> None:
    metric = METRICS[name]
    pages = page("metrics.md") + page("addons.md")
    row = re.search(rf"^\| `{name}` \|.*$", pages, re.MULTILINE)
    assert row is not None
    for said in (metric.unit, metric.kind, " ".join(metric.labels), metric.help):
        assert said in row[0]


def test_every_series_of_the_exposition_is_documented() -> None:
    documented = page("metrics.md")
    families = tuple(re.findall(r"`(\w+_)…`", documented))

    async def names() -> set[str]:
        clock = Clock()
        async with client_of(MemoryStore(clock), clock) as client:
            await post(client, BODY)
            text = (await client.get("/metrics")).text
        return set(re.findall(r"^# HELP (\w+)", text, re.MULTILINE))

    found = asyncio.run(names())
    assert len(found) > 15
    for name in found:
        assert f"`{name}`" in documented or name.startswith(families), name


@pytest.mark.parametrize("reason", REASONS)
def test_every_reason_is_documented(reason: str) -> None:
    assert f"`{reason}`" in page("api.md")


@pytest.mark.parametrize("kind", EVENTS)
def test_every_kind_of_event_is_documented(kind: str) -> None:
    assert f"`{kind}`" in page("api.md")
    assert kind in ("idle", "unidle") or EVENTS[kind] in page("api.md")


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command.name)
def test_every_command_is_documented(command: Command) -> None:
    assert f"dynometer {command.name}" in page("cli.md")


async def test_every_call_of_the_api_page_works() -> None:
    calls = re.findall(r"curl 'http://127\.0\.0\.1:8080([^']*)'", page("api.md"))
    assert len(calls) > 8
    clock = Clock()
    async with client_of(MemoryStore(clock), clock) as client:
        await post(client, BODY)
        for call in calls:
            answer = await client.get(call)
            assert answer.status_code == 200, (call, answer.text)
            for series in (
                answer.json().get("series", ())
                if answer.headers["content-type"] == "application/json"
                else ()
            ):
                assert any(value is not None for value in series["values"]), call


def _queue_time_code(language: str) -> list[str]:
    section = page("custom-metrics.md").partition("## Queue time")[2].partition("\n## ")[0]
    return re.findall(rf"```{language}\n(.*?)```", section, re.DOTALL)


def _queue_time_ms(output: str) -> int:
    marks = custom_marks.parse(b"web.1", output.encode())
    assert marks is not None
    ((kind, name, quantity),) = marks.marks
    assert (kind, name, quantity.unit) == ("measure", "queue_time", "ms")
    return quantity.millionths // 1_000_000


async def test_the_middleware_for_python_logs_the_queue_time(
    capsys: pytest.CaptureFixture[str],
) -> None:
    wsgi_code, asgi_code = _queue_time_code("python")
    start = str(int(time.time() * 1000) - 250)
    names: dict[str, Any] = {"time": time}
    exec(wsgi_code, names)
    wsgi = names["queue_time"](lambda environ, start_response: [b"answer"])
    assert wsgi({"HTTP_X_REQUEST_START": start}, None) == wsgi({}, None) == [b"answer"]
    assert 250 <= _queue_time_ms(capsys.readouterr().out) < 60_000

    async def app(scope: Any, receive: Any, send: Any) -> None:
        send(scope["type"])

    exec(asgi_code, names)
    answers: list[str] = []
    for headers in ([(b"x-request-start", start.encode())], []):
        await names["queue_time"](app)({"type": "http", "headers": headers}, None, answers.append)
    await names["queue_time"](app)({"type": "lifespan"}, None, answers.append)
    assert answers == ["http", "http", "lifespan"]
    assert 250 <= _queue_time_ms(capsys.readouterr().out) < 60_000


def test_the_middleware_for_node_logs_the_queue_time() -> None:
    (code,) = _queue_time_code("js")
    call = (
        'queueTime({headers: {"x-request-start": String(Date.now() - 250)}}, {}, () => {});'
        "queueTime({headers: {}}, {}, () => {});"
    )
    node = Path(playwright.__file__).parent / "driver/node"  # which playwright brings along
    output = subprocess.check_output([node, "-e", code + call], text=True, timeout=60)
    assert 250 <= _queue_time_ms(output) < 60_000


def test_links_between_pages_lead_somewhere() -> None:
    for path in (*DOCS.glob("*.md"), *ROOT.glob("*.md"), *ROOT.glob("*/README.md")):
        for target in re.findall(r"\]\((?!https?:)([^)#]+)", path.read_text()):
            assert (path.parent / target).exists(), (path.name, target)


def test_every_test_that_the_limits_name_is_there() -> None:
    rows = [line for line in page("limits.md").splitlines() if line.startswith("| ")]
    named = [name for row in rows for name in re.findall(r"`((?:\w+/)+test_\w+\.py)`", row)]
    assert len(named) > 30
    for name in named:
        assert (ROOT / "tests" / name).exists(), name


_MIB = 2**20
_HTTP = connection_guard.ConnectionLimits()
_SYSLOG = syslog_guard.SyslogLimits()


@pytest.mark.parametrize(
    "figure",
    [
        f"| request head | {_HTTP.head_bytes_max // 1024} KiB |",
        f"| time for a request head | {_HTTP.head_timeout_s:g} s |",
        f"| idle connection | {serve.KEEP_ALIVE_S} s |",
        f"| headers of a request | {_HTTP.head_fields_max} |",
        f"| connections of a worker | {_HTTP.connections_max:,}, or",
        f"| TLS handshake of `serve --tls-cert` | {_HTTP.handshake_timeout_s:g} s,",
        f"| requests before the answer to an earlier one | {_HTTP.pipelined_max} of a connection |",
        f"| connections accepted in a turn of the event loop | {serve.ACCEPTED_PER_TURN}; "
        f"over syslog with TLS, one every {syslog_listener.HANDSHAKE_INTERVAL_S * 1_000:g} ms |",
        f"up to {serve.BACKLOG:,} wait in the system's queue, "
        f"over syslog {syslog_listener.BACKLOG:,} |",
        f"| data that waits in connections | {_HTTP.buffered_bytes_max // _MIB} MiB a worker |",
        f"are parsed in parts of {http_protocol.PARSED_BYTES // 1024} KiB |",
        f"| {fair_turns.TURN_S * 1_000:g} ms in a row for strangers, "
        f"{connection_guard.CALLERS_TURN_S * 1_000:g} ms for readers and senders;",
        f"| time to read a response | {_HTTP.unread_timeout_s:g} s |",
        f"| connections | {_SYSLOG.connections_max:,}, or a quarter",
        f"| incomplete messages of all connections | {_SYSLOG.buffered_bytes_max // _MIB} MiB |",
        f"| body of any other request | {request_body.API_BYTES_MAX // 1024} KiB |",
        f"| time for a body | {request_body.BODY_TIMEOUT_S:g} s |",
        f"| bodies of all apps in a worker | {request_body.SENDERS_BYTES_MAX // _MIB} MiB;",
        f"| bodies of one app | {request_body.SENDER_BYTES_MAX // _MIB} MiB,",
        f"| bodies of readers, of strangers | {request_body.READERS_BYTES_MAX // _MIB} MiB, "
        f"{request_body.STRANGERS_BYTES_MAX // _MIB} MiB |",
    ],
)
def test_the_limits_are_those_of_the_code(figure: str) -> None:
    assert figure in page("limits.md")
