"""Delivery: retried until accepted, in order, each channel on its own, and not twice."""

from __future__ import annotations

from itertools import pairwise

from app.alerting.admin import AlertAdmin
from app.alerting.channels.channel import unpack_health
from app.alerting.config import read_config
from app.alerting.notification import compose_test
from app.alerting.outbox import GIVE_UP_S, enqueue
from app.alerting.state import unpack_history_entry
from app.rollup.resolutions import DAY_S
from app.storage.interface.alerts import AlertChange, AlertTable
from app.storage.interface.errors import StoreUnavailable
from app.storage.memory import MemoryStore
from tests.support.incident import START_S, URL, World, error, quiet, world
from tests.support.receivers import webhook
from tests.support.service import Clock


async def incident(sim: World) -> None:
    await sim.live(20, quiet)
    await sim.live(3, crashing)


def crashing(at_s: float) -> list[bytes]:
    return [error(at_s + 5 * number, "H10") for number in range(6)]


async def queue_length(sim: World) -> int:
    return len((await sim.store.alert_tables(AlertTable.OUTBOX))[0])


async def test_a_failing_channel_is_retried_with_growing_delays_and_the_same_id() -> None:
    async with world() as sim:
        sim.hook.answers = [500] * 6
        await incident(sim)
        await sim.live(30, quiet)

        ids = [post.headers["dynometer-id"] for post in sim.hook.received]
        times = [post.at_s for post in sim.told]
        assert len(set(ids[:7])) == 1
        assert ids[7] != ids[0]  # the end comes after the beginning
        gaps = [after - before for before, after in pairwise(times[:7])]
        assert gaps == sorted(gaps)
        assert gaps[0] <= 10
        assert gaps[-1] >= 160
        assert await queue_length(sim) == 0


async def test_a_failing_channel_is_reported_to_the_other_channels() -> None:
    async with webhook() as failing_hook, world() as sim:
        failing_hook.answers = [500] * 100
        await sim.add_channel("other", url=failing_hook.url)
        await incident(sim)
        await sim.live(15, crashing)

        health = unpack_health((await sim.store.alert_tables(AlertTable.HEALTH))[0]["other"])
        assert health.error == "answered 500"
        assert health.failing_since_s
        assert sim.stories == [("app-broken", "firing"), ("channel-fails other", "firing")]
        assert sim.told[-1].message["title"].startswith("Dynometer: other: channel failing for 1")

        failing_hook.answers = []
        await sim.live(15, quiet)
        rules = [post.json["alerts"][0]["rule"] for post in failing_hook.received[-2:]]
        assert rules == ["app-broken", "app-broken"]  # and none about its own failure
        assert ("channel-fails other", "resolved") in sim.stories


async def test_a_message_is_given_up_after_a_day_and_the_history_says_so() -> None:
    async with world() as sim:
        sim.hook.answers = [500] * 10_000
        await incident(sim)
        sim.clock.now_s += GIVE_UP_S
        await sim.tick()

        (outbox,) = await sim.store.alert_tables(AlertTable.OUTBOX)
        assert not any(b'"status":"firing"' in record for record in outbox.values())
        entries = (await sim.store.alert_history(["shop"], 10))["shop"]
        assert unpack_history_entry(entries[0]).what == "undelivered"
        assert "answered 500" in unpack_history_entry(entries[0]).text


async def test_messages_for_a_channel_of_a_newer_version_wait_for_it() -> None:
    """One is of a kind that this version does not know, one has a field that it cannot read."""
    newer_records = {
        "pager": b'{"name":"pager","kind":"pager","url":"https://x","added_s":1,"tone":"loud"}',
        "quiet": b'{"name":"quiet","kind":"slack","url":"https://x","added_s":1,"least":"info"}',
    }
    async with world() as sim:
        changes = [
            AlertChange(AlertTable.CHANNELS, name, record) for name, record in newer_records.items()
        ]
        await sim.store.change_alerts(changes)
        message = compose_test("quiet", int(sim.clock()))
        quiet_channel = (await read_config(sim.store)).channels["quiet"]
        await sim.store.change_alerts(enqueue(message, [quiet_channel], int(sim.clock())))
        await incident(sim)

        channels, healths, outbox = await sim.store.alert_tables(
            AlertTable.CHANNELS, AlertTable.HEALTH, AlertTable.OUTBOX
        )
        assert newer_records.items() <= channels.items()
        assert {entry.partition(":")[2] for entry in outbox} == {"pager", "quiet"}
        reasons = {"pager": "has no channels of kind pager", "quiet": "cannot read this channel"}
        for name, reason in reasons.items():
            assert reason in unpack_health(healths[name]).error
        assert ("app-broken", "firing") in sim.stories  # the other channel got its message
        assert ("channel-fails quiet", "firing") in sim.stories


class FailingStore(MemoryStore):
    """Fails just when the delivery of a message would be recorded."""

    failures = 0

    async def change_alerts(self, changes, **more):  # type: ignore[no-untyped-def]
        is_removal = any(
            change == AlertChange(change.table, change.field, b"") for change in changes
        )
        if is_removal and self.failures:
            self.failures -= 1
            raise StoreUnavailable("down")
        return await super().change_alerts(changes, **more)


async def test_a_message_is_not_repeated_if_the_store_fails_right_after_delivery() -> None:
    clock = Clock(START_S)
    store = FailingStore(clock)
    store.failures = 5
    async with world(store, clock) as sim:
        await incident(sim)

        assert store.failures == 0
        assert len(sim.hook.received) == 1
        assert await queue_length(sim) == 0


async def test_messages_queued_for_a_removed_channel_are_dropped() -> None:
    async with world() as sim:
        sim.hook.answers = [500] * 100
        await incident(sim)
        assert await queue_length(sim) == 1
        await sim.add_channel("new")
        await sim.store.change_alerts([AlertChange(AlertTable.CHANNELS, "hook", b"")])
        await sim.live(1, quiet)

        assert await queue_length(sim) == 0


async def test_a_message_to_a_channel_added_a_moment_ago_is_delivered_at_once() -> None:
    """The worker reads the configuration every few seconds, and knows only the first channel."""
    async with webhook() as new_hook, world() as sim:
        await sim.live(1, quiet)
        admin = AlertAdmin(sim.store, sim.clock, 90 * DAY_S)
        await sim.add_channel("new", url=new_hook.url)
        entry = await admin.test("new")
        await sim.alerters[0].deliver()

        assert new_hook.received[0].json["link"] == f"{URL}/"  # the service's, not the sender's
        assert not await admin.is_queued(entry)
        assert (await admin.health("new")).last_ok_s


async def test_the_messages_of_a_removed_channel_are_dropped_without_a_record() -> None:
    async with world() as sim:
        await sim.live(1, quiet)
        await sim.add_channel("gone")
        admin = AlertAdmin(sim.store, sim.clock, 90 * DAY_S)
        entry = await admin.test("gone")
        await admin.remove_channel("gone")
        await sim.alerters[0].deliver()

        assert not await admin.is_queued(entry)
        assert not (await admin.health("gone")).last_ok_s
