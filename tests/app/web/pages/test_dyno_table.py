"""Dynos in the reader's order, as a grid where there are many; those that differ are marked."""

from __future__ import annotations

from app.dashboard.app_page import DynoRow
from app.web.pages.dyno_table import CELLS_FROM, arrange_dynos
from app.web.pages.page_state import PageState


def dyno(number: int, **values: float | None) -> DynoRow:
    fields = dict.fromkeys(
        (
            "memory_bytes",
            "memory_used_ratio",
            "load",
            "requests",
            "errors",
            "avg_ms",
            "max_ms",
            "restarts",
        )
    )
    return DynoRow(
        name=f"web.{number}",
        process_type="web",
        last_seen_s=0,
        load_by_step=[],
        memory_by_step=[],
        **{**fields, **values},
    )


def names(rows: list[DynoRow]) -> list[str]:
    return [row.name for row in rows]


def test_the_order_is_reversed_and_unknown_values_stay_last() -> None:
    dynos = [dyno(1, load=0.5), dyno(2), dyno(3, load=2.5)]
    assert names(arrange_dynos(dynos, PageState(sort="load")).rows) == ["web.3", "web.1", "web.2"]
    reverse = PageState(sort="load", order="reverse")
    assert names(arrange_dynos(dynos, reverse).rows) == ["web.1", "web.3", "web.2"]
    assert names(arrange_dynos(dynos, PageState(order="reverse")).rows) == [
        "web.3",
        "web.2",
        "web.1",
    ]


def test_a_dyno_that_differs_is_marked_with_the_difference() -> None:
    dynos = [dyno(number, avg_ms=100 + number) for number in range(1, 6)]
    table = arrange_dynos([*dynos, dyno(6, avg_ms=1_030)], PageState())
    assert table.outliers == {("web.6", "avg_ms"): "10.0 × the median of web"}


def test_the_one_dyno_with_errors_is_marked() -> None:
    dynos = [dyno(number, errors=None) for number in range(1, 4)]
    table = arrange_dynos([*dynos, dyno(4, errors=272.0, restarts=1.0)], PageState())
    assert table.outliers == {("web.4", "errors"): "most web dynos have none"}


def test_many_dynos_are_cells_worst_first() -> None:
    few = [dyno(number, memory_used_ratio=0.5) for number in range(CELLS_FROM - 1)]
    assert arrange_dynos(few, PageState()).cells == []
    table = arrange_dynos([*few, dyno(99, memory_used_ratio=1.1), dyno(100)], PageState())
    assert [cell.dyno.name for cell in table.cells][:1] == ["web.99"]
    assert table.cells[0].is_outlier
    assert table.cells[0].level == 9
    assert table.cells[1].level == 4
    assert table.cells[-1].level == -1  # nothing is known
    assert names(table.rows)[0] == "web.99"
