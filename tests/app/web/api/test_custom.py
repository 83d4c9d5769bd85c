"""Custom metrics and samples of add-ons, from log lines to answers of the API and /metrics."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from typing import Any

import httpx2
import pytest

from app.storage.interface.store import Store
from tests.support.lines import AT_S, app_line, frame, memory, router
from tests.support.service import Clock, client_of, post

DATABASE = (
    "source={attachment} addon=postgresql-round-{number} sample#db_size={size}bytes "
    "sample#active-connections={connections} sample#index-cache-hit-rate=0.99723 "
    "sample#memory-total=8025632kB sample#tmp-disk-used=543600640 sample#bloat=1.5GB"
)


def addon(text: str, procid: str = "heroku-postgres", at_s: float = AT_S) -> bytes:
    return frame(text, app_name="app", procid=procid, at_s=at_s, pri=134)


def database(number: int, attachment: str, *, connections: int = 7, at_s: float = AT_S) -> bytes:
    text = DATABASE.format(
        number=number, attachment=attachment, size=10**9 * number, connections=connections
    )
    return addon(text, at_s=at_s)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def client(store: Store, clock: Clock) -> AsyncIterator[httpx2.AsyncClient]:
    async with client_of(store, clock) as client:
        await post(client, router(AT_S))
        yield client


async def switch(client: httpx2.AsyncClient, app: str = "shop", *, on: bool) -> None:
    answer = await client.put(f"/api/v1/apps/{app}/custom", json={"on": on})
    assert (answer.status_code, answer.json()) == (200, {"on": on})


async def ask(client: httpx2.AsyncClient, query: str) -> dict[str, Any]:
    answer = await client.get(f"/api/v1/apps/shop/query?{query}&step=range")
    assert answer.status_code == 200, answer.text
    body: dict[str, Any] = answer.json()
    return body


async def values(client: httpx2.AsyncClient, query: str) -> dict[Any, Any]:
    """One value for the whole range, by label values and stat."""
    body = await ask(client, query)
    return {
        (*series["labels"].values(), series["stat"]): series["values"][0]
        for series in body["series"]
    }


async def ledger(client: httpx2.AsyncClient) -> dict[str, Any]:
    answer: dict[str, Any] = (await client.get("/api/v1/apps/shop/ledger")).json()
    return answer


async def metric_lines(client: httpx2.AsyncClient, name: str) -> dict[str, float]:
    text = (await client.get("/metrics")).text
    pairs = (line.rsplit(" ", 1) for line in text.splitlines() if line.startswith(name))
    return {series.removeprefix(name): float(value) for series, value in pairs}


MARKS = b"".join(
    app_line(text)
    for text in (
        "count#signups=1 source=eu",
        "count#signups=2 measure#db.query=12.5ms sample#queue.depth=42units source=us",
        "count#signups measure#db.query=0.03s measure#db.query=7",
        "[hirefire:router] queue=12ms",
        "measure#request.queue_time=20ms",
    )
)


async def test_without_the_switch_nothing_of_an_apps_own_text_is_kept(
    client: httpx2.AsyncClient,
) -> None:
    await post(client, MARKS)
    assert (await ledger(client))["ignored"] == 5
    assert await values(client, "metric=custom.count.signups") == {}
    metadata = (await client.get("/api/v1/metadata?app=shop")).json()
    assert metadata["open_metrics"] == []


async def test_marks_count_once_the_switch_is_on(client: httpx2.AsyncClient) -> None:
    await switch(client, on=True)
    await post(client, MARKS)
    assert await values(client, "metric=custom.count.signups") == {("", "sum"): 4}
    assert await values(client, "metric=custom.count.signups&by=source") == {
        ("", "", "sum"): 1,
        ("eu", "", "sum"): 1,
        ("us", "", "sum"): 2,
    }
    assert await values(client, "metric=custom.count.signups&by=dyno&source=us") == {
        ("web.1", "", "sum"): 2
    }
    assert await values(client, "metric=custom.sample.queue.depth&stat=last") == {
        ("units", "last"): 42
    }
    counts = await ledger(client)
    assert (counts["counted"], counts["ignored"], counts["dropped"]) == (6, 0, {})


async def test_each_unit_is_a_metric_of_its_own_and_said(client: httpx2.AsyncClient) -> None:
    await switch(client, on=True)
    await post(client, MARKS)
    stats = "stat=p50&stat=max&stat=avg&stat=sum&stat=count&stat=min"
    body = await ask(client, f"metric=custom.measure.db.query&{stats}")
    assert body["unit"] == ""
    assert body["warnings"] == [
        "custom.measure.db.query has several units: none, ms. Each is a metric of its own"
    ]
    measures = await values(client, f"metric=custom.measure.db.query&{stats}")
    assert measures["ms", "p50"] == pytest.approx(12.5, rel=0.01)
    assert measures["ms", "max"] == 30
    assert measures["ms", "sum"] == 42.5
    assert measures["ms", "avg"] == 21.25
    assert measures["", "count"] == 1
    body = await ask(client, "metric=custom.measure.db.query&unit=ms&by=process_type")
    assert (body["unit"], body["warnings"]) == ("ms", [])


async def test_queue_time_is_a_metric_from_every_convention(client: httpx2.AsyncClient) -> None:
    await switch(client, on=True)
    await post(client, MARKS + app_line("measure#queue_time=5"))  # without a unit it is no time
    times = await values(client, "metric=queue_time_ms&stat=count&stat=max&stat=sum")
    assert times == {("count",): 2, ("max",): 20, ("sum",): 32}
    assert await values(client, "metric=queue_time_ms&stat=max&by=process_type") == {
        ("web", "max"): 20
    }
    await metric_lines(client, "heroku_queue_time_seconds")


async def test_the_switch_ends_it_and_stored_data_stays(client: httpx2.AsyncClient) -> None:
    await switch(client, on=True)
    await post(client, MARKS)
    await switch(client, on=False)
    await post(client, MARKS)
    assert await values(client, "metric=custom.count.signups") == {("", "sum"): 4}


async def test_only_the_apps_that_have_it_on_are_read(client: httpx2.AsyncClient) -> None:
    await switch(client, on=True)
    await post(client, MARKS, app="blog")
    answer = await client.get("/api/v1/query?metric=custom.count.signups&step=range")
    assert answer.json()["series"] == []


async def test_the_switch_needs_an_app(client: httpx2.AsyncClient) -> None:
    answer = await client.put("/api/v1/apps/nowhere/custom", json={"on": True})
    assert answer.status_code == 404
    assert (await client.get("/api/v1/apps/shop/custom")).json() == {"on": False}


async def test_an_app_that_is_removed_has_no_switch(client: httpx2.AsyncClient) -> None:
    await switch(client, on=True)
    answer = await client.delete("/api/v1/apps/shop?confirm=shop")
    assert answer.status_code == 200
    await post(client, router(AT_S + 10))
    assert (await client.get("/api/v1/apps/shop/custom")).json() == {"on": False}


async def test_metadata_lists_the_metrics_that_an_app_has(client: httpx2.AsyncClient) -> None:
    await switch(client, on=True)
    await post(client, MARKS + database(1, "DATABASE"))
    metrics = (await client.get("/api/v1/metadata?app=shop")).json()["open_metrics"]
    assert [(metric["name"], metric["unit"], metric["sources"]) for metric in metrics] == [
        ("addon.postgres.bloat", "bytes", ["DATABASE"]),
        ("custom.count.signups", "", ["", "eu", "us"]),
        ("custom.measure.db.query", "", [""]),
        ("custom.measure.db.query", "ms", ["", "us"]),
        ("custom.measure.queue_time", "ms", [""]),
        ("custom.measure.request.queue_time", "ms", [""]),
        ("custom.sample.queue.depth", "units", ["us"]),
    ]


async def test_what_is_over_the_limits_is_dropped_counted_and_said(store: Store) -> None:
    limits = {"DYNOMETER_CUSTOM_NAMES_MAX": "2", "DYNOMETER_CUSTOM_SERIES_MAX": "3"}
    async with client_of(store, Clock(), **limits) as client:
        await post(client, router(AT_S))
        await switch(client, on=True)
        lines = [app_line(f"count#{name}=1 measure#queue_time=7ms") for name in "dcba"]
        lines += [app_line(f"count#a=1 source={number}") for number in range(5)]
        await post(client, b"".join(lines))
        body = await ask(client, "metric=custom.count.a&by=source")
        assert [series["labels"]["source"] for series in body["series"]] == ["", "0"]
        assert body["warnings"] == [
            "7 custom values in this range were dropped: they were unreadable, or over 2 names or "
            "3 series (DYNOMETER_CUSTOM_NAMES_MAX, DYNOMETER_CUSTOM_SERIES_MAX)"
        ]
        assert (await ledger(client))["dropped"] == {"custom": 7}
        assert await metric_lines(client, "dynometer_values_dropped_total") == {
            '{app="shop",family="custom"}': 7
        }
        times = await values(client, "metric=queue_time_ms&stat=count")
        assert times == {("count",): 4}  # metrics with a meaning come before all others


async def test_databases_are_apart_and_no_dynos(client: httpx2.AsyncClient) -> None:
    lines = [memory(AT_S), database(1, "DATABASE"), database(1, "DATABASE", connections=9)]
    lines += [database(2, "HEROKU_POSTGRESQL_GREEN", connections=3)]
    lines += [addon("source=REDIS addon=redis-flat-1 sample#evicted-keys=5", "heroku-redis")]
    pool = "source=pgbouncer addon=postgresql-round-1 sample#avg_query=8751 sample#avg_recv=37568"
    await post(client, b"".join(lines) + addon(pool, "heroku-pgbouncer"))
    by_addon = "metric=postgres_active_connections&stat=max&by=addon&by=attachment"
    assert await values(client, by_addon) == {
        ("postgresql-round-1", "DATABASE", "max"): 9,
        ("postgresql-round-2", "HEROKU_POSTGRESQL_GREEN", "max"): 3,
    }
    assert await values(client, "metric=postgres_db_size_bytes&stat=max&attachment=DATABASE") == {
        ("max",): 10**9
    }
    ratio = await values(client, "metric=postgres_index_cache_hit_ratio&stat=min")
    assert ratio == {("min",): 0.99723}
    assert await values(client, "metric=postgres_memory_total_bytes&stat=max") == {
        ("max",): 8_025_632 * 1024
    }
    assert await values(client, "metric=postgres_tmp_disk_used_bytes&stat=max") == {
        ("max",): 543_600_640
    }
    assert await values(client, "metric=pgbouncer_avg_recv_bytes&stat=last") == {("last",): 37_568}
    assert await values(client, "metric=redis_evicted_keys&stat=last") == {("last",): 5}
    assert await values(client, "metric=dynos&stat=max&by=process_type") == {("web", "max"): 1}
    page = (await client.get("/apps/shop")).text
    assert "postgresql" not in page.partition('id="dynos"')[2]
    assert (await ledger(client))["counted"] == 7


async def test_add_ons_have_series_in_prometheus(client: httpx2.AsyncClient) -> None:
    await post(client, database(1, "DATABASE", connections=9))
    labels = 'app="shop",addon="postgresql-round-1",attachment="DATABASE"'
    assert await metric_lines(client, "heroku_postgres_active_connections") == {f"{{{labels}}}": 9}
    lines = await metric_lines(client, "heroku_addon_sample")
    assert list(lines.values()) == [1.5 * 2**30]
    assert 'name="postgres.bloat"' in next(iter(lines))


async def test_custom_metrics_have_series_in_prometheus(client: httpx2.AsyncClient) -> None:
    await switch(client, on=True)
    await post(client, MARKS)
    counts = await metric_lines(client, "heroku_custom_count_total")
    head = 'app="shop",name="signups",process_type="web",unit="",source='
    assert counts == {f'{{{head}"{source}"}}': n for source, n in (("", 1), ("eu", 1), ("us", 2))}
    times = await metric_lines(client, "heroku_custom_measure_seconds")
    labels = 'app="shop",name="db.query",process_type="web",source="us"'
    assert times[f"_sum{{{labels}}}"] == 0.0125
    assert times[f'_bucket{{{labels},le="0.01"}}'] == 0
    assert times[f'_bucket{{{labels},le="0.025"}}'] == times[f"_count{{{labels}}}"] == 1
    unitless = await metric_lines(client, "heroku_custom_measure_value_sum")
    assert list(unitless.values()) == [7]
    samples = await metric_lines(client, "heroku_custom_sample")
    assert list(samples.values()) == [42]
    queue_times = await metric_lines(client, "heroku_queue_time_seconds")
    assert queue_times['_count{app="shop",process_type="web"}'] == 2
    assert queue_times['_sum{app="shop",process_type="web"}'] == 0.032


async def test_an_autoscaler_reads_queue_time_and_custom_samples(
    client: httpx2.AsyncClient, clock: Clock
) -> None:
    await switch(client, on=True)
    await post(client, MARKS)
    clock.now_s += 180
    path = "/api/v1/apps/shop/signal?minutes=5"
    signal = (await client.get(f"{path}&metric=queue_time_ms&stat=max&process_type=web")).json()
    assert (signal["value"], signal["unit"]) == (20, "ms")
    depth = f"{path}&metric=custom.sample.queue.depth&stat=max"
    answer = await client.get(depth)
    assert (answer.status_code, answer.json()["parameter"]) == (400, "unit")
    signal = (await client.get(f"{depth}&unit=units")).json()
    assert (signal["value"], signal["unit"]) == (42, "units")


async def test_rates_and_rows_and_csv_of_custom_metrics(
    client: httpx2.AsyncClient, clock: Clock
) -> None:
    await switch(client, on=True)
    await post(client, b"".join(router(AT_S + 60 * n) for n in range(4)))
    await post(client, b"".join(app_line("count#a=0.25", AT_S + 60 * n) for n in range(4)))
    clock.now_s += 300
    body = await ask(client, "metric=custom.count.a&stat=rate&stat=sum&format=rows")
    assert re.fullmatch(r"0\.0041.*|0\.0042", str(body["rows"][0]["rate"]))
    assert body["rows"][0]["sum"] == 1
    text = (
        await client.get(
            "/api/v1/apps/shop/query?metric=custom.count.a&by=process_type&format=csv&step=range"
        )
    ).text
    assert text.splitlines()[0] == "time,process_type,unit,sum,complete"


@pytest.mark.parametrize("name", ["custom.count.", "custom.other.a", "language.a", "signups"])
async def test_an_unknown_metric_names_the_forms(client: httpx2.AsyncClient, name: str) -> None:
    answer = await client.get(f"/api/v1/apps/shop/query?metric={name}")
    assert answer.status_code == 400
    assert "custom.count.NAME" in answer.text
