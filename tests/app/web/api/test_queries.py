"""The query API: exact numbers from known traffic, and errors that name the accepted values."""

from __future__ import annotations

import csv
import io
from collections.abc import AsyncIterator
from typing import Any

import httpx2
import pytest

from app.storage.interface.store import Store
from app.storage.memory import MemoryStore
from tests.support.lines import AT_S, app_line, frame, load, lost, memory, router
from tests.support.service import NOW_S, Clock, client_of, post

MINUTE_S = 60
EARLIER_S = AT_S - 600


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def client(store: Store, clock: Clock) -> AsyncIterator[httpx2.AsyncClient]:
    """A client of a service, on every kind of store."""
    async with client_of(store, clock) as client:
        yield client


@pytest.fixture
async def filled_client(client: httpx2.AsyncClient) -> httpx2.AsyncClient:
    """A service with data in two minutes of an hour, from three batches."""
    minute = b"".join(router(EARLIER_S + i * 0.1, service=f"{i}ms") for i in range(1, 101))
    minute += router(
        EARLIER_S, head='at=error code=H12 desc="x"', status="503", service="30000ms", dyno="web.2"
    )
    await post(client, minute)
    await post(
        client,
        router(
            AT_S,
            head='at=error code=H10 desc="x"',
            dyno="",
            connect="",
            service="",
            status="503",
            size="",
        )
        + router(AT_S, status="101", service="600000ms")
        + frame("Error R14 (Memory quota exceeded)", procid="worker.1", at_s=AT_S)
        + lost(4, AT_S),
    )
    await post(
        client,
        memory(AT_S, total="100.00")
        + memory(AT_S + 20, total="300.00")
        + memory(AT_S, dyno="web.2", total="50.00")
        + load(AT_S, dyno="worker.1", load_1m="2.50"),
    )
    return client


async def ask(client: httpx2.AsyncClient, query: str, *, app: str = "shop") -> dict[str, Any]:
    answer = await client.get(f"/api/v1/apps/{app}/query?{query}")
    assert answer.status_code == 200, answer.text
    body: dict[str, Any] = answer.json()
    return body


async def totals(client: httpx2.AsyncClient, query: str) -> dict[Any, Any]:
    """One value for the whole range, by label values (and stat)."""
    answer = await ask(client, f"{query}&step=range")
    return {
        (*series["labels"].values(), series["stat"]): series["values"][0]
        for series in answer["series"]
    }


@pytest.mark.parametrize(
    ("filters", "count"),
    [
        ("status=1xx", 1),
        ("status=2xx", 100),
        ("status=3xx", 0),
        ("status=4xx", 0),
        ("status=5xx", 2),
        ("status=5XX", 2),
        ("status=50x", 2),
        ("status=51x", 0),
        ("status=5xx&status=200", 102),
        ("status=5xx&dyno=web.2", 1),
        ("status_class=5xx", 2),
        ("status_class=5XX", 2),
    ],
)
async def test_a_class_of_statuses_is_understood_as_a_filter(
    filled_client: httpx2.AsyncClient, filters: str, count: int
) -> None:
    answer = await ask(filled_client, f"metric=requests&step=range&{filters}")
    assert answer["series"][0]["values"] == [count]
    assert answer["warnings"] == []


