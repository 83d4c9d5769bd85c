"""Events, of the platform or added by hand: kept once, bounded, and without user names."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import httpx2
import pytest

from app.storage.memory import MemoryStore
from tests.support.lines import AT_S, frame, router
from tests.support.service import NOW_S, Clock, client_of, post

URL = "/api/v1/apps/shop/events"


@pytest.fixture
async def client() -> AsyncIterator[httpx2.AsyncClient]:
    clock = Clock()
    async with client_of(MemoryStore(clock), clock) as client:
        yield client


def api(text: str, at_s: float = AT_S) -> bytes:
    return frame(text, app_name="app", procid="api", at_s=at_s)


async def events(client: httpx2.AsyncClient, query: str = "") -> list[dict[str, Any]]:
    answer = await client.get(URL + query)
    assert answer.status_code == 200, answer.text
    entries: list[dict[str, Any]] = answer.json()["events"]
    return entries


async def test_platform_events_are_listed_in_order_of_time(
    client: httpx2.AsyncClient,
) -> None:
    await post(
        client,
        frame("State changed from starting to crashed", at_s=AT_S + 9.5)
        + frame("Process exited with status 137", at_s=AT_S + 9)
        + api("Release v212 created by user jane@example.com", AT_S + 1)
        + api("Deploy edab5218 by user jane@example.com", AT_S),
    )

    rows = [(e["time"], e["kind"], e["dyno"], e["detail"]) for e in await events(client)]

    assert rows == [
        (AT_S, "deploy", "", "edab5218"),
        (AT_S + 1, "release", "", "v212"),
        (AT_S + 9, "exit", "web.1", "137"),
        (AT_S + 9.5, "crash", "web.1", ""),
    ]


async def test_a_batch_that_comes_twice_tells_its_events_once(client: httpx2.AsyncClient) -> None:
    for _ in range(2):
        await post(client, api("Rollback to v1 by user x"), Logplex_Frame_Id="F" * 32)
    assert [event["count"] for event in await events(client)] == [1]


async def test_maintenance_is_an_event_that_no_line_says(client: httpx2.AsyncClient) -> None:
    head = 'at=info code=H80 desc="Maintenance mode"'
    refused = {"head": head, "dyno": "", "connect": "0ms", "service": "0ms", "status": "503"}
    minutes = [router(AT_S - 1800)]
    minutes += [router(AT_S - 60 * age, **refused) for age in (20, 15, 10)]
    for body in reversed(minutes):
        await post(client, body)

    async def rows() -> list[tuple[float, str, str]]:
        entries = await events(client, "?kind=maintenance")
        return [(entry["time"], entry["detail"], entry["process_type"]) for entry in entries]

    assert await rows() == [(AT_S - 1200, "began", ""), (AT_S - 600, "last seen", "")]
    await post(client, router(AT_S))
    assert await rows() == [(AT_S - 1200, "began", ""), (AT_S, "ended", "")]
    feed = (await client.get("/api/v1/apps/shop/feed")).text
    assert "maintenance began" in feed
    assert "maintenance ended" in feed


async def test_events_are_filtered_by_kind_and_range(client: httpx2.AsyncClient) -> None:
    await post(client, api("Release v1 created") + api("Build succeeded", AT_S - 7200))

    assert [e["kind"] for e in await events(client)] == ["release"]
    assert [e["kind"] for e in await events(client, "?start=now-3h")] == ["build", "release"]
    assert [e["kind"] for e in await events(client, "?start=now-3h&kind=build")] == ["build"]
    answer = await client.get(f"{URL}?kind=party")
    assert (answer.status_code, answer.json()["parameter"]) == (400, "kind")


async def test_a_minute_keeps_so_many_events_and_counts_the_others(
    client: httpx2.AsyncClient,
) -> None:
    crash = "State changed from up to crashed"
    crashes = [frame(crash, procid=f"web.{n}", at_s=AT_S + n / 10) for n in range(300)]
    await post(client, b"".join(crashes) + api("Release v9 created", AT_S + 30))

    answer = (await client.get(URL)).json()

    assert len(answer["events"]) == 128
    assert answer["more"] == 301 - 128
    assert "v9" in [event["detail"] for event in answer["events"]]


async def test_a_note_is_stored_at_its_time(client: httpx2.AsyncClient) -> None:
    await post(client, router())
    response = await client.post(URL, json={"detail": "Sale begins", "time": "now-10m"})
    assert response.status_code == 201
    deploy = {"kind": "deploy", "detail": "edge config 4f2"}
    assert (await client.post(URL, json=deploy)).status_code == 201

    rows = [(e["time"], e["kind"], e["detail"]) for e in await events(client)]
    assert rows == [
        (NOW_S - 600, "note", "Sale begins"),
        (NOW_S, "deploy", "edge config 4f2"),
    ]


async def test_a_note_that_is_sent_again_with_its_key_is_kept_once(
    client: httpx2.AsyncClient,
) -> None:
    await post(client, router())
    for _ in range(3):
        note = {"detail": "Sale begins", "time": "now"}
        answer = await client.post(URL, json=note, headers={"Idempotency-Key": "sale-1"})
        assert answer.status_code == 201
    assert [event["count"] for event in await events(client)] == [1]


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"detail": ""},
        {"detail": "x" * 201},
        {"detail": "two\nlines"},
        {"detail": "x", "kind": "crash"},
        {"detail": "x", "time": "yesterday"},
        {"detail": "x", "time": "now-30d"},
        {"detail": "x", "time": "now+1h"},
        {"detail": "x", "who": "me"},
    ],
)
async def test_an_invalid_note_is_rejected(
    client: httpx2.AsyncClient, body: dict[str, str]
) -> None:
    await post(client, router())
    answer = await client.post(URL, json=body)
    assert answer.status_code == 400
    assert await events(client) == []


async def test_a_note_needs_an_app_that_is_known(client: httpx2.AsyncClient) -> None:
    answer = await client.post(URL, json={"detail": "x"})
    assert answer.status_code == 404


async def test_restarts_and_exits_are_metrics_and_series(client: httpx2.AsyncClient) -> None:
    await post(
        client,
        frame("State changed from up to starting")
        + frame("State changed from crashed to starting", procid="web.2")
        + frame("Process exited with status 137")
        + frame("Process exited with status 0", procid="worker.1")
        + api("Release v3 created", AT_S + 5),
    )

    async def values(query: str) -> dict[tuple[str, ...], float]:
        answer = (await client.get(f"/api/v1/apps/shop/query?step=range&{query}")).json()
        return {
            tuple(series["labels"].values()): series["values"][-1] for series in answer["series"]
        }

    assert await values("metric=dyno_restarts&by=dyno") == {("web.1",): 1, ("web.2",): 1}
    assert await values("metric=dyno_exits&by=dyno&by=exit_status") == {
        ("web.1", "137"): 1,
        ("worker.1", "0"): 1,
    }
    assert await values("metric=dyno_exits&exit_status=137") == {(): 1}
    metrics = (await client.get("/metrics")).text
    assert 'heroku_dyno_restarts_total{app="shop",process_type="web"} 2' in metrics
    assert 'heroku_dyno_exits_total{app="shop",process_type="web",exit_status="137"} 1' in metrics
    assert 'heroku_release_timestamp_seconds{app="shop"} 1795341605.0' in metrics


async def test_an_exit_is_told_by_lines_of_other_batches_and_of_the_minute_before(
    client: httpx2.AsyncClient,
) -> None:
    minute_s = NOW_S // 60 * 60 - 120
    await post(client, frame("Process exited with status 137", at_s=minute_s + 5))
    await post(client, frame("Stopping remaining processes with SIGKILL", at_s=minute_s + 4.9))
    await post(client, frame("Stopping all processes with SIGTERM", at_s=minute_s - 25))

    (stop,) = await events(client)
    assert (stop["time"], stop["kind"], stop["dyno"], stop["detail"]) == (
        minute_s - 25,
        "stop",
        "web.1",
        "SIGTERM, SIGKILL, status 137",
    )
    assert await events(client, f"?start={int(minute_s)}") == []  # it began before


async def test_a_failed_release_is_told_with_its_deploy(client: httpx2.AsyncClient) -> None:
    await post(client, api("Release v3 command failed by user u", NOW_S - 10))
    await post(client, api("Running release v3 commands by user u", NOW_S - 100))
    await post(client, api("Deployed worker (2ef8bad7ccfa) by user u", NOW_S - 100))
    rows = [(event["kind"], event["detail"]) for event in await events(client)]
    assert rows == [
        ("deploy", "worker 2ef8bad7ccfa (release v3 failed)"),
        ("release", "v3 failed"),
    ]
