"""What happens while the store or Dynometer itself is away: nothing is told twice, nothing of a
time of which lines are missing, and afterwards what there is to tell.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from app.alerting.state import unpack_told
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
        async with world(store) as it:
            yield it
    finally:
        await store.close()


def of_shop(it: World) -> list[tuple[str, str]]:
    """What was told of the app; that the store was away is another story."""
    return [story for story in it.stories if story[0] != "buffering"]


def crashing(at_s: float) -> list[bytes]:
    return [error(at_s + second, "H10") for second in (5, 25)]


async def test_what_fires_over_an_outage_is_told_once_and_ends_once(redis: RedisProcess) -> None:
    async with on(redis) as it:
        await it.live(20, quiet)
        await it.live(3, crashing)
        await it.live(1)
        assert it.stories == [("app-broken", "firing")]

        redis.kill()
        await it.live(10)  # lines are refused, and lost
        redis.start()
        await it.live(3, crashing)
        assert of_shop(it) == [("app-broken", "firing")]
        await it.live(20, quiet)

        assert of_shop(it) == [("app-broken", "firing"), ("app-broken", "resolved")]


async def test_nothing_is_told_of_lines_that_wait_on_disk_until_they_are_counted(
    redis: RedisProcess,
) -> None:
    async with on(redis) as it:
        await it.live(20, quiet)
        redis.kill()
        it.spooling_since_s = int(it.clock.now_s)
        waiting = []
        for _ in range(6):
            waiting += crashing(it.clock.now_s)
            await it.live(1)
        redis.start()
        await it.live(4, quiet)  # newer lines overtake those on disk

        assert [name for name, _ in it.stories] == ["buffering"]
        assert (
            it.told[0]
            .message["title"]
            .startswith("Dynometer: Redis is away: lines wait on disk for")
        )

        await it.append(waiting)
        it.spooling_since_s = 0
        await it.live(10, quiet)
        assert it.stories == [("buffering", "firing"), ("buffering", "resolved")]
        entries = (await it.store.alert_history(["shop"], 10))["shop"]
        told = [unpack_told(each) for each in entries]
        assert [(each.what, each.told) for each in told] == [("resolved", False), ("fired", False)]


async def test_what_began_in_an_outage_and_goes_on_is_told_with_that_it_is_late(
    redis: RedisProcess,
) -> None:
    async with on(redis) as it:
        await it.live(20, quiet)
        begun_s = int(it.clock.now_s)
        redis.kill()
        it.spooling_since_s = begun_s
        waiting = []
        for _ in range(6):
            waiting += crashing(it.clock.now_s)
            await it.live(1)
        redis.start()
        await it.append(waiting)
        it.spooling_since_s = 0
        await it.live(5, crashing)

        (fired,) = [each for each in it.told if each.message["app"] == "shop"]
        assert fired.message["alerts"][0]["since"] == begun_s
        assert fired.message["notes"] == [
            "09:19 UTC to 09:22 UTC was looked at only now: Dynometer or its store was away. What "
            "began and ended in that time is in the history alone."
        ]


async def test_a_time_in_which_dynometer_did_not_run_is_no_silence_of_the_app(
    redis: RedisProcess,
) -> None:
    async with on(redis) as it:
        await it.live(20, quiet)
        alerters, it.alerters = it.alerters, []
        await it.live(30)
        it.alerters = alerters
        await it.live(10, quiet)

        assert it.told == []


async def test_an_app_that_is_silent_after_an_outage_is_missed(redis: RedisProcess) -> None:
    async with on(redis) as it:
        await it.live(20, quiet)
        redis.kill()
        await it.live(10)
        redis.start()
        await it.live(10)

        assert of_shop(it) == [("no-data", "firing")]


async def test_what_lies_too_far_back_is_passed_over_and_that_is_said(redis: RedisProcess) -> None:
    async with on(redis) as it:
        await it.live(20, quiet)
        alerters, it.alerters = it.alerters, []
        await it.live(180, crashing)
        it.alerters = alerters
        await it.live(20, quiet)

        entries = (await it.store.alert_history(["shop"], 10))["shop"]
        told = [unpack_told(each) for each in entries]
        assert [each.what for each in told] == ["resolved", "skipped", "fired"]
        assert told[1].text == "09:19 UTC to 10:19 UTC was not evaluated: too long ago"
        assert it.stories == [("app-broken", "firing"), ("app-broken", "resolved")]


async def test_that_the_store_is_away_is_told_by_one_worker_of_a_machine_and_its_end_once(
    redis: RedisProcess,
) -> None:
    async with on(redis) as it:
        it.alerters.append(it.alerter("2"))
        await it.live(20, quiet)
        begun_s = it.clock.now_s
        redis.kill()
        it.spooling_since_s = int(begun_s) + 5
        await it.live(3)
        assert it.stories == [("buffering", "firing")]
        assert it.told[0].at_s - begun_s <= 240
        said = it.told[0].message
        assert said["title"] == "Dynometer: Redis is away: lines wait on disk for 2 min"
        assert said["notes"][0].endswith("Nothing else can be told until the store is back.")
        it.alerters[0].close()
        it.alerters[0] = it.alerter("3")  # it was killed, and started again
        await it.live(5)
        redis.start()
        redis.client.delete("dm:{!alerts}:lease")  # of the one that was killed; it would end
        it.spooling_since_s = 0
        await it.live(10, quiet)

        assert it.stories == [("buffering", "firing"), ("buffering", "resolved")]
        assert it.told[1].message["title"].startswith("Dynometer: over after 9 min: Redis is away")


async def test_a_short_absence_of_the_store_is_nothing_to_be_told(redis: RedisProcess) -> None:
    async with on(redis) as it:
        await it.live(20, quiet)
        redis.kill()
        await it.live(1)
        redis.start()
        await it.live(10, quiet)

        assert it.told == []


async def test_a_channel_that_fails_while_the_store_is_away_is_tried_again(
    redis: RedisProcess,
) -> None:
    async with on(redis) as it:
        await it.live(20, quiet)
        it.hook.answers = [500, 500]
        redis.kill()
        await it.live(6)
        redis.start()
        await it.live(10, quiet)

        ids = [each.headers["dynometer-id"] for each in it.hook.received]
        assert len(set(ids[:3])) == 1
        assert len(ids) == 4
