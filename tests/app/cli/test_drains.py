"""The command `drains`: secrets are created, shown once, and deleted."""

from __future__ import annotations

import asyncio
import json
import re
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import TypeVar

import pytest

from app.access.drain_election import DrainClaim, elect_drain, pack_state, unpack_state
from app.access.drain_secrets import decode, hash_secret
from app.access.rejected_logins import RejectedLogins
from app.rollup.time_range import TimeRange
from app.storage import embedded
from app.storage.interface.apps import SeenApp
from app.storage.interface.batches import StatePrecondition
from app.storage.interface.store import Store
from app.storage.redis.store import connect
from tests.support.batches import batch
from tests.support.logtext import AT_S, dynometer

T = TypeVar("T")
PUBLIC = {"DYNOMETER_PUBLIC_URL": "https://metrics.example.com"}
ADDED = re.compile(
    r'heroku drains:add "https://(\S+):([A-Za-z0-9_-]{43})@metrics\.example\.com/drain" -a (\S+)'
)


@pytest.fixture
def data_dir(tmp_path: Path) -> Iterator[Path]:
    """The data directory of a running store."""
    with embedded.start(tmp_path):
        yield tmp_path


def drains(data_dir: Path, *arguments: str, **settings: str) -> tuple[int, str, str]:
    result = dynometer(
        "drains", *arguments, settings={"DYNOMETER_DATA_DIR": str(data_dir), **settings}
    )
    return result.returncode, result.stdout.decode(), result.stderr.decode()


def in_store(data_dir: Path, use: Callable[[Store], Awaitable[T]]) -> T:
    async def run() -> T:
        url = embedded.find_running(data_dir)
        assert url
        store = connect(url)
        try:
            return await use(store)
        finally:
            await store.close()

    return asyncio.run(run())


def stored(data_dir: Path) -> dict[str, str]:
    return in_store(data_dir, lambda store: store.drains())


def deliver(data_dir: Path, app: str, token: str, *, generation: int) -> None:
    """A batch of this drain is appended, as the service does it."""

    async def append(store: Store) -> None:
        before = (await store.drain_states([app])).get(app, b"")
        claim = DrainClaim(token, generation, TimeRange(0, 60), int(time.time()))
        after = pack_state(elect_drain(unpack_state(before), claim)[0])
        guards = {app: StatePrecondition(before, after)}
        await store.append(
            {app: [batch()]}, id_ttl_ms=1000, inbox_ttl_ms=60_000, preconditions=guards
        )

    in_store(data_dir, append)


def test_add_prints_only_commands_and_stores_only_hashes(data_dir: Path) -> None:
    code, stdout, _ = drains(data_dir, "add", "shop", "blog", **PUBLIC)

    matches = [ADDED.fullmatch(line) for line in stdout.splitlines()]
    assert code == 0
    assert [(match[1], match[3]) for match in matches if match] == [
        ("shop", "shop"),
        ("blog", "blog"),
    ]
    secrets = {match[1]: match[2] for match in matches if match}
    hashes = {
        app: [secret.hash for secret in decode(record).secrets]
        for app, record in stored(data_dir).items()
    }
    assert hashes == {app: [hash_secret(secret)] for app, secret in secrets.items()}


def test_add_without_a_public_address_names_the_setting(data_dir: Path) -> None:
    code, stdout, stderr = drains(data_dir, "add", "shop")

    assert (code, stdout) == (2, "")
    assert "export DYNOMETER_PUBLIC_URL=https://metrics.example.com" in stderr
    assert stored(data_dir) == {}


@pytest.mark.parametrize("name", ["Shop", "a b", "../x", '"; rm -rf'])
def test_add_rejects_an_invalid_app_name(data_dir: Path, name: str) -> None:
    code, stdout, stderr = drains(data_dir, "add", name, **PUBLIC)

    assert (code, stdout) == (2, "")
    assert "is not an app's name" in stderr


@pytest.mark.parametrize("url", ['https://h/";reboot', "https://h/$(id)", "https://u:p@h"])
def test_an_address_that_a_shell_could_misread_is_rejected(data_dir: Path, url: str) -> None:
    code, stdout, _ = drains(data_dir, "add", "shop", DYNOMETER_PUBLIC_URL=url)

    assert (code, stdout) == (2, "")


def test_an_app_that_has_a_drain_is_not_changed(data_dir: Path) -> None:
    drains(data_dir, "add", "shop", **PUBLIC)
    before = stored(data_dir)

    code, stdout, stderr = drains(data_dir, "add", "blog", "shop", **PUBLIC)
    assert (code, stdout) == (2, "")
    assert "shop: already has a drain" in stderr
    assert before == stored(data_dir)


