"""The command `doctor`: one line for each check, with a remedy for each problem."""

from __future__ import annotations

import asyncio
import json
import re
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
from app.storage.interface.alerts import AlertChange, AlertTable
from app.storage.interface.apps import SeenApp
from app.storage.interface.batches import StatePrecondition
from app.storage.interface.store import Store
from app.storage.redis.store import connect
from tests.support.batches import batch
from tests.support.certificates import certificate
from tests.support.logtext import dynometer
from tests.support.processes import ServiceProcess, free_port
from tests.support.verdicts import store_verdict, verdict

DRAIN = "d.0af0b9c2-3c8e-4c87-9e5b-7a30a1f9f5d1"


@pytest.fixture
def data_dir(tmp_path: Path) -> Iterator[Path]:
    """The data directory of a running store."""
    with embedded.start(tmp_path):
        yield tmp_path


def problems_of(data_dir: Path, **settings: str) -> tuple[int, dict[str, list[str]]]:
    """(exit code, texts of the problems by subject)."""
    result = dynometer(
        "doctor", "--json", settings={"DYNOMETER_DATA_DIR": str(data_dir), **settings}
    )
    assert result.returncode in (0, 1), result.stderr
    problems: dict[str, list[str]] = {}
    for finding in json.loads(result.stdout):
        if not finding["ok"]:
            problems.setdefault(finding["about"], []).append(finding["text"])
    return result.returncode, problems


def in_store(data_dir: Path, *uses: Callable[[Store], Awaitable[object]]) -> None:
    async def run() -> None:
        url = embedded.find_running(data_dir)
        assert url
        store = connect(url)
        for use in uses:
            await use(store)
        await store.close()

    asyncio.run(run())


async def add_fold_heartbeat(store: Store) -> None:
    now_s = str(int(time.time()))
    beat = {"last_success_s": now_s, "checked_s": now_s, "error": ""}
    await store.write_status("fold:1", beat, ttl_ms=60_000)


async def add_shop(store: Store) -> None:
    now_s = int(time.time())
    await store.record_sightings([SeenApp("shop", now_s - 60, now_s, now_s)], ttl_ms=60_000)


def test_a_healthy_installation_has_no_problems(data_dir: Path) -> None:
    in_store(data_dir, add_fold_heartbeat, add_shop)

    assert problems_of(data_dir) == (0, {})
    result = dynometer("doctor", settings={"DYNOMETER_DATA_DIR": str(data_dir)})
    lines = result.stdout.decode().splitlines()
    assert all(line.startswith("ok  ") for line in lines)
    assert any("append-only file, synced everysec" in line for line in lines)
    assert any(re.search(r"store +id [0-9a-f]{32}, in use since \d{4}-", line) for line in lines)


def test_without_a_service_the_store_is_reported_missing(tmp_path: Path) -> None:
    result = dynometer("doctor", settings={"DYNOMETER_DATA_DIR": str(tmp_path)})
    assert result.returncode == 2
    assert b"no store: start the service" in result.stderr


def test_an_unavailable_store_is_one_finding_among_others(tmp_path: Path) -> None:
    code, problems = problems_of(tmp_path, REDIS_URL="unix:///nonexistent/redis.sock")
    assert code == 1
    assert "Check that it is running" in problems["store"][0]


def test_each_problem_comes_with_a_remedy(data_dir: Path) -> None:
    async def apps_and_drains(store: Store) -> None:
        now_s = int(time.time())
        await store.record_sightings(
            [
                SeenApp("silent", 1, now_s - 7200, now_s - 7200),
                SeenApp("plain", now_s, now_s, 0),
                SeenApp("asleep", 1, now_s, now_s - 7200),
                SeenApp("scaled", 1, now_s - 7200, now_s - 7200),
            ],
            ttl_ms=60_000,
        )
        await store_verdict(store, verdict("silent", "silent", now_s, "Silent."))
        await store_verdict(store, verdict("asleep", "ok", now_s, "All normal."))
        await store_verdict(store, verdict("scaled", "idle", now_s, "Scaled to zero."))
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
        logins = RejectedLogins(store, time.time, name="1")
        logins.add("never", DRAIN, "wrong secret")
        await logins.publish()

    in_store(data_dir, apps_and_drains)

    code, problems = problems_of(data_dir, DYNOMETER_SPOOL_MAX_BYTE="1GiB")

    assert code == 1
    assert "Did you mean DYNOMETER_SPOOL_MAX_BYTES?" in problems["settings"][0]
    assert "no fold worker is running" in problems["folding"][0]
    apps = "\n".join(problems["apps"])
    assert "never: nothing received yet" in apps
    assert "silent: silent since 20" in apps
    assert "asleep: no memory and load since 20" in apps
    assert "scaled" not in apps
    assert [text.partition(":")[0] for text in problems["apps"] if "restart" in text] == ["plain"]
    assert "heroku labs:enable log-runtime-metrics -a plain" in apps
    drains = "\n".join(problems["drains"])
    assert "heroku drains:remove d.two -a plain" in drains
    assert "plain: its new secret" in drains
    assert f"never, wrong secret, drain {DRAIN}" in drains


