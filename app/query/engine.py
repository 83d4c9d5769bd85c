"""Answers: a metric over a range of time, by label.

    plan   what was asked becomes a Query: an aligned range, a step, the resolution that serves it,
    stats, labels
    read   per app one atomic read of slots and inbox: what is committed counts, folded or not
    answer rollups become cells, one per interval and series, and cells become values

An interval in which nothing of the app was heard is a gap (None); in one in which anything was
heard, counters are 0.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping, Sequence
from fnmatch import fnmatchcase
from typing import NamedTuple

from app.query import table as collect
from app.query.accelerated import Table
from app.query.stats import Answered, Value
from app.query.table import VALUES_MAX, Key, Query, QueryRange, RequiredSections
from app.rollup.batch_codec import unpack_batch
from app.rollup.codec import PackError, merge_packed
from app.rollup.resolutions import align
from app.rollup.rollup import Rollup
from app.storage.interface import HEADER_BYTES, Reader, Slot

SERIES_MAX = 1_000
BINS_WEIGHT = 200  # values that the bins of one interval count as
BYTES_PER_TURN = 128 * 1024  # a long query lets other requests run after so many, 10 ms at most
VALUES_PER_TURN = 5_000  # and after so many
SETTLED_AFTER_S = 60  # Logplex delivers within seconds; what comes later than this is rare


class TooManySeries(ValueError):
    """The answer would have more than SERIES_MAX series or VALUES_MAX values."""


Packed = tuple[int, bytes]  # the start of a slot, and a packed rollup of it


class Series(NamedTuple):
    """One line of an answer: value i belongs to start + i · step."""

    labels: dict[str, str]
    stat: str
    values: list[Answered]

    @property
    def numbers(self) -> list[Value]:
        """The values, of any stat but bins."""
        return [value for value in self.values if not isinstance(value, list)]


class Answer(NamedTuple):
    """`complete_until`: what lies before it will hardly change."""

    series: list[Series]
    complete_until: int


def complete_until(span: QueryRange, now_s: float) -> int:
    """The latest instant of the range, on an interval's edge, before which values will hardly
    change.
    """
    settled = span.start + align(int(now_s - SETTLED_AFTER_S) - span.start, span.step_s)
    return min(max(settled, span.start), span.end)


# --- reading ------------------------------------------------------------------------------------


async def packed_rollups(store: Reader, app: str, span: QueryRange) -> AsyncIterator[Packed]:
    """What is stored of the range, each with the start of its slot. Other requests are served in
    between.

    Raises:
        StoreUnavailable: the store is away.
    """
    seconds = span.resolution.seconds
    starts = range(span.start, span.end, seconds)
    contents = await store.read(app, [Slot(span.resolution.name, start) for start in starts])
    taken = 0
    for slot, elements in contents.slots.items():
        for element in elements:
            taken += len(element)
            if taken >= BYTES_PER_TURN:
                taken = 0
                await asyncio.sleep(0)
            yield slot.start, element[HEADER_BYTES:]
    for element in contents.inbox:
        for minute, packed in unpack_batch(element[HEADER_BYTES:]):
            if span.start <= minute < span.end:
                yield align(minute, seconds), packed


async def read_slots(
    store: Reader, app: str, span: QueryRange, wanted: RequiredSections
) -> dict[int, Rollup]:
    """The app's rollups in the range, by the start of their slot, with only what is wanted.

    Raises:
        StoreUnavailable: the store is away.
        NewerVersion: the data was written by a newer Dynometer.
    """
    rollups: dict[int, Rollup] = {}
    async for start, packed in packed_rollups(store, app, span):
        rollup = rollups.setdefault(start, Rollup())
        merge_packed(rollup, packed, wanted.sections, gauges=wanted.gauges)
    return rollups


# --- from cells to values -----------------------------------------------------------------------


def _keys(query: Query, table: Table) -> list[Key]:
    keys = table.keys() if query.by else {()}
    if len(keys) * len(query.stats) > SERIES_MAX:
        raise TooManySeries(
            f"the answer would have {len(keys) * len(query.stats)} series, "
            f"more than {SERIES_MAX}: filter, or group by fewer labels"
        )
    per_key = sum(BINS_WEIGHT if each.method == "bins" else 1 for each in query.stats)
    if len(keys) * per_key * query.range.size > VALUES_MAX:
        raise TooManySeries(
            f"the answer would have more than {VALUES_MAX:,} values: ask for a longer step, "
            "filter, or group by fewer labels"
        )
    return sorted(keys, key=_natural)


def _series(query: Query, table: Table) -> Iterator[Series]:
    for key in _keys(query, table):
        labels = dict(zip(query.by, key, strict=True))
        for stat in query.stats:
            every = range(query.range.size)
            yield Series(labels, stat.name, table.values(key, labels.get("app"), stat, every))


def _natural(key: Key) -> list[tuple[str, int]]:
    """web.2 before web.10."""
    parts = (label.rpartition(".") for label in key)
    return [
        (head + dot, int(tail)) if tail.isdigit() else (head + dot + tail, -1)
        for head, dot, tail in parts
    ]


async def answer(store: Reader, apps: Iterable[str], query: Query, now_s: float) -> Answer:
    """Evaluate a query over these apps.

    Raises:
        StoreUnavailable, NewerVersion, TooManySeries
    """
    names = list(apps)
    try:
        table = await _filled(Table(query), store, names, query.range)
    except PackError:  # the definition may read it after all, or say better why not
        table = await _filled(collect.Table(query), store, names, query.range)
    found = []
    taken = 0
    for key in _keys(query, table):
        labels = dict(zip(query.by, key, strict=True))
        for stat in query.stats:
            values: list[Answered] = []
            weight = BINS_WEIGHT if stat.method == "bins" else 1
            for first in range(0, query.range.size, VALUES_PER_TURN // weight):
                last = min(first + VALUES_PER_TURN // weight, query.range.size)
                values += table.values(key, labels.get("app"), stat, range(first, last))
                taken += (last - first) * weight
                if taken >= VALUES_PER_TURN:
                    taken = 0
                    await asyncio.sleep(0)
            found.append(Series(labels, stat.name, values))
    return Answer(found, complete_until(query.range, now_s))


async def _filled(table: Table, store: Reader, apps: Sequence[str], span: QueryRange) -> Table:
    for app in apps:  # one after the other, so that the rollups of all are never held at once
        async for start, packed in packed_rollups(store, app, span):
            table.add(app, start, packed)
    return table


def evaluate(query: Query, read: Mapping[str, Mapping[int, Rollup]]) -> list[Series]:
    """The series of a query, from what was read of each app: its rollups by the start of their
    slot.

    Raises:
        TooManySeries
    """
    table = collect.Table(query)
    for app, rollups in read.items():
        table.add_rollups(app, rollups)
    return list(_series(query, table))


def evaluate_packed(query: Query, app: str, packed: Sequence[Packed]) -> list[Series]:
    """The series of a query, from packed rollups of an app with the start of their slot.

    Raises:
        TooManySeries, PackError, NewerVersion
    """
    try:
        return list(_series(query, _added(Table(query), app, packed)))
    except PackError:  # see answer
        return list(_series(query, _added(collect.Table(query), app, packed)))


def _added(table: Table, app: str, packed: Sequence[Packed]) -> Table:
    for start, data in packed:
        table.add(app, start, data)
    return table


def matching(apps: Sequence[str], patterns: Sequence[str]) -> list[str]:
    """Those of the apps that match any of the patterns (* and ?); all of them when there is no
    pattern.
    """
    if not patterns:
        return list(apps)
    return [app for app in apps if any(fnmatchcase(app, pattern) for pattern in patterns)]
