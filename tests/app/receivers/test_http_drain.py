"""POST /drain: stored before it is answered, counted once, and no body leads to a 4xx."""

from __future__ import annotations

import gzip
from collections.abc import AsyncIterator

import httpx2
import pytest

from app.storage.memory import MemoryStore
from app.storage.redis.store import RedisStore
from tests.support.lines import app_line, counted, lost, memory, router
from tests.support.servers import RunningServer
from tests.support.service import NOW_S, Clock, client_of, post


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def client(clock: Clock) -> AsyncIterator[httpx2.AsyncClient]:
    async with client_of(MemoryStore(clock), clock) as client:
        yield client


async def ledger(client: httpx2.AsyncClient, app: str = "shop") -> dict[str, object]:
    """The entries that are not 0."""
    answer = await client.get(f"/api/v1/apps/{app}/ledger")
    assert answer.status_code == 200, answer.text
    entries: dict[str, object] = answer.json()
    return {
        name: value
        for name, value in entries.items()
        if value and name not in ("app", "start", "end")
    }


async def requests(client: httpx2.AsyncClient, app: str = "shop") -> int:
    answer = await client.get(f"/api/v1/apps/{app}/query?metric=requests&step=range")
    assert answer.status_code == 200, answer.text
    value: int = answer.json()["series"][0]["values"][0]
    return value


async def test_a_batch_is_stored_and_answered_without_a_body(client: httpx2.AsyncClient) -> None:
    body = router() * 3 + memory() + app_line()
    answer = await post(client, body, Logplex_Msg_Count="5")
    assert (answer.status_code, answer.headers["content-length"]) == (200, "0")
    assert await ledger(client) == {"promised": 5, "received": 5, "counted": 4, "ignored": 1}
    assert await requests(client) == 3


async def test_an_empty_body_is_accepted(client: httpx2.AsyncClient) -> None:
    assert (await post(client, b"")).status_code == 200


async def test_a_repeated_batch_counts_once(client: httpx2.AsyncClient) -> None:
    for _ in range(3):
        answer = await post(client, router() * 2, Logplex_Frame_Id="09C557EAFCFB6CF2")
        assert answer.status_code == 200
    assert await requests(client) == 2
    assert await ledger(client) == {"received": 2, "counted": 2, "duplicate": 4}


async def test_a_repeated_batch_with_another_body_counts_once(
    client: httpx2.AsyncClient,
) -> None:
    await post(client, router(), Logplex_Frame_Id="09C557EAFCFB6CF2")
    await post(client, lost(3) + router(), Logplex_Frame_Id="09C557EAFCFB6CF2")
    assert await ledger(client) == {"received": 1, "counted": 1, "duplicate": 2}


async def test_frame_ids_belong_to_one_app(client: httpx2.AsyncClient) -> None:
    for app in ("shop", "blog"):
        await post(client, router(), app=app, Logplex_Frame_Id="09C557EAFCFB6CF2")
        assert await requests(client, app) == 1


async def test_without_a_frame_id_every_batch_counts(client: httpx2.AsyncClient) -> None:
    for _ in range(2):
        await client.post("/drain", content=router(), auth=("shop", "x"))
    assert await requests(client) == 2


async def test_losses_upstream_are_in_the_ledger(client: httpx2.AsyncClient) -> None:
    await post(client, lost(7) + router(), Logplex_Msg_Count="2")
    assert await ledger(client) == {
        "promised": 2,
        "received": 2,
        "counted": 2,
        "lost_upstream": 7,
    }


async def test_lines_outside_the_acceptance_window_are_in_the_ledger(
    client: httpx2.AsyncClient,
) -> None:
    body = (
        router(NOW_S - 86_401)
        + router(NOW_S - 86_300)
        + router(NOW_S + 290)
        + router(NOW_S + 301)
        + app_line(at_s=NOW_S - 90_000)
    )
    await post(client, body)
    assert await ledger(client) == {
        "received": 5,
        "counted": 2,
        "ignored": 1,
        "too_old": 1,
        "too_new": 1,
    }


async def test_a_replay_may_be_seven_days_old(client: httpx2.AsyncClient) -> None:
    old_s = NOW_S - 6 * 86_400
    await post(client, router(old_s), Dynometer_Replay="1")
    answer = await client.get(
        f"/api/v1/apps/shop/query?metric=requests&start={int(old_s)}&end={int(old_s) + 60}&step=1m"
    )
    assert answer.json()["series"][0]["values"] == [1]
    assert answer.json()["step_s"] == 600
    assert answer.json()["warnings"]


HOSTILE = {
    "a wrong count": (b"9 " + router()[4:] + router(), 2),
    "a wrong count of half a line": (b"9 " + router()[4:-9] + router(), 1),
    "a signed count": (b"-" + router() + router(), 2),
    "no count": (router()[4:] + router(), 2),
    "no counts at all": (router()[4:] * 3, 3),
    "a lost newline at the end": (router() + router()[:-1], 2),
    "lost newlines": (router().rstrip() * 3, 3),
    "newlines of two bytes": (router().replace(b"\n", b"\r\n") * 3, 3),
    "another host name": (router().replace(b" host ", b" shop.example.com ") * 3, 3),
    "a blank line": (b"\n" + router() + b"\n" + router(), 2),
    "a body that ends early": (router() + router()[:-30], 1),
    "binary": (bytes(range(256)) * 10 + router(), 1),
    "a cut character": (counted("<190>1 naïve".encode()[:-3]) + router(), 1),
    "a nonsense timestamp": (
        counted(b"<158>1 yesterday host heroku router - at=info\n") + router(),
        1,
    ),
    "an empty status": (router(status=""), 1),
    "a bare connect": (router(connect="0"), 1),
    "a router line an app printed": (app_line(router()) + router(), 1),
    "forged whole frames": (app_line(b"x" + router() * 3) + router(), 1),
    "a forged tail": (router(path='" dyno=web.9 connect=1ms service=1ms status=500 bytes=1'), 1),
    "a frame of 20,000 bytes": (app_line("x" * 20_000) + router(), 1),
}


