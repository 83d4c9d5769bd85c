"""The command `drains`: secrets are made, shown once, and forgotten."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from app import embedded
from app.drains import hash_secret
from app.store.port import SeenApp
from app.store.redis import connect
from tests.support.logtext import AT_S, dynometer

PUBLIC = {"DYNOMETER_PUBLIC_URL": "https://metrics.example.com"}
ADDED = re.compile(
    r'heroku drains:add "https://(\S+):([A-Za-z0-9_-]{43})@metrics\.example\.com/drain" -a (\S+)'
)


@pytest.fixture
def data_dir(tmp_path: Path) -> Iterator[Path]:
    """The data directory of a store that runs."""
    with embedded.start(tmp_path):
        yield tmp_path


def drains(data_dir: Path, *arguments: str, **settings: str) -> tuple[int, str, str]:
    done = dynometer(
        "drains", *arguments, settings={"DYNOMETER_DATA_DIR": str(data_dir), **settings}
    )
    return done.returncode, done.stdout.decode(), done.stderr.decode()


def stored(data_dir: Path) -> dict[str, str]:
    async def read() -> dict[str, str]:
        url = embedded.running(data_dir)
        assert url
        store = connect(url)
        try:
            return await store.drains()
        finally:
            await store.close()

    return asyncio.run(read())


def test_add_prints_only_what_can_be_run_and_stores_only_hashes(data_dir: Path) -> None:
    code, printed, _ = drains(data_dir, "add", "shop", "blog", **PUBLIC)

    matches = [ADDED.fullmatch(line) for line in printed.splitlines()]
    assert code == 0
    assert [(match[1], match[3]) for match in matches if match] == [
        ("shop", "shop"),
        ("blog", "blog"),
    ]
    secrets = {match[1]: match[2] for match in matches if match}
    assert {app: hash_secret(secret) for app, secret in secrets.items()} == stored(data_dir)


def test_add_without_a_public_address_says_what_to_set(data_dir: Path) -> None:
    code, printed, said = drains(data_dir, "add", "shop")

    assert (code, printed) == (2, "")
    assert "export DYNOMETER_PUBLIC_URL=https://metrics.example.com" in said
    assert stored(data_dir) == {}


@pytest.mark.parametrize("name", ["Shop", "a b", "../x", '"; rm -rf'])
def test_add_refuses_what_is_no_app_name(data_dir: Path, name: str) -> None:
    code, printed, said = drains(data_dir, "add", name, **PUBLIC)

    assert (code, printed) == (2, "")
    assert "is not an app's name" in said


@pytest.mark.parametrize("url", ['https://h/";reboot', "https://h/$(id)", "https://u:p@h"])
def test_an_address_that_a_shell_could_misread_is_refused(data_dir: Path, url: str) -> None:
    code, printed, _ = drains(data_dir, "add", "shop", DYNOMETER_PUBLIC_URL=url)

    assert (code, printed) == (2, "")


def test_an_app_that_has_a_drain_is_left_alone_unless_replaced(data_dir: Path) -> None:
    drains(data_dir, "add", "shop", **PUBLIC)
    before = stored(data_dir)

    refused, printed, said = drains(data_dir, "add", "blog", "shop", **PUBLIC)
    assert (refused, printed) == (2, "")
    assert "shop: has a drain already" in said
    assert before == stored(data_dir)

    replaced, printed, said = drains(data_dir, "add", "shop", "--replace", **PUBLIC)
    assert replaced == 0
    assert ADDED.fullmatch(printed.rstrip())
    assert "heroku drains:remove" in said
    assert before != stored(data_dir)


def test_list_shows_drains_and_when_apps_were_seen(data_dir: Path) -> None:
    async def see() -> None:
        url = embedded.running(data_dir)
        assert url
        store = connect(url)
        seen = [SeenApp("blog", int(AT_S), int(AT_S), 0)]
        await store.see(seen, ttl_ms=60_000)
        await store.close()

    drains(data_dir, "add", "shop", **PUBLIC)
    asyncio.run(see())

    _, printed, _ = drains(data_dir, "list")

    assert [line.split() for line in printed.splitlines()] == [
        ["APP", "DRAIN", "LAST", "SEEN", "(UTC)"],
        ["blog", "no", "2026-11-22", "10:00"],
        ["shop", "yes", "never"],
    ]


def test_list_of_nothing_says_how_to_begin(data_dir: Path) -> None:
    assert drains(data_dir, "list") == (0, "", "no apps yet: dynometer drains add APP\n")


def test_remove_needs_a_yes(data_dir: Path) -> None:
    drains(data_dir, "add", "shop", **PUBLIC)

    refused, _, said = drains(data_dir, "remove", "shop")
    assert (refused, "--yes" in said) == (2, True)
    assert list(stored(data_dir)) == ["shop"]

    removed, printed, said = drains(data_dir, "remove", "shop", "--yes")
    assert (removed, printed) == (0, "")
    assert "heroku drains:remove" in said
    assert stored(data_dir) == {}


def test_remove_of_an_unknown_app_changes_nothing(data_dir: Path) -> None:
    drains(data_dir, "add", "shop", **PUBLIC)

    code, _, said = drains(data_dir, "remove", "shop", "blog", "--yes")

    assert (code, "blog: has no drain" in said) == (2, True)
    assert list(stored(data_dir)) == ["shop"]


def test_remove_without_an_app_is_a_mistake(data_dir: Path) -> None:
    code, _, said = drains(data_dir, "remove")

    assert (code, "usage: dynometer drains remove" in said) == (2, True)
