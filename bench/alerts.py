"""The cost of evaluating 50 rules on 200 apps, each minute: `python -m bench.alerts`."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from app.alerting.alert_worker import AlertWorker
from app.alerting.channels.channel import Channel, pack_channel
from app.alerting.default_rules import DEFAULT_RULES
from app.alerting.earlier_hours import EarlierHours
from app.alerting.rule import Rule, pack_rule
from app.alerting.state import unpack_app_alerts
from app.folding.fold_worker import FoldWorker
from app.ingest.received_batch import new_batch
from app.rollup.batch_codec import pack_batch
from app.rollup.resolutions import DAY_S, MINUTE_S
from app.rollup.rollup import Rollup
from app.storage.interface.alerts import AlertChange, AlertTable
from app.storage.interface.apps import SeenApp
from app.storage.redis.store import RedisStore
from bench.corpus import START_S
from bench.measure import table
from bench.store import RESOLUTIONS, TTL_MS, minutes, move_minute, private_store, redis_cpu_s

APPS = 200
RULES = 50
DYNOS = 4
REQUESTS_PER_MINUTE = 300
ROUNDS = 7
UNFOLDED_BATCHES = 5  # of the current minute, in each inbox
WEEK_S = 7 * DAY_S


@dataclass
class Clock:
    now_s: float

    def __call__(self) -> float:
        return self.now_s


def rules() -> list[Rule]:
    """The built-in rules, and others of every kind: most with a label, some that look back."""
    types = ("web", "worker", "scheduler", "clock")
    own = [
        Rule(
            name=f"own-{number}",
            title="own",
            metric=metric,
            stat=stat,
            by=by,
            limit=10**9,
            over_minutes=5 if number % 8 == 0 else 1,
            compare="week" if metric == "service_time_ms" and number % 4 == 0 else "",
            filters={"process_type": (types[number % 4],)} if number % 2 else {},
        )
        for number in range(RULES - len(DEFAULT_RULES))
        for metric, stat, by in (
            (
                ("service_time_ms", f"p{90 + number % 9}", "process_type"),
                ("requests", "rate", "status_class"),
                ("memory_total_bytes", "max", "dyno"),
                ("heroku_errors", "sum", "code"),
                ("load_avg_5m", "avg", "process_type"),
            )[number % 5],
        )
    ]
    return [*DEFAULT_RULES, *own]


async def fill(
    store: RedisStore, clock: Clock, apps: list[str], recent_rollups: list[Rollup]
) -> None:
    """Add one more folded minute to each app, and batches of the current minute."""
    minute = int(clock.now_s) - MINUTE_S
    worker = FoldWorker(store, RESOLUTIONS, name="bench", clock=clock, interval_s=5, batches=64)
    for number, app in enumerate(apps):
        rollup = move_minute(recent_rollups[number % len(recent_rollups)], int(START_S), minute)
        await store.append(
            {app: [new_batch(b"", pack_batch({minute: rollup}))]},
            id_ttl_ms=TTL_MS,
            inbox_ttl_ms=TTL_MS,
        )
        await worker.fold(app)
        present = pack_batch({minute + MINUTE_S: move_minute(rollup, minute, minute + MINUTE_S)})
        batches = [new_batch(b"", present) for _ in range(UNFOLDED_BATCHES)]
        await store.append({app: batches}, id_ttl_ms=TTL_MS, inbox_ttl_ms=TTL_MS)
    sightings = [SeenApp(app, minute, minute, minute) for app in apps]
    await store.record_sightings(sightings, ttl_ms=TTL_MS)


def new_worker(store: RedisStore, clock: Clock) -> AlertWorker:
    """A worker that knows no app yet."""
    return AlertWorker(
        store,
        RESOLUTIONS,
        EarlierHours(store, RESOLUTIONS[-1].retention_s),
        clock=clock,
        url="https://metrics.example.com",
        name="bench",
        spool_since_s=lambda: 0,
        directory=Path("nowhere"),
    )


async def run() -> None:
    """Print the table."""
    apps = [f"app-{number:03}" for number in range(APPS)]
    recent_rollups = minutes(REQUESTS_PER_MINUTE, DYNOS, 5)
    channel = Channel(name="none", kind="slack", url="https://example.com/", added_s=1, apps=("x",))
    async with private_store() as (store, client):
        changes = [AlertChange(AlertTable.RULES, rule.name, pack_rule(rule)) for rule in rules()]
        record = pack_channel(channel)
        await store.change_alerts([*changes, AlertChange(AlertTable.CHANNELS, "none", record)])
        clock = Clock(START_S - WEEK_S + MINUTE_S)
        await fill(store, clock, apps, recent_rollups)
        clock.now_s = START_S + 2 * MINUTE_S
        worker = new_worker(store, clock)
        while len((await store.alert_tables(AlertTable.VERDICTS))[0]) < APPS:
            clock.now_s += MINUTE_S
            await fill(store, clock, apps, recent_rollups)
            await worker.evaluate()
        # Another worker takes over, and so leaves out the older past of the apps.
        await worker.release()
        worker = new_worker(store, clock)
        own_cpu_s: list[float] = []
        store_cpu_s: list[float] = []
        for _ in range(1 + ROUNDS):
            clock.now_s += MINUTE_S
            await fill(store, clock, apps, recent_rollups)
            redis_s, started_s = await redis_cpu_s(client), time.process_time()
            await worker.evaluate()
            own_cpu_s.append(time.process_time() - started_s)
            store_cpu_s.append(await redis_cpu_s(client) - redis_s)
        (states,) = await store.alert_tables(AlertTable.STATES)
        evaluated_times = {unpack_app_alerts(states[app]).evaluated_s for app in apps}
        assert len(evaluated_times) == 1, evaluated_times
    print(f"{RULES} rules, {APPS} apps of {DYNOS} dynos, {REQUESTS_PER_MINUTE} requests a minute\n")
    rows = [
        ("the first of a worker that takes over", own_cpu_s[0], store_cpu_s[0]),
        ("any other", median(own_cpu_s[1:]), median(store_cpu_s[1:])),
    ]
    print(
        table(
            ("minute", "CPU s, Dynometer", "CPU s, store"),
            [(name, f"{own_s:.2f}", f"{store_s:.2f}") for name, own_s, store_s in rows],
        )
    )


def main() -> None:
    """Run the benchmark."""
    asyncio.run(run())


if __name__ == "__main__":
    main()
