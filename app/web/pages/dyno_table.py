"""The dynos of an app as a table, and as a grid of cells where there are many."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

from app.dashboard.app_page import DynoRow
from app.dashboard.outliers import find_outliers
from app.query.stats import Value
from app.web.pages.page_state import SORT_FIELDS, PageState

CELLS_FROM = 21  # dynos; fewer are seen at a glance in the table
CELL_LEVELS = 10
_COUNTS = frozenset({"errors", "restarts"})  # none known is none
COMPARED = ("memory_used_ratio", "load", "errors", "avg_ms", "max_ms", "restarts")
_METRICS = {  # value of `sort` -> how the grid names it
    "used": "memory of quota",
    "load": "load",
    "requests": "requests",
    "errors": "errors",
    "avg": "avg ms",
    "max": "max ms",
    "restarts": "restarts",
}
_DEFAULT_METRIC = "used"


class DynoCell(NamedTuple):
    """A cell of the grid. `level`: of its color, 0 to 9; -1 if nothing is known."""

    dyno: DynoRow
    value: Value
    level: int
    is_outlier: bool


class DynoTable(NamedTuple):
    """The dynos in the order that the reader chose.

    sort      the column, one of SORT_FIELDS
    outliers  (dyno, field of DynoRow) -> words about the difference from its peers
    metric    the metric of the cells, one of `metrics`
    cells     worst first; empty for few dynos
    """

    rows: list[DynoRow]
    sort: str
    outliers: dict[tuple[str, str], str]
    metric: str
    metrics: dict[str, str]
    cells: list[DynoCell]


def arrange_dynos(dynos: Sequence[DynoRow], state: PageState) -> DynoTable:
    """Sort dynos, find those that differ from their peers, and color the cells."""
    has_cells = len(dynos) >= CELLS_FROM
    sort = state.sort or (_DEFAULT_METRIC if has_cells else "name")
    metric = sort if sort in _METRICS else _DEFAULT_METRIC
    outliers = _describe_outliers(dynos)
    cells = _color(dynos, SORT_FIELDS[metric], outliers) if has_cells else []
    rows = _sorted(dynos, SORT_FIELDS[sort], reverse=state.order == "reverse")
    return DynoTable(rows, sort, outliers, metric, _METRICS, cells)


def _sorted(dynos: Sequence[DynoRow], field: str, *, reverse: bool) -> list[DynoRow]:
    """Largest value first, unknown values always last; by name in the order of the view."""
    if not field:
        return list(reversed(dynos)) if reverse else list(dynos)
    sign = 1 if reverse else -1

    def order(dyno: DynoRow) -> tuple[bool, float]:
        value: Value = getattr(dyno, field)
        return value is None, sign * (value or 0)

    return sorted(dynos, key=order)


def _describe_outliers(dynos: Sequence[DynoRow]) -> dict[tuple[str, str], str]:
    by_type: dict[str, list[DynoRow]] = {}
    for dyno in dynos:
        by_type.setdefault(dyno.process_type, []).append(dyno)
    outliers = {}
    for name, peers in by_type.items():
        for field in COMPARED:
            values = {dyno.name: getattr(dyno, field) for dyno in peers}
            if field in _COUNTS:
                values = {dyno_name: count or 0 for dyno_name, count in values.items()}
            for dyno_name, ratio in find_outliers(values).items():
                times = f"{ratio:.1f} × the median of {name}"
                words = f"most {name} dynos have none" if math.isinf(ratio) else times
                outliers[dyno_name, field] = words
    return outliers


def _color(
    dynos: Sequence[DynoRow], field: str, outliers: dict[tuple[str, str], str]
) -> list[DynoCell]:
    """A scale from 0 to the highest value; memory is measured against its quota."""
    values: list[Value] = [getattr(dyno, field) for dyno in dynos]
    top = max((value for value in values if value is not None), default=0)
    top = max(top, 1) if field == "memory_used_ratio" else top or 1
    cells = [
        DynoCell(
            dyno,
            value,
            -1 if value is None else min(int(CELL_LEVELS * value / top), CELL_LEVELS - 1),
            (dyno.name, field) in outliers,
        )
        for dyno, value in zip(dynos, values, strict=True)
    ]
    return sorted(cells, key=lambda cell: (cell.value is None, -(cell.value or 0)))
