"""The signal for an external autoscaler: one value over the last complete minutes, its trend, and
the number of dynos. Dynometer itself scales nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from app.query.engine import SETTLED_AFTER_S, Series, build_series, scan
from app.query.stats import Stat, Value
from app.query.table import Query, QueryRange
from app.rollup.resolutions import MINUTE_S, Resolution, align
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
    length_s = minutes * MINUTE_S
    start = end - length_s
    now_range = QueryRange(start, end, length_s, finest)
    patterns = {label: tuple(values) for label, values in filters.items() if values}
    dyno_patterns = {label: patterns[label] for label in ("process_type",) if label in patterns}
    # Grouped by status, so that WebSockets (101) can be excluded.
    by = ("status",) if metric.name == "requests" else ()
    current = Query(metric, (stat,), now_range, by, patterns)
    previous = current.over(now_range._replace(start=start - length_s, end=start))
    last_minute = QueryRange(end - MINUTE_S, end, MINUTE_S, finest)
    dynos = Query(_DYNOS, (_LAST,), last_minute, (), dyno_patterns)
    scan_range = QueryRange(start - length_s, end, MINUTE_S, finest)
    queries = [current, previous, dynos]
    by_minute = Query(metric, (stat,), scan_range)
    table = await scan(store, [app], scan_range, [*queries, by_minute])
    *results, minute_cells = table.results()
    is_active = minute_cells.activity()
    now, earlier, dyno_counts = (
        build_series(query, cells) for query, cells in zip(queries, results, strict=True)
    )
    value = _total(current, now, is_active=any(is_active[minutes:]))
    before = _total(previous, earlier, is_active=any(is_active[:minutes]))
    return Signal(
        value,
        before,
        value / before - 1 if value is not None and before else None,
        int(dyno_counts[0].numbers[0] or 0),
        sum(is_active[minutes:]),
        start,
        end,
    )


def _total(query: Query, answer: Sequence[Series], *, is_active: bool) -> Value:
    numbers = [
        value
        for series in answer
        if series.labels.get("status") != str(SWITCHING_PROTOCOLS)
        and (value := series.numbers[0]) is not None
    ]
    if not numbers:
        return 0 if is_active and query.metric.kind == "counter" else None
    return sum(numbers) if len(numbers) > 1 else numbers[0]
