"""The tables of the archive, as sql/*.sql creates them: their columns, types and keys."""

from __future__ import annotations

from typing import NamedTuple

from app.rollup.resolutions import DAY_S, HOUR_S
from app.rollup.sketch import PROMETHEUS_BOUNDS_MS

SCHEMA = "dynometer"


class ArchiveTable(NamedTuple):
    """A table that is written by COPY.

    Attributes:
        name: without the schema.
        types: of the columns, by name, in the order of COPY.
        key: the columns of the primary key.
    """

    name: str
    types: dict[str, str]
    key: tuple[str, ...]

    @property
    def values(self) -> tuple[str, ...]:
        """The columns that are not of the key."""
        return tuple(column for column in self.types if column not in self.key)


class TableGroup(NamedTuple):
    """The tables of one length of interval.

    Attributes:
        seconds: the length.
        rollup_table: the table of packed rollups, which guards the others.
        detail_tables: the tables of columns in the clear.
    """

    seconds: int
    rollup_table: ArchiveTable
    detail_tables: tuple[ArchiveTable, ...]


_APP_TIME = {"app": "text", "t": "timestamptz"}
_TIMES = dict.fromkeys(("timed", "sum_ms", "max_ms"), "int8")
_REQUESTS = {
    "process_type": "text",
    "outcome": "text",
    "requests": "int8",
    **_TIMES,
    **{f"le_{bound}": "int8" for bound in PROMETHEUS_BOUNDS_MS},
    "bins": "int4[]",
    "counts": "int4[]",
    **{f"connect_{name}": kind for name, kind in _TIMES.items()},
    "connect_bins": "int4[]",
    "connect_counts": "int4[]",
}
_MEASUREMENTS = {
    **dict.fromkeys(("metric", "process_type", "dyno"), "text"),
    "labels": "jsonb",
    "samples": "int8",
    **dict.fromkeys(("sum", "min", "max", "last"), "numeric"),
    **dict.fromkeys(("bins", "counts"), "int4[]"),
}
_COUNTS = {"metric": "text", "process_type": "text", "labels": "jsonb", "value": "int8"}
_DYNOS = {
    "process_type": "text",
    **dict.fromkeys(("dyno_minutes", "active_minutes", "dynos_max"), "int8"),
}
_ROLLUPS = {"messages": "int8", "store_id": "uuid", "written_at": "timestamptz", "rollup": "bytea"}


def _detail(name: str, types: dict[str, str], key: tuple[str, ...]) -> ArchiveTable:
    return ArchiveTable(name, {**_APP_TIME, **types}, (*_APP_TIME, *key))


def _details(suffix: str) -> tuple[ArchiveTable, ...]:
    return (
        _detail(f"request_{suffix}", _REQUESTS, ("process_type", "outcome")),
        _detail(
            f"measurement_{suffix}",
            _MEASUREMENTS,
            ("metric", "process_type", "dyno", "labels"),
        ),
        _detail(f"count_{suffix}", _COUNTS, ("metric", "process_type", "labels")),
        _detail(f"dyno_{suffix}", _DYNOS, ("process_type",)),
    )


HOURS = TableGroup(
    HOUR_S, ArchiveTable("hours", {**_APP_TIME, **_ROLLUPS}, ("app", "t")), _details("hours")
)
DAYS = TableGroup(
    DAY_S,
    ArchiveTable("days", {**_APP_TIME, **_ROLLUPS, "by_hour": "bytea"}, ("app", "t")),
    _details("days"),
)
EVENTS = _detail(
    "events",
    {"kind": "text", "source": "text", "detail": "text", "count": "int8"},
    ("kind", "source", "detail"),
)
EPISODES = _detail(
    "episodes",
    {
        "until": "timestamptz",
        **dict.fromkeys(("kind", "process_type", "state", "summary"), "text"),
        "finding": "jsonb",
    },
    ("kind", "process_type"),
)
TABLES = (
    HOURS.rollup_table,
    *HOURS.detail_tables,
    DAYS.rollup_table,
    *DAYS.detail_tables,
    EVENTS,
    EPISODES,
)
