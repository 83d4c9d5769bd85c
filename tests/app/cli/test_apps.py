"""The command `apps`: lists apps with their origin, and removes an app with all its data."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from app.archive.database import Database
from app.rollup.resolutions import HOUR_S
from app.storage import embedded
from app.storage.connect import connect
from app.storage.interface.apps import REPLAY, Origin, SeenApp
from app.traffic.sent_lines import SentLines, sent_lines_path
from tests.support.archive import archive_hour, busy_rollup
from tests.support.batches import append, batch
from tests.support.logtext import dynometer

DAY_MS = 86_400_000


@pytest.fixture
def data_dir(tmp_path: Path) -> Iterator[Path]:
    """The data directory of a running store with a replayed app and one with a drain."""
    with embedded.start(tmp_path) as server:
        asyncio.run(fill(server.url))
        yield tmp_path


async def fill(url: str) -> None:
    store, now_s = connect(url), int(time.time())
    await append(store, "shop", batch())
    await store.record_sightings(
        [
            SeenApp("shop", now_s, now_s, 0),
            SeenApp("old", now_s, now_s, 0, Origin(REPLAY, notifies=False)),
        ],
        ttl_ms=DAY_MS,
    )
    await store.close()


def apps(data_dir: Path, *arguments: str, **settings: str) -> tuple[int, str, str]:
    settings["DYNOMETER_DATA_DIR"] = str(data_dir)
    result = dynometer("apps", *arguments, settings=settings)
    return result.returncode, result.stdout.decode(), result.stderr.decode()


def names(data_dir: Path) -> list[str]:
    return [app["app"] for app in json.loads(apps(data_dir, "list", "--json")[1])]


def test_apps_that_only_the_archive_knows_are_listed(data_dir: Path, archive_url: str) -> None:
    asyncio.run(archive_two_apps(archive_url))
    url = {"DYNOMETER_ARCHIVE_URL": archive_url}
    listed = json.loads(apps(data_dir, "list", "--json", **url)[1])
    assert [(app["app"], app["origin"]) for app in listed] == [
        ("old", "replay"),
        ("shop", "drain"),
        ("former", "archive"),
    ]
    code, stdout, stderr = apps(
        data_dir, "list", DYNOMETER_ARCHIVE_URL="postgresql://x@/x?host=/nowhere"
    )
    assert code == 0
    assert "shop" in stdout
    assert "The archive does not answer." in stderr


async def archive_two_apps(url: str) -> None:
    database = Database(url)
    for app in ("shop", "former"):
        await archive_hour(database, app, HOUR_S, busy_rollup(HOUR_S, seed=1))
    await database.close()


def test_a_list_tells_where_the_lines_of_an_app_come_from(data_dir: Path) -> None:
    _, stdout, _ = apps(data_dir, "list")

    assert [line.split()[:3] for line in stdout.splitlines()[1:]] == [
        ["old", "replay", "not"],
        ["shop", "drain", "sent"],
    ]
    old, shop = json.loads(apps(data_dir, "list", "--json")[1])
    assert (old["origin"], old["notifies"]) == ("replay", False)
    assert (shop["origin"], shop["notifies"]) == ("drain", True)


def test_a_removed_app_is_gone_with_its_data(data_dir: Path) -> None:
    code, _, stderr = apps(data_dir, "remove", "shop", "--yes")

    assert (code, "shop: removed." in stderr) == (0, True)
    assert names(data_dir) == ["old"]
    url = embedded.find_running(data_dir)
    assert url

    async def inbox_length() -> int:
        store = connect(url)
        lengths = await store.inbox_lengths(["shop"])
        await store.close()
        return lengths["shop"]

    assert asyncio.run(inbox_length()) == 0


def test_a_removal_needs_confirmation(data_dir: Path) -> None:
    code, _, stderr = apps(data_dir, "remove", "shop")

    assert (code, "Add --yes" in stderr) == (2, True)
    assert names(data_dir) == ["old", "shop"]


def test_all_named_apps_are_removed_or_none(data_dir: Path) -> None:
    code, _, stderr = apps(data_dir, "remove", "shop", "none", "--yes")

    assert (code, "none: no such app." in stderr) == (2, True)
    assert names(data_dir) == ["old", "shop"]


def test_lines_of_a_removed_app_can_be_replayed_again(data_dir: Path) -> None:
    directory = data_dir / "replay"
    for app in ("old", "old-b"):
        SentLines(sent_lines_path(directory, app, "http://127.0.0.1", "0" * 32)).add([1])

    apps(data_dir, "remove", "old", "--yes")

    assert {path.name.removesuffix("0" * 32) for path in directory.glob("*" + "0" * 32)} == {
        "old-b-"
    }
