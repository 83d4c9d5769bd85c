"""Pages, /readyz, /metrics and the API while the store lacks its data."""

from __future__ import annotations

from pathlib import Path

from app.access.access_file import StoredAccess, write_copy
from app.access.drain_secrets import create_record, encode
from app.storage.memory import MemoryStore
from tests.support.lines import router
from tests.support.service import Clock, client_of, post

TOKEN = "the admin token of the test"


async def test_everybody_is_told_and_known_drains_go_on(tmp_path: Path) -> None:
    clock = Clock()
    record = encode(create_record("secret", int(clock.now_s), last_generation=0))
    write_copy(tmp_path, StoredAccess("an earlier store", "", {"shop": record}))
    settings = {"DYNOMETER_ADMIN_TOKEN": TOKEN, "DYNOMETER_DATA_DIR": str(tmp_path)}
    async with client_of(MemoryStore(clock), clock, **settings) as client:
        assert (await post(client, router(), secret="secret")).status_code == 200
        assert (await post(client, router(), secret="wrong")).status_code == 503
        client.headers["Authorization"] = f"Bearer {TOKEN}"
        ready = await client.get("/readyz")
        store = ready.json()["store"]
        assert (ready.status_code, store["status"], store["lost_data"]) == (200, "degraded", True)
        assert "dynometer restore" in store["problems"][0]
        assert "The store lost its data" in (await client.get("/")).text
        assert "dynometer_store_lost_data 1.0" in (await client.get("/metrics")).text
        answer = await client.delete("/api/v1/tokens/abcdefgh")
        assert (answer.status_code, "restore" in answer.text) == (409, True)
