"""Delivery: until it is taken, in order, each channel by itself, and not twice."""

from __future__ import annotations

from itertools import pairwise

from app.alerting.channels.channel import unpack_health
from app.alerting.outbox import GIVE_UP_S
from app.alerting.state import unpack_told
from app.storage.alert_interface import AlertChange, AlertTable
from app.storage.interface import StoreUnavailable
from app.storage.memory import MemoryStore
from tests.support.incident import START_S, World, error, quiet, world
from tests.support.receivers import webhook
from tests.support.service import Clock


async def incident(it: World) -> None:
    await it.live(20, quiet)
    await it.live(3, lambda at_s: [error(at_s, "H10")])


async def waiting(it: World) -> int:
    return len((await it.store.alert_tables(AlertTable.OUTBOX))[0])


async def test_a_channel_that_fails_is_tried_again_later_and_later_with_the_same_id() -> None:
    async with world() as it:
        it.hook.answers = [500] * 6
        await incident(it)
        await it.live(30, quiet)

        ids = [each.headers["dynometer-id"] for each in it.hook.received]
        times = [each.at_s for each in it.told]
        assert len(set(ids[:7])) == 1
        assert ids[7] != ids[0]  # the end comes after the beginning
        gaps = [after - before for before, after in pairwise(times[:7])]
        assert gaps == sorted(gaps)
        assert gaps[0] <= 10
        assert gaps[-1] >= 160
        assert await waiting(it) == 0


async def test_while_a_channel_fails_it_is_shown_and_the_others_are_told() -> None:
    async with webhook() as other, world() as it:
        other.answers = [500] * 100
        await it.add_channel("other", url=other.url)
        await incident(it)
        await it.live(15, lambda at_s: [error(at_s, "H10")])

        health = unpack_health((await it.store.alert_tables(AlertTable.HEALTH))[0]["other"])
        assert health.error == "answers 500"
        assert health.failing_since_s
        assert it.stories == [("app-broken", "firing"), ("channel-fails other", "firing")]
        assert it.told[-1].message["title"].startswith("Dynometer: other: a channel fails for 1")

        other.answers = []
        await it.live(15, quiet)
        told = [each.json["alerts"][0]["rule"] for each in other.received[-2:]]
        assert told == ["app-broken", "app-broken"]  # and nothing of its own trouble
        assert ("channel-fails other", "resolved") in it.stories


async def test_what_nobody_takes_for_a_day_is_given_up_and_noted() -> None:
    async with world() as it:
        it.hook.answers = [500] * 10_000
        await incident(it)
        it.clock.now_s += GIVE_UP_S
        await it.tick()

        assert await waiting(it) == 0
        entries = (await it.store.alert_history(["shop"], 10))["shop"]
        assert unpack_told(entries[0]).what == "undelivered"
        assert "answers 500" in unpack_told(entries[0]).text


class Forgetful(MemoryStore):
    """Goes away just when it would hear that a message was taken."""

    away = 0

    async def change_alerts(self, changes, **more):  # type: ignore[no-untyped-def]
        removed = any(each == AlertChange(each.table, each.field, b"") for each in changes)
        if removed and self.away:
            self.away -= 1
            raise StoreUnavailable("away")
        return await super().change_alerts(changes, **more)


async def test_a_store_that_is_away_when_a_message_was_taken_does_not_make_it_come_twice() -> None:
    clock = Clock(START_S)
    store = Forgetful(clock)
    store.away = 5
    async with world(store, clock) as it:
        await incident(it)

        assert store.away == 0
        assert len(it.hook.received) == 1
        assert await waiting(it) == 0


async def test_what_waits_for_a_channel_that_was_removed_goes_away() -> None:
    async with world() as it:
        it.hook.answers = [500] * 100
        await incident(it)
        assert await waiting(it) == 1
        await it.add_channel("new")
        await it.store.change_alerts([AlertChange(AlertTable.CHANNELS, "hook", b"")])
        await it.live(1, quiet)

        assert await waiting(it) == 0