@pytest.mark.parametrize(
    ("query", "warning"),
    [
        ("requests&status=777", "status=777 matches nothing. There is: 101, 200, 503"),
        ("requests&status=500&status=9xx", "status=9xx matches nothing. There is: 101, 200, 503"),
        (
            "requests&outcome=error",
            "outcome=error matches nothing. There is: failed, maintenance, ok",
        ),
        (
            "requests&status_class=500&by=dyno",
            "status_class=500 matches nothing. There is: 1xx, 2xx, 3xx, 4xx, 5xx",
        ),
        ("requests&process_type=wbe", "process_type=wbe matches nothing. There is: web"),
        ("requests&dyno=web.9", "dyno=web.9 matches nothing. There is: web.1, web.2"),
        ("heroku_errors&code=h12", "code=h12 matches nothing. There is: H10, H12, L10, R14"),
        ("load_avg_1m&dyno=web.1", "dyno=web.1 matches nothing. There is: worker.1"),
        ("dyno_exits&exit_status=-1", "exit_status=-1 matches nothing. There is no exit_status"),
        ("service_time_ms&process_type=x", "process_type=x matches nothing. There is: web"),
    ],
)
async def test_a_filter_that_matches_nothing_is_named_in_a_warning(
    filled_client: httpx2.AsyncClient, query: str, warning: str
) -> None:
    answer = await ask(filled_client, f"metric={query}")
    assert len(answer["warnings"]) == 1
    assert answer["warnings"][0].startswith(warning)


@pytest.mark.parametrize("query", ["requests&status=404", "heroku_errors&code=H13&code=R*"])
async def test_a_filter_that_could_match_gives_no_warning(
    filled_client: httpx2.AsyncClient, query: str
) -> None:
    assert (await ask(filled_client, f"metric={query}"))["warnings"] == []


async def test_requests_in_maintenance_are_neither_failed_nor_fast(
    client: httpx2.AsyncClient,
) -> None:
    served = b"".join(router(AT_S, service="40ms") for _ in range(10))
    await post(client, served + router(AT_S, status="500", service="40ms"))
    no_dyno = {"dyno": "", "connect": "0ms", "service": "0ms", "status": "503", "size": "596"}
    head = 'at=info code=H80 desc="Maintenance mode"'
    await post(client, b"".join(router(AT_S, head=head, **no_dyno) for _ in range(300)))

    assert await totals(client, "metric=requests&by=outcome") == {
        ("failed", "sum"): 1,
        ("maintenance", "sum"): 300,
        ("ok", "sum"): 10,
    }
    assert await totals(client, "metric=requests&outcome=failed") == {("sum",): 1}
    assert (await totals(client, "metric=requests&by=status"))["503", "sum"] == 300
    assert await totals(client, "metric=service_time_ms&stat=p50&stat=count") == {
        ("p50",): 40,
        ("count",): 11,
    }
    assert await totals(client, "metric=connect_time_ms&stat=count") == {("count",): 11}


async def test_no_percentile_exceeds_the_maximum_whether_the_query_asks_for_it_or_not(
    client: httpx2.AsyncClient,
) -> None:
    await post(client, b"".join(router(AT_S, service="1001ms") for _ in range(300)))
    for stats in ("p50", "p95", "p50&stat=p95&stat=p99.9&stat=max"):
        for by in ("", "&by=process_type", "&by=outcome"):
            answer = await totals(client, f"metric=service_time_ms&stat={stats}{by}")
            assert set(answer.values()) == {1001}


async def test_requests_are_counted_by_every_label(filled_client: httpx2.AsyncClient) -> None:
    async def counts(by: str) -> dict[Any, Any]:
        answer = await totals(filled_client, f"metric=requests&by={by}")
        return {key[0]: value for key, value in answer.items()}

    assert await counts("process_type") == {"web": 103}
    assert await counts("dyno") == {"": 1, "web.1": 101, "web.2": 1}
    assert await counts("status") == {"101": 1, "200": 100, "503": 2}
    assert await counts("status_class") == {"1xx": 1, "2xx": 100, "5xx": 2}
    assert await counts("outcome") == {"ok": 101, "failed": 2}


async def test_service_times_are_exact_below_50_ms_and_near_above(
    filled_client: httpx2.AsyncClient,
) -> None:
    answer = await totals(
        filled_client,
        "metric=service_time_ms&outcome=ok&stat=p5&stat=p50&stat=p95&stat=p99.9&stat=le_50"
        "&stat=max&stat=avg&stat=count",
    )
    assert answer["p5",] == 5
    assert answer["p50",] == 50
    assert answer["p95",] == pytest.approx(95, rel=0.01)
    assert answer["p99.9",] == pytest.approx(100, rel=0.01)
    assert answer["le_50",] == 0.5
    assert (answer["max",], answer["avg",], answer["count",]) == (100, 50.5, 100)


