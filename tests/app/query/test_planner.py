"""Requests become an aligned range, a step and a resolution; errors name the accepted values."""

from __future__ import annotations

import dataclasses
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.query.planner import POINTS_MAX, QueryError, QueryRequest, plan, plan_range
from app.query.table import Query, QueryRange
from app.rollup.resolutions import SLACK_S, Resolution, resolutions
from app.rollup.schema import METRICS

HOUR_S = 3600
DAY_S = 86_400
NOW_S = 1_795_341_600.0  # 2026-11-22T10:00:00Z, the start of an hour
TEN = int(NOW_S)  # o'clock
RESOLUTIONS = resolutions(DAY_S, 14 * DAY_S, 90 * DAY_S)
MINUTES, TENS, HOURS = RESOLUTIONS


def plan_time_range(
    start: str | None = None,
    end: str | None = None,
    step: str | None = None,
    now_s: float = NOW_S,
) -> tuple[QueryRange, list[str]]:
    return plan_range(start, end, step, RESOLUTIONS, now_s)


def plan_query(request: QueryRequest) -> Query:
    query, warnings = plan(request, RESOLUTIONS, NOW_S)
    assert not warnings
    return query


def plan_error(request: QueryRequest) -> QueryError:
    with pytest.raises(QueryError) as raised_error:
        plan(request, RESOLUTIONS, NOW_S)
    return raised_error.value


def test_the_default_is_the_last_hour_by_the_minute() -> None:
    assert plan_time_range() == (QueryRange(TEN - HOUR_S, TEN, 60, MINUTES), [])


def test_without_a_start_the_hour_before_the_end_is_meant() -> None:
    assert plan_time_range(end="now-1d") == (
        QueryRange(TEN - DAY_S - HOUR_S, TEN - DAY_S, 60, MINUTES),
        [],
    )


@pytest.mark.parametrize(
    ("metric", "stat"),
    [("requests", "sum"), ("service_time_ms", "p95"), ("load_avg_1m", "avg"), ("dynos", "avg")],
)
def test_each_kind_of_metric_has_a_default_stat(metric: str, stat: str) -> None:
    assert [planned.name for planned in plan_query(QueryRequest(metric)).stats] == [stat]


def test_repeated_names_are_answered_once() -> None:
    query = plan_query(
        QueryRequest("requests", ("sum", "rate", "sum"), ("dyno", "status", "dyno"), {"status": ()})
    )
    assert [stat.name for stat in query.stats] == ["sum", "rate"]
    assert query.by == ("dyno", "status")
    assert query.filters == {}


@pytest.mark.parametrize(
    ("start", "end", "step", "edges"),
    [
        (TEN - 61, TEN - 1, "1m", (TEN - 120, TEN)),
        (TEN - 60, TEN, "1m", (TEN - 60, TEN)),
        (TEN - 1, TEN + 1, "10m", (TEN - 600, TEN + 600)),
        (TEN - 5 * HOUR_S, TEN - HOUR_S - 1, "1h", (TEN - 5 * HOUR_S, TEN - HOUR_S)),
        (TEN - 90, TEN - 30, "range", (TEN - 120, TEN)),
    ],
)
def test_a_range_is_aligned_outwards(
    start: int, end: int, step: str, edges: tuple[int, int]
) -> None:
    time_range, _ = plan_time_range(str(start), str(end), step)
    assert (time_range.start, time_range.end) == edges


@given(
    st.integers(1000 * (TEN - 80 * DAY_S), 1000 * TEN),
    st.integers(1, 1000 * 7 * DAY_S),
    st.sampled_from([None, "range", "1m", "7m", "10m", "1h", "3h", "1d", "45s"]),
)
def test_the_planned_range_contains_the_requested_one_in_whole_steps(
    start_ms: int, length_ms: int, step: str | None
) -> None:
    end_ms = start_ms + length_ms
    time_range, _ = plan_time_range(str(start_ms), str(end_ms), step)
    assert 1000 * time_range.start <= start_ms
    assert 1000 * time_range.end >= end_ms
    assert (time_range.end - time_range.start) % time_range.step_s == 0
    assert time_range.step_s % time_range.resolution.seconds == 0
    assert time_range.start % time_range.resolution.seconds == 0
    if step != "range":
        assert time_range.start % time_range.step_s == time_range.end % time_range.step_s == 0
        assert 1000 * (time_range.end - time_range.start - 2 * time_range.step_s) < length_ms
        assert time_range.size <= POINTS_MAX


