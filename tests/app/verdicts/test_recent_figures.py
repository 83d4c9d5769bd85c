"""The list of apps shows the figures that the judging worker stored: those that queries give."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from functools import partial

import msgspec
import pytest

from app.dashboard.apps_overview import AppsOverviewCache
from app.judgement.facts import Interval
from app.storage.interface.alerts import AlertChange, AlertTable
from app.storage.interface.elements import Slot
from app.storage.interface.rollups import Contents
from app.storage.memory import MemoryStore
from app.verdicts.recent_figures import RecentFigures, RecentMinutes
from app.verdicts.verdict_reader import VerdictReader
from app.verdicts.verdict_record import pack_verdict_record, unpack_verdict_records
from tests.support.incident import START_S, TIERS, World, error, quiet, world
from tests.support.lines import frame, router
from tests.support.service import Clock

STEPS = 12


class CountingStore(MemoryStore):
    """A store that counts how often rollups are read."""

    reads = 0

    async def read_many(self, requests: Sequence[tuple[str, Sequence[Slot]]]) -> list[Contents]:
        self.reads += len(requests)
        return await super().read_many(requests)


def maintenance(at_s: float) -> Iterable[bytes]:
    return [error(at_s + number, "H80") for number in range(30)]


def sockets(at_s: float) -> Iterable[bytes]:
    return [router(at_s + number, status="101", service="90000ms") for number in range(7)]


def over_quota(at_s: float) -> Iterable[bytes]:
    """Memory of a dyno whose runtime metrics are not enabled."""
    return [frame("Process running mem=600M(117.2%)", procid="worker.1", at_s=at_s)]


async def eventful_hour(sim: World) -> None:
    """More than an hour with failures, slow requests, maintenance, WebSockets and silence."""
    await sim.live(20, quiet)
    await sim.live(7, partial(quiet, failed=13, service_ms=900), sockets)
    await sim.live(4)
    await sim.live(3, maintenance, partial(quiet, requests=11))
    await sim.live(33, partial(quiet, requests=90, slow=3, memory_mb=400))
    await sim.live(2, partial(quiet, requests=7, service_ms=20), over_quota)


async def settle(sim: World) -> None:
    """Let the last minute become final, and no later one be judged."""
    for _ in range(7):
        sim.clock.now_s += 10
        await sim.tick()


async def listed_figures(sim: World) -> RecentFigures:
    overviews = AppsOverviewCache(TIERS, VerdictReader(sim.store, TIERS))
    (overview,) = await overviews.get_all(sim.store, await sim.store.seen_apps(), sim.clock())
    return overview.figures


async def forget_figures(sim: World) -> None:
    """As if an older version had judged the app."""
    (records,) = await sim.store.alert_tables(AlertTable.VERDICTS)
    record = unpack_verdict_records(records)["shop"]
    data = pack_verdict_record(msgspec.structs.replace(record, figures=None))
    await sim.store.change_alerts([AlertChange(AlertTable.VERDICTS, "shop", data)])


@pytest.mark.parametrize("restarts", [False, True])
async def test_stored_figures_are_those_of_queries(restarts: bool) -> None:
    clock = Clock(START_S)
    store = CountingStore(clock)
    async with world(store, clock) as sim:
        await eventful_hour(sim)
        if restarts:  # another worker takes over, which has seen nothing of the hour
            await sim.alerters[0].release()
            sim.alerters = [sim.alerter("2")]
        await settle(sim)
        reads = store.reads
        worker_hour = await listed_figures(sim)
        assert store.reads == reads
        await forget_figures(sim)
        query_hour = await listed_figures(sim)

    assert worker_hour.end_s == query_hour.end_s == START_S + 69 * 60
    assert worker_hour.requests_per_min == pytest.approx(query_hour.requests_per_min)
    assert worker_hour.failed_shares == pytest.approx(query_hour.failed_shares)
    assert worker_hour.p95s_ms == query_hour.p95s_ms
    assert worker_hour.memory_used_ratio == pytest.approx(query_hour.memory_used_ratio) == 1.172
    assert len(worker_hour.p95s_ms) == STEPS
    assert {share for share in worker_hour.failed_shares if share} > {13 / 67}


async def test_the_figures_of_a_minute_are_there_before_it_is_final() -> None:
    async with world() as sim:
        await sim.live(10, quiet)
        await sim.live(1, partial(quiet, requests=6))
        for _ in range(2):
            sim.clock.now_s += 10
            await sim.tick()
        figures = await listed_figures(sim)
        assert figures.end_s == START_S + 11 * 60
        assert figures.requests_per_min[-1] == pytest.approx((4 * 60 + 6) / 5)


async def test_figures_that_are_old_are_not_those_of_now() -> None:
    async with world() as sim:
        await sim.live(10, quiet)
        await settle(sim)
        assert (await listed_figures(sim)).requests_per_min[-1] == 60
        sim.alerters = []
        await sim.live(6)
        assert (await listed_figures(sim)).requests_per_min[-1] is None


def test_a_gap_of_days_leaves_nothing_of_the_time_before() -> None:
    minutes = RecentMinutes(0, START_S)
    minutes.add(Interval(START_S))
    minutes.add(Interval(START_S + 3 * 86_400))
    figures = minutes.figures(START_S)
    assert figures.end_s == START_S + 3 * 86_400 + 60
    assert figures.p95s_ms == (None,) * STEPS
    assert not any(map(math.isnan, filter(None, figures.requests_per_min)))
