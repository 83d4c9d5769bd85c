"""Limits of what can be set up, and what a mute does."""

from __future__ import annotations

import msgspec
import pytest

from app.alerting import admin as desks
from app.alerting.admin import AlertAdmin, AlertAdminError
from app.alerting.channels.channel import Channel
from tests.support.incident import URL, World, error, quiet, world


def desk(it: World) -> AlertAdmin:
    return AlertAdmin(it.store, it.clock, URL)


def crashing(at_s: float) -> list[bytes]:
    return [error(at_s + 5, "H10")]


async def test_what_is_muted_is_told_when_the_mute_ends_if_it_is_still_so() -> None:
    async with world() as it:
        await it.live(20, quiet)
        await desk(it).mute("shop", 600)
        await it.live(8, crashing)
        assert it.told == []
        await it.live(6, crashing)

        assert it.stories == [("app-broken", "firing")]
        assert it.told[0].message["alerts"][0]["what"].endswith("since 09:20 UTC (10 min)")


async def test_what_ended_while_it_was_muted_is_never_told() -> None:
    async with world() as it:
        await it.live(20, quiet)
        await desk(it).mute("shop", 3600)
        await it.live(3, crashing)
        await it.live(70, quiet)

        assert it.told == []
        history = await desk(it).history(["shop"], 10)
        assert [(told.what, told.told) for _, told in history] == [
            ("resolved", False),
            ("fired", False),
            ("muted", False),
        ]


async def test_who_was_told_of_the_beginning_is_told_of_the_end_though_it_is_muted() -> None:
    async with world() as it:
        await it.live(20, quiet)
        await it.live(3, crashing)
        await desk(it).mute("shop", 3600)
        await it.live(20, quiet)

        assert it.stories == [("app-broken", "firing"), ("app-broken", "resolved")]


async def test_an_end_of_a_mute_by_hand() -> None:
    async with world() as it:
        await it.live(20, quiet)
        await desk(it).mute("shop", 3600)
        await it.live(5, crashing)
        await desk(it).unmute("shop")
        await it.live(2, crashing)

        assert it.stories == [("app-broken", "firing")]


async def test_a_rule_that_is_removed_ends_its_alerts_and_that_is_told() -> None:
    async with world() as it:
        busy = {"metric": "requests", "stat": "sum", "limit": 10}
        await desk(it).put_rule("busy", busy)
        await it.live(5, quiet)
        assert it.stories == [("busy", "firing")]
        await desk(it).remove_rule("busy")
        await it.live(2, quiet)

        assert it.stories == [("busy", "firing"), ("busy", "resolved")]
        assert it.told[1].message["alerts"][0]["reason"] == "its rule was removed"


async def test_a_rule_that_watches_for_too_little() -> None:
    async with world() as it:
        await desk(it).put_rule(
            "too-quiet",
            {"metric": "requests", "stat": "sum", "limit": 100, "below": True, "over_minutes": 5},
        )
        await it.live(20, quiet)
        assert it.told == []
        await it.live(10, lambda at_s: quiet(at_s, requests=1))

        assert it.stories == [("too-quiet", "firing")]
        assert "(at least 100)" in it.told[0].message["title"]


async def test_what_there_can_be_too_much_of(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(desks, "RULES_MAX", 1)
    monkeypatch.setattr(desks, "CHANNELS_MAX", 2)
    busy = {"metric": "requests", "stat": "sum", "limit": 1}
    async with world() as it:
        await desk(it).put_rule("busy", busy)
        await desk(it).put_rule("busy", busy)
        with pytest.raises(AlertAdminError, match="remove one first"):
            await desk(it).put_rule("busier", busy)

        one = Channel(name="one", kind="slack", url="https://example.com/x", added_s=1)
        await desk(it).add_channel(one)
        with pytest.raises(AlertAdminError, match="remove one first"):
            await desk(it).add_channel(msgspec.structs.replace(one, name="two"))
        await it.live(1, quiet)
        with pytest.raises(AlertAdminError, match="up to 30 days"):
            await desk(it).mute("shop", 31 * 86_400)