async def test_failed_requests_and_websockets_stay_apart(filled_client: httpx2.AsyncClient) -> None:
    answer = await totals(filled_client, "metric=service_time_ms&by=outcome&stat=max&stat=count")
    assert answer == {
        ("failed", "max"): 30_000,
        ("failed", "count"): 1,
        ("ok", "max"): 100,
        ("ok", "count"): 100,
    }


async def test_errors_are_counted_by_code(filled_client: httpx2.AsyncClient) -> None:
    answer = await totals(filled_client, "metric=heroku_errors&by=code&by=process_type&by=dyno")
    assert answer == {
        ("H10", "web", "", "sum"): 1,
        ("H12", "web", "web.2", "sum"): 1,
        ("L10", "", "", "sum"): 1,
        ("R14", "worker", "worker.1", "sum"): 1,
    }


async def test_gauges_have_mean_extremes_last_and_sum(filled_client: httpx2.AsyncClient) -> None:
    mb = 2**20
    answer = await totals(
        filled_client,
        "metric=memory_total_bytes&stat=avg&stat=max&stat=min&stat=last&stat=sum",
    )
    assert answer == {
        ("avg",): 150 * mb,
        ("max",): 300 * mb,
        ("min",): 50 * mb,
        ("last",): 175 * mb,  # the mean of 300 and 50
        ("sum",): 250 * mb,  # web.1's mean of 200, and 50
    }
    ratio = await totals(filled_client, "metric=memory_quota_used_ratio&by=dyno&stat=max")
    assert ratio == {
        ("web.1", "max"): pytest.approx(300 / 512, abs=1e-6),
        ("web.2", "max"): pytest.approx(50 / 512, abs=1e-6),
    }
    assert await totals(filled_client, "metric=load_avg_1m&by=process_type") == {
        ("worker", "avg"): 2.5
    }


async def test_dynos_are_those_heard_from(filled_client: httpx2.AsyncClient) -> None:
    answer = await ask(
        filled_client, f"metric=dynos&by=process_type&start={int(EARLIER_S)}&step=1m"
    )
    by_type = {series["labels"]["process_type"]: series["values"] for series in answer["series"]}
    assert by_type == {
        "web": [2.0, *[None] * 9, 2.0],
        "worker": [None, *[None] * 9, 1.0],
    }


async def test_gaps_are_null_and_quiet_minutes_are_0(client: httpx2.AsyncClient) -> None:
    await post(client, router(AT_S - 120) + app_line(at_s=AT_S))
    span = f"start={int(AT_S) - 180}&end={int(AT_S) + 60}&step=1m"
    assert (await ask(client, f"metric=requests&{span}"))["series"] == [
        {"labels": {}, "stat": "sum", "complete_until": AT_S - 60, "values": [None, 1, None, 0]}
    ]
    for metric in ("service_time_ms", "memory_total_bytes", "dynos"):
        [series] = (await ask(client, f"metric={metric}&{span}"))["series"]
        assert series["values"][3] is None


async def test_without_by_there_is_one_series_and_with_by_those_seen(
    client: httpx2.AsyncClient,
) -> None:
    await post(client, app_line())
    assert len((await ask(client, "metric=heroku_errors"))["series"]) == 1
    assert (await ask(client, "metric=heroku_errors&by=code"))["series"] == []


async def test_ranges_are_aligned_outwards_and_half_open(filled_client: httpx2.AsyncClient) -> None:
    answer = await ask(
        filled_client,
        f"metric=requests&start={int(EARLIER_S) + 30}&end={int(EARLIER_S) + 61}&step=1m",
    )
    assert (answer["start"], answer["end"]) == (EARLIER_S, EARLIER_S + 120)
    assert answer["series"][0]["values"] == [101, None]
    assert answer["complete_until"] == EARLIER_S + 120


