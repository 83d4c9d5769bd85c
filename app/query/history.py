"""Reads the ledger and the events of a time range, which are stored next to the metrics."""

from __future__ import annotations

from collections.abc import Mapping

from app.query.engine import scan
from app.query.event_stories import may_lack_beginning, tell_events
from app.query.maintenance_events import maintenance_queries, read_maintenance
from app.query.stats import Stat
from app.query.table import MESSAGES, Query, QueryCells, QueryRange
from app.rollup.events import MORE_EVENTS, EventKey
from app.storage.interface.rollups import RollupReader

EVENT_SECTIONS = frozenset({"events", "lifecycle"})
_SUM = Stat("sum", "sum", 0)
_MS = 1000


async def read_ledger(store: RollupReader, app: str, time_range: QueryRange) -> dict[str, int]:
    """Messages by result (received, counted, …), over the minutes of arrival in the range.

    Raises:
        StoreUnavailable, NewerVersion
    """
    query = ledger_query(time_range)
    table = await scan(store, [app], time_range, [query])
    return ledger_counts(table.results()[0])


def ledger_query(time_range: QueryRange) -> Query:
    """The query for the messages by result in the whole range."""
    whole_range = time_range._replace(step_s=time_range.end - time_range.start)
    return Query(MESSAGES, (_SUM,), whole_range, ("result",))


def ledger_counts(cells: QueryCells) -> dict[str, int]:
    """The answer to `ledger_query`."""
    results = [result for (result,) in sorted(cells.keys())]
    values = {result: cells.values((result,), None, _SUM, range(1))[0] for result in results}
    return {result: count for result, count in values.items() if isinstance(count, int)}


async def read_events(store: RollupReader, app: str, time_range: QueryRange) -> dict[EventKey, int]:
    """Counts by event in the range, with those of maintenance, which are found in its requests.

    MORE_EVENTS counts the events beyond the stored limit.

    Raises:
        StoreUnavailable, NewerVersion
    """
    queries = maintenance_queries(time_range)
    table = await scan(store, [app], time_range, queries, EVENT_SECTIONS)
    counts = table.merged_rollup.all_events
    if may_lack_beginning(counts, time_range.start):
        earlier_table = await scan(store, [app], slot_before(time_range), [], EVENT_SECTIONS)
        earlier = earlier_table.merged_rollup.all_events
        earlier.pop(MORE_EVENTS, None)
        counts |= earlier
    maintenance = await read_maintenance(store, app, time_range, table.results())
    return events_within(time_range, counts) | maintenance


def slot_before(time_range: QueryRange) -> QueryRange:
    """The slot before a range, where the stories of its events may begin."""
    seconds = time_range.resolution.seconds
    return QueryRange(time_range.start - seconds, time_range.start, seconds, time_range.resolution)


def events_within(time_range: QueryRange, counts: Mapping[EventKey, int]) -> dict[EventKey, int]:
    """The events of a range, from those of the range and of the slot before it."""
    return {
        event: count
        for event, count in tell_events(counts).items()
        if event == MORE_EVENTS or time_range.start <= event.at_ms // _MS < time_range.end
    }
