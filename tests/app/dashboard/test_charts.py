"""Charts show the API's values, of the selected part, next to the baseline's."""

from __future__ import annotations

from app.dashboard.chart import Chart, ComparedPeriod, Quota, Split
from app.dashboard.charts import CHARTS, baseline_questions, current_questions
from app.ingest.aggregator import AcceptanceWindow, Aggregator
from app.query.engine import scan_packed
from app.query.selection import WHOLE_APP, Selection
from app.query.snapshot import AppSnapshot
from app.query.table import QueryRange
from app.rollup.codec import pack
from app.rollup.resolutions import HOUR_S, MINUTE_S, resolutions
from app.rollup.time_range import TimeRange
from parsers.framing import split
from tests.support.lines import AT_S, frame, load, memory, router

RESOLUTIONS = resolutions(24 * HOUR_S, 7 * 24 * HOUR_S, 90 * 24 * HOUR_S)
START = int(AT_S)
MINUTES = 3
COMPLETE = TimeRange(START, START + MINUTES * MINUTE_S)
WEEK_S = 7 * 24 * HOUR_S


def snapshot_of(
    body: bytes, *, start: int = START, step_s: int = MINUTE_S, selection: Selection = WHOLE_APP
) -> AppSnapshot:
    """A snapshot of three minutes that hold these lines."""
    end = start + MINUTES * MINUTE_S
    aggregator = Aggregator(end, AcceptanceWindow(HOUR_S, HOUR_S))
    aggregator.add_frames(split(body))
    time_range = QueryRange(start, end, step_s, RESOLUTIONS[0])
    packed_rollups = [(at, pack(rollup)) for at, rollup in aggregator.rollups.items()]
    questions = [*current_questions(selection, "dynos"), *baseline_questions(selection)]
    queries = [question.plan(time_range, selection) for question in questions]
    cells = scan_packed("shop", packed_rollups, queries).results()
    answers = dict(zip(questions, zip(queries, cells, strict=True), strict=True))
    return AppSnapshot("shop", time_range, selection, answers, {}, {}, {})


def build_charts(
    current: AppSnapshot, baseline: AppSnapshot | None = None, *, split: Split = "types"
) -> dict[str, Chart]:
    period = ComparedPeriod(current, COMPLETE, baseline, "last week", WEEK_S, split=split)
    charts = [build_chart(period) for build_chart in CHARTS]
    return {chart.key: chart for chart in charts}


def with_data(charts: dict[str, Chart]) -> list[str]:
    return [key for key, chart in charts.items() if chart.has_data]


def values_by_line(chart: Chart) -> dict[str, list[float | int | None]]:
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


def test_charts_without_data_stay_in_their_places_with_words() -> None:
    keys = ["requests", "failed", "errors", "response", "spread", "memory", "load", "dynos"]
    full = build_charts(snapshot_of(busy()))
    assert list(full) == with_data(full) == keys
    empty = build_charts(snapshot_of(b""))
    assert list(empty) == keys
    assert with_data(empty) == []
    assert empty["errors"].empty == "No Heroku errors in this range."
    assert "log-runtime-metrics" in empty["memory"].empty


def test_the_values_are_those_of_the_api() -> None:
    charts = build_charts(snapshot_of(busy()))
    assert values_by_line(charts["response"])["p95"] == [20, 29827.5, None]
    assert values_by_line(charts["response"])["max"] == [20, 30_000, None]
    assert values_by_line(charts["requests"]) == {"2xx": [4, 2, 0], "5xx": [0, 1, 0]}
    assert charts["requests"].notes == ["200 4", "200 2, 503 1", ""]
    assert values_by_line(charts["failed"]) == {"failed": [0, 100 / 3, None]}
    assert values_by_line(charts["errors"]) == {"H12": [0, 1, 0], "R14": [0, 0, 1]}
    assert charts["errors"].notes == ["", "H12: Request timeout", "R14: Memory quota exceeded"]
    assert values_by_line(charts["memory"]) == {
        "web": [384, None, None],
        "web RSS": [200.5, None, None],
        "worker": [128, None, None],
        "worker RSS": [200.5, None, None],
    }
    assert charts["memory"].notes[0] == "fullest: web.2 at 75% of its quota"
    assert charts["memory"].quotas == [Quota(("web", "worker"), 512)]
    assert values_by_line(charts["load"]) == {
        "web": [0.5, None, None],
        "web max": [0.5, None, None],
    }
    assert values_by_line(charts["dynos"])["web"] == [2, 2, 1]


def test_every_value_of_the_sketch_lies_in_a_band_that_holds_it() -> None:
    body = b"".join(router(service=f"{ms}ms") for ms in (0, 1, 18, 49, 50, 800, 45_000, 5_999_999))
    bands = build_charts(snapshot_of(body))["spread"].bands
    assert bands is not None
    assert len(bands.counts) == MINUTES
    counts = {
        low: count for low, count in zip(bands.bounds_ms, bands.counts[0], strict=False) if count
    }
    assert counts == {0: 1, 1: 1, 15: 1, 30: 1, 50: 1, 700: 1, 30_000: 1, 100_000: 1}