@pytest.mark.parametrize("step", ["1m", "2m", "10m", "30m", "1h", "600", "range"])
async def test_every_step_gives_the_same_sum_folded_or_not(
    filled_client: httpx2.AsyncClient, clock: Clock, step: str
) -> None:
    async def total() -> int:
        answer = await ask(filled_client, f"metric=requests&step={step}&start=now-2h")
        return sum(value or 0 for value in answer["series"][0]["values"])

    assert await total() == 103
    clock.now_s += 6
    for _ in range(3):
        await post(filled_client, app_line(at_s=clock.now_s))
        assert await total() == 103


async def test_rate_is_per_second(filled_client: httpx2.AsyncClient) -> None:
    answer = await ask(
        filled_client, f"metric=requests&stat=rate&start={int(EARLIER_S)}&end={int(EARLIER_S) + 60}"
    )
    assert answer["series"][0]["values"] == [101 / 60]


async def test_filters_repeat_and_take_globs(filled_client: httpx2.AsyncClient) -> None:
    assert await totals(filled_client, "metric=requests&status=200&status=101") == {("sum",): 101}
    assert await totals(filled_client, "metric=requests&status=5*") == {("sum",): 2}
    assert await totals(filled_client, "metric=requests&dyno=web.?&outcome=failed") == {("sum",): 1}


async def test_many_apps_are_one_query(client: httpx2.AsyncClient) -> None:
    for app, count in (("shop-eu", 2), ("shop-us", 3), ("blog", 5)):
        await post(client, router() * count, app=app)
    answer = await client.get("/api/v1/query?metric=requests&by=app&app=shop-*&step=range")
    counts = {series["labels"]["app"]: series["values"][0] for series in answer.json()["series"]}
    assert counts == {"shop-eu": 2, "shop-us": 3}
    answer = await client.get("/api/v1/query?metric=requests&step=range")
    assert answer.json()["series"][0]["values"] == [10]


async def test_the_sketch_itself_is_answered_and_says_what_the_other_stats_say(
    filled_client: httpx2.AsyncClient,
) -> None:
    query = "metric=service_time_ms&outcome=ok&stat=bins&stat=count&stat=le_50&step=range"
    bins, count, within = (
        series["values"][0] for series in (await ask(filled_client, query))["series"]
    )
    assert all(low <= high for low, high, _ in bins)
    assert bins == sorted(bins)
    assert sum(values for _, _, values in bins) == count
    assert sum(values for _, high, values in bins if high <= 50) == within * count
    rows = (await ask(filled_client, f"{query}&format=rows"))["rows"]
    assert rows[0]["bins"] == bins
    answer = await filled_client.get(f"/api/v1/apps/shop/query?{query}&format=csv")
    assert (answer.status_code, answer.json()["parameter"]) == (400, "stat")
    long = "metric=service_time_ms&stat=bins&by=outcome&start=now-24h&step=1m"
    answer = await filled_client.get(f"/api/v1/apps/shop/query?{long}")
    assert (answer.status_code, answer.json()["title"]) == (400, "Too many series")


async def test_rows_and_csv_say_the_same(filled_client: httpx2.AsyncClient) -> None:
    query = "metric=service_time_ms&stat=count&stat=max&by=outcome&step=range"
    rows = (await ask(filled_client, f"{query}&format=rows"))["rows"]
    assert [(row["outcome"], row["count"], row["max"]) for row in rows] == [
        ("failed", 1, 30_000),
        ("ok", 100, 100),
    ]
    for answer in (
        await filled_client.get(f"/api/v1/apps/shop/query?{query}&format=csv"),
        await filled_client.get(f"/api/v1/apps/shop/query?{query}", headers={"Accept": "text/csv"}),
    ):
        assert answer.headers["content-type"].startswith("text/csv")
        csv_rows = list(csv.DictReader(io.StringIO(answer.text)))
        assert [list(row.values()) for row in csv_rows] == [
            [str(value) for value in (row | {"complete": "false"}).values()] for row in rows
        ]


