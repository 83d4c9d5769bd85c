"""Requests during maintenance: neither ok nor failed.

In maintenance the router answers with status 503 and the code H80. A rollup counts the status and
the code, each in its own section. So the outcome of these requests follows at query time: they are
taken from `failed`, and are `maintenance`. Counts are sums, so this is exact for any range, and for
data that an older version stored.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any

from app.query.stats import Stat, StatValue
from app.query.table import Query, QueryCells, SeriesKey
from app.rollup.schema import METRICS
from app.rollup.statuses import FAILED, MAINTENANCE, MAINTENANCE_STATUS, status_class, status_label
from parsers.error_codes import MAINTENANCE_CODE

if TYPE_CHECKING:
    from app.query.table import Table
else:
    Table = object

_SUM = Stat("sum", "sum", 0)
_STATUS_LABELS = {
    "status": status_label(MAINTENANCE_STATUS),
    "status_class": status_class(MAINTENANCE_STATUS),
}


class SplitsMaintenance(Table):
    """Mixin for a table: queries about the outcome of requests tell maintenance from failures."""

    def __init__(
        self, queries: Sequence[Query], whole_sections: frozenset[str] = frozenset()
    ) -> None:
        self._queries = queries
        self._code_queries = [_code_query(query) for query in queries]
        added = [query for query in self._code_queries if query is not None]
        super().__init__([*queries, *added], whole_sections)

    def results(self) -> list[QueryCells]:
        """The cells of each query, in their order."""
        results = super().results()
        size = len(self._queries)
        added = iter(results[size:])
        cells: list[QueryCells] = []
        for query, code_query, requests in zip(
            self._queries, self._code_queries, results[:size], strict=True
        ):
            if code_query is None:
                cells.append(requests)
            else:
                cells.append(_OutcomeCells(query, code_query, requests, next(added)))
        return cells


def _code_query(query: Query) -> Query | None:
    """The query for the requests in maintenance among those of `query`.

    None if they change nothing in its answer.
    """
    if query.metric.name != "requests" or not any(
        _is_accepted(query, outcome) for outcome in (FAILED, MAINTENANCE)
    ):
        return None
    is_by_outcome = "outcome" in query.by
    if not is_by_outcome and _is_accepted(query, FAILED) == _is_accepted(query, MAINTENANCE):
        return None
    filters = {
        label: patterns
        for label, patterns in query.filters.items()
        if label not in ("outcome", *_STATUS_LABELS)
    }
    by = tuple([label for label in query.by if label not in ("outcome", *_STATUS_LABELS)])
    filters["code"] = (MAINTENANCE_CODE,)
    # The section is another one, so both share what they cached about rows.
    return Query(METRICS["heroku_errors"], (_SUM,), query.range, by, filters, query._keyers)


def _is_accepted(query: Query, outcome: str) -> bool:
    """Whether the filters accept requests in maintenance, with this outcome."""
    labels = {**_STATUS_LABELS, "outcome": outcome}
    return all(
        any(fnmatchcase(labels[label], pattern) for pattern in patterns)
        for label, patterns in query.filters.items()
        if label in labels
    )


class _OutcomeCells(QueryCells):
    """The cells of a query about outcomes, from those of the statuses and of the code."""

    def __init__(
        self, query: Query, code_query: Query, requests: QueryCells, codes: QueryCells
    ) -> None:
        self._query = query
        self._code_query = code_query
        self._requests = requests
        self._codes = codes

    def keys(self) -> set[SeriesKey]:
        """The keys of all series that have a cell."""
        keys = self._requests.keys()
        if _is_accepted(self._query, MAINTENANCE):
            code_keys = self._codes.keys()
            keys |= {self._maintenance_key(key) for key in code_keys}
        return keys

    def _maintenance_key(self, code_key: SeriesKey) -> SeriesKey:
        labels = {
            **_STATUS_LABELS,
            "outcome": MAINTENANCE,
            **dict(zip(self._code_query.by, code_key, strict=True)),
        }
        return tuple([labels[label] for label in self._query.by])

    def values(
        self, key: SeriesKey, app: str | None, stat: Stat, intervals: range
    ) -> list[StatValue]:
        """The values of a series for these intervals."""
        labels = dict(zip(self._query.by, key, strict=True))
        sign = self._sign(labels)
        if not sign:
            return self._requests.values(key, app, stat, intervals)
        code_key = tuple([labels[label] for label in self._code_query.by])
        requests = self._requests.values(key, app, _SUM, intervals)
        codes = self._codes.values(code_key, app, _SUM, intervals)
        return [
            _add_in_maintenance(count, sign, in_maintenance)
            for count, in_maintenance in zip(requests, codes, strict=True)
        ]

    def _sign(self, labels: Mapping[str, str]) -> int:
        """Whether requests in maintenance add to a series (1), are taken off (-1), or neither."""
        if any(labels.get(label, value) != value for label, value in _STATUS_LABELS.items()):
            return 0
        outcome = labels.get("outcome")
        return sum(
            sign
            for name, sign in ((MAINTENANCE, 1), (FAILED, -1))
            if outcome in (None, name) and _is_accepted(self._query, name)
        )

    def activity(self) -> list[bool]:
        """Whether any app logged something, for each interval."""
        return self._requests.activity()


def _add_in_maintenance(count: Any, sign: int, in_maintenance: Any) -> int | None:
    if count is None and in_maintenance is None:
        return None
    # Heroku always writes the status 503 with H80. Without it there is nothing to take off.
    return max((count or 0) + sign * (in_maintenance or 0), 0)
