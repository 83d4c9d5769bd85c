"""Bounds the sections of open metrics: their names, their series and their bins.

Senders choose the names of open metrics, and a hostile or careless one makes new names with each
line. So of each family of sections

    names    the first `open_names` stay
    series   of their series (section, name, unit, origin; of measures also the process type), the
             first `open_series` stay
    rows     of the rows of dynos in a section, the first `open_series` stay; those of other dynos
             are merged, within their series, into "other"
    bins     a sketch stays if those before it have less than `open_bins` bins

All else is dropped, since a sum over metrics, or over units, would mean nothing. The ledger counts
the values that are missing as `dropped:FAMILY`. A measure without its sketch has no percentiles,
and all other statistics.

"First" is meant by name, and metrics with a meaning of their own come before all others. Each
choice depends only on the rows that come before in that order, and those only grow in a merge. So
a row over a limit in one rollup is over it in every rollup that contains this one, too, and merging
stays associative.
"""

from __future__ import annotations

from collections.abc import Mapping
from heapq import nsmallest
from typing import Any, NamedTuple

from app.rollup.schema import FAMILIES, OTHER, SECTION
from app.rollup.summaries import NUMBER_BINS
from parsers.samples import QUEUE_TIME_NAMES

DROPPED = "dropped:"  # of entries of the ledger

Key = tuple[str, str, str, str]  # source or process type or add-on, name, unit, origin
Rows = dict[Key, Any]


class Limited(NamedTuple):
    """The result of a limit.

    Attributes:
        sections: the rows that stay, by section.
        dropped: entries for the ledger.
    """

    sections: dict[str, Rows]
    dropped: dict[str, int]


def limit_families(sections: Mapping[str, Rows], names: int, series: int, bins: int) -> Limited:
    """The sections of all families within the limits. The given ones stay as they are.

    `sections`: by name; those of no family are left out.
    """
    limited = Limited({}, {})
    for family, section_names in FAMILIES.items():
        rows = {name: sections[name] for name in section_names if sections.get(name)}
        values = _count_values(rows)
        if sum(map(len, rows.values())) > min(names, series):
            rows = _limit_names(rows, names)
            rows = _limit_series(rows, series)
            rows = {name: _limit_dynos(name, rows[name], series) for name in rows}
        rows = {name: _limit_bins(name, rows[name], bins) for name in rows}
        limited.sections.update(rows)
        if dropped := values - _count_values(rows):
            limited.dropped[DROPPED + family] = dropped
    return limited


def _count_values(sections: Mapping[str, Rows]) -> int:
    return sum(
        value.count
        for name, rows in sections.items()
        if not _is_sketches(name)
        for value in rows.values()
    )


def _limit_names(sections: dict[str, Rows], names_max: int) -> dict[str, Rows]:
    names = {key[1] for rows in sections.values() for key in rows}
    if len(names) <= names_max:
        return sections
    first = {*nsmallest(names_max, names, key=_name_order)}
    return {
        name: {key: value for key, value in rows.items() if key[1] in first}
        for name, rows in sections.items()
    }


def _limit_series(sections: dict[str, Rows], series_max: int) -> dict[str, Rows]:
    series = {_series_of(name, key) for name, rows in sections.items() for key in rows}
    if len(series) <= series_max:
        return sections
    first = {*nsmallest(series_max, series)}
    return {
        name: {key: value for key, value in rows.items() if _series_of(name, key) in first}
        for name, rows in sections.items()
    }


def _series_of(section: str, key: Key) -> tuple[Any, ...]:
    """The series of a row, as it sorts. A sketch has that of its measure."""
    first, name, unit, origin = key
    kind = section.replace("sketches", "measures")
    return (*_name_order(name), kind, unit, origin, "" if _is_by_source(section) else first)


def _limit_dynos(section: str, rows: Rows, rows_max: int) -> Rows:
    if len(rows) <= rows_max or not _is_by_source(section):
        return rows
    over = sorted((key for key in rows if key[0] != OTHER), key=_row_order)[rows_max:]
    if not over:
        return rows
    limited = {
        key: rows[key].copy() if key[0] == OTHER else rows[key] for key in rows.keys() - over
    }
    for key in over:
        SECTION[section].merge_row(limited, (OTHER, *key[1:]), rows[key])
    return limited


def _limit_bins(section: str, rows: Rows, bins_max: int) -> Rows:
    if not _is_sketches(section) or sum(map(len, rows.values())) <= bins_max:
        return rows
    limited: Rows = {}
    bins = 0
    for key in sorted(rows, key=_row_order):
        if bins >= bins_max:
            break
        limited[key] = rows[key]
        bins += len(rows[key])
    return limited


def _is_by_source(section: str) -> bool:
    return SECTION[section].keys[0].name == "source"


def _is_sketches(section: str) -> bool:
    return SECTION[section].values == NUMBER_BINS


def _name_order(name: str) -> tuple[bool, str]:
    return name not in QUEUE_TIME_NAMES, name


def _row_order(key: Key) -> tuple[Any, ...]:
    source, name, unit, origin = key
    return (*_name_order(name), unit, origin, source)
