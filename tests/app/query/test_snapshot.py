"""A snapshot answers the questions of a page as the API would, from one read of the store."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import pytest

from app.query.engine import answer
from app.query.planner import build_query
from app.query.selection import WHOLE_APP, Selection
from app.query.snapshot import AppSnapshot, Question, read_snapshot
from app.query.table import QueryRange
from app.rollup.codec import pack
from app.rollup.events import EventKey
from app.rollup.resolutions import HOUR_S, MINUTE_S, resolutions
from app.rollup.rollup import Rollup
from app.rollup.schema import METRICS
from app.storage.interface.apps import SeenApp
from app.storage.interface.elements import KIND_ROLLUP, Slot, new_element
from app.storage.interface.folding import SlotWrite
from app.storage.interface.rollups import Contents
from app.storage.memory import MemoryStore
from tests.app.rollup.test_codec import rollup
from tests.app.rollup.test_rollup import AT_MS
from tests.support.store_calls import fold

START = AT_MS // 1000
STEPS = 6
RESOLUTIONS = resolutions(24 * HOUR_S, 7 * 24 * HOUR_S, 90 * 24 * HOUR_S)
TIME_RANGE = QueryRange(START, START + STEPS * MINUTE_S, MINUTE_S, RESOLUTIONS[0])
SHOP = SeenApp("shop", START, TIME_RANGE.end, 0)
ERRORS = Question("heroku_errors", ("sum",))
REQUESTS = Question("requests", ("sum",))


class CountingStore(MemoryStore):
    """Counts how often slots are read."""

    reads = 0

    async def read(self, app: str, slots: Sequence[Slot], *, inbox: bool = True) -> Contents:
        self.reads += 1
        return await super().read(app, slots, inbox=inbox)


async def store_of(*minutes: bytes) -> CountingStore:
    """A store with a packed rollup in each of these minutes."""
    store = CountingStore(lambda: TIME_RANGE.end)
    writes = [
        SlotWrite(
            Slot("1m", START + MINUTE_S * number), new_element(KIND_ROLLUP, data), HOUR_S * 1000
        )
        for number, data in enumerate(minutes)
    ]
    await fold(store, "shop", [], writes)
    return store


async def busy_store() -> CountingStore:
    return await store_of(*(pack(rollup(number, 200)) for number in range(STEPS)))


async def snapshot_of(*questions: Question, selection: Selection = WHOLE_APP) -> AppSnapshot:
    return await read_snapshot(await busy_store(), "shop", TIME_RANGE, questions, selection)


async def test_all_questions_are_answered_as_by_the_api_from_one_read() -> None:
    questions = [
        Question(metric.name, (stat,), by, whole_range)
        for metric in METRICS.values()
        for stat in ("sum" if metric.kind == "counter" else "max",)
        for by in ("", *metric.labels)
        for whole_range in (False, True)
    ]
    store = await busy_store()
    snapshot = await read_snapshot(store, "shop", TIME_RANGE, questions)
    assert store.reads == 1
    for question in questions:
        step_s = STEPS * MINUTE_S if question.whole_range else MINUTE_S
        query = build_query(
            TIME_RANGE._replace(step_s=step_s),
            question.metric,
            question.stats,
            [question.by] if question.by else [],
        )
        expected = (await answer(store, [SHOP], query, TIME_RANGE.end)).series
        assert snapshot.series(question) == expected
        assert any(value is not None for series in expected for value in series.values)


async def test_a_question_about_the_last_steps_leaves_out_the_earlier_ones() -> None:
    tail = ERRORS._replace(whole_range=True, last_steps=2)
    snapshot = await snapshot_of(ERRORS, tail, tail._replace(last_steps=99))
    points = [value or 0 for value in snapshot.points(ERRORS)]
    assert snapshot.value(tail) == sum(points[-2:]) < sum(points)
    assert snapshot.value(tail._replace(last_steps=99)) == sum(points)


async def test_a_selection_restricts_the_metrics_that_have_its_label() -> None:
    dynos, codes = Question("requests", ("sum",), "dyno"), ERRORS._replace(by="code")
    snapshot = await snapshot_of(dynos, codes, selection=Selection(dyno="web.2", outcome="ok"))
    assert list(snapshot.points_by(dynos)) == ["web.2"]
    assert list(snapshot.points_by(codes)) == ["R14"]


async def test_filters_of_a_question_replace_those_of_the_selection() -> None:
    failed = REQUESTS._replace(filters=(("outcome", ("failed",)),))
    snapshot = await snapshot_of(REQUESTS, failed, selection=Selection(outcome="ok"))
    alone = await snapshot_of(failed)
    assert snapshot.points(failed) == alone.points(failed) != snapshot.points(REQUESTS)


async def test_a_question_that_was_not_declared_is_an_error() -> None:
    snapshot = await snapshot_of(REQUESTS)
    with pytest.raises(KeyError):
        snapshot.points(ERRORS)


async def test_sources_events_and_ledger_come_from_the_same_read() -> None:
    release = EventKey(1_000 * START + 5, "release", "", "v7")
    minutes = [Rollup() for _ in range(3)]
    for number, minute in enumerate(minutes):
        minute.ledger = {"received": 2, "counted": number}
        minute.active_minutes = {f"web.{number}": 1, "run.1": 1}
    minutes[0].events = {release: 1, EventKey(1_000 * START - 5, "release", "", "v6"): 1}
    store = await store_of(*map(pack, minutes))
    snapshot = await read_snapshot(store, "shop", TIME_RANGE, [REQUESTS], Selection("web"))
    assert store.reads == 1
    assert snapshot.ledger == {"received": 6, "counted": 3}
    assert snapshot.events == [(release, 1)]
    assert snapshot.last_active_s == {f"web.{number}": START + 60 * number for number in range(3)}
    assert snapshot.sources["run.1"] == START + 120


async def test_bytes_that_only_python_reads_are_answered_too() -> None:
    """They hold a field more than `pack` writes, as a later version of the format may."""
    fields = [1, 1, ["web.1"], *[msgspec.msgpack.encode([])] * 8, []]
    fields[3] = msgspec.msgpack.encode([0, 503, 7])
    longer = msgspec.msgpack.encode([*fields, "what a struct ignores"])
    store = await store_of(pack(rollup(1)), longer)
    snapshot = await read_snapshot(store, "shop", TIME_RANGE, [REQUESTS])
    assert snapshot.points(REQUESTS)[1:3] == [7, None]
