"""The example answers of the reference are answers that the service gives.

DYNOMETER_TEST_GOLDEN=write records them again. Review the diff.
"""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any

import httpx2

from app.alerting.state import Alert, AppAlerts, HistoryEntry, pack_app_alerts, pack_json
from app.judgement.verdict import Change, Episode, Finding
from app.judgement.wording import describe_finding
from app.storage.interface.alerts import AlertChange, AlertTable
from app.storage.memory import MemoryStore
from app.web.api import answers
from app.web.pages.api_reference import Route, documented_routes
from tests.support.lines import AT_S, frame, load, memory, router
from tests.support.service import Clock, client_of, post
from tests.support.verdicts import store_verdict, verdict

GOLDEN = Path(answers.__file__).with_suffix(".json")
TOKEN = "an-admin-token-of-some-length"
MINUTE_S = int(AT_S) // 60 * 60
SINCE_S = MINUTE_S - 1800
FIRST = ("POST /api/v1/drains", "POST /api/v1/tokens", "POST /api/v1/alerts/channels")
LAST = "DELETE /api/v1/apps/{app}"
LISTED_MAX, TEXT_MAX = 2, 700
RANDOM = (
    (re.compile(r"(?<=shop:)[\w-]{43}(?=@)|(?<=\"(?:key)\":\")[\w-]{43}"), "SECRET"),
    (re.compile(r"(?<=\"token\":\")[\w.-]{40,}"), "SECRET"),
    (re.compile(r'(?<="id":")[a-z0-9]{8}(?=")'), "k3v9x2qa"),
)


async def test_the_examples_of_the_reference_are_real_answers() -> None:
    recorded = await record()
    if os.environ.get("DYNOMETER_TEST_GOLDEN") == "write":
        text = json.dumps(dict(sorted(recorded.items())), indent=1, ensure_ascii=False)
        GOLDEN.write_text(text + "\n")
    golden = json.loads(GOLDEN.read_text())
    for name in ("GET /readyz", "GET /version"):  # depend on this machine
        assert shape_of(recorded.pop(name)) == shape_of(golden.pop(name))
    assert recorded == golden


async def record() -> dict[str, Any]:
    """The answers to the example calls of all routes, by route."""
    clock = Clock()
    store = MemoryStore(clock)
    settings = {
        "DYNOMETER_ADMIN_TOKEN": TOKEN,
        "DYNOMETER_PUBLIC_URL": "https://metrics.example.com",
    }
    recorded: dict[str, Any] = {}
    async with client_of(store, clock, **settings) as client:
        client.headers["Host"] = "metrics.example.com"
        client.headers["Authorization"] = f"Bearer {TOKEN}"
        openapi = (await client.get("/openapi.json")).json()
        routes = {f"{route.method} {route.path}": route for route in documented_routes(openapi)}
        for name in (*FIRST, "", *sorted(routes.keys() - {*FIRST, LAST}, key=rank), LAST):
            if name:
                recorded[name] = shorten(await call(client, routes[name]))
            else:
                clock.now_s += 1
                await live(client, store)
    return recorded


def rank(name: str) -> tuple[int, int, str]:
    """What makes things first, what removes them last: parts before the whole."""
    method, _, path = name.partition(" ")
    return ["POST", "PUT", "GET", "DELETE"].index(method), -path.count("{"), name


async def call(client: httpx2.AsyncClient, route: Route) -> Any:
    """The answer to the example call of a route, without what is random."""
    path = route.example
    if "{token_id}" in route.path:
        (token,) = (await client.get("/api/v1/tokens")).json()["tokens"]
        path = path.replace("k3v9x2qa", token["id"])
    headers = {"Content-Type": "application/json"} if route.body else {}
    answer = await client.request(route.method, path, content=route.body or None, headers=headers)
    assert answer.status_code < 300, (route.method, path, answer.text)
    text = answer.text
    for pattern, replacement in RANDOM:
        text = pattern.sub(replacement, text)
    return json.loads(text) if "json" in answer.headers.get("Content-Type", "") and text else text