@pytest.mark.parametrize(
    "names",
    [
        "shop\nblog  # the marketing site\n\n",
        '[{"name": "shop", "id": "01"}, {"name": "blog"}]',
        '["shop", "blog"]',
    ],
)
def test_add_from_a_list_skips_apps_that_have_a_drain(
    data_dir: Path, tmp_path: Path, names: str
) -> None:
    file = tmp_path / "apps"
    file.write_text(names)
    drains(data_dir, "add", "shop", **PUBLIC)
    before = stored(data_dir)["shop"]

    code, stdout, stderr = drains(data_dir, "add", "--from", str(file), **PUBLIC)

    apps = [match[3] for line in stdout.splitlines() if (match := ADDED.fullmatch(line))]
    assert (code, apps) == (0, ["blog"])
    assert "Skipped (already has a drain): shop" in stderr
    assert stored(data_dir)["shop"] == before


@pytest.mark.parametrize("names", ["Shop\n", "[{}]", "[1]", "[", '["a b"]', "=== my apps\nshop"])
def test_a_list_that_cannot_be_used_changes_nothing(
    data_dir: Path, tmp_path: Path, names: str
) -> None:
    file = tmp_path / "apps"
    file.write_text(names)

    code, stdout, stderr = drains(data_dir, "add", "--from", str(file), **PUBLIC)

    assert (code, stdout) == (2, "")
    assert "expected" in stderr or "is not an app's name" in stderr
    assert stored(data_dir) == {}


def test_rotate_prints_the_new_drain_and_how_to_end_the_old_one(data_dir: Path) -> None:
    _, stdout, _ = drains(data_dir, "add", "shop", **PUBLIC)
    first = ADDED.fullmatch(stdout.rstrip())
    deliver(data_dir, "shop", "d.old", generation=1)

    code, stdout, stderr = drains(data_dir, "rotate", "shop", **PUBLIC)

    second = ADDED.fullmatch(stdout.rstrip())
    assert first and second
    assert code == 0
    assert "heroku drains:remove d.old -a shop" in stderr
    secrets = decode(stored(data_dir)["shop"]).secrets
    assert [(secret.hash, secret.generation) for secret in secrets] == [
        (hash_secret(first[2]), 1),
        (hash_secret(second[2]), 2),
    ]


def test_a_second_rotation_keeps_the_secret_in_use(data_dir: Path) -> None:
    drains(data_dir, "add", "shop", **PUBLIC)
    deliver(data_dir, "shop", "d.old", generation=1)
    drains(data_dir, "rotate", "shop", **PUBLIC)

    drains(data_dir, "rotate", "shop", **PUBLIC)

    assert [secret.generation for secret in decode(stored(data_dir)["shop"]).secrets] == [1, 3]


def test_rotate_at_once_ends_the_old_secret(data_dir: Path) -> None:
    drains(data_dir, "add", "shop", **PUBLIC)

    code, _, stderr = drains(data_dir, "rotate", "shop", "--at-once", **PUBLIC)

    assert (code, "the old secret ends within 5 seconds" in stderr) == (0, True)
    assert [secret.generation for secret in decode(stored(data_dir)["shop"]).secrets] == [2]


def test_rotate_of_an_unknown_app_says_how_to_begin(data_dir: Path) -> None:
    code, stdout, stderr = drains(data_dir, "rotate", "shop", **PUBLIC)

    assert (code, stdout) == (2, "")
    assert "shop: has no drain. First run: dynometer drains add shop" in stderr


def test_an_app_that_comes_back_takes_over_from_its_old_drain(data_dir: Path) -> None:
    drains(data_dir, "add", "shop", **PUBLIC)
    deliver(data_dir, "shop", "d.old", generation=3)
    drains(data_dir, "remove", "shop", "--yes")

    drains(data_dir, "add", "shop", **PUBLIC)

    assert [secret.generation for secret in decode(stored(data_dir)["shop"]).secrets] == [4]


def test_list_shows_drains_and_when_apps_were_seen(data_dir: Path) -> None:
    async def see(store: Store) -> None:
        await store.record_sightings([SeenApp("blog", int(AT_S), int(AT_S), 0)], ttl_ms=60_000)

    drains(data_dir, "add", "shop", **PUBLIC)
    deliver(data_dir, "shop", "d.one", generation=1)
    in_store(data_dir, see)

    _, stdout, _ = drains(data_dir, "list")

    assert [line.split() for line in stdout.splitlines()] == [
        ["APP", "MAY", "SEND", "ACTIVE", "DRAIN", "LAST", "SEEN", "(UTC)"],
        ["blog", "no", "-", "2026-11-22", "10:00"],
        ["shop", "https", "d.one", "never"],
    ]