async def test_the_minute_that_has_just_begun_is_answered_and_marked(
    client: httpx2.AsyncClient,
) -> None:
    await post(client, router(AT_S - 120) + router(AT_S - 60) * 2 + router(AT_S) * 3)
    query = f"metric=requests&step=1m&start={AT_S - 120}"
    (series,) = (await ask(client, query))["series"]
    assert (series["values"], series["complete_until"]) == ([1, 2, 3], AT_S - 60)
    rows = (await ask(client, f"{query}&format=rows"))["rows"]
    assert [(row["sum"], row["complete"]) for row in rows] == [(1, True), (2, False), (3, False)]
    answer = await client.get(f"/api/v1/apps/shop/query?{query}&format=csv")
    assert [line.split(",")[1:] for line in answer.text.split()] == [
        ["sum", "complete"],
        ["1", "true"],
        ["2", "false"],
        ["3", "false"],
    ]
    assert (await client.get("/api/v1/metadata")).json()["complete_after_s"] == 60


async def test_apps_are_listed_with_when_they_were_seen(filled_client: httpx2.AsyncClient) -> None:
    await post(filled_client, router(), app="blog")
    real = {"origin": "drain", "notifies": True}
    blog = {"app": "blog", "first_seen": AT_S, "last_seen": AT_S, "runtime_metrics": False}
    shop = {
        "app": "shop",
        "first_seen": EARLIER_S,
        "last_seen": AT_S + 20,
        "runtime_metrics": True,
    }
    assert (await filled_client.get("/api/v1/apps")).json() == {"apps": [blog | real, shop | real]}


async def test_the_catalogue_names_every_metric(client: httpx2.AsyncClient) -> None:
    metrics = (await client.get("/api/v1/metadata")).json()["metrics"]
    assert len(metrics) == 73
    for metric in metrics:
        assert set(metric) == {"name", "unit", "kind", "labels", "stats", "help"}


BAD = {
    "metric=reqests": ("metric", "service_time_ms"),
    "metric=requests&stat=p95": ("stat", "sum, rate"),
    "metric=service_time_ms&stat=p100": ("stat", "p99.9"),
    "metric=service_time_ms&stat=p0": ("stat", "p99.9"),
    "metric=service_time_ms&stat=p95&by=dyno": ("stat", "per process_type"),
    "metric=service_time_ms&stat=p95&dyno=web.1": ("stat", "per process_type"),
    "metric=requests&by=code": ("by", "status"),
    "metric=dynos&dyno=web.1": ("dyno", "process_type"),
    "metric=requests&start=yesterday": ("start", "RFC 3339"),
    "metric=requests&start=now&end=now-1h": ("start", "before end"),
    "metric=requests&step=0": ("step", "1m"),
    "metric=requests&step=90s": ("step", "another multiple"),
    "metric=requests&step=1m&start=now-23h&end=now%2B10d": ("step", "11000"),
    "metric=requests&format=xml": ("format", "csv"),
    "metric=service_time_ms" + "".join(f"&stat=le_{n}" for n in range(21)): ("stat", "20"),
    "metric=requests" + "&status=2*" * 101: ("status", "100"),
    "metric=requests&stepp=1m": ("stepp", ""),
    "stat=sum": ("metric", ""),
}


@pytest.mark.parametrize("query", BAD)
async def test_a_bad_parameter_is_named_with_what_is_accepted(
    filled_client: httpx2.AsyncClient, query: str
) -> None:
    parameter, detail = BAD[query]
    answer = await filled_client.get(f"/api/v1/apps/shop/query?{query}")
    assert answer.status_code == 400
    assert answer.headers["content-type"] == "application/problem+json"
    problem = answer.json()
    assert problem["parameter"] == parameter
    assert problem["status"] == 400
    assert detail in problem["detail"]


