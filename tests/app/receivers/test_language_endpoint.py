"""POST /language/{dyno}: what reporters of language runtimes send, until the API answers it."""

from __future__ import annotations

import json
import re
from base64 import b64encode
from collections.abc import AsyncIterator
from typing import Any

import httpx2
import pytest

from app.storage.interface.store import Store
from tests.support.lines import AT_S, router
from tests.support.service import Clock, client_of, post

REPORT = {"counters": {"gc.count": 3}, "gauges": {"heap.bytes": 12.5, "puma.threads": 5}}


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def client(store: Store, clock: Clock) -> AsyncIterator[httpx2.AsyncClient]:
    async with client_of(store, clock) as client:
        await post(client, router(AT_S))
        yield client


async def report(
    client: httpx2.AsyncClient,
    body: object = REPORT,
    dyno: str = "web.1",
    auth: tuple[str, str] | None = ("shop", "any"),
    **headers: str,
) -> httpx2.Response:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    headers = {name.replace("_", "-"): value for name, value in headers.items()}
    if auth:
        headers["authorization"] = "Basic " + b64encode(":".join(auth).encode()).decode()
    return await client.post(f"/language/{dyno}", content=content, headers=headers)


async def ask(client: httpx2.AsyncClient, query: str) -> dict[tuple[str, ...], Any]:
    """The value of each series over the range, by its labels."""
    answer = await client.get(f"/api/v1/apps/shop/query?{query}&step=range")
    assert answer.status_code == 200, answer.text
    return {
        tuple(value for label, value in series["labels"].items() if label != "unit"): series[
            "values"
        ][0]
        for series in answer.json()["series"]
    }


async def test_counters_add_up_and_gauges_keep_their_last_value_by_dyno(
    client: httpx2.AsyncClient, clock: Clock
) -> None:
    answer = await report(client)
    assert (answer.status_code, answer.content) == (200, b"")
    clock.now_s += 20
    await report(client, {"counters": {"gc.count": 4}, "gauges": {"heap.bytes": 20}})
    await report(client, dyno="worker.1")
    by = "by=process_type&by=dyno"
    assert await ask(client, f"metric=language.count.gc.count&{by}") == {
        ("web", "web.1"): 7,
        ("worker", "worker.1"): 3,
    }
    assert await ask(client, f"metric=language.sample.heap.bytes&stat=last&{by}") == {
        ("web", "web.1"): 20,
        ("worker", "worker.1"): 12.5,
    }


async def test_a_report_counts_at_its_own_time(client: httpx2.AsyncClient, clock: Clock) -> None:
    await report(client, measurements_time="2026-11-22T09:30:10Z")
    series = "metric=language.count.gc.count&start=2026-11-22T09:30:00Z&end=2026-11-22T09:31:00Z"
    assert await ask(client, series) == {(): 3}


async def test_metrics_are_on_the_page_in_the_list_and_for_prometheus(
    client: httpx2.AsyncClient,
) -> None:
    await report(client)
    text = (await client.get("/metrics")).text
    labels = 'app="shop",name="gc.count",process_type="web",unit="",source=""'
    assert f"heroku_language_count_total{{{labels}}} 3" in text
    listed = (await client.get("/api/v1/metadata?app=shop")).json()
    assert "language.sample.puma.threads" in json.dumps(listed)
    html = (await client.get("/apps/shop")).text
    assert '<h2 id="language">Language runtimes</h2>' in html
    assert ">heap.bytes</h3>" in html


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b'{"gauges": {"a b": 1}}', b"\xff\x00"])
async def test_nothing_in_a_body_is_an_error_of_the_sender(
    client: httpx2.AsyncClient, body: bytes
) -> None:
    assert (await report(client, body)).status_code == 200


async def test_unreadable_metrics_are_counted_and_cost_no_others(
    client: httpx2.AsyncClient,
) -> None:
    await report(client, {"counters": {"a b": 1, "fine": 2}, "gauges": {"x": "y"}})
    await report(client, b"nonsense")
    await report(client, measurements_time="2020-01-01T00:00:00Z")  # three, too old
    ledger = (await client.get("/api/v1/apps/shop/ledger")).json()
    assert ledger["dropped"] == {"language": 6}
    assert await ask(client, "metric=language.count.fine") == {(): 2}


async def test_names_over_the_limit_are_dropped(store: Store, clock: Clock) -> None:
    async with client_of(store, clock, DYNOMETER_CUSTOM_NAMES_MAX="5") as client:
        await post(client, router(AT_S))
        await report(client, {"gauges": {f"n{number}": 1 for number in range(9)}})
        ledger = (await client.get("/api/v1/apps/shop/ledger")).json()
        assert ledger["dropped"] == {"language": 4}


async def test_an_app_that_never_logged_is_known_from_its_first_line_on(
    client: httpx2.AsyncClient, clock: Clock
) -> None:
    assert (await report(client, auth=("new", "any"))).status_code == 200
    await post(client, router(AT_S), app="new")
    apps = (await client.get("/api/v1/apps")).json()["apps"]
    (new,) = [app for app in apps if app["app"] == "new"]
    assert new["first_seen"] > clock.now_s - 3_600


async def test_a_path_without_a_dyno_is_not_found(client: httpx2.AsyncClient) -> None:
    for dyno in ("", "web", "web.x", "postgres.1", "a/b"):
        answer = await report(client, dyno=dyno)
        assert answer.status_code == 404
        assert "It ends in /$DYNO" in answer.text


async def test_only_posts_are_accepted(client: httpx2.AsyncClient) -> None:
    answer = await client.get("/language/web.1", auth=("shop", "any"))
    assert (answer.status_code, answer.headers["allow"]) == (405, "POST")


async def test_a_large_body_is_rejected(client: httpx2.AsyncClient) -> None:
    assert (await report(client, b" " * 70_000)).status_code == 413


async def test_the_secret_of_the_drain_is_required_in_the_header_or_in_the_path(
    store: Store, clock: Clock
) -> None:
    environ = {
        "DYNOMETER_ADMIN_TOKEN": "a token of sixteen or more",
        "DYNOMETER_PUBLIC_URL": "https://metrics.example.com",
    }
    admin = {"authorization": f"Bearer {environ['DYNOMETER_ADMIN_TOKEN']}"}
    async with client_of(store, clock, **environ) as client:
        answer = await client.post("/api/v1/drains", json={"apps": ["shop"]}, headers=admin)
        match = re.search("shop:([^@]+)@", answer.text)
        assert match
        secret = match[1]
        clock.now_s += 5  # a worker may not know the secret before
        for auth, path, status in (
            (("shop", secret), "web.1", 200),
            (None, f"shop/{secret}/web.1", 200),
            (("shop", "wrong"), "web.1", 401),
            (None, "shop/wrong/web.1", 401),
            (None, "shop//web.1", 401),
            (None, f"other/{secret}/web.1", 401),
            (None, "web.1", 401),
        ):
            answer = await report(client, dyno=path, auth=auth)
            assert answer.status_code == status, (auth, path)
            assert secret not in answer.text
