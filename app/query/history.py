"""Reads the ledger and the events of a time range, which are stored next to the metrics."""

from __future__ import annotations

from app.query.engine import read_rollups
from app.query.table import QueryRange, RequiredSections
from app.rollup.events import MORE_EVENTS, EventKey
from app.storage.interface.rollups import RollupReader


async def read_ledger(store: RollupReader, app: str, time_range: QueryRange) -> dict[str, int]:
    """Messages by result (received, counted, …), over the minutes of arrival in the range.

    Raises:
        StoreUnavailable, NewerVersion
    """
    total: dict[str, int] = {}
    rollups = await read_rollups(store, app, time_range, RequiredSections(frozenset({"ledger"})))
    for rollup in rollups.values():
        for name, messages in rollup.ledger.items():
            total[name] = total.get(name, 0) + messages
    return total


async def read_events(store: RollupReader, app: str, time_range: QueryRange) -> dict[EventKey, int]:
    """Counts by event in the range. MORE_EVENTS counts the events beyond the stored limit.

    Raises:
        StoreUnavailable, NewerVersion
    """
    counts: dict[EventKey, int] = {}
    rollups = await read_rollups(store, app, time_range, RequiredSections(frozenset({"events"})))
    for rollup in rollups.values():
        for key, count in rollup.events.items():
            if key == MORE_EVENTS or time_range.start <= key.at_ms // 1000 < time_range.end:
                counts[key] = counts.get(key, 0) + count
    return counts
