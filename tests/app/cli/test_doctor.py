"""The command `doctor`: quiet about what is well, one line and a remedy for what is not."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import pytest

from app.access.drain_election import DrainElection, pack_state
from app.access.drain_secrets import create_record, encode, rotate_secret
from app.access.rejected_logins import RejectedLogins
from app.alerting.channels.channel import Channel, ChannelHealth, pack_channel, pack_health
from app.ingest.drain_loop import DrainLoopDetector
from app.storage import embedded
from app.storage.alert_interface import AlertChange, AlertTable
from app.storage.interface import SeenApp, StatePrecondition, Store
from app.storage.redis.store import connect
from tests.support.batches import batch
from tests.support.certificates import certificate
from tests.support.logtext import dynometer
from tests.support.processes import ServiceProcess, free_port

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
        url = embedded.find_running(data_dir)
        assert url
        store = connect(url)
        for use in uses:
            await use(store)
        await store.close()

    asyncio.run(run())


async def fold_lives(store: Store) -> None:
    now_s = str(int(time.time()))
    beat = {"last_success_s": now_s, "checked_s": now_s, "error": ""}
    await store.heartbeat("fold:1", beat, ttl_ms=60_000)


async def shop_speaks(store: Store) -> None:
    now_s = int(time.time())
    await store.record_sightings([SeenApp("shop", now_s - 60, now_s, now_s)], ttl_ms=60_000)


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
    assert "Check that it is running" in found["store"][0]


def test_what_is_wrong_comes_with_what_to_do(data_dir: Path) -> None:
    async def apps_and_drains(store: Store) -> None:
        now_s = int(time.time())
        await store.record_sightings(
            [
                SeenApp("silent", 1, now_s - 7200, now_s - 7200),
                SeenApp("plain", now_s, now_s, 0),
            ],
            ttl_ms=60_000,
        )
        old = create_record("a", now_s - 3 * 86_400, last_generation=0)
        record = encode(
            rotate_secret(old, "b", now_s - 2 * 86_400, active_generation=1, at_once=False)
        )
        await store.compare_and_set_drain("plain", "", record)
        await store.compare_and_set_drain(
            "never", "", encode(create_record("a", now_s, last_generation=0))
        )
        state = DrainElection("d.one", 0, "", 1, now_s, now_s, "d.two", now_s)
        await store.append(
            {"plain": [batch()]},
            id_ttl_ms=1000,
            inbox_ttl_ms=60_000,
            preconditions={"plain": StatePrecondition(b"", pack_state(state))},
        )
        refusals = RejectedLogins(store, time.time, name="1")
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


def test_of_several_apps_only_the_one_asked_about_is_spoken_of(data_dir: Path) -> None:
    async def two_silent(store: Store) -> None:
        old_s = int(time.time()) - 7200
        seen = [SeenApp(app, 1, old_s, old_s) for app in ("blog", "shop")]
        await store.record_sightings(seen, ttl_ms=60_000)
        await DrainLoopDetector(store, time.time, "https://m.example.com").refresh()
        await store.heartbeat("itself:blog", {"last_s": "1"}, ttl_ms=60_000)

    in_store(data_dir, fold_lives, two_silent)
    settings = {"DYNOMETER_DATA_DIR": str(data_dir)}
    assert b"blog is this service's own app" in dynometer("doctor", settings=settings).stdout
    told = dynometer("doctor", "--app", "shop", settings=settings)
    assert told.returncode == 1
    assert b"shop: silent since" in told.stdout
    assert b"blog" not in told.stdout


def test_a_channel_that_takes_nothing_is_named_with_the_reason(data_dir: Path) -> None:
    async def slack_fails(store: Store) -> None:
        health = ChannelHealth(
            failing_since_s=int(time.time()) - 600, attempts=3, error="answers 404"
        )
        channel = Channel("slack", "slack", "https://hooks.example.com/secret", 1)
        await store.change_alerts(
            [
                AlertChange(AlertTable.CHANNELS, "slack", pack_channel(channel)),
                AlertChange(AlertTable.HEALTH, "slack", pack_health(health)),
            ]
        )

    in_store(data_dir, fold_lives, shop_speaks)
    settings = {"DYNOMETER_DATA_DIR": str(data_dir)}
    assert b"nobody is told: " in dynometer("doctor", settings=settings).stdout
    in_store(data_dir, slack_fails)
    (text,) = examined(data_dir)[1]["alerts"]
    assert "slack has taken nothing since" in text
    assert "answers 404" in text
    assert "secret" not in text


def test_the_marked_batch_is_reported_and_listed_nowhere(data_dir: Path) -> None:
    in_store(data_dir, fold_lives, shop_speaks)
    for _ in range(2):
        done = dynometer("doctor", settings={"DYNOMETER_DATA_DIR": str(data_dir)})
        assert b"5 marked lines went through: each counted once" in done.stdout

    async def only_shop_is_known(store: Store) -> None:
        assert [seen.app for seen in await store.seen_apps()] == ["shop"]

    in_store(data_dir, only_shop_is_known)


def test_the_public_address_is_asked_and_its_certificate_looked_at(tmp_path: Path) -> None:
    chain, key = certificate(tmp_path, "localhost")
    service = ServiceProcess(tmp_path, DYNOMETER_ADMIN_TOKEN="a token of sixteen or more")
    service.arguments = ("--tls-cert", str(chain), "--tls-key", str(key))
    public = f"https://localhost:{service.port}"
    service.start()
    try:
        settings = {**service.environ, "DYNOMETER_PUBLIC_URL": public, "SSL_CERT_FILE": str(chain)}
        told = dynometer("doctor", settings=settings).stdout.decode()
        assert f"LOOK  tls       the certificate at {public} holds until" in told
        assert "cannot be reached" not in told
        elsewhere = f"http://127.0.0.1:{free_port()}"
        away = dynometer("doctor", settings={**settings, "DYNOMETER_PUBLIC_URL": elsewhere}).stdout
        assert f"{elsewhere}/healthz cannot be reached from here".encode() in away
        settings["DYNOMETER_TLS_CERT"] = str(chain)
        told = dynometer("doctor", settings=settings).stdout.decode()
        assert f"LOOK  tls       the certificate {chain} holds until" in told
    finally:
        service.stop()


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
