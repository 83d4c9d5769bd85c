"""What is kept of a range beside metrics: what became of messages, and what happened."""

from __future__ import annotations

from app.query.engine import read_slots
from app.query.table import QueryRange, RequiredSections
from app.rollup.events import MORE_EVENTS, EventKey
from app.storage.interface import Reader


async def ledger(store: Reader, app: str, span: QueryRange) -> dict[str, int]:
    """Messages by what became of them, over the minutes of arrival in the range."""
    total: dict[str, int] = {}
    for rollup in (
        await read_slots(store, app, span, RequiredSections(frozenset({"ledger"})))
    ).values():
        for name, messages in rollup.ledger.items():
            total[name] = total.get(name, 0) + messages
    return total


async def events(store: Reader, app: str, span: QueryRange) -> dict[EventKey, int]:
    """Events in the range; MORE_EVENTS stands for those that were not kept."""
    found: dict[EventKey, int] = {}
    for rollup in (
        await read_slots(store, app, span, RequiredSections(frozenset({"events"})))
    ).values():
        for key, count in rollup.events.items():
            if key == MORE_EVENTS or span.start <= key.at_ms // 1000 < span.end:
                found[key] = found.get(key, 0) + count
    return found
