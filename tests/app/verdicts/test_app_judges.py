"""The judges of a worker, and what is stored of them, when something goes wrong."""

from __future__ import annotations

import gc
import tracemalloc
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from random import Random
from typing import Any

import pytest

from app.access.app_removal import AppRemoval
from app.judgement.facts import AppProfile, DynoFacts, Interval, TypeFacts
from app.judgement.judge import Judge
from app.judgement.verdict import Episode, Verdict
from app.rollup.resolutions import DAY_S
from app.rollup.sketch import bin_of
from app.storage.interface.alerts import AlertTable
from app.storage.interface.errors import StoreUnavailable
from app.storage.memory import MemoryStore
from app.verdicts.app_judges import AppJudge
from app.verdicts.past_hours import HEARD_DAYS, HeardHour, PastHours
from app.verdicts.recent_figures import RecentMinutes
from app.verdicts.usual_reader import UsualReader
from app.verdicts.verdict_record import VerdictRecord, unpack_episodes, unpack_verdict_records
from tests.support.incident import START_S, TIERS, World, error, quiet, world
from tests.support.service import Clock

INCIDENT_S = START_S + 20 * 60


def crashing(at_s: float) -> Iterable[bytes]:
    return [error(at_s + 5 * number, "H10") for number in range(6)]


class UnreliableStore(MemoryStore):
    """A store of which every other write of a round fails: before it is done, or after it."""

    def __init__(self, clock: Clock, *, is_done: bool) -> None:
        super().__init__(clock)
        self.is_done = is_done
        self.is_failing = False
        self._number = 0

    async def change_alerts(self, changes: Any, **options: Any) -> bool:
        self._number += "episodes" in options  # others deliver messages, or prepare the test
        is_lost = self.is_failing and "episodes" in options and self._number % 2 == 0
        if not is_lost or self.is_done:
            is_written = await super().change_alerts(changes, **options)
        if is_lost:
            raise StoreUnavailable("no answer")
        return is_written


@asynccontextmanager
async def on(store: MemoryStore, clock: Clock) -> AsyncIterator[World]:
    async with world(store, clock) as sim:
        yield sim


async def record_of(sim: World, app: str = "shop") -> VerdictRecord | None:
    (records,) = await sim.store.alert_tables(AlertTable.VERDICTS)
    return unpack_verdict_records(records).get(app)


async def verdict_of(sim: World, app: str = "shop") -> Verdict:
    record = await record_of(sim, app)
    assert record is not None
    return record.verdict


async def episodes_of(sim: World, app: str = "shop") -> list[Episode]:
    return unpack_episodes((await sim.store.episodes([app], 100)).get(app, ()))


def removal(sim: World) -> AppRemoval:
    return AppRemoval(sim.store, TIERS, sim.clock, memory_s=3600)


def judged_apps(sim: World) -> set[str]:
    return {app for app in ("shop", "blog") if sim.alerters[0]._judges.known(app)}


async def outage(sim: World) -> None:
    """20 quiet minutes, 8 minutes of an outage, and 32 quiet minutes."""
    await sim.live(20, quiet)
    await sim.live(8, crashing)
    await sim.live(32, quiet)


# --- writes that fail, and workers that are killed ----------------------------------------------


@pytest.mark.parametrize("is_done", [False, True])
async def test_a_round_whose_write_fails_neither_doubles_nor_loses_an_episode(
    is_done: bool,
) -> None:
    async with world() as sim:
        await outage(sim)
        expected, verdict = await episodes_of(sim), await verdict_of(sim)
    clock = Clock(START_S)
    store = UnreliableStore(clock, is_done=is_done)
    async with on(store, clock) as sim:
        store.is_failing = True
        await outage(sim)
        store.is_failing = False
        await sim.live(2, quiet)
        assert await episodes_of(sim) == expected
        assert (await verdict_of(sim)).since_s == verdict.since_s


