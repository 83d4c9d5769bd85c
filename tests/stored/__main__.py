"""Writes a sample of stored data, and the answers from it, to tests/stored/VERSION.json."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import httpx2

from app.storage.redis.store import connect
from app.support.about import version
from tests.support.lines import frame, memory, router
from tests.support.processes import RedisProcess
from tests.support.service import NOW_S, Clock, client_of, post
from tests.support.stored import ADMIN, SETTINGS, STORED, answers, dump


async def record(server: RedisProcess) -> dict[str, Any]:
    store = connect(f"redis://127.0.0.1:{server.port}/0")
    clock = Clock(NOW_S - 60)
    async with client_of(store, clock, **SETTINGS) as client:
        secret = await send(client, clock)
        return {"secret": secret, "keys": dump(server), "answers": await answers(client)}


async def send(client: httpx2.AsyncClient, clock: Clock) -> str:
    """Send lines of three hours, some of them folded, some not; return the drain's secret."""
    response = await client.post("/api/v1/drains", json={"apps": ["shop"]}, auth=("x", ADMIN))
    secret: str = response.json()["drains"][0]["add"].split("shop:")[1].split("@", maxsplit=1)[0]
    token = {"name": "wallboard", "apps": ["shop*"]}
    await client.post("/api/v1/tokens", json=token, auth=("x", ADMIN))
    await client.put("/api/v1/drains/shop/links/d.syslog", auth=("x", ADMIN))
    clock.now_s = NOW_S
    for number, age_s in enumerate(range(3 * 3600, 0, -1100)):
        at_s = NOW_S - age_s
        body = b"".join(
            [
                *(router(at_s + n, service=f"{17 * n * n + number}ms") for n in range(12)),
                router(at_s, head='at=error code=H12 desc="Request timeout"', status="503"),
                router(at_s, status="101", dyno="web.2"),
                memory(at_s),
                frame("Error R14 (Memory quota exceeded)", at_s=at_s, procid="web.2"),
                frame("Process exited with status 137", at_s=at_s, procid="worker.1"),
                frame("hello", at_s=at_s, app_name="app"),
                b"broken " * 3,
            ]
        )
        headers = {"Logplex_Msg_Count": "19", "Logplex_Drain_Token": "d.shop"}
        response = await post(client, body, secret=secret, **headers)
        assert response.status_code == 200, response.text
    return secret


def main() -> None:
    file = STORED / f"{version()}.json"
    if file.exists():
        sys.exit(f"{file} exists: samples are never changed")
    with TemporaryDirectory() as directory:
        server = RedisProcess(Path(directory))
        server.start()
        try:
            sample = asyncio.run(record(server))
        finally:
            server.client.close()
            server.kill()
    file.write_text(json.dumps(sample, indent=1) + "\n")


main()
