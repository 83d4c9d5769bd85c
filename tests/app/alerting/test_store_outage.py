"""Outages of the store or of Dynometer itself.

Nothing is sent twice, and nothing about minutes with lines missing. Afterwards, problems that
persist are sent.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import pytest

from app.alerting.state import unpack_history_entry
from app.storage.redis.store import connect
from tests.support.incident import World, error, quiet, world
from tests.support.processes import RedisProcess


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[RedisProcess]:
    process = RedisProcess(tmp_path)
    process.start()
    yield process
    process.kill()


@asynccontextmanager
async def on(redis: RedisProcess) -> AsyncIterator[World]:
    store = connect(f"redis://127.0.0.1:{redis.port}")
    try:
        async with world(store) as sim:
            yield sim
    finally:
        await store.close()


def shop_stories(sim: World) -> list[tuple[str, str]]:
    """The messages about the app, without those about the outage of the store."""
    return [story for story in sim.stories if story[0] != "buffering"]


def crashing(at_s: float) -> list[bytes]:
    return [error(at_s + second, "H10") for second in (5, 15, 25)]


async def test_an_alert_that_spans_an_outage_is_sent_once_and_resolved_once(
    redis: RedisProcess,
) -> None:
    async with on(redis) as sim:
        await sim.live(20, quiet)
        await sim.live(3, crashing)
        await sim.live(1)
        assert sim.stories == [("app-broken", "firing")]

        redis.kill()
        await sim.live(10)  # lines are rejected and lost
        redis.start()
        await sim.live(3, crashing)
        assert shop_stories(sim) == [("app-broken", "firing")]
        await sim.live(20, quiet)

        assert shop_stories(sim) == [("app-broken", "firing"), ("app-broken", "resolved")]


async def test_minutes_with_lines_on_disk_are_evaluated_once_the_lines_are_counted(
    redis: RedisProcess,
) -> None:
    async with on(redis) as sim:
        await sim.live(20, quiet)
        redis.kill()
        sim.spooling_since_s = int(sim.clock.now_s)
        spooled_lines = []
        for _ in range(6):
            spooled_lines += crashing(sim.clock.now_s)
            await sim.live(1)
        redis.start()
        await sim.live(8, quiet)  # newer lines overtake those on disk

        assert [name for name, _ in sim.stories] == ["buffering"]
        assert (
            sim.told[0]
            .message["title"]
            .startswith("Dynometer: Redis unavailable: lines wait on disk for")
        )

        await sim.append(spooled_lines)
        sim.spooling_since_s = 0
        await sim.live(10, quiet)
        assert sim.stories == [("buffering", "firing"), ("buffering", "resolved")]
        entries = (await sim.store.alert_history(["shop"], 10))["shop"]
        history = [unpack_history_entry(entry) for entry in entries]
        assert [(entry.what, entry.told) for entry in history] == [
            ("resolved", False),
            ("fired", False),
        ]


async def test_a_problem_that_began_in_an_outage_and_persists_is_sent_with_a_note(
    redis: RedisProcess,
) -> None:
    async with on(redis) as sim:
        await sim.live(20, quiet)
        begun_s = int(sim.clock.now_s)
        redis.kill()
        sim.spooling_since_s = begun_s
        spooled_lines = []
        for _ in range(6):
            spooled_lines += crashing(sim.clock.now_s)
            await sim.live(1)
        redis.start()
        await sim.append(spooled_lines)
        sim.spooling_since_s = 0
        await sim.live(5, crashing)

        (post,) = [candidate for candidate in sim.told if candidate.message["app"] == "shop"]
        assert post.message["alerts"][0]["since"] == begun_s
        assert post.message["notes"] == [
            "09:19 UTC to 09:22 UTC was evaluated late because Dynometer or Redis was unavailable. "
            "Problems that began and ended in that time appear only in the history."
        ]


async def test_downtime_of_dynometer_is_not_silence_of_the_app(
    redis: RedisProcess,
) -> None:
    async with on(redis) as sim:
        await sim.live(20, quiet)
        alerters, sim.alerters = sim.alerters, []
        await sim.live(30)
        sim.alerters = alerters
        await sim.live(10, quiet)

        assert sim.told == []


async def test_silence_after_an_outage_fires(redis: RedisProcess) -> None:
    async with on(redis) as sim:
        await sim.yesterday(partial(quiet, requests=1))
        await sim.live(20, quiet)
        redis.kill()
        await sim.live(10)
        redis.start()
        await sim.live(10)

        assert shop_stories(sim) == [("no-data", "firing")]


async def test_minutes_too_far_back_are_skipped_and_the_history_says_so(
    redis: RedisProcess,
) -> None:
    async with on(redis) as sim:
        await sim.live(20, quiet)
        alerters, sim.alerters = sim.alerters, []
        await sim.live(180, crashing)
        sim.alerters = alerters
        await sim.live(20, quiet)

        entries = (await sim.store.alert_history(["shop"], 10))["shop"]
        history = [unpack_history_entry(entry) for entry in entries]
        assert [entry.what for entry in history] == ["resolved", "skipped", "fired"]
        assert history[1].text == "09:19 UTC to 10:19 UTC was not evaluated: too long ago"
        assert sim.stories == [("app-broken", "firing"), ("app-broken", "resolved")]


async def test_one_worker_of_a_machine_reports_an_outage_and_its_end_is_sent_once(
    redis: RedisProcess,
) -> None:
    async with on(redis) as sim:
        sim.alerters.append(sim.alerter("2"))
        await sim.live(20, quiet)
        begun_s = sim.clock.now_s
        redis.kill()
        sim.spooling_since_s = int(begun_s) + 5
        await sim.live(3)
        assert sim.stories == [("buffering", "firing")]
        assert sim.told[0].at_s - begun_s <= 240
        message = sim.told[0].message
        assert message["title"] == "Dynometer: Redis unavailable: lines wait on disk for 2 min"
        assert message["notes"][0].endswith(
            "No other alerts can be sent until Redis is available again."
        )
        sim.alerters[0].close()
        sim.alerters[0] = sim.alerter("3")  # the worker was killed and started again
        await sim.live(5)
        redis.start()
        redis.client.delete("dm:{!alerts}:lease")  # of the killed worker; it would expire
        sim.spooling_since_s = 0
        await sim.live(10, quiet)

        assert sim.stories == [("buffering", "firing"), ("buffering", "resolved")]
        assert (
            sim.told[1]
            .message["title"]
            .startswith("Dynometer: resolved after 9 min: Redis unavailable")
        )


async def test_a_short_outage_of_the_store_is_not_reported(redis: RedisProcess) -> None:
    async with on(redis) as sim:
        await sim.live(20, quiet)
        redis.kill()
        await sim.live(1)
        redis.start()
        await sim.live(10, quiet)

        assert sim.told == []


async def test_a_channel_that_fails_during_an_outage_is_retried(
    redis: RedisProcess,
) -> None:
    async with on(redis) as sim:
        await sim.live(20, quiet)
        sim.hook.answers = [500, 500]
        redis.kill()
        await sim.live(6)
        redis.start()
        await sim.live(10, quiet)

        ids = [post.headers["dynometer-id"] for post in sim.hook.received]
        assert len(set(ids[:3])) == 1
        assert len(ids) == 4