@pytest.mark.parametrize("name", HOSTILE)
async def test_bad_input_is_accepted_and_costs_no_good_line(
    client: httpx2.AsyncClient, name: str
) -> None:
    body, good = HOSTILE[name]
    assert (await post(client, body)).status_code == 200
    assert await requests(client) == good
    entries = (await client.get("/api/v1/apps/shop/ledger")).json()
    unparsed = sum(entries["unparsed"].values())
    assert entries["received"] == entries["counted"] + entries["ignored"] + unparsed


async def test_a_million_tiny_frames_are_answered_and_accounted_for(
    client: httpx2.AsyncClient,
) -> None:
    assert (await post(client, b"1 x" * 1_000_000 + router())).status_code == 200
    assert await ledger(client) == {
        "received": 1_000_001,
        "counted": 1,
        "unparsed": {"header": 1_000_000},
    }


async def test_missing_or_invalid_headers_do_not_matter(client: httpx2.AsyncClient) -> None:
    for count in ("", "-1", "x", "9" * 30):
        await post(client, router(), Logplex_Msg_Count=count)
    await post(client, router(), Content_Type="image/png", Logplex_Frame_Id="x" * 300)
    assert await ledger(client) == {"received": 5, "counted": 5}


async def test_a_gzip_body_is_inflated(client: httpx2.AsyncClient) -> None:
    await post(client, gzip.compress(router() * 4), Content_Encoding="gzip")
    assert await requests(client) == 4


async def test_a_damaged_gzip_body_is_one_unparsed_message(
    client: httpx2.AsyncClient,
) -> None:
    answer = await post(client, b"no gzip", Content_Encoding="gzip")
    assert answer.status_code == 200
    assert await ledger(client) == {"received": 1, "unparsed": {"frame": 1}}


@pytest.mark.parametrize(
    ("body", "headers"),
    [
        (b"x" * (2**20 + 1), {}),
        (gzip.compress(b"x" * (2**20 + 1)), {"Content_Encoding": "gzip"}),
    ],
)
async def test_a_body_over_the_limit_is_rejected(
    clock: Clock, body: bytes, headers: dict[str, str]
) -> None:
    async with client_of(MemoryStore(clock), clock, DYNOMETER_BODY_BYTES_MAX="1MiB") as client:
        assert (await post(client, body, **headers)).status_code == 413


async def test_a_get_is_answered_with_an_explanation(client: httpx2.AsyncClient) -> None:
    answer = await client.get("/drain")
    assert answer.status_code == 405
    assert answer.headers["allow"] == "POST"
    assert "log drain" in answer.text


async def test_in_local_mode_the_app_is_the_user_or_the_drain_token(
    client: httpx2.AsyncClient,
) -> None:
    token = "d.0f0f0f0f-0f0f-4f0f-8f0f-0f0f0f0f0f0f"
    answer = await client.post("/drain", content=router(), headers={"Logplex-Drain-Token": token})
    assert answer.status_code == 200
    assert await requests(client, token) == 1


@pytest.mark.parametrize("user", ["", "Shop", "_doctor", "a/b", "a" * 64, "{a}"])
async def test_an_invalid_app_name_is_rejected(client: httpx2.AsyncClient, user: str) -> None:
    answer = await client.post("/drain", content=router(), auth=(user, "x"))
    assert answer.status_code == 401
    assert "www-authenticate" in answer.headers


async def test_a_batch_is_answered_503_if_neither_store_nor_spool_accepts_it(
    clock: Clock, redis_store: RedisStore, server: RunningServer
) -> None:
    settings = {"DYNOMETER_COMMIT_WAIT": "1s", "DYNOMETER_SPOOL_MAX_BYTES": "0"}
    async with client_of(redis_store, clock, **settings) as client:
        server.client.config_set("maxmemory", 1)
        answer = await post(client, router(), Logplex_Frame_Id="0F")
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "5")
        assert "maxmemory" in answer.text
        server.client.config_set("maxmemory", 0)
        assert (await post(client, router(), Logplex_Frame_Id="0F")).status_code == 200
        assert await requests(client) == 1


async def test_lines_with_absurd_sizes_break_neither_the_drain_nor_queries(
    client: httpx2.AsyncClient,
) -> None:
    """10,000 responses of almost 10^15 bytes are more than 63 bits."""
    for _ in range(2):
        await post(client, router(size="9" * 15) * 10_000, app="liar")
        await post(client, router(), app="shop")
    assert await requests(client, "liar") == 20_000
    assert (await client.get("/api/v1/query?metric=response_bytes")).status_code == 200
    for path in ("/", "/metrics"):
        assert (await client.get(path)).status_code == 200
