"""Finds filters that match nothing, which is mostly a typing error.

A filter that could match (status=503, code=H12) is fine, even if nothing matched it in the range. A
0 is its right answer then. Of names that only an app's data shows (dynos, say), the range decides.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from fnmatch import fnmatchcase

from app.query.engine import scan
from app.query.stats import Stat
from app.query.table import Query
from app.rollup.statuses import OUTCOMES, STATUS_CLASSES, STATUSES
from app.storage.interface.rollups import RollupReader
from parsers.error_codes import CODES

_NAMES_SHOWN = 8
_POSSIBLE_VALUES: dict[str, frozenset[str]] = {
    "outcome": frozenset(OUTCOMES),
    "status": frozenset({*map(str, STATUSES), *STATUS_CLASSES, ""}),
    "status_class": frozenset({*STATUS_CLASSES, ""}),
    "exit_status": frozenset(map(str, range(256))),
    "code": frozenset(CODES),
}
_ACCEPTED = {"status": "100 to 599, or a class such as 5xx", "exit_status": "0 to 255"}
_COUNTS = {"counter": "sum", "distribution": "count", "gauge": "max"}


def impossible_filter(filters: Mapping[str, Sequence[str]]) -> tuple[str, str, str] | None:
    """The first value that no data can match: label, value, accepted values. None if all could.

    Error codes are no fixed set: Heroku adds some.
    """
    for label, patterns in filters.items():
        possible = _POSSIBLE_VALUES.get(label)
        if possible is None or label == "code":
            continue
        for pattern in patterns:
            if not _matches(pattern, possible):
                return label, pattern, _ACCEPTED.get(label, ", ".join(sorted(possible - {""})))
    return None


async def unmatched_filters(
    store: RollupReader, apps: Sequence[str], query: Query, *, is_empty: bool
) -> list[str]:
    """A warning for each value of a filter that matches nothing.

    `is_empty`: whether no row of the data belongs to the query. Only then are names looked up.

    Raises:
        StoreUnavailable, NewerVersion
    """
    doubtful: dict[str, list[str]] = {}
    for label, patterns in query.filters.items():
        possible = _POSSIBLE_VALUES.get(label, frozenset())
        for pattern in patterns:
            if (possible or is_empty) and not _matches(pattern, possible):
                doubtful.setdefault(label, []).append(pattern)
    if not doubtful:
        return []
    names = await _names(store, apps, query, list(doubtful))
    return [
        f"{label}={pattern} matches nothing. {_describe(label, names[label])}"
        for label, patterns in doubtful.items()
        for pattern in patterns
        if not _matches(pattern, names[label])
    ]


def _matches(pattern: str, names: Iterable[str]) -> bool:
    return any(fnmatchcase(name, pattern) for name in names)


async def _names(
    store: RollupReader, apps: Sequence[str], query: Query, labels: Sequence[str]
) -> dict[str, set[str]]:
    """The values of each label in the range of a query, whatever its filters."""
    stat = _COUNTS[query.metric.kind]
    whole_range = query.range._replace(step_s=query.range.end - query.range.start)
    queries = [
        Query(query.metric, (Stat(stat, stat, 0),), whole_range, (label,)) for label in labels
    ]
    table = await scan(store, apps, query.range, queries)
    keys = [cells.keys() for cells in table.results()]
    return {label: {name for (name,) in names} for label, names in zip(labels, keys, strict=True)}


def _describe(label: str, names: set[str]) -> str:
    if label == "app":
        return "/api/v1/apps lists the apps"
    values = sorted(name for name in names if name)
    if label in ("outcome", "status_class"):
        values = sorted(_POSSIBLE_VALUES[label] - {""})
    if not values:
        return f"There is no {label} in this range"
    more = f" and {len(values) - _NAMES_SHOWN} more" if len(values) > _NAMES_SHOWN else ""
    return f"There is: {', '.join(values[:_NAMES_SHOWN])}{more}"
