"""Lists the open metrics of an app that have data."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from app.query.engine import scan
from app.query.history import ledger_counts, ledger_query
from app.query.table import QueryRange
from app.rollup.addon_metrics import ADDON_METRICS
from app.rollup.open_limits import DROPPED
from app.rollup.open_metrics import SECTION_PREFIXES, known_metric
from app.rollup.resolutions import HOUR_S, Resolution, align, align_up
from app.rollup.rollup import Rollup
from app.rollup.schema import Metric
from app.storage.interface.rollups import RollupReader

OPEN_SECTIONS = frozenset(SECTION_PREFIXES)
LISTED_S = 24 * HOUR_S  # metrics that had data in this time are listed
# Samples of add-ons that are metrics of the catalogue.
_LISTED_SAMPLES = frozenset(
    f"{service}.{row.sample}" for service, rows in ADDON_METRICS.items() for row in rows
)


class OpenMetric(NamedTuple):
    """A metric in one unit.

    `unit` is that of its values; "" for none. `sources` are those of its lines, "" for none; of a
    sample of an add-on, the attachments.
    """

    metric: Metric
    unit: str
    sources: Sequence[str]


async def list_open_metrics(store: RollupReader, app: str, now_s: float) -> list[OpenMetric]:
    """The open metrics of an app that had data within LISTED_S, by name and unit.

    Raises:
        StoreUnavailable, NewerVersion
    """
    table = await scan(store, [app], listed_range(now_s), [], OPEN_SECTIONS)
    return metrics_in(table.merged_rollup)


def metrics_in(rollup: Rollup) -> list[OpenMetric]:
    """The open metrics of a rollup that has OPEN_SECTIONS, by name and unit."""
    sources: dict[tuple[str, str], set[str]] = {}
    for section, prefix in SECTION_PREFIXES.items():
        for _, name, unit, source in getattr(rollup, section):
            if name not in _LISTED_SAMPLES:
                sources.setdefault((prefix + name, unit), set()).add(source)
    return [
        OpenMetric(known_metric(name), unit, sorted(sources[name, unit]))
        for name, unit in sorted(sources)
    ]


async def read_dropped(
    store: RollupReader, apps: Sequence[str], time_range: QueryRange, family: str
) -> int:
    """How many values of a family the limits dropped in a range.

    Raises:
        StoreUnavailable, NewerVersion
    """
    table = await scan(store, apps, time_range, [ledger_query(time_range)])
    return ledger_counts(table.results()[0]).get(DROPPED + family, 0)


def listed_range(now_s: float) -> QueryRange:
    """The hours that cover the last LISTED_S."""
    start, end = align(int(now_s) - LISTED_S, HOUR_S), align_up(int(now_s) + 1, HOUR_S)
    return QueryRange(start, end, end - start, Resolution("1h", HOUR_S, 0))
