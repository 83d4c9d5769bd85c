"""Reads rollups and turns them into the series of an answer.

    plan     (app.query.planner) a request becomes a Query: an aligned range, a step, the
             resolution that serves it, stats and labels
    read     one atomic read of slots and inbox for each app, so committed batches count whether
             they are folded or not
    answer   rollups become cells, one per interval and series, and cells become values

An interval without any log line of the app is a gap (None). If the app sent anything in the
interval, its counters are 0 there.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from typing import NamedTuple, cast

from app.query import accelerated
from app.query import table as reference
from app.query.maintenance import SplitsMaintenance
from app.query.rates import SETTLED_AFTER_S, RatePlan, complete_time
from app.query.stats import StatValue, Value
from app.query.table import (
    VALUES_MAX,
    Query,
    QueryCells,
    QueryRange,
    SeriesKey,
)
from app.query.table_fill import PackedRollup, TableFill
from app.rollup.batch_codec import unpack_batch
from app.rollup.codec import PackError
from app.rollup.resolutions import HOUR_S, align
from app.rollup.time_range import NEVER, TimeRange
from app.storage.interface.apps import SeenApp
from app.storage.interface.elements import HEADER_BYTES, Slot
from app.storage.interface.rollups import Contents, Part, RollupReader
from app.support.globs import matches_glob

SERIES_MAX = 1_000
BINS_WEIGHT = 200  # the bins of one interval count as this many values
APPS_PER_READ = 8  # so that memory never holds the rollups of all apps
BYTES_PER_READ = 8 * 2**20  # of the slots of an app; those of most apps and ranges have less
VALUES_PER_TURN = 5_000


class TooManySeries(ValueError):
    """The answer would have more than SERIES_MAX series or VALUES_MAX values."""


class _ScanTable(SplitsMaintenance, accelerated.Table):
    """The table of scans."""


class _ReferenceScanTable(SplitsMaintenance, reference.Table):
    """The same in Python."""


class Series(NamedTuple):
    """One labelled series of an answer: value i belongs to start + i · step."""

    labels: dict[str, str]
    stat: str
    values: list[StatValue]

    @property
    def numbers(self) -> list[Value]:
        """The values, for every stat except bins."""
        return cast("list[Value]", self.values)


class Answer(NamedTuple):
    """The series of a query. Values before `complete_until` (Unix seconds) should not change.

    `is_empty`: no row of the data belongs to any of them.
    """

    series: list[Series]
    complete_until: int
    is_empty: bool = False


def complete_until(time_range: QueryRange, now_s: float) -> int:
    """The end of the last interval that late lines are unlikely to change, in Unix seconds."""
    edge = time_range.start + align(
        int(now_s - SETTLED_AFTER_S) - time_range.start, time_range.step_s
    )
    return min(max(edge, time_range.start), time_range.end)


# --- reading ------------------------------------------------------------------------------------


def slots_of(time_range: QueryRange) -> list[Slot]:
    """The slots that serve a range."""
    start, end, _, resolution = time_range
    return [Slot(resolution.name, at_s) for at_s in range(start, end, resolution.seconds)]


async def read_in_parts(
    store: RollupReader, app: str, time_range: QueryRange
) -> AsyncIterator[tuple[QueryRange, Contents]]:
    """Read an app in parts that fit into memory: the part of the range, and its contents.

    Each part is read with the inbox, at one instant. So an increment that is folded meanwhile is in
    the contents of its own part once.

    Raises:
        StoreUnavailable
    """
    slots = slots_of(time_range)
    while slots:
        (part,) = await store.read_parts([(app, slots)], BYTES_PER_READ)
        yield _part_range(time_range, slots, part), part.contents
        slots = slots[part.slot_count :]


def _part_range(time_range: QueryRange, slots: Sequence[Slot], part: Part) -> QueryRange:
    start = slots[0].start
    end = start + part.slot_count * time_range.resolution.seconds
    return time_range._replace(start=start, end=min(end, time_range.end))


def list_packed(contents: Contents, time_range: QueryRange) -> Iterator[PackedRollup]:
    """Every packed rollup of the range, from slots and inbox."""
    # A mask of active minutes has those of one hour, so longer slots come with hours beside them.
    seconds = min(time_range.resolution.seconds, HOUR_S)
    for slot, elements in contents.slots.items():
        for element in elements:
            yield slot.start, element[HEADER_BYTES:]
    for element in contents.inbox:
        for minute, data in unpack_batch(element[HEADER_BYTES:]):
            if time_range.start <= minute < time_range.end:
                yield align(minute, seconds), data


# --- from cells to values -----------------------------------------------------------------------


def _list_keys(query: Query, cells: QueryCells) -> list[SeriesKey]:
    keys = cells.keys() if query.by else {()}
    _check_size(query, len(keys))
    return sorted(keys, key=natural_order) if query.by else [()]


def _check_size(query: Query, keys: int) -> None:
    if keys * len(query.stats) > SERIES_MAX:
        raise TooManySeries(
            f"the answer would have {keys * len(query.stats)} series; "
            f"the maximum is {SERIES_MAX}. Add filters or group by fewer labels."
        )
    values_per_key = sum(BINS_WEIGHT if stat.method == "bins" else 1 for stat in query.stats)
    if keys * values_per_key * query.range.size > VALUES_MAX:
        raise TooManySeries(
            f"the answer would have more than {VALUES_MAX:,} values. "
            "Use a longer step, add filters, or group by fewer labels."
        )


def build_series(query: Query, cells: QueryCells) -> list[Series]:
    """The series of a query, from its cells.

    Raises:
        TooManySeries
    """
    all_series = []
    intervals = range(query.range.size)
    for key in _list_keys(query, cells):
        labels = dict(zip(query.by, key, strict=True))
        for stat in query.stats:
            values = cells.values(key, labels.get("app"), stat, intervals)
            all_series.append(Series(labels, stat.name, values))
    return all_series


def natural_order(key: SeriesKey) -> list[tuple[str, int]]:
    """Sort key that puts web.2 before web.10."""
    parts = (label.rpartition(".") for label in key)
    return [
        (head + dot, int(tail)) if tail.isdigit() else (head + dot + tail, -1)
        for head, dot, tail in parts
    ]


async def answer(
    store: RollupReader, apps: Sequence[SeenApp], query: Query, now_s: float
) -> Answer:
    """Evaluate a query over these apps.

    Raises:
        StoreUnavailable, NewerVersion, TooManySeries
    """
    if "app" in query.by and _has_rate(query):  # each app has a complete time of its own
        groups = [await _answer_series(store, [app], query, now_s) for app in apps]
        is_empty = all(is_group_empty for _, is_group_empty in groups)
        series = sorted(
            (series for group, _ in groups for series in group),
            key=lambda series: natural_order(tuple(series.labels.values())),
        )
        _check_size(query, len(series) // len(query.stats))
    else:
        series, is_empty = await _answer_series(store, apps, query, now_s)
    return Answer(series, complete_until(query.range, now_s), is_empty)


def _has_rate(query: Query) -> bool:
    return any(stat.method == "rate" for stat in query.stats)


async def _answer_series(
    store: RollupReader, apps: Sequence[SeenApp], query: Query, now_s: float
) -> tuple[list[Series], bool]:
    """The series, and whether no row of the data belongs to any of them."""
    plan = RatePlan(query, _complete_time(apps, now_s) if _has_rate(query) else NEVER)
    table = await scan(store, [app.app for app in apps], query.range, [query, *plan.queries])
    cells, *rate_cells = table.results()
    rates = plan.rates(rate_cells)
    all_series = []
    work = 0
    for key in _list_keys(query, cells):
        labels = dict(zip(query.by, key, strict=True))
        for stat in query.stats:
            values: list[StatValue] = []
            weight = BINS_WEIGHT if stat.method == "bins" else 1
            for first in range(0, query.range.size, VALUES_PER_TURN // weight):
                last = min(first + VALUES_PER_TURN // weight, query.range.size)
                if stat.method == "rate":
                    values += rates.values(key)[first:last]
                else:
                    values += cells.values(key, labels.get("app"), stat, range(first, last))
                work += (last - first) * weight
                if work >= VALUES_PER_TURN:
                    work = 0
                    await asyncio.sleep(0)
            all_series.append(Series(labels, stat.name, values))
    return all_series, not cells.keys()


def _complete_time(apps: Sequence[SeenApp], now_s: float) -> TimeRange:
    """The complete time of apps that are added up: from the first line of any of them."""
    first_s = min((app.first_seen_s for app in apps), default=0)
    return complete_time(first_s, max((app.last_seen_s for app in apps), default=0), now_s)


# --- scans: several queries in one pass ---------------------------------------------------------


async def scan(
    store: RollupReader,
    apps: Sequence[str],
    time_range: QueryRange,
    queries: Sequence[Query],
    whole_sections: frozenset[str] = frozenset(),
) -> reference.Table:
    """Read these apps once, and fill a table with the queries, whose ranges lie in `time_range`.

    Raises:
        StoreUnavailable, NewerVersion
    """
    try:
        return await _fill_from_store(_ScanTable(queries, whole_sections), store, apps, time_range)
    except PackError:  # Python may still read it, or names the reason
        table = _ReferenceScanTable(queries, whole_sections)
        return await _fill_from_store(table, store, apps, time_range)


async def _fill_from_store(
    table: reference.Table, store: RollupReader, apps: Sequence[str], time_range: QueryRange
) -> reference.Table:
    for app in apps:  # one after the other: memory never holds the rollups of all apps
        fill = TableFill(table, app)
        async for part_range, contents in read_in_parts(store, app, time_range):
            await fill.add_yielding(list_packed(contents, part_range))
        table.finish()
    return table


async def scan_each(
    store: RollupReader, apps: Sequence[str], time_range: QueryRange, queries: Sequence[Query]
) -> AsyncIterator[tuple[str, reference.Table]]:
    """Read these apps a few at a time, and fill a table for each.

    Raises:
        StoreUnavailable, NewerVersion
    """
    slots = slots_of(time_range)
    for first in range(0, len(apps), APPS_PER_READ):
        names = apps[first : first + APPS_PER_READ]
        parts = await store.read_parts([(app, slots) for app in names], BYTES_PER_READ)
        for app, part in zip(names, parts, strict=True):
            if part.slot_count < len(slots):
                yield app, await scan(store, [app], time_range, queries)
                continue
            table: reference.Table = _ScanTable(queries)
            try:
                await _fill_yielding(table, app, list_packed(part.contents, time_range))
            except PackError:  # as in `scan`
                table = _ReferenceScanTable(queries)
                await _fill_yielding(table, app, list_packed(part.contents, time_range))
            yield app, table


async def _fill_yielding(
    table: reference.Table, app: str, packed_rollups: Iterable[PackedRollup]
) -> reference.Table:
    await TableFill(table, app).add_yielding(packed_rollups)
    table.finish()
    return table


async def scan_packed_yielding(
    app: str,
    packed_rollups: Sequence[PackedRollup],
    queries: Sequence[Query],
    whole_sections: frozenset[str] = frozenset(),
) -> reference.Table:
    """Fill a table with packed rollups of one app, and let other tasks run meanwhile.

    Raises:
        PackError, NewerVersion
    """
    try:
        return await _fill_yielding(_ScanTable(queries, whole_sections), app, packed_rollups)
    except PackError:  # as in `scan`
        table = _ReferenceScanTable(queries, whole_sections)
        return await _fill_yielding(table, app, packed_rollups)


def scan_packed(
    app: str,
    packed_rollups: Sequence[PackedRollup],
    queries: Sequence[Query],
    whole_sections: frozenset[str] = frozenset(),
) -> reference.Table:
    """Fill a table with a few packed rollups of one app, such as those of one slot.

    Raises:
        PackError, NewerVersion
    """
    try:
        return _fill(_ScanTable(queries, whole_sections), app, packed_rollups)
    except PackError:  # as in `scan`
        return _fill(_ReferenceScanTable(queries, whole_sections), app, packed_rollups)


def _fill(
    table: reference.Table, app: str, packed_rollups: Sequence[PackedRollup]
) -> reference.Table:
    fill = TableFill(table, app)
    for start, data in packed_rollups:
        fill.add(start, data)
    table.finish()
    return table


def match_apps(apps: Sequence[str], patterns: Sequence[str]) -> list[str]:
    """The apps that match any of the patterns (with * and ?); without a pattern, all apps."""
    if not patterns:
        return list(apps)
    return [app for app in apps if any(matches_glob(app, pattern) for pattern in patterns)]
