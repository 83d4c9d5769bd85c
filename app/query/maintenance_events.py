"""When maintenance began and ended, from the counts of an app's requests.

No line says so: the router only answers requests with H80. So the events are found at query time,
in the stored counts. They are the same in whatever order, and however often, batches arrived.

    began      the first requests in maintenance after other answers
    on         the range begins within the maintenance, or no other answer came before
    ended      the first other answers
    last seen  the last requests in maintenance, if no other answers came since

`find_maintenance` tells maintenance from a few H80 among other answers. Times are to the minute as
long as minutes are stored.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from app.query.engine import scan
from app.query.maintenance_runs import Answers, find_maintenance
from app.query.stats import Stat
from app.query.table import Query, QueryCells, QueryRange
from app.rollup.events import EventKey
from app.rollup.resolutions import HOUR_S, MINUTE_S, Resolution
from app.rollup.schema import METRICS
from app.storage.interface.rollups import RollupReader
from parsers.error_codes import MAINTENANCE_CODE

MAINTENANCE = "maintenance"  # the kind of these events
BEGAN, ENDED, ON, LAST_SEEN = "began", "ended", "on", "last seen"
REFINED_MAX = 12  # longer intervals of which the hours, and then the minutes, are read
_MS = 1000
_SUM = Stat("sum", "sum", 0)
_FINER = (Resolution("1h", HOUR_S, 0), Resolution("1m", MINUTE_S, 0))


class AnswerCounts(NamedTuple):
    """Numbers of requests in an interval. Times in Unix seconds."""

    start_s: int
    length_s: int
    in_maintenance: int
    others: int


class Edge(NamedTuple):
    """An interval in which maintenance began or ended, say."""

    interval: AnswerCounts
    detail: str


def maintenance_queries(time_range: QueryRange) -> list[Query]:
    """The queries that `read_maintenance` takes the cells of."""
    steps = time_range._replace(step_s=time_range.resolution.seconds)
    codes = {"code": (MAINTENANCE_CODE,)}
    return [
        Query(METRICS["requests"], (_SUM,), steps),
        Query(METRICS["heroku_errors"], (_SUM,), steps, filters=codes),
    ]


async def read_maintenance(
    store: RollupReader, app: str, time_range: QueryRange, cells: Sequence[QueryCells]
) -> dict[EventKey, int]:
    """The events of a range, in which `cells` answer `maintenance_queries`.

    Raises:
        StoreUnavailable, NewerVersion
    """
    _, codes = cells
    if not codes.keys():
        return {}
    intervals = _intervals(time_range, cells)
    for finer in _FINER:
        parts = {
            interval: await _parts(store, app, interval, finer)
            for interval in sorted(_pick_unclear(intervals))
            if interval.length_s > finer.seconds
        }
        intervals = [part for interval in intervals for part in parts.get(interval, [interval])]
    return maintenance_events(find_edges(intervals))


def maintenance_events(edges: Iterable[Edge]) -> dict[EventKey, int]:
    """The events of these edges."""
    return {
        EventKey(interval.start_s * _MS, MAINTENANCE, "", detail + _precision(interval)): 1
        for interval, detail in edges
    }


def find_edges(intervals: Sequence[AnswerCounts]) -> Iterator[Edge]:
    """Yield the edges of each maintenance, in order of time."""
    counts = [Answers(interval.in_maintenance, interval.others) for interval in intervals]
    for first, last, end in find_maintenance(counts):
        has_others = any(interval.others for interval in intervals[:first])
        yield Edge(intervals[first], BEGAN if has_others else ON)
        is_mixed = last != first and intervals[last].others > 0
        if end is not None:
            is_end_mixed = intervals[end].in_maintenance > 0
            yield Edge(intervals[last if is_mixed and not is_end_mixed else end], ENDED)
        elif last != first:
            yield Edge(intervals[last], ENDED if is_mixed else LAST_SEEN)


def _pick_unclear(intervals: Sequence[AnswerCounts]) -> list[AnswerCounts]:
    """The intervals whose parts say more: those at edges, and then the most mixed ones."""
    edges = [interval for interval, _ in find_edges(intervals)]
    mixed = [interval for interval in intervals if interval.in_maintenance and interval.others]
    mixed.sort(key=lambda interval: interval.in_maintenance / interval.others, reverse=True)
    return list(dict.fromkeys([*edges, *mixed]))[:REFINED_MAX]


def _intervals(time_range: QueryRange, cells: Sequence[QueryCells]) -> list[AnswerCounts]:
    """The intervals with requests."""
    requests, codes = cells
    length_s = time_range.resolution.seconds
    positions = range((time_range.end - time_range.start) // length_s)
    counts = zip(
        requests.values((), None, _SUM, positions),
        codes.values((), None, _SUM, positions),
        strict=True,
    )
    return [
        AnswerCounts(time_range.start + position * length_s, length_s, part, max(total - part, 0))
        for position, (total, part) in enumerate(counts)
        if isinstance(total, int) and isinstance(part, int) and (total or part)
    ]


async def _parts(
    store: RollupReader, app: str, interval: AnswerCounts, finer: Resolution
) -> list[AnswerCounts]:
    """The finer parts of an interval, or itself if some of them are no longer stored."""
    end = interval.start_s + interval.length_s
    time_range = QueryRange(interval.start_s, end, finer.seconds, finer)
    table = await scan(store, [app], time_range, maintenance_queries(time_range))
    parts = _intervals(time_range, table.results())
    in_maintenance = sum(part.in_maintenance for part in parts)
    others = sum(part.others for part in parts)
    is_complete = (in_maintenance, others) == (interval.in_maintenance, interval.others)
    return parts if is_complete else [interval]


def _precision(interval: AnswerCounts) -> str:
    if interval.length_s == MINUTE_S:
        return ""
    return f" (within {interval.length_s // MINUTE_S} minutes)"
