"""Realistic incidents on a simulated clock: each is sent once, soon, and resolved once, and nothing
else is sent.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial

import msgspec
import pytest

from app.alerting.former_rules import FORMER_RULES
from app.alerting.rule import Rule
from app.alerting.state import Mute, pack_json
from app.storage import connect as engine
from app.storage.interface.alerts import AlertChange, AlertTable
from app.storage.interface.apps import DRAIN, REPLAY, SIMULATION, Origin
from app.storage.memory import MemoryStore
from tests.support.cluster import running_cluster
from tests.support.incident import START_S, World, error, quiet, release, world
from tests.support.lines import frame, lost
from tests.support.service import Clock

SOON_S = 120  # after a problem has lasted as long as its rule requires
EARLY_S = 30  # after the end of the first minute in which an app is down
TICK_S = 10  # how often a worker evaluates in these tests


def broken(code: str, times: int = 6) -> Callable[[float], Iterable[bytes]]:
    """A minute in which requests end with a code."""
    return lambda at_s: [error(at_s + number * 5, code) for number in range(times)]


def delay_s(world: World, begun_s: float, index: int = 0) -> float:
    """Seconds from the beginning to the message, without the wait for the next tick."""
    return world.told[index].at_s - begun_s - TICK_S


async def test_a_quiet_day_is_quiet() -> None:
    async with world() as sim:
        await sim.last_week(quiet)
        await sim.live(60, quiet)
        await sim.live(1, quiet, lambda at_s: [release(at_s)])
        await sim.live(60, partial(quiet, requests=10, service_ms=200))

        assert sim.told == []


async def test_a_rule_may_name_a_class_of_statuses() -> None:
    rule = Rule("errors", "5xx", metric="requests", stat="sum", filters={"status": ("5xx",)})
    async with world() as sim:
        await sim.add_rule(rule)
        await sim.live(5, quiet)
        await sim.live(1, partial(quiet, failed=1))
        await sim.live(5, quiet)

        assert sim.stories[0] == ("errors", "firing")


async def test_maintenance_is_no_failure() -> None:
    async with world() as sim:
        await sim.live(20, quiet)
        await sim.live(10, partial(quiet, requests=0), broken("H80", times=11))
        await sim.live(20, quiet)

        assert sim.told == []


async def test_a_crash_is_sent_with_the_change_just_before() -> None:
    async with world() as sim:
        await sim.live(20, quiet)
        await sim.live(1, quiet, lambda at_s: [release(at_s + 30)])
        begun_s = sim.clock.now_s
        await sim.live(8, broken("H10"))
        await sim.live(20, quiet)

        assert sim.stories == [("app-broken", "firing"), ("app-broken", "resolved")]
        assert delay_s(sim, begun_s + 60) <= EARLY_S
        message = sim.told[0].message
        first_sentence = "Down since 09:21 UTC (1 min): every request ends with H10 (app crashed)"
        assert message["title"] == f"shop: {first_sentence}"
        assert message["summary"] == f"{first_sentence}. One minute after release v42."
        assert message["alerts"][0]["what"] == message["summary"].removesuffix(".")
        assert message["text"].startswith(f"FIRING  {first_sentence}. One minute after")
        assert message["severity"] == "page"
        assert message["before"] == "release v42 at 09:20 UTC (less than a minute before)."
        assert message["link"] == (
            f"https://metrics.example.com/apps/shop?start={int(begun_s) - 1800}"
            f"&end={int(sim.told[0].at_s)}"
        )
        assert message["alerts"][0]["means"].startswith("A web dyno crashed or cannot start.")
        end = sim.told[1].message
        assert end["title"] == (
            "shop: resolved: was down from 09:21 to 09:29 UTC (8 min): "
            "every request ended with H10 (app crashed)"
        )
        assert end["status"] == "resolved"
        assert end["summary"].startswith("Was down from 09:21 to 09:29 UTC (8 min): every request")
        assert end["alerts"][0]["id"] == message["alerts"][0]["id"]


async def test_a_problem_that_comes_and_goes_is_one_message_and_one_resolution() -> None:
    async with world() as sim:
        await sim.live(40, quiet)
        for _ in range(4):
            await sim.live(3, partial(quiet, failed=30))
            await sim.live(6, quiet)
        await sim.live(20, quiet)

        assert sim.stories == [("requests-fail", "firing"), ("requests-fail", "resolved")]
        assert sim.told[1].message["title"].startswith("shop: resolved: failed 4 times from 09:4")


async def test_two_problems_are_told_once_each_in_one_message() -> None:
    def crash(at_s: float) -> Iterable[bytes]:
        for second in (1, 30):
            yield frame(
                "State changed from starting to crashed", procid="worker.1", at_s=at_s + second
            )

    async with world() as sim:
        await sim.live(40, quiet)
        await sim.live(1, partial(quiet, failed=20))
        await sim.live(1, partial(quiet, failed=20), crash)
        await sim.live(5, partial(quiet, failed=20))

        (told,) = sim.told
        assert told.message["title"].endswith(", and 1 more problem")
        assert told.message["text"].count("worker.1 has crashed at start twice") == 1


async def test_an_outage_sends_no_warning_before_its_page() -> None:
    def crash(at_s: float) -> Iterable[bytes]:
        for dyno in ("web.1", "web.2"):
            for second in (51, 57):
                yield frame("Process exited with status 1", procid=dyno, at_s=at_s + second)
                yield frame(
                    "State changed from starting to crashed", procid=dyno, at_s=at_s + second
                )

    async with world() as sim:
        await sim.live(20, quiet)
        await sim.live(1, quiet, crash)
        await sim.live(8, broken("H10"))

        assert sim.stories == [("app-broken", "firing")]


@pytest.mark.parametrize(
    ("notifies", "stories"),
    [(False, []), (True, [("app-broken", "firing"), ("app-broken", "resolved")])],
)
async def test_alerts_of_a_replayed_app_are_sent_only_on_request(
    notifies: bool, stories: list[tuple[str, str]]
) -> None:
    async with world() as sim:
        sim.origin = Origin(REPLAY, notifies)
        await sim.live(20, quiet)
        await sim.live(8, broken("H10"))
        await sim.live(20, quiet)

        assert sim.stories == stories
        assert (await sim.store.alert_history(["shop"], 10))["shop"]


async def test_a_drain_makes_a_simulated_app_a_real_one() -> None:
    async with world() as sim:
        sim.origin = Origin(SIMULATION, notifies=False)
        await sim.live(20, quiet)
        sim.origin = DRAIN
        await sim.live(1, quiet)
        sim.origin = Origin(SIMULATION, notifies=False)
        await sim.live(8, broken("H10"))

        assert sim.stories == [("app-broken", "firing")]


async def test_a_release_that_triples_p95_is_compared_with_what_is_usual() -> None:
    async with world() as sim:
        await sim.last_week(partial(quiet, requests=600, service_ms=300))
        await sim.yesterday(partial(quiet, service_ms=300))
        await sim.live(20, partial(quiet, service_ms=300))
        begun_s = sim.clock.now_s
        slow = partial(quiet, service_ms=900)
        await sim.live(1, slow, lambda at_s: [release(at_s + 5, "v43")])
        await sim.live(9, slow)
        await sim.live(20, partial(quiet, service_ms=250))

        assert sim.stories == [("slow web", "firing"), ("slow web", "resolved")]
        assert delay_s(sim, begun_s) <= SOON_S
        message = sim.told[0].message
        assert message["severity"] == "warn"
        what = message["alerts"][0]["what"]
        assert what.startswith(
            "Slow since 09:20 UTC (1 min): p95 of answered requests (last 1 min) is 918 ms, "
            "2.9 × the usual"
        ), what
        assert message["before"].startswith("release v43 at 09:20 UTC (in the same minute)")
        assert message["link"].endswith("&process_type=web")


async def test_a_memory_leak_is_sent_before_r14_and_again_with_it() -> None:
    async with world() as sim:
        await sim.live(20, quiet)
        for percent in range(60, 125, 5):
            over = [lambda at_s: [error(at_s + 9, "R14", dyno="web.2")]] if percent > 100 else []
            await sim.live(2, partial(quiet, memory_mb=5.12 * percent), *over)
        after_restart = partial(quiet, memory_mb=200)
        await sim.live(40, after_restart)

        assert sim.stories == [
            ("memory-high web", "firing"),
            ("memory-exceeded web", "firing"),
            ("memory-exceeded web", "resolved"),
            ("memory-high web", "resolved"),
        ]
        assert "had little memory left since 09:34 UTC" in sim.told[0].message["title"]
        assert sim.told[1].message["alerts"][0]["dyno"] == "web.2"
        assert len(sim.told) == 3


async def test_silence_of_an_app_is_sent_once_and_resolved() -> None:
    async with world() as sim:
        await sim.yesterday(partial(quiet, requests=1))
        await sim.live(20, quiet)
        begun_s = sim.clock.now_s
        await sim.live(30)
        await sim.live(10, quiet)

        assert sim.stories == [("no-data", "firing"), ("no-data", "resolved")]
        assert delay_s(sim, begun_s + 360) <= SOON_S
        # The last lines of a minute arrived at its end, so something was heard in the next one.
        assert sim.told[0].message["title"].startswith("shop: Silent since 09:21 UTC (5 min)")
        assert sim.told[0].message["alerts"][0]["since"] == begun_s + 60


async def test_an_app_that_was_only_replayed_is_never_silent() -> None:
    async with world() as sim:
        sim.origin = Origin("replay", notifies=True)
        await sim.live(20, quiet)
        await sim.live(30)
        assert sim.stories == []


async def test_silence_is_expected_of_rarely_used_and_sleeping_apps() -> None:
    async with world() as sim:
        for _ in range(6):
            await sim.live(1, quiet)
            await sim.live(9)
        await sim.live(20, quiet)
        await sim.live(1, lambda at_s: [frame("Idling", app_name="heroku", at_s=at_s)])
        await sim.live(30)

        assert sim.told == []


async def test_an_app_that_is_not_known_for_a_day_is_never_silent() -> None:
    async with world() as sim:
        await sim.live(20, quiet)
        await sim.live(30)

        assert sim.told == []


async def test_a_value_that_flaps_around_its_limit_fires_once() -> None:
    async with world() as sim:
        await sim.live(20, partial(quiet, requests=300))
        for _ in range(10):
            await sim.live(2, partial(quiet, requests=300, failed=40))
            await sim.live(2, partial(quiet, requests=300, failed=1))
        await sim.live(20, partial(quiet, requests=300))

        assert sim.stories == [("requests-fail", "firing"), ("requests-fail", "resolved")]


async def test_single_timeouts_among_many_requests_wake_nobody() -> None:
    async with world() as sim:
        await sim.live(20, quiet)
        for _ in range(6):
            await sim.live(1, quiet, broken("H12", 1))
            await sim.live(4, quiet)

        assert sim.told == []


async def test_a_repeating_alert_takes_longer_to_resolve_each_time() -> None:
    async with world() as sim:
        await sim.add_rule(FORMER_RULES["app-broken"])
        for _ in range(12):
            await sim.live(1, quiet, broken("H12", 1))
            await sim.live(9, quiet)
        await sim.live(60, quiet)

        assert [status for _, status in sim.stories] == ["firing", "resolved"] * 2


async def test_symptoms_of_a_firing_cause_are_inhibited() -> None:
    async with world() as sim:
        await sim.live(20, quiet)
        timeouts = partial(quiet, failed=50, slow=10)
        await sim.live(10, timeouts, broken("H12", 20))
        await sim.live(20, quiet)

        assert sim.stories == [("app-broken", "firing"), ("app-broken", "resolved")]


async def test_a_problem_that_becomes_milder_stays_one_alert() -> None:
    async with world() as sim:
        await sim.live(20, quiet)
        await sim.live(5, partial(quiet, failed=50))
        await sim.live(10, partial(quiet, failed=12))
        await sim.live(20, quiet)

        assert sim.stories == [("app-broken", "firing"), ("app-broken", "resolved")]


async def test_symptoms_that_outlast_their_cause_are_sent() -> None:
    async with world() as sim:
        await sim.add_rule(FORMER_RULES["app-broken"])
        await sim.add_rule(FORMER_RULES["requests-fail"])
        await sim.live(20, quiet)
        failing = partial(quiet, failed=20)
        await sim.live(3, failing, broken("H12"))
        await sim.live(20, failing)
        await sim.live(20, quiet)

        assert sim.stories == [
            ("app-broken", "firing"),
            ("requests-fail", "firing"),
            ("app-broken", "resolved"),
            ("requests-fail", "resolved"),
        ]


async def test_lines_lost_by_heroku_fire() -> None:
    async with world() as sim:
        await sim.live(20, quiet)
        await sim.live(1, quiet, lambda at_s: [lost(1_204, at_s + 30)])
        await sim.live(30, quiet)

        assert sim.stories == [("lines-lost", "firing"), ("lines-lost", "resolved")]
        assert sim.told[0].message["title"] == "shop: lines lost (L10, L12, L13): 1,204 in a minute"


async def test_alerts_of_one_app_in_a_minute_share_a_message() -> None:
    async with world() as sim:
        for name in ("app-broken", "memory-killed"):
            await sim.add_rule(FORMER_RULES[name])
        await sim.add_rule(msgspec.structs.replace(FORMER_RULES["requests-fail"], enabled=False))
        await sim.live(20, quiet)
        await sim.live(4, quiet, broken("H12"), broken("H99"), lambda at_s: [error(at_s, "R15")])
        await sim.live(20, quiet)

        assert len(sim.told) == 2
        assert {name for name, _ in sim.stories[:2]} == {"app-broken", "memory-killed web"}
        assert sim.told[0].message["title"] == "shop: H12, H99: 12 in a minute, and 1 more problem"
        assert sim.told[0].message["alerts"][0]["means"].startswith("H12: No first byte")


async def test_a_problem_of_the_platform_is_one_message_instead_of_one_for_each_app() -> None:
    apps = {f"app{number}": quiet for number in range(8)}
    async with world() as sim:
        await sim.live(20, **apps)
        await sim.live(5, **{app: broken("H99") for app in apps})
        await sim.live(20, **apps)

        assert sim.stories == [("fleet", "firing"), ("fleet", "resolved")]
        message = sim.told[0].message
        assert message["title"].startswith("Dynometer: 8 of 8 apps have had H99 (platform error)")
        assert message["severity"] == "page"
        assert message["alerts"][0]["dyno"] == "app0, app1, app2, app3, app4 and 3 more"


async def test_alerts_of_many_apps_share_a_message() -> None:
    apps = {f"app{number}": quiet for number in range(8)}
    async with world() as sim:
        await sim.live(20, **apps)
        await sim.live(3, **{app: broken("H10") for app in apps})
        await sim.live(20, **apps)

        first, *_ = sim.told
        assert first.message["title"].startswith("Alerts firing for 8 apps: app0, app1")
        assert len(first.message["alerts"]) == 8
        assert len(sim.told) == 2


async def test_two_workers_send_one_message() -> None:
    async with world() as sim:
        sim.alerters.append(sim.alerter("2"))
        await sim.live(20, quiet)
        await sim.live(5, broken("H10"))
        await sim.live(20, quiet)

        assert sim.stories == [("app-broken", "firing"), ("app-broken", "resolved")]


async def test_the_successor_of_a_killed_worker_repeats_nothing() -> None:
    async with world() as sim:
        await sim.live(20, quiet)
        await sim.live(3, broken("H10"))
        sim.alerters = [sim.alerter("after a kill")]
        await sim.live(3, broken("H10"))
        sim.alerters = [sim.alerter("after another")]
        await sim.live(20, quiet)

        assert sim.stories == [("app-broken", "firing"), ("app-broken", "resolved")]


async def test_a_new_channel_gets_problems_that_persist() -> None:
    async with world(apps=("other",)) as sim:
        await sim.live(20, quiet)
        await sim.live(5, broken("H10"))
        assert sim.told == []
        await sim.add_channel()
        await sim.live(5, broken("H10"))

        assert sim.stories == [("app-broken", "firing")]
        assert sim.told[0].message["alerts"][0]["since"] == START_S + 20 * 60


async def test_unreadable_records_are_logged_once_and_affect_no_others(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with world() as sim:
        await sim.live(20, quiet, blog=quiet)
        for table in (AlertTable.STATES, AlertTable.RULES, AlertTable.OUTBOX):
            await sim.store.change_alerts([AlertChange(table, "blog", b"\xc1damaged")])
        await sim.live(5, broken("H10"), blog=quiet)

        assert sim.stories == [("app-broken", "firing")]
        assert caplog.text.count("state of blog cannot be read") == 1


async def test_expired_records_are_removed() -> None:
    async with world() as sim:
        await sim.live(5, quiet)
        mute = pack_json(Mute(int(sim.clock.now_s) + 60, 1))
        await sim.store.change_alerts([AlertChange(AlertTable.MUTES, "shop", mute)])
        sim.clock.now_s += 8 * 86_400
        await sim.live(2)

        states, mutes = await sim.store.alert_tables(AlertTable.STATES, AlertTable.MUTES)
        assert set(states) == {"-"}
        assert mutes == {}


async def test_a_channel_for_pages_gets_no_warnings() -> None:
    async with world(least="page") as sim:
        await sim.live(20, quiet)
        await sim.live(4, partial(quiet, memory_mb=500))
        await sim.live(20, quiet)
        assert sim.told == []
        await sim.live(3, broken("H10"))

        assert sim.stories == [("app-broken", "firing")]


class StoreWithStolenLease(MemoryStore):
    """Another worker takes the lease over in the middle of an operation."""

    after = ""  # the method after which it does

    async def statuses(self) -> dict[str, dict[str, str]]:
        self._steal("statuses")
        return await super().statuses()

    async def alert_tables(self, *tables: AlertTable) -> list[dict[str, bytes]]:
        if AlertTable.OUTBOX in tables and self._tables[AlertTable.OUTBOX]:
            self._steal("outbox")
        return await super().alert_tables(*tables)

    def _steal(self, method: str) -> None:
        if self.after == method:
            self._lease = ("another worker's", 2.0**40)


async def test_a_worker_that_loses_the_lease_while_evaluating_changes_nothing() -> None:
    clock = Clock(START_S)
    store = StoreWithStolenLease(clock)
    async with world(store, clock) as sim:
        await sim.live(20, quiet)
        before = await store.alert_tables(AlertTable.STATES)
        store.after = "statuses"
        await sim.live(3, broken("H10"))

        assert await store.alert_tables(AlertTable.STATES) == before
        assert await store.alert_history(["shop"], 10) == {}
        assert sim.told == []


async def test_a_worker_that_loses_the_lease_before_delivery_sends_nothing() -> None:
    clock = Clock(START_S)
    store = StoreWithStolenLease(clock)
    async with world(store, clock) as sim:
        await sim.live(20, quiet)
        store.after = "outbox"
        await sim.live(3, broken("H10"))

        assert len((await store.alert_tables(AlertTable.STATES, AlertTable.OUTBOX))[1]) == 1
        assert sim.told == []


async def test_while_a_primary_is_down_apps_on_other_shards_are_evaluated() -> None:
    clock = Clock(START_S)
    with running_cluster() as cluster:
        store = engine.connect(cluster.url)
        async with world(store, clock) as sim:
            quieter = partial(quiet, requests=5)
            await sim.live(5, **{f"app-{n}": quieter for n in range(20)})
            lost_app, other_app = cluster.kill_shard()
            await sim.live(8, **{other_app: broken("H10")})

            assert sim.stories == [("app-broken", "firing")]
            assert sim.told[0].message["title"].startswith(f"{other_app}: Down since")
            assert lost_app not in str(sim.told)
        await store.close()
