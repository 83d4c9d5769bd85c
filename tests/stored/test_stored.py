"""What earlier versions stored stays readable: folded or not, in every resolution, with the drains
and tokens beside it.

tests/stored/ holds, for each version that changed what is stored, all lists and hashes of a small
store and what was answered from them. 'python -m tests.stored' adds those of the present version;
they are never changed afterwards.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

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
    """Of a service that starts on what is stored."""
    store = connect(f"redis://127.0.0.1:{server.port}/0")
    async with client_of(store, Clock(), **SETTINGS) as client:
        yield client


VERSIONS = {file.stem: json.loads(file.read_text()) for file in sorted(STORED.glob("*.json"))}


@pytest.mark.parametrize("version", VERSIONS)
async def test_what_a_version_stored_is_answered_as_it_was_then(
    version: str, server: RedisProcess
) -> None:
    recorded = VERSIONS[version]
    load(server, recorded["keys"])
    async with client_on(server) as client:
        assert await answers(client) == recorded["answers"]


@pytest.mark.parametrize("version", VERSIONS)
async def test_what_a_version_stored_merges_with_what_comes_now(
    version: str, server: RedisProcess
) -> None:
    recorded = VERSIONS[version]
    load(server, recorded["keys"])
    secret = recorded["secret"]
    question = "/api/v1/apps/shop/query?metric=requests&start=now-3h&step=range"
    async with client_on(server) as client:
        before = (await client.get(question, auth=("x", ADMIN))).json()["series"][0]["values"][0]
        for _ in range(6):  # more than are folded at once
            body = router(NOW_S - 5) * 3
            answer = await post(client, body, secret=secret, Logplex_Drain_Token="d.shop")
            assert answer.status_code == 200
        after = (await client.get(question, auth=("x", ADMIN))).json()["series"][0]["values"][0]
    assert after == before + 18