def test_with_an_app_findings_about_others_are_left_out(data_dir: Path) -> None:
    async def two_silent(store: Store) -> None:
        old_s = int(time.time()) - 7200
        sightings = [SeenApp(app, 1, old_s, old_s) for app in ("blog", "shop")]
        await store.record_sightings(sightings, ttl_ms=60_000)
        for app in ("blog", "shop"):
            await store_verdict(store, verdict(app, "silent", old_s + 7200, "Silent."))
        await DrainLoopDetector(store, time.time, "https://m.example.com").refresh()
        await store.write_status("itself:blog", {"last_s": "1"}, ttl_ms=60_000)

    in_store(data_dir, add_fold_heartbeat, two_silent)
    settings = {"DYNOMETER_DATA_DIR": str(data_dir)}
    assert b"Log loop: app blog runs Dynometer" in dynometer("doctor", settings=settings).stdout
    result = dynometer("doctor", "--app", "shop", settings=settings)
    assert result.returncode == 1
    assert b"shop: silent since" in result.stdout
    assert b"blog" not in result.stdout


def test_a_failing_channel_is_named_with_the_error(data_dir: Path) -> None:
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

    in_store(data_dir, add_fold_heartbeat, add_shop)
    settings = {"DYNOMETER_DATA_DIR": str(data_dir)}
    assert b"no channel: " in dynometer("doctor", settings=settings).stdout
    in_store(data_dir, slack_fails)
    (text,) = problems_of(data_dir)[1]["alerts"]
    assert "slack has been failing since" in text
    assert "answers 404" in text
    assert "secret" not in text


def test_the_marked_batch_is_reported_and_listed_nowhere(data_dir: Path) -> None:
    in_store(data_dir, add_fold_heartbeat, add_shop)
    for _ in range(2):
        result = dynometer("doctor", settings={"DYNOMETER_DATA_DIR": str(data_dir)})
        assert b"5 marked lines sent through, each counted once" in result.stdout

    async def only_shop_is_known(store: Store) -> None:
        assert [sighting.app for sighting in await store.seen_apps()] == ["shop"]

    in_store(data_dir, only_shop_is_known)


def test_the_public_address_and_its_certificate_are_checked(tmp_path: Path) -> None:
    chain, key = certificate(tmp_path, "localhost")
    service = ServiceProcess(tmp_path, DYNOMETER_ADMIN_TOKEN="a token of sixteen or more")
    service.arguments = ("--tls-cert", str(chain), "--tls-key", str(key))
    public = f"https://localhost:{service.port}"
    service.start()
    try:
        settings = {**service.environ, "DYNOMETER_PUBLIC_URL": public, "SSL_CERT_FILE": str(chain)}
        stdout = dynometer("doctor", settings=settings).stdout.decode()
        assert f"WARN  tls       the certificate at {public} is valid until" in stdout
        assert "cannot be reached" not in stdout
        elsewhere = f"http://127.0.0.1:{free_port()}"
        output = dynometer(
            "doctor", settings={**settings, "DYNOMETER_PUBLIC_URL": elsewhere}
        ).stdout
        assert f"{elsewhere}/healthz cannot be reached from here".encode() in output
        settings["DYNOMETER_TLS_CERT"] = str(chain)
        stdout = dynometer("doctor", settings=settings).stdout.decode()
        assert f"WARN  tls       the certificate {chain} is valid until" in stdout
    finally:
        service.stop()


@pytest.mark.parametrize(
    ("url", "text"), [("", "is not set"), ("http://metrics.example.com", "is not https")]
)
def test_an_unsuitable_address_is_reported(data_dir: Path, url: str, text: str) -> None:
    settings = {"DYNOMETER_ADMIN_TOKEN": "a token of sixteen or more", "DYNOMETER_PUBLIC_URL": url}
    assert text in problems_of(data_dir, **settings)[1]["access"][0]


def test_spooled_batches_are_reported(data_dir: Path) -> None:
    spool = data_dir / "spool"
    spool.mkdir()
    (spool / "left.spool").write_bytes(b"x" * 2**20)

    (text,) = problems_of(data_dir)[1]["spool"]
    assert "1.0 MiB of 256 wait on disk" in text
