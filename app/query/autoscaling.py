"""The signal for an external autoscaler: one value over the last complete minutes, its trend, and
the number of dynos. Dynometer itself scales nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from app.query.engine import SETTLED_AFTER_S, evaluate, read_packed_rollups
from app.query.stats import Stat, Value
from app.query.table import Query, QueryRange, required_sections
from app.rollup.codec import merge_packed
from app.rollup.resolutions import MINUTE_S, Resolution, align
from app.rollup.rollup import Rollup
from app.rollup.schema import METRICS, Metric
from app.rollup.statuses import SWITCHING_PROTOCOLS
from app.storage.interface.rollups import RollupReader

MINUTES_MAX = 60
_DYNOS = METRICS["dynos"]
_LAST = Stat("last", "last", 0)


class Signal(NamedTuple):
    """A metric over [start, end), in Unix seconds; None where there was no value.

    previous_value  the same over the equally long time before
    trend           value / previous_value - 1
    dynos           active in the last of the minutes
    active_minutes  number of minutes in which any log line arrived
    """

    value: Value
    previous_value: Value
    trend: float | None
    dynos: int
    active_minutes: int
    start: int
    end: int


async def read_signal(
    store: RollupReader,
    app: str,
    metric: Metric,
    stat: Stat,
    filters: Mapping[str, Sequence[str]],
    minutes: int,
    finest: Resolution,
    now_s: float,
) -> Signal:
    """Read the signal of a part of an app from its last complete minutes.

    WebSockets are not counted as requests.

    Raises:
        StoreUnavailable, NewerVersion
    """
    end = align(int(now_s - SETTLED_AFTER_S), MINUTE_S)
    start = end - minutes * MINUTE_S
    filter_patterns = {label: tuple(values) for label, values in filters.items() if values}
    # Grouped by status, so that WebSockets (101) can be excluded.
    by = ("status",) if metric.name == "requests" else ()
    query = Query(metric, (stat,), QueryRange(start, end, end - start, finest), by, filter_patterns)
    sections = required_sections(query).sections | {"active_minutes"}
    slots: dict[int, Rollup] = {}
    time_range = QueryRange(start - minutes * MINUTE_S, end, MINUTE_S, finest)
    async for start_s, data in read_packed_rollups(store, app, time_range):
        rollup = slots.setdefault(start_s, Rollup())
        merge_packed(rollup, data, sections, gauges=required_sections(query).gauges)
    earlier = query.range._replace(start=start - minutes * MINUTE_S, end=start)
    value = _evaluate_total(query, app, slots)
    before = _evaluate_total(Query(metric, query.stats, earlier, by, filter_patterns), app, slots)
    return Signal(
        value,
        before,
        value / before - 1 if value is not None and before else None,
        _count_dynos(app, slots, end, finest, filter_patterns),
        sum(
            1
            for start_s in range(start, end, MINUTE_S)
            if start_s in slots and slots[start_s].messages
        ),
        start,
        end,
    )


def _evaluate_total(query: Query, app: str, slots: Mapping[int, Rollup]) -> Value:
    time_range = query.range
    rollups = {
        at: rollup for at, rollup in slots.items() if time_range.start <= at < time_range.end
    }
    values = [
        series.numbers[0]
        for series in evaluate(query, {app: rollups})
        if series.labels.get("status") != str(SWITCHING_PROTOCOLS)
    ]
    numbers = [value for value in values if value is not None]
    if not numbers:
        is_active = any(rollup.messages for rollup in rollups.values())
        return 0 if is_active and query.metric.kind == "counter" else None
    return sum(numbers) if len(numbers) > 1 else numbers[0]


def _count_dynos(
    app: str,
    slots: Mapping[int, Rollup],
    end: int,
    finest: Resolution,
    filters: Mapping[str, tuple[str, ...]],
) -> int:
    start = end - MINUTE_S
    type_filter = {"process_type": filters["process_type"]} if "process_type" in filters else {}
    query = Query(_DYNOS, (_LAST,), QueryRange(start, end, MINUTE_S, finest), (), type_filter)
    last = {at: rollup for at, rollup in slots.items() if at == start}
    return int(evaluate(query, {app: last})[0].numbers[0] or 0)
