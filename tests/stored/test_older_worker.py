"""Workers of an older version beside new ones lose nothing of the sections that they do not know.

older_worker/rollups.json holds rollups as the present version packs them, and what commit 46858f9
makes of them: their merge in a slot, and in the app's total. That version knows neither
`named_counts` nor `named_gauges`, so they stand for every later section.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from app.rollup.accelerated import FastRollup, merge_packed, merge_rollups, to_python
from app.rollup.accelerated import pack as pack_fast
from app.rollup.codec import pack, unpack
from app.rollup.rollup import Rollup
from app.rollup.summaries import GaugeSummary
from parsers.samples import Event, ProcessExit, Request, RuntimeMetrics

RECORD = Path(__file__).parent / "older_worker" / "rollups.json"
AT_MS = 1_795_341_600_000


def newer_rollups() -> list[Rollup]:
    """Rollups of two minutes, with sections that older workers do not know."""
    rollups = []
    for number in range(2):
        rollup = Rollup()
        at_ms = AT_MS + 60_000 * number
        for dyno in ("web.1", "web.2"):
            rollup.messages += 3
            rollup.observe(Request(dyno, 200, "", 1, 17 + number, 700), at_ms)
            rollup.observe(RuntimeMetrics(dyno, (("load_avg_1m", 7 + number),)), at_ms)
            rollup.observe(ProcessExit(dyno, 137), at_ms)
            rollup.named_counts[dyno, "boots"] = 3 + number
            rollup.named_gauges[dyno, "threads"] = GaugeSummary(
                2, 20 + number, 9, 11 + number, at_ms, 11 + number
            )
        rollup.observe(Event("release", "", f"v{number}"), at_ms)
        rollup.ledger["received"] = rollup.messages
        rollups.append(rollup)
    return rollups


def merge(*rollups: Rollup) -> Rollup:
    merged_rollup = Rollup()
    for rollup in rollups:
        merged_rollup.merge(rollup)
    return merged_rollup


def read_record(name: str) -> bytes:
    return bytes.fromhex(json.loads(RECORD.read_text())[name])


def test_the_record_stands_for_what_is_packed_today() -> None:
    inputs = json.loads(RECORD.read_text())["inputs"]
    assert [pack(rollup).hex() for rollup in newer_rollups()] == inputs


def test_a_slot_that_an_older_worker_merged_holds_everything() -> None:
    assert pack(unpack(read_record("slot"))) == pack(merge(*newer_rollups()))


def test_a_total_that_an_older_worker_merged_loses_its_dynos_in_the_next_compaction() -> None:
    total = unpack(read_record("total")).without_dynos()
    assert pack(total) == pack(merge(*newer_rollups()).without_dynos())
    assert total.named_counts == {("web.", "boots"): 14}


@pytest.mark.parametrize("name", ["slot", "total"])
def test_the_implementation_in_use_reads_it_alike(name: str) -> None:
    rollup = FastRollup()
    merge_packed(rollup, read_record(name))
    merge_packed(rollup, read_record(name))
    assert pack_fast(rollup) == pack(merge(*[unpack(read_record(name))] * 2))
    assert pack(to_python(merge_rollups([read_record(name)]))) == pack(unpack(read_record(name)))
