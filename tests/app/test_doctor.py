"""The command `doctor`: quiet about what is well, one line and a remedy for what is not."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import pytest

from app import embedded
from app.active_drain import ActiveDrain, pack_state
from app.drains import encode, first, rotated
from app.refusals import Refusals
from app.store.port import Guard, SeenApp, Store
from app.store.redis import connect
from tests.support.batches import batch
from tests.support.logtext import dynometer

DRAIN = "d.0af0b9c2-3c8e-4c87-9e5b-7a30a1f9f5d1"


@pytest.fixture
def data_dir(tmp_path: Path) -> Iterator[Path]:
    """The data directory of a store that runs."""
    with embedded.start(tmp_path):
        yield tmp_path


def examined(data_dir: Path, **settings: str) -> tuple[int, dict[str, list[str]]]:
    """(exit code, what is to be done, by what it is about)."""
    done = dynometer("doctor", "--json", settings={"DYNOMETER_DATA_DIR": str(data_dir), **settings})
    assert done.returncode in (0, 1), done.stderr
    found: dict[str, list[str]] = {}
    for finding in json.loads(done.stdout):
        if not finding["ok"]:
            found.setdefault(finding["about"], []).append(finding["text"])
    return done.returncode, found


def in_store(data_dir: Path, *uses: Callable[[Store], Awaitable[object]]) -> None:
    async def run() -> None:
        url = embedded.running(data_dir)
        assert url
        store = connect(url)
        for use in uses:
            await use(store)
        await store.close()

    asyncio.run(run())


async def fold_lives(store: Store) -> None:
    now_s = str(int(time.time()))
    beat = {"last_success_s": now_s, "checked_s": now_s, "error": ""}
    await store.beat("fold:1", beat, ttl_ms=60_000)


async def shop_speaks(store: Store) -> None:
    now_s = int(time.time())
    await store.see([SeenApp("shop", now_s - 60, now_s, now_s)], ttl_ms=60_000)


def test_where_all_is_well_there_is_nothing_to_do(data_dir: Path) -> None:
    in_store(data_dir, fold_lives, shop_speaks)

    assert examined(data_dir) == (0, {})
    done = dynometer("doctor", settings={"DYNOMETER_DATA_DIR": str(data_dir)})
    lines = done.stdout.decode().splitlines()
    assert all(line.startswith("ok  ") for line in lines)
    assert any("append-only file, synced everysec" in line for line in lines)


def test_without_a_service_it_says_what_is_missing(tmp_path: Path) -> None:
    done = dynometer("doctor", settings={"DYNOMETER_DATA_DIR": str(tmp_path)})
    assert done.returncode == 2
    assert b"no store: start the service" in done.stderr


def test_a_store_that_is_away_is_one_finding_among_the_others(tmp_path: Path) -> None:
    code, found = examined(tmp_path, REDIS_URL="unix:///nonexistent/redis.sock")
    assert code == 1
    assert "check that it is running" in found["store"][0]


def test_what_is_wrong_comes_with_what_to_do(data_dir: Path) -> None:
    async def apps_and_drains(store: Store) -> None:
        now_s = int(time.time())
        await store.see(
            [
                SeenApp("silent", 1, now_s - 7200, now_s - 7200),
                SeenApp("plain", now_s, now_s, 0),
            ],
            ttl_ms=60_000,
        )
        old = first("a", now_s - 3 * 86_400, last=0)
        record = encode(rotated(old, "b", now_s - 2 * 86_400, active=1, at_once=False))
        await store.swap_drain("plain", "", record)
        await store.swap_drain("never", "", encode(first("a", now_s, last=0)))
        state = ActiveDrain("d.one", 0, "", 1, now_s, now_s, "d.two", now_s)
        await store.append(
            {"plain": [batch()]},
            id_ttl_ms=1000,
            inbox_ttl_ms=60_000,
            guards={"plain": Guard(b"", pack_state(state))},
        )
        refusals = Refusals(store, time.time, name="1")
        refusals.add("never", DRAIN, "wrong secret")
        await refusals.publish()

    in_store(data_dir, apps_and_drains)

    code, found = examined(data_dir, DYNOMETER_SPOOL_MAX_BYTE="1GiB")

    assert code == 1
    assert "did you mean DYNOMETER_SPOOL_MAX_BYTES?" in found["settings"][0]
    assert "nobody folds" in found["folding"][0]
    apps = "\n".join(found["apps"])
    assert "never: nothing was ever received" in apps
    assert "silent: silent since" in apps
    assert "heroku labs:enable log-runtime-metrics -a plain" in apps
    drains = "\n".join(found["drains"])
    assert "heroku drains:remove d.two -a plain" in drains
    assert "plain: its new secret" in drains
    assert f"never, wrong secret, drain {DRAIN}" in drains


@pytest.mark.parametrize(
    ("url", "says"), [("", "is not set"), ("http://metrics.example.com", "is not https")]
)
def test_an_address_that_does_not_do_is_said(data_dir: Path, url: str, says: str) -> None:
    settings = {"DYNOMETER_ADMIN_TOKEN": "a token of sixteen or more", "DYNOMETER_PUBLIC_URL": url}
    assert says in examined(data_dir, **settings)[1]["access"][0]


def test_what_waits_on_disk_is_shown(data_dir: Path) -> None:
    spool = data_dir / "spool"
    spool.mkdir()
    (spool / "left.spool").write_bytes(b"x" * 2**20)

    (text,) = examined(data_dir)[1]["spool"]
    assert "1.0 MiB of 256 wait on disk" in text