def test_list_names_the_command_that_removes_a_second_drain(data_dir: Path) -> None:
    drains(data_dir, "add", "shop", **PUBLIC)
    deliver(data_dir, "shop", "d.one", generation=1)
    deliver(data_dir, "shop", "d.two", generation=1)

    _, stdout, _ = drains(data_dir, "list")
    assert "heroku drains:remove d.two -a shop" in stdout

    _, stdout, _ = drains(data_dir, "list", "--json")
    (shop,) = json.loads(stdout)["drains"]
    assert shop["remove_other"] == "heroku drains:remove d.two -a shop"


def test_list_shows_rejected_log_ins(data_dir: Path) -> None:
    async def refuse(store: Store) -> None:
        logins = RejectedLogins(store, time.time, name="1")
        logins.add("shop", "d.0af0b9c2-3c8e-4c87-9e5b-7a30a1f9f5d1", "wrong secret")
        logins.add("shop", "d.0af0b9c2-3c8e-4c87-9e5b-7a30a1f9f5d1", "wrong secret")
        await logins.publish()

    in_store(data_dir, refuse)

    _, stdout, _ = drains(data_dir, "list")

    (line,) = (line for line in stdout.splitlines() if line.startswith("shop"))
    user, token, *why, times = line.split()[:5]
    assert [user, token, why, times] == [
        "shop",
        "d.0af0b9c2-3c8e-4c87-9e5b-7a30a1f9f5d1",
        ["wrong", "secret"],
        "2",
    ]


def test_an_empty_list_says_how_to_begin(data_dir: Path) -> None:
    assert drains(data_dir, "list") == (0, "", "No apps yet. Add one: dynometer drains add APP\n")


def test_remove_needs_a_yes(data_dir: Path) -> None:
    drains(data_dir, "add", "shop", **PUBLIC)

    code, _, stderr = drains(data_dir, "remove", "shop")
    assert (code, "--yes" in stderr) == (2, True)
    assert list(stored(data_dir)) == ["shop"]

    code, stdout, stderr = drains(data_dir, "remove", "shop", "--yes")
    assert (code, stdout) == (0, "")
    assert "heroku drains:remove" in stderr
    assert stored(data_dir) == {}


def test_remove_of_an_unknown_app_changes_nothing(data_dir: Path) -> None:
    drains(data_dir, "add", "shop", **PUBLIC)

    code, _, stderr = drains(data_dir, "remove", "shop", "blog", "--yes")

    assert (code, "blog: has no drain" in stderr) == (2, True)
    assert list(stored(data_dir)) == ["shop"]


def test_remove_without_an_app_is_a_mistake(data_dir: Path) -> None:
    code, _, stderr = drains(data_dir, "remove")

    assert (code, "usage: dynometer drains remove" in stderr) == (2, True)


def test_a_space_gets_one_drain_for_a_list_of_apps(data_dir: Path) -> None:
    code, stdout, _ = drains(data_dir, "add", "--space", "acme", "shop", "blog", **PUBLIC)
    pattern = r'heroku drains:set "https://acme:\S+@metrics\.example\.com/drain" -s acme\n'
    assert code == 0
    assert re.fullmatch(pattern, stdout)
    assert list(stored(data_dir)) == ["acme"]
    assert decode(stored(data_dir)["acme"]).apps == ["shop", "blog"]

    assert drains(data_dir, "allow", "acme", "api", "shop")[0] == 0
    assert drains(data_dir, "disallow", "acme", "blog")[0] == 0
    assert decode(stored(data_dir)["acme"]).apps == ["shop", "api"]
    assert "https, for shop, api" in drains(data_dir, "list")[1]
    [listed] = json.loads(drains(data_dir, "list", "--json")[1])["drains"]
    assert listed["space_apps"] == ["shop", "api"]


def test_an_app_is_no_space_and_a_space_keeps_an_app(data_dir: Path) -> None:
    drains(data_dir, "add", "shop", **PUBLIC)
    drains(data_dir, "add", "--space", "acme", "blog", **PUBLIC)
    for arguments, reason in (
        (("allow", "shop", "blog"), "shop: is not the drain of a space"),
        (("allow", "acme", "acme"), "acme: is the name of a space's drain"),
        (("disallow", "acme", "blog"), "dynometer drains remove acme"),
        (("add", "--space", "shop", "blog"), "shop: already has a drain"),
        (("add", "--space", "x", "--syslog", "blog"), "leave out --syslog"),
    ):
        code, stdout, stderr = drains(data_dir, *arguments, **PUBLIC)
        assert (code, stdout) == (2, "")
        assert reason in stderr