async def live(client: httpx2.AsyncClient, store: MemoryStore) -> None:
    """Two apps have an hour of lines; since a release, some requests to one of them fail."""
    made = await client.post("/api/v1/drains", json={"apps": ["blog"]})
    (blog,) = re.findall(r"blog:([\w-]{43})@", made.text)
    made = await client.post("/api/v1/drains/shop/rotate", json={"at_once": True})
    (shop,) = re.findall(r"shop:([\w-]{43})@", made.text)
    await client.post("/api/v1/drains", json={"space": "acme-space", "apps": ["crm"]})
    served = [
        router(at_s, dyno=f"web.{at_s % 3 + 1}", service=f"{40 + at_s % 100}ms")
        for at_s in range(MINUTE_S - 3600, MINUTE_S, 10)
    ]
    timeout = 'at=error code=H12 desc="Request timeout"'
    failed = [
        router(at_s, dyno="web.3", head=timeout, status="503", service="30001ms")
        for at_s in range(SINCE_S, MINUTE_S, 60)
    ]
    by_kim = "created by user kim@example.com"
    release = frame(f"Release v57 {by_kim}", app_name="app", procid="api", at_s=SINCE_S - 10)
    gauges = [memory(MINUTE_S - 60), load(MINUTE_S - 60)]
    await post(client, b"".join([release, *served, *failed, *gauges]), app="shop", secret=shop)
    await post(client, b"".join(served), app="blog", secret=blog)
    await judge(store)


async def judge(store: MemoryStore) -> None:
    """What the worker that judges would have stored."""
    change = Change(SINCE_S - 10, "release", "v57", (("config", "set STRIPE_KEY"),))
    failing = Finding(
        *("failing", "degraded", SINCE_S, SINCE_S, SINCE_S + 60),
        process_type="web", dynos=("web.3",), who="dyno", code="H12", value=0.09, usual=0.001,
        limit=0.02, worst=0.11, count=30, after=change, not_reasons=("memory", "load"),
    )  # fmt: skip
    slow = Finding("slow", "degraded", SINCE_S - 1200, until_s=SINCE_S - 600, value=900.0,
                   process_type="web", metric="p95_ms", usual=300.0)  # fmt: skip
    summary = describe_finding(failing, MINUTE_S)
    episode = Episode(slow, describe_finding(slow, MINUTE_S))
    await store_verdict(store, verdict("shop", "degraded", MINUTE_S, summary, [failing]), [episode])
    fine = "All normal: 6 requests a minute, p95 138 ms, none failed."
    await store_verdict(store, verdict("blog", "ok", MINUTE_S, fine))
    alert = Alert("requests-fail", "web", "firing", SINCE_S, SINCE_S + 120, is_notified=True,
                  value=0.09, limit=0.02, worst=0.11, summary=summary)  # fmt: skip
    fired = HistoryEntry(
        SINCE_S + 130, "fired", summary, rule="requests-fail", key="web", since_s=SINCE_S,
        value=0.09, limit=0.02, severity="warn", told=True,
    )  # fmt: skip
    state = pack_app_alerts(AppAlerts(MINUTE_S, alerts=(alert,)))
    await store.change_alerts(
        [AlertChange(AlertTable.STATES, "shop", state)], history={"shop": [pack_json(fired)]}
    )


def shorten(value: Any) -> Any:
    """The value with the begin of long lists and texts only."""
    if isinstance(value, dict):
        return {key: shorten(member) for key, member in value.items()}
    if isinstance(value, list):
        is_flat = all(isinstance(member, str | int | float | None) for member in value)
        return [shorten(member) for member in value[: 6 if is_flat else LISTED_MAX]]
    if isinstance(value, str) and value.startswith("# HELP"):
        return "".join(re.findall(r".*heroku_router_requests_total.*\n", value))
    return value[:TEXT_MAX] if isinstance(value, str) else value


def shape_of(value: Any) -> Any:
    """The names of an answer, without its values."""
    if isinstance(value, dict):
        return {key: shape_of(member) for key, member in value.items()}
    return None
