"""The charts of a page: the API's values, of the part that was selected, beside the past's."""

from __future__ import annotations

from app.dashboard.charts import CHARTS, Chart, ComparedPeriod
from app.ingest.aggregator import AcceptanceWindow, Aggregator
from app.query.selection import WHOLE_APP, Selection
from app.query.snapshot import AppSnapshot, SnapshotData
from app.query.table import QueryRange
from app.rollup.codec import pack
from app.rollup.resolutions import HOUR_S, MINUTE_S, resolutions
from app.rollup.rollup import Rollup
from parsers.framing import split
from tests.support.lines import AT_S, frame, load, memory, router

RESOLUTIONS = resolutions(24 * HOUR_S, 7 * 24 * HOUR_S, 90 * 24 * HOUR_S)
START = int(AT_S)
MINUTES = 3
NOW_S = START + MINUTES * MINUTE_S
WEEK_S = 7 * 24 * HOUR_S


def window_of(
    body: bytes, *, start: int = START, step_s: int = MINUTE_S, part: Selection = WHOLE_APP
) -> AppSnapshot:
    """Three minutes that hold these lines."""
    end = start + MINUTES * MINUTE_S
    aggregator = Aggregator(end, AcceptanceWindow(HOUR_S, HOUR_S))
    aggregator.add_frames(split(body))
    span = QueryRange(start, end, step_s, RESOLUTIONS[0])
    steps: dict[int, Rollup] = {}
    for minute, rollup in aggregator.rollups.items():
        steps.setdefault(minute - (minute - start) % step_s, Rollup()).merge(rollup)
    of_steps, of_slots = (
        [(at, pack(rollup)) for at, rollup in each.items()] for each in (steps, aggregator.rollups)
    )
    return AppSnapshot("shop", span, SnapshotData(of_steps, of_slots), part)


def charts(shown: AppSnapshot, past: AppSnapshot | None = None) -> dict[str, Chart]:
    period = ComparedPeriod(shown, NOW_S, past, "last week", WEEK_S)
    made = [make(period) for make in CHARTS]
    return {chart.key: chart for chart in made if chart.has_data}


def lines(chart: Chart) -> dict[str, list[float | int | None]]:
    return {line.name: line.values for line in chart.lines}


def busy(start: float = AT_S, *, service: str = "20ms") -> bytes:
    return (
        router(start, service=service) * 4
        + router(start + 60, service=service, dyno="web.2") * 2
        + router(start + 60, status="503", head='at=error code=H12 desc="x"', service="30000ms")
        + memory(start, total="256.00")
        + memory(start, dyno="web.2", total="384.00")
        + memory(start, dyno="worker.1", total="128.00")
        + load(start)
        + frame("Error R14 (Memory quota exceeded)", at_s=start + 120)
    )


def test_what_is_known_has_its_chart_and_nothing_else() -> None:
    assert list(charts(window_of(busy()))) == [
        "response", "spread", "requests", "failed", "errors", "memory", "load", "dynos",
    ]  # fmt: skip
    assert list(charts(window_of(memory()))) == ["memory", "dynos"]
    assert charts(window_of(b"")) == {}


def test_the_values_are_those_of_the_api() -> None:
    made = charts(window_of(busy()))
    assert lines(made["response"])["p95"] == [20, 29827.5, None]
    assert lines(made["response"])["max"] == [20, 30_000, None]
    assert lines(made["requests"]) == {"2xx": [4, 2, 0], "5xx": [0, 1, 0]}
    assert made["requests"].notes == ["200 4", "200 2, 503 1", ""]
    assert lines(made["failed"]) == {"failed": [0, 100 / 3, None]}
    assert lines(made["errors"]) == {"H12": [0, 1, 0], "R14": [0, 0, 1]}
    assert made["errors"].notes == ["", "H12: Request timeout", "R14: Memory quota exceeded"]
    assert lines(made["memory"]) == {"web": [75, None, None], "worker": [25, None, None]}
    assert made["memory"].notes[0] == "fullest: web.2 at 75%"
    assert made["memory"].limit == 100
    assert lines(made["dynos"])["web"] == [2, 2, 1]


def test_every_value_of_the_sketch_lies_in_a_band_that_holds_it() -> None:
    body = b"".join(router(service=f"{ms}ms") for ms in (0, 1, 18, 49, 50, 800, 45_000, 5_999_999))
    bands = charts(window_of(body))["spread"].bands
    assert bands is not None
    assert len(bands.counts) == MINUTES
    held = {
        low: count for low, count in zip(bands.bounds_ms, bands.counts[0], strict=False) if count
    }
    assert held == {0: 1, 1: 1, 15: 1, 30: 1, 50: 1, 700: 1, 30_000: 1, 100_000: 1}


def test_of_a_part_only_what_belongs_to_it_is_drawn() -> None:
    made = charts(window_of(busy(), part=Selection("web", "web.2")))
    assert lines(made["response"]) == {"avg": [None, 20, None], "max": [None, 20, None]}
    assert "spread" not in made
    assert lines(made["requests"]) == {"2xx": [0, 2, 0]}
    assert lines(made["memory"]) == {"web": [75, None, None]}
    failed = charts(window_of(busy(), part=Selection(outcome="failed")))
    assert lines(failed["requests"]) == {"5xx": [0, 1, 0]}
    assert lines(failed["failed"]) == {"failed": [0, 100 / 3, None]}


def test_calls_and_expressions_ask_for_the_same_part() -> None:
    made = charts(window_of(busy(), part=Selection("w*", outcome="ok")))
    assert made["response"].query.endswith("&stat=max&process_type=w*&outcome=ok")
    assert '{app="shop",process_type=~"w.*",outcome="ok"}' in made["response"].promql
    assert made["memory"].query.endswith("&process_type=w*")


def test_the_past_is_drawn_beside_it_also_where_it_is_kept_less_finely() -> None:
    earlier = window_of(busy(AT_S - WEEK_S, service="40ms"), start=START - WEEK_S, step_s=180)
    made = charts(window_of(busy()), earlier)
    assert made["response"].lines[-1].is_baseline
    assert lines(made["response"])["p95, last week"] == [29827.5] * 3
    assert lines(made["requests"])["all, last week"] == [7 / 3] * 3
    assert lines(made["errors"])["all, last week"] == [2 / 3] * 3
    assert lines(made["memory"])["fullest, last week"] == [75, 75, 75]


def test_of_a_past_without_data_nothing_is_drawn() -> None:
    made = charts(window_of(busy()), window_of(b"", start=START - WEEK_S))
    assert not [line for chart in made.values() for line in chart.lines if line.is_baseline]


def test_rare_codes_are_one_line() -> None:
    body = b"".join(
        router(status="503", head=f'at=error code=H{number} desc="x"') * (30 - number)
        for number in range(10, 20)
    )
    errors = charts(window_of(body))["errors"]
    assert [line.name for line in errors.lines] == [
        "H10", "H11", "H12", "H13", "H14", "H15", "other codes",
    ]  # fmt: skip
    assert errors.lines[-1].values[0] == 14 + 13 + 12 + 11
