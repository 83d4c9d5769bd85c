"""Verdicts of now and of any range: what was judged then is the answer, the rest is judged now."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial

import msgspec

from app.judgement.verdict import Finding, Verdict
from app.rollup.resolutions import DAY_S
from app.storage.interface.alerts import AlertChange, AlertTable
from app.storage.interface.apps import SeenApp
from app.verdicts.spooling import SPOOLING
from app.verdicts.verdict_reader import VerdictReader
from app.verdicts.verdict_record import (
    VerdictRecord,
    pack_verdict_record,
    unpack_episodes,
    unpack_verdict_records,
)
from tests.support.incident import START_S, TIERS, World, error, quiet, world

INCIDENT_S = START_S + 20 * 60


def crashing(at_s: float) -> Iterable[bytes]:
    return [error(at_s + 5 * number, "H10") for number in range(6)]


async def outage(sim: World) -> None:
    """20 quiet minutes, 8 minutes of an outage, and 32 quiet minutes."""
    await sim.live(20, quiet)
    await sim.live(8, crashing)
    await sim.live(32, quiet)


async def shop(sim: World) -> SeenApp:
    (seen_app,) = await sim.store.seen_apps()
    return seen_app


def reader(sim: World) -> VerdictReader:
    return VerdictReader(sim.store, TIERS)


async def current(sim: World) -> Verdict:
    return (await reader(sim).current([await shop(sim)], sim.clock()))["shop"]


async def test_without_any_channel_apps_are_judged_and_episodes_stored() -> None:
    async with world() as sim:
        await sim.store.change_alerts([AlertChange(AlertTable.CHANNELS, "hook", b"")])
        await outage(sim)

        (records,) = await sim.store.alert_tables(AlertTable.VERDICTS)
        record = unpack_verdict_records(records)["shop"]
        assert record.verdict.state == "ok"
        assert record.judged_until_s == sim.clock.now_s - 60
        (episode,) = unpack_episodes((await sim.store.episodes(["shop"], 9))["shop"])
        assert (episode.finding.state, episode.finding.until_s) == ("down", INCIDENT_S + 480)
        assert episode.summary.startswith("Was down from 09:2")
        assert sim.told == []


async def test_the_verdict_of_the_minute_that_has_just_ended_is_published() -> None:
    async with world() as sim:
        await sim.live(20, quiet)
        await sim.live(1, crashing)
        for _ in range(2):  # 20 s after the end of the first bad minute
            sim.clock.now_s += 10
            await sim.tick()

        verdict = await current(sim)
        assert (verdict.state, verdict.judged_s) == ("down", INCIDENT_S + 60)


async def test_a_verdict_without_a_worker_is_that_of_a_worker() -> None:
    async with world() as sim:
        await sim.live(20, quiet)
        await sim.live(4, crashing)
        for _ in range(2):
            sim.clock.now_s += 10
            await sim.tick()
        judged = await current(sim)
        await sim.store.change_alerts([AlertChange(AlertTable.VERDICTS, "shop", b"")])
        on_demand = await current(sim)

        assert (on_demand.state, on_demand.since_s) == (judged.state, judged.since_s)
        assert on_demand.summary == judged.summary


async def test_a_stale_verdict_is_judged_on() -> None:
    async with world() as sim:
        await sim.live(20, quiet)
        sim.alerters = []
        await sim.live(8, crashing)
        sim.clock.now_s += 20

        assert (await current(sim)).state == "down"


async def test_while_lines_wait_on_disk_nothing_is_called_silent() -> None:
    async with world() as sim:
        await sim.yesterday(partial(quiet, requests=1))
        await sim.live(10, quiet)
        sim.alerters = []
        since = {"since_s": str(int(sim.clock.now_s))}
        await sim.live(10)
        await sim.store.write_status(f"{SPOOLING}1", since, ttl_ms=60_000)

        verdict = await current(sim)
        assert (verdict.state, verdict.is_complete) == ("unknown", False)


async def test_a_past_range_says_what_was_stored_when_it_was_the_present() -> None:
    async with world() as sim:
        await outage(sim)
        seen_app = await shop(sim)
        (episode,) = await reader(sim).episodes("shop", START_S, START_S + DAY_S)
        night = await reader(sim).over(seen_app, START_S, START_S + 45 * 60, sim.clock())

        assert (night.state, night.until_s) == ("down", INCIDENT_S + 480)
        assert night.findings == (episode.finding,)
        assert night.summary.startswith("Was down from 09:2")
        morning = await reader(sim).over(seen_app, START_S, INCIDENT_S - 120, sim.clock())
        assert (morning.state, morning.findings) == ("ok", ())


async def test_a_range_that_ends_now_has_the_present_state_and_tells_what_is_over() -> None:
    async with world() as sim:
        await outage(sim)
        verdict = await reader(sim).over(
            await shop(sim), START_S, int(sim.clock.now_s), sim.clock()
        )

        assert verdict.state == "ok"
        assert [finding.until_s for finding in verdict.findings] == [INCIDENT_S + 480]
        assert "Was down from 09:2" in verdict.summary


async def test_a_range_before_the_app_was_watched_is_judged_on_demand() -> None:
    async with world() as sim:
        sim.alerters = []
        await outage(sim)
        verdict = await reader(sim).over(await shop(sim), START_S, START_S + 45 * 60, sim.clock())

        assert verdict.state == "down"
        (finding,) = verdict.findings
        assert (finding.kind, finding.until_s) == ("no_dyno", INCIDENT_S + 480)


async def test_the_past_of_an_app_is_judged_when_it_is_watched_first_and_nobody_is_told() -> None:
    async with world() as sim:
        alerters, sim.alerters = sim.alerters, []
        await outage(sim)
        await sim.live(240, partial(quiet, requests=1))
        sim.alerters = alerters
        await sim.live(3, quiet)

        (episode,) = await reader(sim).episodes("shop", START_S, START_S + DAY_S)
        assert episode.finding.state == "down"
        assert sim.told == []


async def test_what_began_hours_before_an_app_was_watched_has_its_true_begin() -> None:
    def exceeded(at_s: float) -> Iterable[bytes]:
        return [*quiet(at_s, requests=6), *(error(at_s + 5 * n, "R14") for n in range(3))]

    async with world() as sim:
        alerters, sim.alerters = sim.alerters, []
        await sim.live(60, partial(quiet, requests=6))
        await sim.live(8 * 60, exceeded)
        sim.alerters = alerters
        await sim.live(3, exceeded)

        (finding,) = (await current(sim)).findings
        assert (finding.kind, finding.since_s) == ("memory_exceeded", START_S + 3600)


async def test_the_successor_of_a_worker_continues_its_findings() -> None:
    async with world() as sim:
        await sim.live(20, quiet)
        await sim.live(4, crashing)
        before = await current(sim)
        sim.alerters = [sim.alerter("after a kill")]
        await sim.live(4, crashing)
        after = await current(sim)
        await sim.live(12, quiet)

        assert after.since_s == before.since_s
        assert len(await reader(sim).episodes("shop", START_S, START_S + DAY_S)) == 0
        await sim.live(10, quiet)
        assert len(await reader(sim).episodes("shop", START_S, START_S + DAY_S)) == 1


def test_a_record_of_a_version_without_figures_is_readable() -> None:
    record = VerdictRecord(Verdict("shop", "ok", 1, 0, 60, "OK.", ()), (), 1, 60)
    fields = msgspec.msgpack.decode(pack_verdict_record(record))
    del fields["figures"]

    assert unpack_verdict_records({"shop": msgspec.msgpack.encode(fields)}) == {"shop": record}


def test_a_stored_record_survives_fields_of_a_newer_version() -> None:
    verdict = Verdict("shop", "down", 1, 0, 60, "Down.", (Finding("no_dyno", "down", 1),))
    data = pack_verdict_record(VerdictRecord(verdict, verdict.findings, 1, 60))
    newer = data.replace(b"\x85", b"\x86", 1) + b"\xa5newer\x01"

    assert unpack_verdict_records({"shop": newer})["shop"].verdict == verdict
    assert unpack_verdict_records({"shop": b"\xc1", "blog": data}).keys() == {"blog"}
