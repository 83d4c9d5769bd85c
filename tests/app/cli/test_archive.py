"""The command `archive`: init, status, backfill and verify, on a real store and database."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from app.cli.main import main
from app.rollup.resolutions import HOUR_S, align
from app.storage import embedded
from app.storage.connect import connect
from tests.support.archive import busy_rollup, put_hour, see_apps
from tests.support.postgres import PostgresServer

RETENTION = {"DYNOMETER_RETENTION_1M": "2h", "DYNOMETER_RETENTION_10M": "2d",
             "DYNOMETER_RETENTION_1H": "2d"}  # fmt: skip


class Command:
    """The command on a store with one app, and an empty database."""

    def __init__(self, url: str, capsys: pytest.CaptureFixture[str]) -> None:
        self.url = url
        self._capsys = capsys

    def __call__(self, *arguments: str) -> tuple[int, str, str]:
        """Run it; returns the exit code, and both outputs."""
        code = main(["archive", *arguments])
        return (code, *self._capsys.readouterr())


@pytest.fixture
def command(
    tmp_path: Path,
    postgres: PostgresServer,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Command]:
    with embedded.start(tmp_path) as server:
        asyncio.run(fill(server.url))
        url = postgres.url(postgres.create_database())
        settings = {"DYNOMETER_DATA_DIR": str(tmp_path), "DYNOMETER_ARCHIVE_URL": url, **RETENTION}
        for name, value in settings.items():
            monkeypatch.setenv(name, value)
        yield Command(url, capsys)


async def fill(url: str) -> None:
    store = connect(url)
    hour_s = align(int(time.time()), HOUR_S)
    await see_apps(store, ["shop"], time.time())
    for start_s in range(hour_s - 6 * HOUR_S, hour_s - 2 * HOUR_S, HOUR_S):
        await put_hour(store, "shop", start_s, busy_rollup(start_s, seed=start_s))
    await store.close()


def test_an_archive_is_created_filled_and_verified(command: Command) -> None:
    assert command("status")[0] == 2
    assert "Run 'dynometer archive init'" in command("verify")[2]

    code, _, text = command("init")
    assert (code, text.splitlines()[-1]) == (0, "Applied 2: views.")
    assert command("init")[2] == "The schema is up to date.\n"

    code, _, text = command("verify")
    assert (code, text.split()[0]) == (1, "0")
    code, _, text = command("backfill")
    assert (code, text.splitlines()[-1].split(", ")[1]) == (0, "4 rows of hours written.")
    code, stdout, text = command("verify")
    assert (code, stdout) == (0, "")
    assert text.startswith("4 hours are equal")

    code, stdout, _ = command("status", "--json")
    status = json.loads(stdout)
    assert (code, status["hours_behind"], status["changed_hours"]) == (0, 0, 0)
    code, stdout, _ = command("status")
    assert "0 closed hours behind" in stdout
    assert "measurement_hours" in stdout


def test_verify_names_what_differs(command: Command) -> None:
    command("init")
    command("backfill")
    with psycopg.connect(command.url) as connection:
        connection.execute("UPDATE dynometer.count_hours SET value = 1 WHERE metric = 'messages'")

    code, stdout, _ = command("verify")

    assert code == 1
    assert stdout.splitlines()[0].endswith("UTC differs in count_hours")


def test_a_dry_run_prints_sql_and_grants(command: Command) -> None:
    code, stdout, _ = command("init", "--dry-run", "--writer", "svc", "--reader", "bi team")
    assert code == 0
    assert "CREATE SCHEMA dynometer;" in stdout
    assert 'GRANT USAGE ON SCHEMA "dynometer" TO "bi team";' in stdout
    assert "has no schema" in command("status")[2]


@pytest.mark.parametrize(
    ("url", "sentence"),
    [
        ("", "no archive is configured: set DYNOMETER_ARCHIVE_URL="),
        ("mysql://x", "DYNOMETER_ARCHIVE_URL=…: expected an address such as postgresql://"),
        ("postgresql://x@/x?host=/nowhere", "PostgreSQL does not answer"),
    ],
)
def test_a_wrong_url_is_a_sentence(
    url: str,
    sentence: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("DYNOMETER_ARCHIVE_URL", url)
    assert main(["archive", "init"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert sentence in line
