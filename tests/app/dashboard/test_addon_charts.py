"""Charts of databases and caches show what their lines say, and nothing without such lines."""

from __future__ import annotations

from app.dashboard.addon_charts import LINES_MAX, addon_questions, build_addon_charts
from app.dashboard.chart import Chart
from app.ingest.aggregator import AcceptanceWindow, Aggregator
from app.query.engine import scan_packed
from app.query.selection import WHOLE_APP
from app.query.snapshot import AppSnapshot
from app.query.table import QueryRange
from app.rollup.codec import pack
from app.rollup.resolutions import HOUR_S, MINUTE_S, resolutions
from parsers.framing import split
from tests.support.lines import AT_S, frame, router

START = int(AT_S)
MINUTES = 3


def samples(
    service: str,
    minute: int = 0,
    *,
    source: str = "",
    addon: str = "postgresql-round-1",
    **values: object,
) -> bytes:
    """A line of an add-on; `_` in names of samples stands for a dash."""
    source = source or {"postgres": "DATABASE", "redis": "REDIS"}[service]
    words = " ".join(f"sample#{name.replace('_', '-')}={value}" for name, value in values.items())
    return frame(
        f"source={source} addon={addon} {words}",
        app_name="app",
        procid=f"heroku-{service}",
        at_s=START + minute * MINUTE_S,
    )


def charts_of(body: bytes) -> dict[str, Chart]:
    aggregator = Aggregator(START + MINUTES * MINUTE_S, AcceptanceWindow(HOUR_S, HOUR_S))
    aggregator.add_frames(split(body))
    (minutes, *_) = resolutions(24 * HOUR_S, 7 * 24 * HOUR_S, 90 * 24 * HOUR_S)
    time_range = QueryRange(START, START + MINUTES * MINUTE_S, MINUTE_S, minutes)
    packed_rollups = [(at, pack(rollup)) for at, rollup in aggregator.rollups.items()]
    questions = addon_questions()
    queries = [question.plan(time_range, WHOLE_APP) for question in questions]
    cells = scan_packed("shop", packed_rollups, queries).results()
    answers = dict(zip(questions, zip(queries, cells, strict=True), strict=True))
    snapshot = AppSnapshot("shop", time_range, WHOLE_APP, answers, {}, {}, {})
    return {chart.key: chart for chart in build_addon_charts(snapshot)}


def values_by_line(chart: Chart) -> dict[str, list[float | int | None]]:
    return {line.name: line.values for line in chart.lines}


def test_an_app_without_add_ons_has_no_charts_of_them() -> None:
    assert charts_of(router() * 3) == {}


def test_only_samples_that_an_add_on_sends_have_a_chart() -> None:
    body = samples("postgres", waiting_connections=3) + samples(
        "redis", memory_redis="1048576bytes"
    )
    charts = charts_of(body)
    assert list(charts) == ["pg-waiting", "redis-memory"]
    assert values_by_line(charts["pg-waiting"]) == {"DATABASE": [3, None, None]}
    assert values_by_line(charts["redis-memory"]) == {"REDIS": [1, None, None]}


def test_shares_are_percent_and_show_the_highest_of_a_step() -> None:
    body = samples("postgres", connections_percentage_used=0.25)
    body += samples("postgres", connections_percentage_used=0.5)
    chart = charts_of(body)["pg-connections"]
    assert values_by_line(chart) == {"DATABASE": [50, None, None]}
    assert chart.unit == "%"
    assert chart.query == ("metric=postgres_connections_used_ratio&stat=max&by=attachment&by=addon")
    assert chart.promql == 'heroku_postgres_connections_used_ratio{app="shop"} * 100'


def test_an_add_on_without_shares_is_shown_in_numbers() -> None:
    share = samples("postgres", active_connections=30, connections_percentage_used=0.25)
    assert list(charts_of(share)) == ["pg-connections"]
    follower = samples("postgres", source="GREEN", active_connections=41)
    charts = charts_of(share + follower)
    assert list(charts) == ["pg-connections", "pg-open"]
    assert values_by_line(charts["pg-open"]) == {
        "DATABASE": [30, None, None],
        "GREEN": [41, None, None],
    }


def test_hit_rates_of_tables_and_indexes_share_a_color() -> None:
    body = samples("postgres", index_cache_hit_rate=0.75, table_cache_hit_rate=0.5)
    chart = charts_of(body)["pg-hits"]
    assert values_by_line(chart) == {
        "DATABASE, indexes": [75, None, None],
        "DATABASE, tables": [50, None, None],
    }
    assert len({line.style for line in chart.lines}) == 1
    assert [line.pen for line in chart.lines] == ["thin", ""]


def test_evicted_keys_are_those_of_each_step_also_after_a_restart() -> None:
    body = samples("redis", evicted_keys=100) + samples("redis", evicted_keys=104)
    body += samples("redis", 1, evicted_keys=110) + samples("redis", 2, evicted_keys=3)
    assert values_by_line(charts_of(body)["redis-evicted"]) == {"REDIS": [4, 6, 3]}


def test_attachments_of_several_add_ons_have_a_line_each() -> None:
    body = samples("postgres", addon="one", waiting_connections=1)
    body += samples("postgres", addon="two", waiting_connections=2)
    assert values_by_line(charts_of(body)["pg-waiting"]) == {
        "DATABASE one": [1, None, None],
        "DATABASE two": [2, None, None],
    }


def test_many_databases_are_limited_and_the_title_says_so() -> None:
    sources = [f"DB{number:02}" for number in range(LINES_MAX + 4)]
    body = b"".join(samples("postgres", source=name, waiting_connections=1) for name in sources)
    chart = charts_of(body)["pg-waiting"]
    assert [line.name for line in chart.lines] == sources[:LINES_MAX]
    assert chart.title.endswith(", 16 of 20")
