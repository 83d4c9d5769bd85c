"""The signal for an external autoscaler: one value over the last complete minutes, its trend, and
the number of dynos. Dynometer itself scales nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from app.query.engine import scan
from app.query.rates import SETTLED_AFTER_S, RatePlan, Rates, complete_time
from app.query.stats import Stat, Value
from app.query.table import Query, QueryCells, QueryRange
from app.rollup.resolutions import MINUTE_S, Resolution, align
from app.rollup.schema import METRICS, Metric
from app.rollup.statuses import SWITCHING_PROTOCOLS
from app.rollup.time_range import NEVER
from app.storage.interface.apps import SeenApp
from app.storage.interface.rollups import RollupReader

MINUTES_MAX = 60
_WEBSOCKETS = str(SWITCHING_PROTOCOLS)
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
    app: SeenApp,
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
    by_minute = Query(metric, (stat,), scan_range)
    complete = complete_time(app.first_seen_s, app.last_seen_s, now_s)
    plans = [
        RatePlan(query, complete if stat.method == "rate" else NEVER)
        for query in (current, previous)
    ]
    queries = [current, previous, dynos, by_minute, *plans[0].queries, *plans[1].queries]
    table = await scan(store, [app.app], scan_range, queries)
    now, earlier, dyno_cells, minute_cells, *rate_cells = table.results()
    is_active = minute_cells.activity()
    first = len(plans[0].queries)
    value = _total(current, now, plans[0].rates(rate_cells[:first]))
    before = _total(previous, earlier, plans[1].rates(rate_cells[first:]))
    (dyno_count,) = dyno_cells.values((), None, _LAST, range(1))
    return Signal(
        value,
        before,
        value / before - 1 if value is not None and before else None,
        dyno_count if isinstance(dyno_count, int) else 0,
        sum(is_active[minutes:]),
        start,
        end,
    )


def _total(query: Query, cells: QueryCells, rates: Rates) -> Value:
    """The value of all series together, without WebSockets."""
    (stat,) = query.stats
    # A series without any request is 0 if the app was observed, otherwise unknown.
    keys = sorted(cells.keys() - {(_WEBSOCKETS,)}) or [("",)] if query.by else [()]
    values = (
        rates.values(key)[0]
        if stat.method == "rate"
        else cells.values(key, None, stat, range(1))[0]
        for key in keys
    )
    numbers = [value for value in values if isinstance(value, int | float)]
    if not numbers:
        return None
    return sum(numbers) if len(numbers) > 1 else numbers[0]
