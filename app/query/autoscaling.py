"""What an autoscaler asks: one value of the last complete minutes, where it goes, and how many
dynos make it. Dynometer answers; it scales nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from app.query.engine import SETTLED_AFTER_S, evaluate, packed_rollups
from app.query.stats import Stat, Value
from app.query.table import Query, QueryRange, required_sections
from app.rollup.codec import merge_packed
from app.rollup.resolutions import MINUTE_S, Resolution, align
from app.rollup.rollup import Rollup
from app.rollup.statuses import SWITCHING_PROTOCOLS
from app.storage.interface import Reader
from parsers.metrics import METRICS, Metric

MINUTES_MAX = 60
_DYNOS = METRICS["dynos"]
_LAST = Stat("last", "last", 0)


class Signal(NamedTuple):
    """`value` over [start, end), `before` over as long a time before; None where there was none.
    `trend`: value / before - 1. `dynos`: heard from in the last of the minutes. `minutes_heard`:
    in how many of them anything was heard.
    """

    value: Value
    before: Value
    trend: float | None
    dynos: int
    minutes_heard: int
    start: int
    end: int


async def signal_of(
    store: Reader,
    app: str,
    metric: Metric,
    stat: Stat,
    filters: Mapping[str, Sequence[str]],
    minutes: int,
    finest: Resolution,
    now_s: float,
) -> Signal:
    """The last complete minutes of a part of an app. WebSockets do not count.

    Raises:
        StoreUnavailable, NewerVersion
    """
    end = align(int(now_s - SETTLED_AFTER_S), MINUTE_S)
    start = end - minutes * MINUTE_S
    chosen = {label: tuple(values) for label, values in filters.items() if values}
    # Requests are told apart by status, so that WebSockets can be left out.
    by = ("status",) if metric.name == "requests" else ()
    asked = Query(metric, (stat,), QueryRange(start, end, end - start, finest), by, chosen)
    sections = required_sections(asked).sections | {"active_minutes"}
    slots: dict[int, Rollup] = {}
    span = QueryRange(start - minutes * MINUTE_S, end, MINUTE_S, finest)
    async for at, packed in packed_rollups(store, app, span):
        rollup = slots.setdefault(at, Rollup())
        merge_packed(rollup, packed, sections, gauges=required_sections(asked).gauges)
    earlier = asked.range._replace(start=start - minutes * MINUTE_S, end=start)
    value = _value(asked, app, slots)
    before = _value(Query(metric, asked.stats, earlier, by, chosen), app, slots)
    return Signal(
        value,
        before,
        value / before - 1 if value is not None and before else None,
        _dynos(app, slots, end, finest, chosen),
        sum(1 for at in range(start, end, MINUTE_S) if at in slots and slots[at].messages),
        start,
        end,
    )


def _value(asked: Query, app: str, slots: Mapping[int, Rollup]) -> Value:
    span = asked.range
    within = {at: rollup for at, rollup in slots.items() if span.start <= at < span.end}
    found = [
        series.numbers[0]
        for series in evaluate(asked, {app: within})
        if series.labels.get("status") != str(SWITCHING_PROTOCOLS)
    ]
    known = [value for value in found if value is not None]
    if not known:
        heard = any(rollup.messages for rollup in within.values())
        return 0 if heard and asked.metric.kind == "counter" else None
    return sum(known) if len(known) > 1 else known[0]


def _dynos(
    app: str,
    slots: Mapping[int, Rollup],
    end: int,
    finest: Resolution,
    filters: Mapping[str, tuple[str, ...]],
) -> int:
    start = end - MINUTE_S
    only = {"process_type": filters["process_type"]} if "process_type" in filters else {}
    asked = Query(_DYNOS, (_LAST,), QueryRange(start, end, MINUTE_S, finest), (), only)
    last = {at: rollup for at, rollup in slots.items() if at == start}
    return int(evaluate(asked, {app: last})[0].numbers[0] or 0)