async def test_workers_that_are_killed_every_few_minutes_judge_like_one_that_lives() -> None:
    async with world() as sim:
        await outage(sim)
        expected, verdict = await episodes_of(sim), await verdict_of(sim)
    async with world() as sim:
        for number, (minutes, lines) in enumerate(
            ((20, quiet), (3, crashing), (4, crashing), (1, crashing), (4, quiet), (12, quiet))
        ):
            sim.alerters = [sim.alerter(f"{number}")]
            await sim.live(minutes, lines)
        sim.alerters = [sim.alerter("last")]
        await sim.live(16, quiet)
        assert await episodes_of(sim) == expected
        assert (await verdict_of(sim)).since_s == verdict.since_s


async def test_a_worker_that_lost_the_lease_goes_on_from_what_the_other_one_stored() -> None:
    async with world() as sim:
        first, second = sim.alerters[0], sim.alerter("second")
        await sim.live(20, quiet)
        await sim.live(2, crashing)
        await first.release()
        sim.alerters = [second]
        await sim.live(6, crashing)
        await sim.live(3, quiet)
        await second.release()
        sim.alerters = [first]
        await sim.live(29, quiet)
        assert [episode.finding.until_s for episode in await episodes_of(sim)] == [INCIDENT_S + 480]


# --- the clock ----------------------------------------------------------------------------------


async def test_a_clock_that_is_set_back_judges_no_minute_twice() -> None:
    async with world() as sim:
        await sim.live(20, quiet)
        await sim.live(4, crashing)
        before = await record_of(sim)
        sim.clock.now_s -= 600
        await sim.live(8)
        assert await record_of(sim) == before
        sim.clock.now_s = INCIDENT_S + 240
        await sim.live(4, crashing)
        await sim.live(32, quiet)
        (episode,) = await episodes_of(sim)
        assert (episode.finding.count, episode.finding.until_s) == (48, INCIDENT_S + 480)


async def test_hours_that_the_clock_skips_are_not_called_silent() -> None:
    async with world() as sim:
        await sim.yesterday(quiet)
        await sim.live(20, quiet)
        sim.clock.now_s += 3 * 3600
        await sim.live(15, quiet)
        assert (await verdict_of(sim)).state == "ok"
        assert "silent" not in {episode.finding.kind for episode in await episodes_of(sim)}


# --- lines on disk ------------------------------------------------------------------------------


async def test_minutes_with_lines_on_disk_are_judged_once_the_lines_are_counted() -> None:
    async with world() as sim:
        await sim.live(20, quiet)
        sim.spooling_since_s = int(sim.clock.now_s)
        waiting: list[bytes] = []
        for _ in range(8):
            waiting += crashing(sim.clock.now_s)
            await sim.live(1)
        record = await record_of(sim)
        assert record is not None and record.judged_until_s < INCIDENT_S

        await sim.append(waiting)
        sim.spooling_since_s = 0
        await sim.live(2, crashing)
        verdict = await verdict_of(sim)
        assert verdict.state == "down"
        assert abs(verdict.since_s - INCIDENT_S) <= 60
        await sim.live(32, quiet)
        (episode,) = await episodes_of(sim)
        assert episode.finding.until_s == INCIDENT_S + 600


# --- apps that go -------------------------------------------------------------------------------


async def test_nothing_is_left_of_an_app_that_is_removed() -> None:
    async with world() as sim:
        for _ in range(2):
            await sim.live(20, quiet, blog=quiet)
        await sim.live(8, crashing, blog=quiet)
        await sim.live(32, quiet, blog=quiet)
        assert await episodes_of(sim)
        await removal(sim).remove("shop")
        await sim.live(2, blog=quiet)

        assert await record_of(sim) is None
        assert await episodes_of(sim) == []
        states, pasts = await sim.store.alert_tables(AlertTable.STATES, AlertTable.PASTS)
        assert (set(states), set(pasts)) == ({"-", "blog"}, {"blog"})
        assert judged_apps(sim) == {"blog"}


