"""Hours of apps in a store, and an archiver on it, for tests of the archive."""

from __future__ import annotations

import random
from collections.abc import Callable

from app.archive import interval_writer
from app.archive.archiver import Archiver, Retention
from app.archive.database import Database
from app.archive.interval_rollups import PackedInterval
from app.archive.progress import make_partitions
from app.rollup.codec import pack
from app.rollup.resolutions import DAY_S, HOUR_S, Resolution, align
from app.rollup.rollup import DEFAULT_LIMITS, Rollup
from app.storage.interface.apps import SeenApp
from app.storage.interface.batches import Batch
from app.storage.interface.elements import (
    KIND_BATCH,
    KIND_ROLLUP,
    Slot,
    new_element,
    random_bytes,
)
from app.storage.interface.folding import Fold, SlotWrite
from app.storage.interface.store import Store
from parsers.samples import (
    Event,
    HerokuError,
    Measurements,
    ProcessExit,
    Request,
    RuntimeMetrics,
    StateChange,
)

HOURS = Resolution("1h", HOUR_S, 5 * DAY_S)  # short, so that little is looked through
TTL_MS = 120 * DAY_S * 1000
HORIZON_S = DAY_S
STORE_ID = "0" * 32


def busy_rollup(start_s: int, seed: int, requests: int = 40) -> Rollup:
    """An hour with something of every kind; another seed gives other numbers."""
    rng = random.Random(seed)
    rollup = Rollup()

    def at_ms() -> int:
        return (start_s + rng.randrange(HOUR_S)) * 1000

    for _ in range(requests):
        dyno = rng.choice(["web.1", "web.2", "api.1"])
        status = rng.choice([200, 200, 200, 201, 301, 404, 500, 503])
        code = "H80" if status == 503 and rng.random() < 0.5 else ""
        service_ms = None if code else int(rng.lognormvariate(4, 1.5))
        rollup.observe(Request(dyno, status, code, rng.randrange(4), service_ms, 700), at_ms())
    rollup.observe(Request("web.1", 101, "", 1, 90_000, 0), at_ms())
    for dyno in ("web.1", "web.2", "api.1", "worker.1"):
        for _ in range(3):
            readings = (("memory_total_bytes", rng.randrange(51_200)), ("load_avg_1m", 7))
            rollup.observe(RuntimeMetrics(dyno, readings), at_ms())
    rollup.observe(Measurements("worker.1", (("memory_running_bytes", 60_000),)), at_ms())
    rollup.observe(HerokuError("worker.1", rng.choice(["R14", "R15"]), 0), at_ms())
    rollup.observe(ProcessExit("worker.1", 137), at_ms())
    rollup.observe(StateChange("web.1", "up", "starting"), at_ms())
    rollup.observe(Event("release", "", f"v{seed}"), at_ms())
    rollup.observe(Event("up", "web.1", ""), at_ms())
    rollup.messages = requests + 21
    rollup.ledger["received"] = rollup.messages
    return rollup


async def put_hour(
    store: Store, app: str, start_s: int, rollup: Rollup, *, is_noted: bool = True
) -> None:
    """Add a rollup to an hour's slot as a fold does; of an older version, if it is not noted."""
    batch = Batch(b"", random_bytes(), new_element(KIND_BATCH, b""))
    await store.append({app: [batch]}, id_ttl_ms=TTL_MS, inbox_ttl_ms=TTL_MS)
    element = new_element(KIND_ROLLUP, pack(rollup.copy()))
    write = SlotWrite(Slot(HOURS.name, start_s), element, TTL_MS)
    fold = Fold([batch.element], [write], [start_s] if is_noted else [])
    assert (await store.fold_all({app: fold}))[app] is not None


async def see_apps(store: Store, apps: list[str], now_s: float) -> None:
    """Put apps on the list of apps."""
    seen_apps = [SeenApp(app, 1, int(now_s), 0) for app in apps]
    await store.record_sightings(seen_apps, ttl_ms=TTL_MS)


def archiver_of(
    store: Store, database: Database, clock: Callable[[], float], hours_s: int = 400 * DAY_S
) -> Archiver:
    """An archiver with the default settings; `hours_s`: how long it keeps hours."""
    return Archiver(
        store,
        database,
        hours=HOURS,
        horizon_s=HORIZON_S,
        retention=Retention(hours_s, 0),
        limits=DEFAULT_LIMITS,
        clock=clock,
    )


async def archive_hour(database: Database, app: str, start_s: int, rollup: Rollup) -> None:
    """Write an hour and its day into the archive, as if the store had lost them since."""
    packed = pack(rollup.copy())
    hour = PackedInterval(app, start_s, rollup.messages, packed)
    day_s = align(start_s, DAY_S)
    async with database.transaction() as connection:
        await make_partitions(connection, start_s, start_s)
        await interval_writer.write_hours(connection, STORE_ID, [hour], start_s)
        await interval_writer.write_days(
            connection, STORE_ID, [(app, day_s)], start_s, DEFAULT_LIMITS
        )


async def archive_all(archiver: Archiver) -> None:
    """Advance until nothing is left to do."""
    while await archiver.advance():
        pass
