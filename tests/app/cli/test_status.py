"""The command `status`: the worst app first, one sentence each, and an exit code for scripts."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from app.cli.status import EXIT_CODES, exit_code, format_status
from app.judgement.verdict import STATES, Finding, State, Verdict
from app.storage import embedded
from app.storage.connect import connect
from app.storage.interface.apps import SeenApp
from app.verdicts.urgency import worst_first
from tests.support.logtext import dynometer
from tests.support.verdicts import crashed, store_verdict, verdict

NOW_S = int(time.time()) // 60 * 60 + 3600  # ahead, so that no verdict is too old in a slow run
DOWN = "Down since 23:12 UTC (15 min): every request ends with H10 (app crashed)."
SLOW = Finding("slow", "degraded", NOW_S - 600)


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The data directory of a running store with an app that is down, a slow one and a fine one."""
    directory = tmp_path_factory.mktemp("status")
    with embedded.start(directory) as server:
        asyncio.run(fill(server.url))
        yield directory


async def fill(url: str) -> None:
    store = connect(url)
    verdicts = (
        verdict("blog", "ok", NOW_S, "All normal."),
        verdict("hooks", "degraded", NOW_S, "Slow since 23:00 UTC (27 min).", [SLOW]),
        verdict("shop", "down", NOW_S, DOWN, [crashed(NOW_S - 900)]),
    )
    seen_apps = [SeenApp(entry.app, NOW_S - 86_400, NOW_S, NOW_S) for entry in verdicts]
    await store.record_sightings(seen_apps, ttl_ms=86_400_000)
    for entry in verdicts:
        await store_verdict(store, entry)
    await store.close()


def status(data_dir: Path, *arguments: str) -> tuple[int, str, str]:
    result = dynometer("status", *arguments, settings={"DYNOMETER_DATA_DIR": str(data_dir)})
    return result.returncode, result.stdout.decode(), result.stderr.decode()


def test_the_worst_app_comes_first_with_its_sentence(data_dir: Path) -> None:
    code, stdout, _ = status(data_dir)
    first, second, third = stdout.splitlines()
    assert first.split(maxsplit=2) == ["shop", "down", DOWN]
    assert second.startswith("hooks  degraded")
    assert third.split(maxsplit=2) == ["blog", "ok", "All normal."]
    assert code == 4


@pytest.mark.parametrize(
    ("arguments", "code"), [(("blog",), 0), (("hooks",), 3), (("blog", "h*"), 3), (("shop",), 4)]
)
def test_the_exit_code_is_that_of_the_worst_app_named(
    data_dir: Path, arguments: tuple[str, ...], code: int
) -> None:
    assert status(data_dir, *arguments)[0] == code


def test_json_has_the_fields_of_the_api(data_dir: Path) -> None:
    code, stdout, _ = status(data_dir, "shop", "--json")
    (body,) = json.loads(stdout)["verdicts"]
    assert (code, body["state"], body["summary"]) == (4, "down", DOWN)
    assert body["findings"][0]["what"]["code"] == "H10"


def test_a_problem_of_many_apps_is_told_first_whichever_are_asked_for(tmp_path: Path) -> None:
    async def fill_silent(url: str) -> None:
        store = connect(url)
        for app in ("blog", "cart", "shop"):
            silent = Finding("silent", "silent", NOW_S - 600, metric="silence_minutes")
            await store.record_sightings([SeenApp(app, NOW_S - 86_400, NOW_S, NOW_S)], ttl_ms=10**9)
            await store_verdict(store, verdict(app, "silent", NOW_S, "Silent.", [silent]))
        await store.close()

    with embedded.start(tmp_path) as server:
        asyncio.run(fill_silent(server.url))
        _, stdout, _ = status(tmp_path, "shop")
        _, as_json, _ = status(tmp_path, "shop", "--json")
    fleet, rows = stdout.split("\n\n")
    assert fleet.startswith("3 of 3 apps have been silent since")
    assert [row.split()[0] for row in rows.splitlines()] == ["shop"]
    assert json.loads(as_json)["fleet"]["apps"] == ["blog", "cart", "shop"]


def test_an_unknown_app_is_an_invalid_argument(data_dir: Path) -> None:
    code, stdout, stderr = status(data_dir, "nobody")
    assert (code, stdout) == (2, "")
    assert "nobody: no such app" in stderr


def test_without_a_store_the_command_says_what_to_start(tmp_path: Path) -> None:
    code, _, stderr = status(tmp_path)
    assert code == 2
    assert "no store: start the service" in stderr


@pytest.mark.parametrize("state", STATES)
def test_every_state_has_the_exit_code_that_is_documented(state: State) -> None:
    codes = {"degraded": 3, "down": 4, "silent": 4, "unreadable": 5, "unknown": 5}
    assert exit_code([Verdict("shop", state, 0, 0, 0, "")]) == codes.get(state, 0)
    assert set(EXIT_CODES) == set(STATES)


def test_a_down_app_decides_before_one_that_cannot_be_read() -> None:
    verdicts = [Verdict("a", "unreadable", 0, 0, 0, ""), Verdict("b", "down", 0, 0, 0, "")]
    assert exit_code(worst_first(verdicts)) == 4
    assert exit_code([]) == 0


def test_long_sentences_are_wrapped_under_their_beginning() -> None:
    lines = format_status([Verdict("shop", "down", 0, 0, 0, "word " * 60)])
    assert len(lines) > 2
    assert all(len(line) <= 100 for line in lines)
    assert {line[:19].strip() for line in lines[1:]} == {""}
