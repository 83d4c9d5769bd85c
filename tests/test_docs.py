"""What the documentation says is so."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path

import pytest

from app.cli.main import COMMANDS, Command
from app.config import SETTINGS, Setting
from app.rollup.schema import METRICS
from app.storage.memory import MemoryStore
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
    row = re.search(rf"^\| `{name}` \|.*$", page("metrics.md"), re.MULTILINE)
    assert row is not None
    for said in (metric.unit, metric.kind, " ".join(metric.labels), metric.help):
        assert said in row[0]


def test_every_series_of_the_exposition_is_documented() -> None:
    documented = page("metrics.md")

    async def names() -> set[str]:
        clock = Clock()
        async with client_of(MemoryStore(clock), clock) as client:
            await post(client, BODY)
            text = (await client.get("/metrics")).text
        return set(re.findall(r"^# HELP (\w+)", text, re.MULTILINE))

    found = asyncio.run(names())
    assert len(found) > 15
    for name in found:
        assert f"`{name}`" in documented, name


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
