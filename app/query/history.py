"""Reads the ledger and the events of a time range, which are stored next to the metrics."""

from __future__ import annotations

from app.query.engine import scan
from app.query.maintenance_events import maintenance_queries, read_maintenance
from app.query.stats import Stat
from app.query.table import MESSAGES, Query, QueryCells, QueryRange
from app.rollup.events import MORE_EVENTS, EventKey
from app.storage.interface.rollups import RollupReader

_SUM = Stat("sum", "sum", 0)


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
    table = await scan(store, [app], time_range, queries, frozenset({"events"}))
    maintenance = await read_maintenance(store, app, time_range, table.results())
    return maintenance | {
        key: count
        for key, count in table.merged_rollup.events.items()
        if key == MORE_EVENTS or time_range.start <= key.at_ms // 1000 < time_range.end
    }
