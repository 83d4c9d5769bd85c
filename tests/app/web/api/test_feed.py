"""The feed: valid Atom, stable ids; a read token in its URL is accepted on no other route."""

from __future__ import annotations

from xml.etree import ElementTree

from app.access.read_tokens import new_token, pack_token
from app.alerting.state import HistoryEntry, pack_json
from app.storage.interface.apps import SeenApp
from app.storage.memory import MemoryStore
from tests.support.lines import AT_S, frame, router
from tests.support.service import NOW_S, Clock, client_of, post

ATOM = "{http://www.w3.org/2005/Atom}"
URL = "/api/v1/apps/shop/feed"
ADMIN_TOKEN = "the admin token of the test"


async def test_alerts_and_events_are_entries_the_newest_first() -> None:
    clock = Clock()
    store = MemoryStore(clock)
    async with client_of(store, clock, DYNOMETER_PUBLIC_URL="https://m.example.com") as client:
        release = frame("Release v42 created by user x", app_name="app", procid="api", at_s=AT_S)
        await post(client, router() + release)
        alert = HistoryEntry(
            int(NOW_S), "fired", "H12 <Request> & timeout", told=True, id="app-broken:H12:1"
        )
        await store.change_alerts([], history={"shop": [pack_json(alert)]})

        answer = await client.get(URL)
        again = await client.get(URL)

    assert answer.headers["content-type"].startswith("application/atom+xml")
    assert answer.content == again.content
    feed = ElementTree.fromstring(answer.content)  # our own
    entries = feed.findall(f"{ATOM}entry")
    assert [entry.findtext(f"{ATOM}title") for entry in entries] == [
        "shop: 🔴 H12 <Request> & timeout",
        "shop: release v42",
    ]
    assert entries[0].findtext(f"{ATOM}updated") == "2026-11-22T10:00:30Z"
    link = entries[0].find(f"{ATOM}link")
    assert link is not None
    assert link.get("href", "").startswith("https://m.example.com/apps/shop?start=")
    ids = [entry.findtext(f"{ATOM}id") for entry in entries]
    assert len(set(ids)) == 2
    for name in ("id", "title", "updated", "author/{http://www.w3.org/2005/Atom}name"):
        assert feed.findtext(f"{ATOM}{name}")


async def test_a_read_token_may_stand_in_the_address_of_its_feed_and_nowhere_else() -> None:
    clock = Clock()
    store = MemoryStore(clock)
    token, token_id, record = new_token("", ("shop",), 1)
    await store.put_token(token_id, pack_token(record))
    async with client_of(store, clock, DYNOMETER_ADMIN_TOKEN=ADMIN_TOKEN) as client:
        await store.change_alerts([], history={"shop": [pack_json(HistoryEntry(1, "fired", "x"))]})
        await store.record_sightings([SeenApp("shop", 1, 1, 0)], ttl_ms=10**12)

        assert (await client.get(f"{URL}?token={token}")).status_code == 200
        assert (await client.get(URL)).status_code == 401
        assert (await client.get("/api/v1/apps", params={"token": token})).status_code == 401
        assert (await client.get(URL, params={"token": ADMIN_TOKEN})).status_code == 401
        answer = await client.get(f"/api/v1/apps/blog/feed?token={token}")
        assert answer.status_code == 404