def test_charts_of_a_selection_show_only_that() -> None:
    charts = build_charts(snapshot_of(busy(), selection=Selection("web", "web.2")))
    assert values_by_line(charts["response"]) == {"avg": [None, 20, None], "max": [None, 20, None]}
    assert "show all dynos" in charts["spread"].empty
    assert not charts["spread"].has_data
    assert values_by_line(charts["requests"]) == {"2xx": [0, 2, 0]}
    assert values_by_line(charts["memory"])["web"] == [384, None, None]
    failed_charts = build_charts(snapshot_of(busy(), selection=Selection(outcome="failed")))
    assert values_by_line(failed_charts["requests"]) == {"5xx": [0, 1, 0]}
    assert values_by_line(failed_charts["failed"]) == {"failed": [0, 100 / 3, None]}


def test_api_and_prometheus_queries_select_the_same_part() -> None:
    charts = build_charts(snapshot_of(busy(), selection=Selection("w*", outcome="ok")))
    assert charts["response"].query.endswith("&stat=max&process_type=w*&outcome=ok")
    assert '{app="shop",process_type=~"w.*",outcome="ok"}' in charts["response"].promql
    assert charts["memory"].query.endswith("&process_type=w*")


def test_a_baseline_is_drawn_even_if_its_steps_are_longer() -> None:
    earlier = snapshot_of(busy(AT_S - WEEK_S, service="40ms"), start=START - WEEK_S, step_s=180)
    charts = build_charts(snapshot_of(busy()), earlier)
    assert charts["response"].lines[-1].is_baseline
    assert values_by_line(charts["response"])["p95, last week"] == [29827.5] * 3
    assert values_by_line(charts["requests"])["all, last week"] == [7 / 3] * 3
    assert values_by_line(charts["errors"])["all, last week"] == [2 / 3] * 3
    assert values_by_line(charts["memory"])["fullest, last week"] == [384, 384, 384]


def test_a_baseline_without_data_is_not_drawn() -> None:
    charts = build_charts(snapshot_of(busy()), snapshot_of(b"", start=START - WEEK_S))
    assert not [line for chart in charts.values() for line in chart.lines if line.is_baseline]


def test_rare_codes_are_one_line() -> None:
    body = b"".join(
        router(status="503", head=f'at=error code=H{number} desc="x"') * (30 - number)
        for number in range(10, 20)
    )
    errors = build_charts(snapshot_of(body))["errors"]
    assert [line.name for line in errors.lines] == [
        "H10", "H11", "H12", "H13", "H14", "H15", "other codes",
    ]  # fmt: skip
    assert errors.lines[-1].values[0] == 14 + 13 + 12 + 11


def test_the_legend_of_percentiles_is_about_all_requests_of_the_range() -> None:
    body = router(service="10ms") * 99 + router(AT_S + 60, service="5000ms")
    lines = {line.name: line for line in build_charts(snapshot_of(body))["response"].lines}
    assert lines["p95"].values == [10, 4995, None]
    assert lines["p95"].whole == 10  # the mean of the steps' p95 would be 2,505


def test_dynos_have_lines_on_demand_fullest_first() -> None:
    charts = build_charts(snapshot_of(busy()), split="dynos")
    assert [line.name for line in charts["memory"].lines] == ["web.2", "web.1", "worker.1"]
    assert charts["memory"].query == "metric=memory_total_bytes&stat=max&by=dyno"
    assert [line.name for line in charts["load"].lines] == ["web.1"]


def test_a_process_type_has_one_color_in_all_charts_and_ranges() -> None:
    body = busy() + memory(dyno="clock.1") + load(dyno="worker.1")
    with_others, alone = (
        build_charts(snapshot_of(body)),
        build_charts(snapshot_of(load(dyno="worker.1"))),
    )
    styles = {
        line.style
        for charts in (with_others, alone)
        for key in ("memory", "load", "dynos")
        for line in charts[key].lines
        if line.name.startswith("worker")
    }
    assert len(styles) == 1
    web = {line.style for line in with_others["memory"].lines if line.name.startswith("web")}
    assert web.isdisjoint(styles)


def test_a_code_keeps_its_red_when_others_are_more_frequent() -> None:
    def style_of_h12(body: bytes) -> str:
        lines = build_charts(snapshot_of(body))["errors"].lines
        return next(line.style for line in lines if line.name == "H12")

    h10 = router(status="503", head='at=error code=H10 desc="x"', dyno="") * 50
    assert style_of_h12(busy()) == style_of_h12(busy() + h10)


def test_a_single_slow_request_does_not_flatten_the_percentiles() -> None:
    body = router(service="20ms") * 99 + router(service="30000ms")
    response = build_charts(snapshot_of(body))["response"]
    assert response.ceiling == 60  # three times the highest p95
    assert response.lines[-1].values[0] == 30_000
