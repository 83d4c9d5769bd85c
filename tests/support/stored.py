"""Loads and dumps the contents of a store, and collects the answers of the service from them."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import httpx2

from tests.support.processes import RedisProcess
from tests.support.service import NOW_S

STORED = Path(__file__).parents[1] / "stored"
ADMIN = "a-token-of-the-admin"
SETTINGS = {
    "DYNOMETER_ADMIN_TOKEN": ADMIN,
    "DYNOMETER_PUBLIC_URL": "https://metrics.example.com",
    "DYNOMETER_FOLD_BATCHES": "4",
    "DYNOMETER_FOLD_INTERVAL": "1d",
}
SINCE = "start=now-3h"
# The samples begin with the minute that contains that time, which three hours now leave out.
SINCE_S = NOW_S - 3 * 3600
QUESTIONS = [
    "query?metric=requests&by=status&by=dyno&start=now-3h&step={step}",
    "query?metric=service_time_ms&stat=p50&stat=p95&stat=max&by=outcome&start=now-3h&step={step}",
    "query?metric=memory_total_bytes&stat=avg&stat=last&by=dyno&start=now-3h&step={step}",
    "query?metric=heroku_errors&by=code&start=now-3h&step={step}",
    "query?metric=dynos&by=process_type&stat=max&start=now-3h&step={step}",
    "query?metric=dyno_exits&by=exit_status&start=now-3h&step={step}",
    "ledger?start=now-3h",
    "events?start=now-3h",
]


async def answers(client: httpx2.AsyncClient) -> dict[str, Any]:
    """The answers of the service that cover all stored data."""
    results: dict[str, Any] = {}
    for template in QUESTIONS:
        for step in ("1m", "10m", "1h", "range"):
            query = template.format(step=step)
            path = query.replace(SINCE, f"start={SINCE_S}")
            answer = await client.get(f"/api/v1/apps/shop/{path}", auth=("x", ADMIN))
            results[query] = answer.json()
    metrics = (await client.get("/metrics", auth=("x", ADMIN))).text
    results["metrics"] = sorted(
        line
        for line in metrics.splitlines()
        if line.startswith("heroku_") and not line.startswith("heroku_app_state")  # once judged
    )
    drains = (await client.get("/api/v1/drains", auth=("x", ADMIN))).json()["drains"]
    results["drains"] = drains
    results["tokens"] = (await client.get("/api/v1/tokens", auth=("x", ADMIN))).json()
    return results


def load(server: RedisProcess, keys: dict[str, Any]) -> None:
    for name, (kind, value) in keys.items():
        key = base64.b64decode(name)
        if kind == "list":
            server.client.rpush(key, *map(base64.b64decode, value))
        elif kind == "hash":
            pairs: Any = {
                base64.b64decode(field): base64.b64decode(content) for field, content in value
            }
            server.client.hset(key, mapping=pairs)
        elif kind == "zset":
            server.client.zadd(key, {base64.b64decode(member): score for member, score in value})
        else:
            server.client.set(key, base64.b64decode(value))


def dump(server: RedisProcess) -> dict[str, Any]:
    def text(value: bytes) -> str:
        return base64.b64encode(value).decode()

    client: Any = server.client
    keys: dict[str, Any] = {}
    for key in sorted(client.keys("*")):
        kind = client.type(key).decode()
        if kind == "list":
            value: Any = [text(element) for element in client.lrange(key, 0, -1)]
        elif kind == "hash":
            value = [[text(field), text(content)] for field, content in client.hgetall(key).items()]
        elif kind == "zset":
            value = [
                [text(name), score] for name, score in client.zrange(key, 0, -1, withscores=True)
            ]
        elif kind == "string":
            value = text(client.get(key))
        else:
            continue  # heartbeats of workers
        if b":beat" not in key:
            keys[text(key)] = [kind, value]
    return keys
