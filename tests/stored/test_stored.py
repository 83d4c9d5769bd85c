"""Data that earlier versions stored stays readable.

tests/stored/ holds a sample for each version that changed the stored data: all keys of a small
store, with folded and unfolded data, drains and tokens, and the answers from it. `python -m
tests.stored` adds a sample of the present version. Samples are never changed afterwards.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest

from app.storage.redis.store import connect
from tests.support.lines import router
from tests.support.processes import RedisProcess
from tests.support.service import NOW_S, Clock, client_of, post
from tests.support.stored import ADMIN, SETTINGS, STORED, answers, load


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RedisProcess]:
    server = RedisProcess(tmp_path)
    server.start()
    yield server
    server.client.close()
    server.kill()


@asynccontextmanager
async def client_on(server: RedisProcess) -> AsyncIterator[httpx2.AsyncClient]:
    """Yield a client of a service that starts on this store."""
    store = connect(f"redis://127.0.0.1:{server.port}/0")
    async with client_of(store, Clock(), **SETTINGS) as client:
        yield client


SAMPLES = {file.stem: json.loads(file.read_text()) for file in sorted(STORED.glob("*.json"))}


@pytest.mark.parametrize("version", SAMPLES)
async def test_stored_data_gives_the_same_answers_as_then(
    version: str, server: RedisProcess
) -> None:
    sample = SAMPLES[version]
    load(server, sample["keys"])
    async with client_on(server) as client:
        assert _without_later_fields(await answers(client)) == sample["answers"]


def _without_later_fields(answers: dict[str, Any]) -> dict[str, Any]:
    """The answers without the fields that are newer than the first sample."""
    for answer in answers.values():
        for series in answer.get("series", ()) if isinstance(answer, dict) else ():
            assert series.pop("complete_until") == answer["complete_until"]
    assert answers["ledger?start=now-3h"].pop("dropped") == {}
    for drain in answers["drains"]:
        assert drain.pop("space_apps") == []
    return answers


@pytest.mark.parametrize("version", SAMPLES)
async def test_stored_data_merges_with_new_data(version: str, server: RedisProcess) -> None:
    sample = SAMPLES[version]
    load(server, sample["keys"])
    secret = sample["secret"]
    query = "/api/v1/apps/shop/query?metric=requests&start=now-3h&step=range"
    async with client_on(server) as client:
        before = (await client.get(query, auth=("x", ADMIN))).json()["series"][0]["values"][0]
        for _ in range(6):  # more than the batches that trigger a fold
            body = router(NOW_S - 5) * 3
            response = await post(client, body, secret=secret, Logplex_Drain_Token="d.shop")
            assert response.status_code == 200
        after = (await client.get(query, auth=("x", ADMIN))).json()["series"][0]["values"][0]
    assert after == before + 18