@pytest.mark.parametrize(
    ("step", "resolution"),
    [("1m", MINUTES), ("5m", MINUTES), ("10m", TENS), ("30m", TENS), ("1h", HOURS), ("1d", HOURS)],
)
def test_the_coarsest_resolution_that_divides_the_step_serves_it(
    step: str, resolution: Resolution
) -> None:
    time_range, warnings = plan_time_range("now-6h", "now", step)
    assert time_range.resolution == resolution
    assert not warnings


@pytest.mark.parametrize(("length", "step_s"), [("5h", 60), ("6h", 120), ("1d", 300), ("7d", 3600)])
def test_without_a_step_about_300_points_are_given(length: str, step_s: int) -> None:
    time_range, warnings = plan_time_range(f"now-{length}")
    assert time_range.step_s == step_s
    assert time_range.size <= 301
    assert not warnings


def test_a_step_of_range_gives_one_value_for_all_of_it() -> None:
    time_range, _ = plan_time_range("now-90m", "now", "range")
    assert time_range == QueryRange(TEN - 5400, TEN, 5400, MINUTES)
    assert time_range.size == 1


def test_a_step_finer_than_the_finest_stored_one_is_lengthened_with_a_warning() -> None:
    time_range, warnings = plan_time_range(step="30s")
    assert time_range.step_s == 60
    assert warnings == ["answered with step=60, the finest that is stored"]


@pytest.mark.parametrize(
    ("start", "step", "answered_s", "resolution"),
    [("now-2d", "1m", 600, TENS), ("now-2d", "15m", 1200, TENS), ("now-20d", "10m", 3600, HOURS)],
)
def test_a_step_finer_than_the_retained_data_is_lengthened_with_a_warning(
    start: str, step: str, answered_s: int, resolution: Resolution
) -> None:
    time_range, warnings = plan_time_range(start, None, step)
    assert (time_range.step_s, time_range.resolution) == (answered_s, resolution)
    assert warnings == [
        f"answered with step={answered_s}: finer data has expired for part of the range"
    ]


def test_a_default_step_is_lengthened_without_a_warning() -> None:
    time_range, warnings = plan_time_range("now-2d", "now-47h")
    assert (time_range.step_s, time_range.resolution) == (600, TENS)
    assert not warnings


def test_the_last_day_is_still_served_by_the_minute_though_minutes_are_kept_a_day() -> None:
    time_range, warnings = plan_time_range("now-1d", None, "1m")
    assert (time_range.resolution, warnings) == (MINUTES, [])
    edge, _ = plan_time_range(str(TEN - DAY_S - SLACK_S), None, "1m")
    beyond, _ = plan_time_range(str(TEN - DAY_S - SLACK_S - 1), None, "1m")
    assert (edge.resolution, beyond.resolution) == (MINUTES, TENS)


def test_a_range_older_than_the_retention_gives_a_warning() -> None:
    span, warnings = plan_time_range("now-100d", None, "1d")
    assert span.resolution == HOURS
    assert warnings == ["start is older than the retention of 90 days"]


@pytest.mark.parametrize("step", ["90s", "61", "0", "1y", "", "1.5h", "RANGE"])
def test_a_step_that_no_interval_has_names_the_accepted(step: str) -> None:
    refusal = plan_error(QueryRequest("requests", step=step))
    assert (refusal.parameter, refusal.value) == ("step", step)
    assert refusal.accepted_values.startswith("1m, 10m, 1h, 1d, 1w or another multiple")