async def test_an_app_that_is_removed_while_it_is_judged_stays_removed() -> None:
    clock = Clock(START_S)

    class Store(MemoryStore):
        is_removing = False

        async def reachable_apps(self, apps: Sequence[str]) -> list[str]:
            if self.is_removing:  # the round has read the apps
                self.is_removing = False
                await removal(sim).remove("shop")
            return await super().reachable_apps(apps)

    store = Store(clock)
    async with on(store, clock) as sim:
        await sim.live(20, quiet, blog=quiet)
        store.is_removing = True
        await sim.live(3, blog=quiet)
        assert not store.is_removing
        records, states, pasts = await store.alert_tables(
            AlertTable.VERDICTS, AlertTable.STATES, AlertTable.PASTS
        )
        assert (set(records), set(states), set(pasts)) == ({"blog"}, {"-", "blog"}, {"blog"})


async def test_an_app_that_comes_back_after_its_removal_is_a_new_one() -> None:
    async with world() as sim:
        await sim.live(20, quiet)
        await sim.live(4, crashing)
        assert (await verdict_of(sim)).state == "down"
        await removal(sim).remove("shop")
        back_s = int(sim.clock.now_s)
        await sim.live(5, quiet)
        record = await record_of(sim)
        assert record is not None
        assert (record.verdict.state, record.open_findings) == ("ok", ())
        assert record.judged_since_s >= back_s - 60


async def test_an_app_that_nobody_hears_of_for_days_leaves_the_memory_of_the_worker() -> None:
    async with world() as sim:
        await sim.live(5, quiet, blog=quiet)
        assert judged_apps(sim) == {"shop", "blog"}
        sim.clock.now_s += 3 * DAY_S
        await sim.live(3, quiet)
        assert judged_apps(sim) == {"shop"}


# --- memory -------------------------------------------------------------------------------------


def busy_minute(rng: Random, start_s: int) -> Interval:
    """A minute of two process types with 300 requests each, and of eight dynos."""
    types = {}
    for process_type in ("web", "api"):
        times: dict[int, int] = {}
        for _ in range(300):
            index = bin_of(int(rng.lognormvariate(5, 0.8)))
            times[index] = times.get(index, 0) + 1
        types[process_type] = TypeFacts(300, 0, times)
    dynos = {
        f"{process_type}.{number}": DynoFacts(
            75,
            0,
            rng.randrange(10_000, 40_000) / 75,
            rng.randrange(1_000, 9_000),
            rng.randrange(500_000, 600_000) / 1_000_000,
            rng.randrange(100) / 100,
        )
        for process_type in types
        for number in range(1, 5)
    }
    return Interval(start_s, messages=900, counted=900, types=types, dynos=dynos)


def test_the_judge_of_an_app_with_eight_dynos_takes_little_memory() -> None:
    def judge_hours(name: str) -> AppJudge:
        rng = Random(name)
        profile = AppProfile(name, first_seen_s=START_S - 30 * DAY_S)
        past = PastHours()
        past.learn_heard(
            {START_S - hour * 3600: HeardHour(60, 60) for hour in range(1, HEARD_DAYS * 24)}
        )
        reader = UsualReader(MemoryStore(Clock(START_S)), TIERS)
        recent = RecentMinutes(profile.first_seen_s, START_S)
        judge = AppJudge(profile, Judge(profile), past, reader, recent)
        for start_s in range(START_S, START_S + 3 * 3600, 60):
            judge.advance(busy_minute(rng, start_s))
        return judge

    tracemalloc.start()
    try:
        judges = [judge_hours("fills caches that all apps share")]
        gc.collect()
        before_bytes = tracemalloc.get_traced_memory()[0]
        judges += [judge_hours(name) for name in ("shop", "blog", "docs")]
        gc.collect()
        app_bytes = (tracemalloc.get_traced_memory()[0] - before_bytes) / (len(judges) - 1)
    finally:
        tracemalloc.stop()
    assert app_bytes < 128 * 1024
