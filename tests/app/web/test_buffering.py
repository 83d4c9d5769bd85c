"""The store is unavailable: senders notice nothing, readers get an error, no line is lost."""

from __future__ import annotations

import asyncio

import httpx2

from app.storage.redis.store import RedisStore, connect
from tests.support.lines import router
from tests.support.servers import RunningServer
from tests.support.service import NOW_S, Clock, client_in, client_of, post

ALL = {"start": "now-1h", "end": "now+5m"}


async def ledger(client: httpx2.AsyncClient) -> dict[str, int]:
    answer = await client.get("/api/v1/apps/shop/ledger", params=ALL)
    if answer.status_code == 404:  # not heard of yet
        return {"received": 0, "duplicate": 0}
    assert answer.status_code == 200
    counts: dict[str, int] = answer.json()
    return counts


async def eventually(client: httpx2.AsyncClient, messages: int) -> dict[str, int]:
    """The ledger, once it contains this number of messages, duplicates included."""
    async with asyncio.timeout(20):
        while (counts := await ledger(client))["received"] + counts["duplicate"] < messages:
            await asyncio.sleep(0.02)
    return counts


async def test_batches_received_while_the_store_rejects_are_counted_afterwards(
    redis_store: RedisStore, server: RunningServer
) -> None:
    async with client_of(redis_store, Clock()) as client:
        await post(client, router())
        server.client.config_set("maxmemory", 1)
        answers = [await post(client, router(), Logplex_Frame_Id=f"{n}") for n in range(20)]
        answers += [await post(client, router(), Logplex_Frame_Id=f"{n}") for n in range(5)]
        assert {answer.status_code for answer in answers} == {200}

        ready = await client.get("/readyz")
        assert ready.status_code == 200
        assert ready.json()["store"]["status"] == "degraded"
        assert ready.json()["spool"]["status"] == "buffering"
        assert ready.json()["spool"]["since"] == NOW_S
        metrics = (await client.get("/metrics")).text
        assert "dynometer_spool_bytes 0.0" not in metrics
        assert "Buffering on disk since 10:00 UTC" in (await client.get("/")).text

        server.client.config_set("maxmemory", 0)
        counts = await eventually(client, 26)
        assert (counts["received"], counts["duplicate"], counts["spooled"]) == (21, 5, 20)
        async with asyncio.timeout(20):  # the file is freed after its batches were counted
            while (await client.get("/readyz")).json()["spool"]["status"] != "empty":
                await asyncio.sleep(0.02)


async def test_queries_report_the_outage_and_the_data_on_disk() -> None:
    store = connect("unix:///nonexistent/store.sock")
    async with client_of(store, Clock()) as client:
        assert (await post(client, router())).status_code == 200
        answer = await client.get("/api/v1/apps/shop/ledger")
        assert answer.status_code == 503
        assert "Buffering on disk" in answer.json()["detail"]
        assert answer.json()["spool"]["bytes"] > 0
        page = await client.get("/")
        assert page.status_code == 503
        assert "No log lines are lost" in page.text


async def test_a_restart_while_the_store_is_unavailable_loses_nothing(
    redis_store: RedisStore, tmp_path: object
) -> None:
    settings = {"DYNOMETER_DATA_DIR": str(tmp_path)}
    unreachable = connect("unix:///nonexistent/store.sock")
    async with client_in(unreachable, Clock(), **settings) as client:
        assert (await post(client, router())).status_code == 200
    async with client_in(redis_store, Clock(), **settings) as client:
        assert (await eventually(client, 1))["spooled"] == 1


async def test_without_disk_space_the_service_is_not_ready() -> None:
    store = connect("unix:///nonexistent/store.sock")
    settings = {"DYNOMETER_SPOOL_MAX_BYTES": "100", "DYNOMETER_COMMIT_WAIT": "1s"}
    async with client_of(store, Clock(), **settings) as client:
        answer = await post(client, router())
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "5")
        ready = await client.get("/readyz")
        assert ready.status_code == 503
        assert ready.json()["store"]["identity"] is None
        assert ready.json()["spool"]["status"] == "full"