async def test_more_series_than_the_limit_are_rejected(client: httpx2.AsyncClient) -> None:
    await post(client, b"".join(router(dyno=f"web.{n}") for n in range(1_001)))
    answer = await client.get("/api/v1/apps/shop/query?metric=requests&by=dyno&step=range")
    assert (answer.status_code, answer.json()["parameter"]) == (400, "by")


async def test_more_values_than_the_limit_are_rejected(client: httpx2.AsyncClient) -> None:
    await post(client, b"".join(router(dyno=f"web.{n}") for n in range(400)))
    url = "/api/v1/apps/shop/query?metric=requests&by=dyno&step=1m&start=now-23h"
    answer = await client.get(url)
    assert (answer.status_code, answer.json()["parameter"]) == (400, "by")
    assert "longer step" in answer.json()["detail"]


async def test_an_unknown_app_is_not_found(client: httpx2.AsyncClient) -> None:
    for path in ("query?metric=requests", "ledger"):
        answer = await client.get(f"/api/v1/apps/nobody/{path}")
        assert answer.status_code == 404
        assert "nobody" in answer.json()["detail"]


async def test_an_unknown_path_and_a_wrong_method_are_problems(client: httpx2.AsyncClient) -> None:
    for answer, status in (
        (await client.get("/nothing"), 404),
        (await client.post("/api/v1/apps"), 405),
    ):
        assert answer.status_code == status
        assert answer.headers["content-type"] == "application/problem+json"


async def test_old_ranges_are_answered_coarser_with_a_warning(
    clock: Clock, client: httpx2.AsyncClient
) -> None:
    await post(client, router(AT_S - 3 * 86_400) * 2, Dynometer_Replay="1")
    start = int(AT_S) - 3 * 86_400
    answer = await ask(client, f"metric=requests&start={start}&end={start + 1_200}&step=1m")
    assert answer["step_s"] == 600
    assert answer["series"][0]["values"] == [2, None]
    assert "600" in answer["warnings"][0]


async def test_finer_than_stored_is_the_finest_stored(client: httpx2.AsyncClient) -> None:
    await post(client, router())
    answer = await ask(client, "metric=requests&step=5s")
    assert answer["step_s"] == 60
    assert answer["warnings"]


async def test_the_default_is_the_last_hour_in_minutes(client: httpx2.AsyncClient) -> None:
    await post(client, router())
    answer = await ask(client, "metric=requests")
    assert (answer["end"] - answer["start"], answer["step_s"]) == (3_600, 60)
    assert answer["end"] == NOW_S + 30


@pytest.mark.parametrize("start", ["now-1h", "now-3600s"])
@pytest.mark.parametrize("step", ["1m", "range"])
async def test_one_hour_is_60_minutes(client: httpx2.AsyncClient, start: str, step: str) -> None:
    await post(client, router())
    for path in (f"query?metric=requests&step={step}&", "ledger?", "events?"):
        answer = (await client.get(f"/api/v1/apps/shop/{path}start={start}")).json()
        assert (answer["end"] - answer["start"], answer["end"]) == (3_600, NOW_S + 30)
    values = (await ask(client, "metric=requests&step=1m&end=now"))["series"][0]["values"]
    assert (len(values), values[-1]) == (60, 1)


async def test_an_hour_before_a_time_within_a_minute_is_60_minutes(
    client: httpx2.AsyncClient,
) -> None:
    await post(client, router())
    answer = await ask(client, f"metric=requests&end={NOW_S - 7}&step=1m")
    assert (answer["start"], answer["end"]) == (NOW_S + 30 - 3_600, NOW_S + 30)


async def test_the_openapi_document_lists_every_route() -> None:
    clock = Clock()
    async with client_of(MemoryStore(clock), clock) as client:
        paths = (await client.get("/openapi.json")).json()["paths"]
    assert {"/api/v1/apps/{app}/query", "/api/v1/query", "/metrics", "/readyz"} <= set(paths)
