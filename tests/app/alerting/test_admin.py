"""Limits of the configuration, mutes, and removal of rules."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

import msgspec
import pytest

from app.alerting import admin as admin_module
from app.alerting.admin import AlertAdmin, AlertAdminError
from app.alerting.channels.channel import Channel
from app.alerting.rule import RuleError
from app.rollup.resolutions import DAY_S
from app.storage.interface.alerts import AlertChange, AlertTable
from app.storage.memory import MemoryStore
from tests.support.incident import START_S, World, error, quiet, world
from tests.support.service import Clock


def admin(sim: World) -> AlertAdmin:
    return AlertAdmin(sim.store, sim.clock, 90 * DAY_S)


def crashing(at_s: float) -> list[bytes]:
    return [error(at_s + 5 * number, "H10") for number in range(6)]


async def test_a_problem_that_outlasts_the_mute_is_sent_then() -> None:
    async with world() as sim:
        await sim.live(20, quiet)
        await admin(sim).mute("shop", 600)
        await sim.live(8, crashing)
        assert sim.told == []
        await sim.live(6, crashing)

        assert sim.stories == [("app-broken", "firing")]
        what = sim.told[0].message["alerts"][0]["what"]
        assert what.startswith("Down since 09:2"), what
        assert sim.told[0].message["alerts"][0]["since"] < START_S + 22 * 60


async def test_a_problem_that_ends_while_muted_is_never_sent() -> None:
    async with world() as sim:
        await sim.live(20, quiet)
        await admin(sim).mute("shop", 3600)
        await sim.live(3, crashing)
        await sim.live(70, quiet)

        assert sim.told == []
        history = await admin(sim).history(["shop"], 10)
        assert [(entry.what, entry.told) for _, entry in history] == [
            ("resolved", False),
            ("fired", False),
            ("muted", False),
        ]


async def test_a_resolution_is_sent_despite_a_mute_if_the_firing_was() -> None:
    async with world() as sim:
        await sim.live(20, quiet)
        await sim.live(3, crashing)
        await admin(sim).mute("shop", 3600)
        await sim.live(20, quiet)

        assert sim.stories == [("app-broken", "firing"), ("app-broken", "resolved")]


async def test_unmute_sends_problems_that_persist() -> None:
    async with world() as sim:
        await sim.live(20, quiet)
        await admin(sim).mute("shop", 3600)
        await sim.live(5, crashing)
        await admin(sim).unmute("shop")
        await sim.live(2, crashing)

        assert sim.stories == [("app-broken", "firing")]


class InterruptedStore(MemoryStore):
    """While a round reads which apps can be reached, something else happens."""

    interrupt: Callable[[], Awaitable[object]] | None = None

    async def reachable_apps(self, apps: Sequence[str]) -> list[str]:
        interrupt, self.interrupt = self.interrupt, None
        if interrupt:
            await interrupt()
        return await super().reachable_apps(apps)


def swapping(at_s: float) -> list[bytes]:
    return [*crashing(at_s), *(error(at_s + 5 * number, "R14") for number in range(6))]


async def test_an_acknowledgement_suppresses_other_alerts_and_ends_with_the_last_one() -> None:
    async with world() as sim:
        await sim.live(20, quiet)
        await sim.live(3, crashing)
        assert sim.stories == [("app-broken", "firing")]
        mute = await admin(sim).acknowledge("shop", " kim ")
        assert (mute.by, mute.until_s - mute.since_s) == ("kim", 86_400)
        await sim.live(10, swapping)
        firing = {entry.alert.rule for entry in (await admin(sim).overview()).firing}
        assert firing == {"app-broken", "memory-exceeded"}
        assert sim.stories == [("app-broken", "firing")]  # memory would have been sent
        await sim.live(30, quiet)

        assert sim.stories == [("app-broken", "firing"), ("app-broken", "resolved")]
        assert (await admin(sim).overview()).config.mutes == {}
        await sim.live(3, crashing)
        assert sim.stories[2:] == [("app-broken", "firing")]
        texts = [entry.text for _, entry in await admin(sim).history(["shop"], 10)]
        assert "acknowledged by kim" in texts


async def test_only_firing_alerts_are_acknowledged() -> None:
    async with world() as sim:
        await sim.live(20, quiet)
        with pytest.raises(AlertAdminError, match="no alert of shop is firing"):
            await admin(sim).acknowledge("shop")
        await sim.live(3, crashing)
        with pytest.raises(AlertAdminError, match="up to 40 printable characters"):
            await admin(sim).acknowledge("shop", "k\nim")
        await admin(sim).acknowledge("shop")
        await admin(sim).unmute("shop")
        history = await admin(sim).history(["shop"], 2)
        assert [entry.text for _, entry in history] == ["acknowledgement withdrawn", "acknowledged"]


async def test_an_app_that_is_muted_while_apps_are_evaluated_stays_muted() -> None:
    clock = Clock(START_S)
    store = InterruptedStore(clock)
    async with world(store, clock) as sim:
        await sim.live(20, quiet)
        await admin(sim).mute("shop", 30)
        sim.clock.now_s += 60
        store.interrupt = lambda: admin(sim).mute("shop", 3600)
        await sim.tick()
        assert (await admin(sim).overview()).config.is_muted("shop", sim.clock.now_s)


async def test_removing_a_rule_resolves_its_alerts() -> None:
    async with world() as sim:
        busy = {"metric": "requests", "stat": "sum", "limit": 10}
        await admin(sim).put_rule("busy", busy)
        await sim.live(5, quiet)
        assert sim.stories == [("busy", "firing")]
        await admin(sim).remove_rule("busy")
        await sim.live(2, quiet)

        assert sim.stories == [("busy", "firing"), ("busy", "resolved")]
        assert sim.told[1].message["alerts"][0]["reason"] == "its rule was removed"


async def test_a_rule_with_a_lower_limit() -> None:
    async with world() as sim:
        await admin(sim).put_rule(
            "too-quiet",
            {"metric": "requests", "stat": "sum", "limit": 100, "below": True, "over_minutes": 5},
        )
        await sim.live(20, quiet)
        assert sim.told == []
        await sim.live(10, lambda at_s: quiet(at_s, requests=1))

        assert sim.stories == [("too-quiet", "firing")]
        assert "over 5 min (expected at least 100)" in sim.told[0].message["title"]


async def test_limits_of_rules_channels_and_mutes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(admin_module, "RULES_MAX", 1)
    monkeypatch.setattr(admin_module, "CHANNELS_MAX", 2)
    busy = {"metric": "requests", "stat": "sum", "limit": 1}
    async with world() as sim:
        await admin(sim).put_rule("busy", busy)
        await admin(sim).put_rule("busy", busy)
        with pytest.raises(AlertAdminError, match="remove one first"):
            await admin(sim).put_rule("busier", busy)

        one = Channel(name="one", kind="slack", url="https://example.com/x", added_s=1)
        await admin(sim).add_channel(one)
        with pytest.raises(AlertAdminError, match="remove one first"):
            await admin(sim).add_channel(msgspec.structs.replace(one, name="two"))
        await sim.live(1, quiet)
        with pytest.raises(AlertAdminError, match="up to 30 days"):
            await admin(sim).mute("shop", 31 * 86_400)


async def test_a_channel_that_this_version_cannot_read_is_not_replaced_but_can_be_removed() -> None:
    record = b'{"name":"ops","kind":"slack","url":"https://x","added_s":1,"least":"info"}'
    async with world() as sim:
        await sim.store.change_alerts([AlertChange(AlertTable.CHANNELS, "ops", record)])
        ops = Channel(name="ops", kind="slack", url="https://example.com/x", added_s=1)
        with pytest.raises(AlertAdminError, match="channel ops already exists"):
            await admin(sim).add_channel(ops)
        assert (await sim.store.alert_tables(AlertTable.CHANNELS))[0]["ops"] == record

        await admin(sim).remove_channel("ops")
        await admin(sim).add_channel(ops)


async def test_a_limit_for_a_built_in_name_makes_the_rule_that_had_one() -> None:
    async with world() as sim:
        rule = await admin(sim).put_rule("load-high", {"limits": {"web": 32}})
        assert (rule.metric, rule.limit_of("web"), rule.limit) == ("load_avg_1m", 32, 16)

        warned = await admin(sim).put_rule("app-broken", {"severity": "warn"})
        assert (warned.kind, warned.findings) == ("finding", ("no_dyno", "failing"))
        strict = await admin(sim).put_rule("requests-fail", {"limit": 0.1, "resolve": 0.05})
        assert (strict.kind, strict.stat, strict.limit) == ("metric", "share", 0.1)

        with pytest.raises(RuleError, match="findings=sloww: expected some of"):
            await admin(sim).put_rule("own", {"kind": "finding", "findings": ["sloww"]})


async def test_a_rule_is_refused_if_what_it_compares_with_is_not_kept() -> None:
    fields = {"metric": "requests", "stat": "sum", "compare": "year", "limit": 2}
    async with world() as sim:
        with pytest.raises(RuleError, match=r"hours of 364 days ago.*Set DYNOMETER_ARCHIVE_URL"):
            await admin(sim).put_rule("much", fields)
        await AlertAdmin(sim.store, sim.clock, 400 * DAY_S).put_rule("much", fields)
        # The archive was removed since; the rule can still be turned off.
        assert not (await admin(sim).put_rule("much", {"enabled": False})).enabled
        await admin(sim).put_rule("much", {"enabled": True, "compare": "week"})
