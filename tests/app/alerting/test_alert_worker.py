"""Incidents, shaped like real ones, on a clock that the test owns: each is told once, soon, and its
end once; nothing else is told.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial

import pytest

from app.alerting.state import Mute, pack_json
from app.storage import connect as engine
from app.storage.alert_interface import AlertChange, AlertTable
from app.storage.memory import MemoryStore
from tests.support.cluster import running_cluster
from tests.support.incident import START_S, World, error, quiet, release, world
from tests.support.lines import frame, lost
from tests.support.service import Clock

SOON_S = 120  # after what happened has lasted as long as its rule says
TICK_S = 10  # how often an alerter looks, in these tests


def broken(code: str, times: int = 6) -> Callable[[float], Iterable[bytes]]:
    """A minute in which requests end with a code."""
    return lambda at_s: [error(at_s + number * 5, code) for number in range(times)]


def told_within(world: World, begun_s: float, index: int = 0) -> float:
    """Seconds after the beginning; the alerter looks only so often."""
    return world.told[index].at_s - begun_s - TICK_S


async def test_a_quiet_day_is_quiet() -> None:
    async with world() as it:
        await it.last_week(quiet)
        await it.live(60, quiet)
        await it.live(1, quiet, lambda at_s: [release(at_s)])
        await it.live(60, partial(quiet, requests=10, service_ms=300))

        assert it.told == []


async def test_an_app_that_crashes_is_told_with_what_changed_just_before() -> None:
    async with world() as it:
        await it.live(20, quiet)
        await it.live(1, quiet, lambda at_s: [release(at_s + 30)])
        begun_s = it.clock.now_s
        await it.live(8, broken("H10"))
        await it.live(20, quiet)

        assert it.stories == [("app-broken", "firing"), ("app-broken", "resolved")]
        assert told_within(it, begun_s) <= SOON_S
        message = it.told[0].message
        assert message["title"] == "shop: H10 App crashed: 6 in a minute"
        assert message["severity"] == "page"
        assert message["before"] == "release v42 at 09:20 UTC (within a minute before)."
        assert message["link"] == (
            f"https://metrics.example.com/apps/shop?start={int(begun_s) - 1800}"
            f"&end={int(it.told[0].at_s)}"
        )
        assert message["alerts"][0]["means"].startswith("A web dyno crashed or cannot start.")
        end = it.told[1].message
        assert end["title"] == "shop: over after 8 min: H10 App crashed"
        assert end["status"] == "resolved"
        assert end["alerts"][0]["id"] == message["alerts"][0]["id"]


async def test_a_release_that_doubles_p95_is_told_against_last_week() -> None:
    async with world() as it:
        await it.last_week(partial(quiet, requests=600, service_ms=300))
        await it.live(20, partial(quiet, service_ms=300))
        begun_s = it.clock.now_s
        slow = partial(quiet, service_ms=900)
        await it.live(1, slow, lambda at_s: [release(at_s + 5, "v43")])
        await it.live(9, slow)
        await it.live(20, partial(quiet, service_ms=300))

        assert it.stories == [("slow web", "firing"), ("slow web", "resolved")]
        assert told_within(it, begun_s) <= SOON_S
        said = it.told[0].message
        assert said["alerts"][0]["what"] == (
            "web: p95 of the response time 918 ms (limit 630 ms: 2 × 315 ms, this hour last week), "
            "since 09:20 UTC (2 min)"
        )
        assert said["before"].startswith("release v43 at 09:20 UTC (in the same minute)")
        assert said["link"].endswith("&process_type=web")


async def test_a_memory_leak_is_told_before_r14_and_then_with_it() -> None:
    async with world() as it:
        await it.live(20, quiet)
        for used in range(60, 125, 5):
            over = [lambda at_s: [error(at_s + 9, "R14", dyno="web.2")]] if used > 100 else []
            await it.live(2, partial(quiet, memory_mb=5.12 * used), *over)
        restarted = partial(quiet, memory_mb=200)
        await it.live(40, restarted)

        assert it.stories == [
            ("memory-high web", "firing"),
            ("memory-exceeded web", "firing"),
            ("memory-exceeded web", "resolved"),
            ("memory-high web", "resolved"),
        ]
        assert it.told[0].message["title"] == "shop: web: memory 100 % (limit 95 %)"
        assert it.told[1].message["alerts"][0]["dyno"] == "web.2"
        assert len(it.told) == 3


async def test_an_app_that_falls_silent_is_told_once_and_when_it_is_back() -> None:
    async with world() as it:
        await it.live(20, quiet)
        begun_s = it.clock.now_s
        await it.live(30)
        await it.live(10, quiet)

        assert it.stories == [("no-data", "firing"), ("no-data", "resolved")]
        assert told_within(it, begun_s + 300) <= SOON_S
        assert it.told[0].message["title"] == "shop: no data for 5 min"
        assert it.told[0].message["alerts"][0]["since"] == begun_s


async def test_who_speaks_seldom_or_says_that_it_sleeps_is_not_missed() -> None:
    async with world() as it:
        for _ in range(6):
            await it.live(1, quiet)
            await it.live(9)
        await it.live(20, quiet)
        await it.live(1, lambda at_s: [frame("Idling", app_name="heroku", at_s=at_s)])
        await it.live(30)

        assert it.told == []


async def test_what_flaps_around_its_limit_is_told_once() -> None:
    async with world() as it:
        await it.live(20, partial(quiet, requests=500))
        for _ in range(15):
            await it.live(2, partial(quiet, requests=500, failed=11))
            await it.live(2, partial(quiet, requests=500, failed=9))
        await it.live(20, partial(quiet, requests=500))

        assert it.stories == [("requests-fail", "firing"), ("requests-fail", "resolved")]


async def test_what_comes_again_and_again_is_held_for_longer_each_time() -> None:
    async with world() as it:
        for _ in range(12):
            await it.live(1, quiet, broken("H12", 1))
            await it.live(9, quiet)
        await it.live(60, quiet)

        assert [status for _, status in it.stories] == ["firing", "resolved"] * 2


async def test_one_cause_is_told_and_not_its_symptoms() -> None:
    async with world() as it:
        await it.last_week(quiet)
        await it.live(20, quiet)
        timeouts = partial(quiet, failed=20, slow=20)
        await it.live(10, timeouts, broken("H12", 20))
        await it.live(20, quiet)

        assert it.stories == [("app-broken", "firing"), ("app-broken", "resolved")]


async def test_symptoms_that_outlive_their_cause_are_told() -> None:
    async with world() as it:
        await it.live(20, quiet)
        failing = partial(quiet, failed=20)
        await it.live(3, failing, broken("H12"))
        await it.live(20, failing)
        await it.live(20, quiet)

        assert it.stories == [
            ("app-broken", "firing"),
            ("requests-fail", "firing"),
            ("app-broken", "resolved"),
            ("requests-fail", "resolved"),
        ]


async def test_lines_that_heroku_lost_are_told() -> None:
    async with world() as it:
        await it.live(20, quiet)
        await it.live(1, quiet, lambda at_s: [lost(1_204, at_s + 30)])
        await it.live(30, quiet)

        assert it.stories == [("lines-lost", "firing"), ("lines-lost", "resolved")]
        assert it.told[0].message["title"] == "shop: lines lost (L10): 1,204 in a minute"


async def test_alerts_of_an_app_at_one_time_are_one_message() -> None:
    async with world() as it:
        await it.live(20, quiet)
        await it.live(4, quiet, broken("H12"), broken("H99"), lambda at_s: [error(at_s, "R15")])
        await it.live(20, quiet)

        assert len(it.told) == 2
        assert {name for name, _ in it.stories[:2]} == {"app-broken", "memory-killed web"}
        assert it.told[0].message["title"] == "shop: H12, H99: 12 in a minute, and 1 more"
        assert it.told[0].message["alerts"][0]["means"].startswith("H12: No first byte")


async def test_many_apps_at_once_share_a_message() -> None:
    apps = {f"app{number}": quiet for number in range(8)}
    async with world() as it:
        await it.live(20, **apps)
        await it.live(3, **{app: broken("H99") for app in apps})
        await it.live(20, **apps)

        first, *_ = it.told
        assert first.message["title"].startswith("8 apps at once: app0, app1")
        assert len(first.message["alerts"]) == 8
        assert len(it.told) == 2


async def test_two_alerters_tell_once() -> None:
    async with world() as it:
        it.alerters.append(it.alerter("2"))
        await it.live(20, quiet)
        await it.live(5, broken("H10"))
        await it.live(20, quiet)

        assert it.stories == [("app-broken", "firing"), ("app-broken", "resolved")]


async def test_an_alerter_that_is_killed_is_followed_by_another_that_repeats_nothing() -> None:
    async with world() as it:
        await it.live(20, quiet)
        await it.live(3, broken("H10"))
        it.alerters = [it.alerter("after a kill")]
        await it.live(3, broken("H10"))
        it.alerters = [it.alerter("after another")]
        await it.live(20, quiet)

        assert it.stories == [("app-broken", "firing"), ("app-broken", "resolved")]


async def test_before_there_is_a_channel_nothing_is_told_and_then_what_still_is() -> None:
    async with world(apps=("other",)) as it:
        await it.live(20, quiet)
        await it.live(5, broken("H10"))
        assert it.told == []
        await it.add_channel()
        await it.live(5, broken("H10"))

        assert it.stories == [("app-broken", "firing")]
        assert it.told[0].message["alerts"][0]["since"] == START_S + 20 * 60


async def test_what_cannot_be_read_is_said_once_and_silences_nothing_else(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with world() as it:
        await it.live(20, quiet, blog=quiet)
        for table in (AlertTable.STATES, AlertTable.RULES, AlertTable.OUTBOX):
            await it.store.change_alerts([AlertChange(table, "blog", b"\xc1damaged")])
        await it.live(5, broken("H10"), blog=quiet)

        assert it.stories == [("app-broken", "firing")]
        assert caplog.text.count("state of blog cannot be read") == 1


async def test_what_is_no_more_is_forgotten() -> None:
    async with world() as it:
        await it.live(5, quiet)
        mute = pack_json(Mute(int(it.clock.now_s) + 60, 1))
        await it.store.change_alerts([AlertChange(AlertTable.MUTES, "shop", mute)])
        it.clock.now_s += 8 * 86_400
        await it.live(2)

        states, mutes = await it.store.alert_tables(AlertTable.STATES, AlertTable.MUTES)
        assert set(states) == {"-"}
        assert mutes == {}


async def test_a_warning_is_not_for_a_channel_that_takes_pages_alone() -> None:
    async with world(least="page") as it:
        await it.live(20, quiet)
        await it.live(4, partial(quiet, memory_mb=500))
        await it.live(20, quiet)
        assert it.told == []
        await it.live(3, broken("H10"))

        assert it.stories == [("app-broken", "firing")]


class Stolen(MemoryStore):
    """Another worker takes the lease over, in the middle of what was begun."""

    after = ""  # this method

    async def heartbeats(self) -> dict[str, dict[str, str]]:
        self._steal("heartbeats")
        return await super().heartbeats()

    async def alert_tables(self, *tables: AlertTable) -> list[dict[str, bytes]]:
        if AlertTable.OUTBOX in tables and self._tables[AlertTable.OUTBOX]:
            self._steal("outbox")
        return await super().alert_tables(*tables)

    def _steal(self, method: str) -> None:
        if self.after == method:
            self._lease = ("another worker's", 2.0**40)


async def test_whoever_loses_the_lease_while_it_evaluates_changes_nothing() -> None:
    clock = Clock(START_S)
    store = Stolen(clock)
    async with world(store, clock) as it:
        await it.live(20, quiet)
        before = await store.alert_tables(AlertTable.STATES)
        store.after = "heartbeats"
        await it.live(3, broken("H10"))

        assert await store.alert_tables(AlertTable.STATES) == before
        assert await store.alert_history(["shop"], 10) == {}
        assert it.told == []


async def test_whoever_loses_the_lease_before_it_delivers_sends_nothing() -> None:
    clock = Clock(START_S)
    store = Stolen(clock)
    async with world(store, clock) as it:
        await it.live(20, quiet)
        store.after = "outbox"
        await it.live(3, broken("H10"))

        assert len((await store.alert_tables(AlertTable.STATES, AlertTable.OUTBOX))[1]) == 1
        assert it.told == []


async def test_while_a_primary_is_gone_alerts_about_apps_elsewhere_go_on() -> None:
    clock = Clock(START_S)
    with running_cluster() as cluster:
        store = engine.connect(cluster.url)
        async with world(store, clock) as it:
            quieter = partial(quiet, requests=5)
            await it.live(5, **{f"app-{n}": quieter for n in range(20)})
            lost, left = cluster.kill_shard()
            await it.live(8, **{left: broken("H10")})

            assert it.stories == [("app-broken", "firing")]
            assert it.told[0].message["title"].startswith(f"{left}: H10")
            assert lost not in str(it.told)
        await store.close()
