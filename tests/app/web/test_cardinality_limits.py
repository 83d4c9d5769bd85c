"""An interval keeps a limited number of names. Sums stay exact, further names are combined as
`other`, and other apps are not affected.
"""

from __future__ import annotations

from collections.abc import AsyncIterator

import httpx2
import pytest

from app.storage.interface.elements import Slot
from app.storage.memory import MemoryStore
from tests.support.lines import AT_S, frame, memory, router
from tests.support.service import Clock, client_of, post
from tests.support.store_calls import read_inbox

CAPS = {
    "DYNOMETER_PROCESS_TYPES_MAX": "3",
    "DYNOMETER_DYNOS_MAX": "5",
    "DYNOMETER_STATUSES_MAX": "4",
    "DYNOMETER_CODES_MAX": "2",
}
MINUTE = Slot("1m", int(AT_S) // 60 * 60)


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore(Clock())


@pytest.fixture
async def client(store: MemoryStore) -> AsyncIterator[httpx2.AsyncClient]:
    async with client_of(store, Clock(), **CAPS) as client:
        yield client


async def query_by(
    client: httpx2.AsyncClient, metric: str, by: str
) -> tuple[dict[str, float], str]:
    """(value by label, warnings) of the last hour."""
    url = f"/api/v1/apps/shop/query?metric={metric}&by={by}&step=range"
    answer = (await client.get(url)).json()
    values = {series["labels"][by]: series["values"][-1] for series in answer["series"]}
    return values, " ".join(answer["warnings"])


async def test_dynos_over_the_limit_are_combined_with_a_warning(
    client: httpx2.AsyncClient,
) -> None:
    await post(client, b"".join(router(dyno=f"web.{n}") for n in range(1, 101)))

    values, warnings = await query_by(client, "requests", "dyno")

    assert values == {**{f"web.{n}": 1 for n in range(1, 6)}, "web.other": 95}
    assert "an interval keeps at most 5 dynos (DYNOMETER_DYNOS_MAX)" in warnings


async def test_process_types_over_the_limit_are_combined_with_a_warning(
    client: httpx2.AsyncClient,
) -> None:
    await post(client, b"".join(router(dyno=f"type{n}.1") for n in range(8)))

    values, warnings = await query_by(client, "requests", "process_type")

    assert values == {"type0": 1, "type1": 1, "type2": 1, "other": 5}
    assert "DYNOMETER_PROCESS_TYPES_MAX" in warnings


async def test_statuses_over_the_limit_become_their_class(client: httpx2.AsyncClient) -> None:
    await post(client, b"".join(router(status=str(status)) for status in range(200, 230)))

    values, warnings = await query_by(client, "requests", "status")

    assert values == {"200": 1, "201": 1, "202": 1, "203": 1, "2xx": 26}
    assert "DYNOMETER_STATUSES_MAX" in warnings


async def test_codes_over_the_limit_are_combined(client: httpx2.AsyncClient) -> None:
    codes = [f"R{n}" for n in range(10, 20)]
    await post(client, b"".join(frame(f"Error {code} (what it means)") for code in codes))

    values, warnings = await query_by(client, "heroku_errors", "code")

    assert values == {"R10": 1, "R11": 1, "other": 8}
    assert "DYNOMETER_CODES_MAX" in warnings


async def test_an_app_with_endless_names_grows_neither_without_bound_nor_another_app(
    client: httpx2.AsyncClient, store: MemoryStore
) -> None:
    await post(client, router() + memory(), app="blog")
    before = await store.read("blog", [MINUTE])
    sizes = []
    for part in range(6):
        names = [f"web.{n}" for n in range(part * 100, part * 100 + 100)]
        body = b"".join(router(dyno=name) + memory(dyno=name) for name in names)
        await post(client, body, app="shop")
        (*_, last) = await read_inbox(store, "shop", 100)
        sizes.append(len(last))

    assert max(sizes) < 2 * min(sizes)
    assert max(sizes) < 3_000
    assert await store.read("blog", [MINUTE]) == before


async def test_the_catalogue_contains_the_limits(
    client: httpx2.AsyncClient,
) -> None:
    limits = (await client.get("/api/v1/metadata")).json()["limits"]
    dynos = {"process_types": 3, "dynos": 5, "statuses": 4, "codes": 2}
    assert limits == {**dynos, "open_names": 200, "open_series": 2_000}
