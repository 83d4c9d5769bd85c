"""Apps that live on a clock which the test owns, minute by minute, and alerters that watch them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import msgspec

from app.alerting.alert_worker import AlertWorker
from app.alerting.channels.channel import Channel, pack_channel
from app.alerting.earlier_hours import EarlierHours
from app.alerting.rule import Rule, pack_rule
from app.folding.fold_worker import FoldWorker
from app.ingest.app_sightings import AppSightings
from app.rollup.resolutions import DAY_S, HOUR_S, resolutions
from app.storage.interface.alerts import AlertChange, AlertTable
from app.storage.interface.apps import DRAIN
from app.storage.interface.store import Store
from app.storage.memory import MemoryStore
from tests.support.arrivals import make_batch, make_writer
from tests.support.lines import frame, load, memory, router
from tests.support.receivers import Webhook, webhook
from tests.support.service import Clock

WEEK_S = 7 * DAY_S
TIERS = resolutions(DAY_S, 15 * DAY_S, 90 * DAY_S)
START_S = 1_795_338_000  # 2026-11-22T09:00:00Z
URL = "https://metrics.example.com"
STEP_S = 10  # how far the clock moves at a time

Lines = Callable[[float], Iterable[bytes]]


def quiet(
    at_s: float,
    *,
    requests: int = 60,
    service_ms: int = 100,
    failed: int = 0,
    slow: int = 0,
    memory_mb: float = 256,
    load_1m: float = 1,
) -> list[bytes]:
    """A minute of two web dynos; `failed` and `slow` of its requests."""
    lines = []
    for number in range(requests):
        at = at_s + number * 60 / requests
        status = "500" if number < failed else "200"
        service = 5_000 if number >= requests - slow else service_ms + number % 20
        dyno = f"web.{number % 2 + 1}"
        lines.append(router(at, dyno=dyno, service=f"{service}ms", status=status))
    for dyno in ("web.1", "web.2"):
        for second in (5, 25, 45):
            lines.append(memory(at_s + second, dyno=dyno, total=f"{memory_mb:.2f}"))
            lines.append(load(at_s + second, dyno=dyno, load_1m=f"{load_1m:.2f}"))
    return lines


def error(at_s: float, code: str, *, dyno: str = "web.1") -> bytes:
    """A line of the router with a code, or one of the dyno for R codes."""
    if code.startswith("R"):
        return frame(f"Error {code} (Memory)", procid=dyno, at_s=at_s)
    return router(at_s, head=f'at=error code={code} desc="x"', dyno="", status="503", service="0ms")


def release(at_s: float, version: str = "v42") -> bytes:
    """A line that says that there is a new release."""
    return frame(
        f"Release {version} created by user dev@example.com",
        app_name="app",
        procid="api",
        at_s=at_s,
    )


class Told(NamedTuple):
    """A message, and when it came."""

    at_s: float
    message: Any


class World:
    """Apps over a store, a webhook, and alerters."""

    def __init__(
        self,
        store: Store,
        clock: Clock,
        hook: Webhook,
        directory: Path,
        earlier_hours: EarlierHours,
    ) -> None:
        self.store = store
        self.earlier_hours = earlier_hours
        self.clock = clock
        self.hook = hook
        self.spooling_since_s = 0
        self.origin = DRAIN  # of all lines that arrive
        self.directory = directory
        self.alerters = [self.alerter("1")]
        self.told: list[Told] = []
        self._appender = make_writer(store, clock)
        self._sightings = AppSightings(store, ttl_s=90 * 24 * HOUR_S)
        self._folder = FoldWorker(
            store, TIERS, name="1", clock=clock, interval_s=5, batches=64, monotonic=clock
        )

    def alerter(self, name: str) -> AlertWorker:
        return AlertWorker(
            self.store,
            TIERS,
            self.earlier_hours,
            clock=self.clock,
            url=URL,
            name=name,
            spool_since_s=lambda: self.spooling_since_s,
            directory=self.directory,
        )

    async def add_channel(self, name: str = "hook", **more: Any) -> Channel:
        fields = {"kind": "webhook", "url": self.hook.url, "key": "KEY", "added_s": 1, **more}
        channel = Channel(name=name, **fields)
        await self.store.change_alerts(
            [AlertChange(AlertTable.CHANNELS, name, pack_channel(channel))]
        )
        return channel

    async def add_rule(self, rule: Rule) -> None:
        await self.store.change_alerts([AlertChange(AlertTable.RULES, rule.name, pack_rule(rule))])

    async def append(self, lines: Iterable[bytes], app: str = "shop") -> None:
        """The lines arrive now, and are folded."""
        frames = list(lines)
        if not frames:
            return
        arrived = make_batch(*frames, app=app, arrived_s=self.clock())
        await self._appender.append([arrived], deadline=asyncio.get_running_loop().time() + 5)
        activity = msgspec.structs.replace(arrived.activity, origin=self.origin.encode())
        await self._sightings.record([(arrived.app, activity)])
        await self._folder.fold(app)

    async def live(self, minutes: int, *lives: Lines, **apps: Lines) -> None:
        """So many minutes pass; what apps log in each arrives at its end. `lives` are of shop."""
        for _ in range(minutes):
            began_s = self.clock.now_s
            for _ in range(60 // STEP_S):
                self.clock.now_s += STEP_S
                await self.tick()
            for lines in lives:
                await self.append(lines(began_s))
            for app, lines in apps.items():
                await self.append(lines(began_s), app)

    async def tick(self) -> None:
        """Every alerter that lives does what it does now and then."""
        for alerter in self.alerters:
            await alerter.attempt(alerter.evaluate)
            await alerter.attempt(alerter.deliver)
        while len(self.told) < len(self.hook.received):
            self.told.append(Told(self.clock.now_s, self.hook.received[len(self.told)].json))

    async def last_week(self, lines: Lines, app: str = "shop") -> None:
        """The hours of last week that the next two are compared with."""
        now_s = self.clock.now_s
        for hour in range(3):
            self.clock.now_s = began_s = START_S - WEEK_S + hour * HOUR_S
            await self.append(lines(began_s), app)
        self.clock.now_s = now_s

    async def yesterday(self, lines: Lines, app: str = "shop") -> None:
        """The same hours of the day before, so that it is known what is usual; and the last two."""
        now_s = self.clock.now_s
        for hour in (-26, -25, -24, -23, -22, -2, -1):
            began_s = START_S + hour * HOUR_S
            self.clock.now_s = began_s + HOUR_S
            minutes = range(began_s, began_s + HOUR_S, 60)
            await self.append([line for minute_s in minutes for line in lines(minute_s)], app)
        self.clock.now_s = now_s

    @property
    def stories(self) -> list[tuple[str, str]]:
        """What was told: of which alert, firing or resolved, in that order."""
        return [
            (alert["rule"] + (f" {alert['key']}" if alert["key"] else ""), alert["status"])
            for each in self.told
            for alert in each.message["alerts"]
        ]


@asynccontextmanager
async def world(
    store: Store | None = None,
    clock: Clock | None = None,
    earlier_hours: EarlierHours | None = None,
    **channel: Any,
) -> AsyncIterator[World]:
    """With one channel, of these fields."""
    clock = clock or Clock(START_S)
    store = store or MemoryStore(clock)
    earlier_hours = earlier_hours or EarlierHours(store, TIERS[-1].retention_s)
    async with webhook() as hook:
        with TemporaryDirectory(prefix="dynometer-") as directory:
            made = World(store, clock, hook, Path(directory), earlier_hours)
            await made.add_channel(**channel)
            yield made