def test_weeks_begin_on_monday() -> None:
    span, _ = plan_time_range("2026-11-04T10:00:00Z", "2026-11-17T00:00:00Z", "1w")
    assert datetime.fromtimestamp(span.start, UTC).isoformat() == "2026-11-02T00:00:00+00:00"
    assert datetime.fromtimestamp(span.end, UTC).isoformat() == "2026-11-23T00:00:00+00:00"


def test_a_query_may_give_11000_values_and_no_more() -> None:
    first = TEN - POINTS_MAX * 60
    resolution = resolutions(30 * DAY_S, 30 * DAY_S, 90 * DAY_S)
    time_range, _ = plan_range(str(first), str(TEN), "1m", resolution, NOW_S)
    assert time_range.size == POINTS_MAX
    with pytest.raises(QueryError, match=r"at most 11000 values \(this: 11001\)") as caught:
        plan_range(str(first - 60), str(TEN), "1m", resolution, NOW_S)
    assert caught.value.parameter == "step"


@pytest.mark.parametrize(
    ("query_request", "parameter", "accepted_values"),
    [
        (QueryRequest("request"), "metric", ", ".join(METRICS)),
        (
            QueryRequest("requests", by=["code"]),
            "by",
            "process_type, dyno, status, status_class, outcome",
        ),
        (QueryRequest("requests", by=["path"]), "by", "for requests"),
        (QueryRequest("dynos", by=["dyno"]), "by", "app, process_type for dynos"),
        (
            QueryRequest("response_bytes", filters={"dyno": ["web.1"]}),
            "dyno",
            "app, process_type for",
        ),
        (QueryRequest("requests", ["p95"]), "stat", "sum, rate"),
        (QueryRequest("requests", ["sum", "no"]), "stat", "sum, rate"),
        (QueryRequest("service_time_ms", ["sum"]), "stat", "p1 to p99.9"),
        (QueryRequest("load_avg_1m", ["p95"]), "stat", "avg, max, min, last, sum"),
        (QueryRequest("requests", start="yesterday"), "start", "RFC 3339"),
        (QueryRequest("requests", end="soon"), "end", "RFC 3339"),
        (QueryRequest("requests", start="now"), "start", "times before end (now)"),
        (
            QueryRequest("requests", start="now-1h", end="now-2h"),
            "start",
            "times before end (now-2h)",
        ),
    ],
    ids=str,
)
def test_an_invalid_query_requestnames_the_parameter_and_the_accepted_values(
    query_request: QueryRequest, parameter: str, accepted_values: str
) -> None:
    error = plan_error(query_request)
    assert error.parameter == parameter
    assert accepted_values in error.accepted_values
    assert str(error) == f"{parameter}={error.value} is invalid. Accepted: {error.accepted_values}"


@pytest.mark.parametrize("stat", ["p95", "p99.9", "le_500"])
@pytest.mark.parametrize(
    "query_request",
    [
        QueryRequest("service_time_ms", by=["dyno"]),
        QueryRequest("connect_time_ms", by=["process_type", "dyno"]),
        QueryRequest("service_time_ms", filters={"dyno": ["web.*"]}),
    ],
    ids=str,
)
def test_a_percentile_of_one_dyno_does_not_exist(query_request: QueryRequest, stat: str) -> None:
    error = plan_error(dataclasses.replace(query_request, stats=["avg", stat]))
    assert (error.parameter, error.value) == ("stat", stat)
    assert "avg, max, count per dyno" in error.accepted_values


def test_averages_maxima_and_counts_of_one_dyno_do() -> None:
    query = plan_query(
        QueryRequest("service_time_ms", ["avg", "max", "count"], ["dyno"], {"dyno": ["web.1"]})
    )
    assert query.by == ("dyno",)
    assert query.filters == {"dyno": ("web.1",)}


@pytest.mark.parametrize("name", METRICS)
def test_every_metric_can_be_grouped_and_filtered_by_its_labels_and_by_app(name: str) -> None:
    labels = [label for label in ("app", *METRICS[name].labels) if label != "dyno"]
    query = plan_query(QueryRequest(name, by=labels, filters={label: ["*"] for label in labels}))
    assert query.by == tuple(labels)
    assert set(query.filters) == set(labels)
