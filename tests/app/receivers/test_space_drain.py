"""One drain for all apps of a space: each line counts for its own app, if that is allowed."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from typing import Any

import httpx2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.receivers.space_drain import UNLISTED, Portion, SpaceBody
from app.service import periodic_tasks
from app.storage.interface.store import Store
from parsers.framing import Damage
from tests.app.receivers.test_log_shuttle import loss_line
from tests.support.lines import counted, memory, message, router
from tests.support.service import Clock, client_of

ADMIN_TOKEN = "the admin token of the test"
ADMIN = {"Authorization": f"Bearer {ADMIN_TOKEN}"}
SET = re.compile(
    r'heroku drains:set "https://acme:([A-Za-z0-9_-]{43})@metrics\.example\.com/drain" -s acme'
)
DRAINS = "/api/v1/drains"


def of(hostname: str, *frames: bytes) -> bytes:
    """These frames with another HOSTNAME."""
    messages = [frame.partition(b" ")[2] for frame in frames]
    return b"".join(
        counted(text.replace(b" host ", b" %b " % hostname.encode(), 1)) for text in messages
    )


class Space:
    """A service with the drain of a space for shop and blog."""

    def __init__(self, client: httpx2.AsyncClient, clock: Clock) -> None:
        self.client = client
        self.clock = clock
        self.secret = ""

    async def change(self, method: str, path: str, status: int = 204, **json: Any) -> Any:
        answer = await self.client.request(method, DRAINS + path, json=json or None, headers=ADMIN)
        assert answer.status_code == status, answer.text
        self.clock.now_s += 6  # until each worker knows it
        return answer.json() if answer.content else None

    async def post(self, body: bytes, **headers: str) -> None:
        fields = {name.replace("_", "-"): value for name, value in headers.items()}
        answer = await self.client.post(
            "/drain/", content=body, auth=("acme", self.secret), headers=fields
        )
        assert answer.status_code == 200

    async def ledger(self, app: str) -> dict[str, object]:
        answer = await self.client.get(f"/api/v1/apps/{app}/ledger", headers=ADMIN)
        if answer.status_code == 404:
            return {}
        entries: dict[str, object] = answer.json()
        skipped = ("app", "start", "end")
        return {key: value for key, value in entries.items() if value and key not in skipped}


@pytest.fixture
async def space(store: Store, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Space]:
    monkeypatch.setattr(periodic_tasks, "FREQUENT_S", 0.1)  # rejected hostnames are stored then
    clock = Clock()
    settings = {
        "DYNOMETER_ADMIN_TOKEN": ADMIN_TOKEN,
        "DYNOMETER_PUBLIC_URL": "https://metrics.example.com",
    }
    async with client_of(store, clock, **settings) as client:
        client.headers["Host"] = "metrics.example.com"
        space = Space(client, clock)
        added = await space.change("POST", "", 201, apps=["shop", "blog"], space="acme")
        match = SET.fullmatch(added["drains"][0]["add"])
        assert match
        space.secret = match[1]
        yield space


async def test_each_line_counts_for_the_app_that_its_hostname_names(space: Space) -> None:
    body = of("shop", router(), memory()) + of("blog", router()) + of("shop", router())
    await space.post(body, Logplex_Msg_Count="4")
    assert await space.ledger("shop") == {"promised": 3, "received": 3, "counted": 3}
    assert await space.ledger("blog") == {"promised": 1, "received": 1, "counted": 1}
    assert await space.ledger("acme") == {}


async def test_a_repeated_post_counts_once_for_each_app(space: Space) -> None:
    body = of("shop", router(), router()) + of("blog", router())
    for _ in range(2):
        await space.post(body, X_Request_Id="4f8a6a2e")
    await space.post(body, X_Request_Id="another")
    assert await space.ledger("shop") == {"received": 4, "counted": 4, "duplicate": 2}
    assert await space.ledger("blog") == {"received": 2, "counted": 2, "duplicate": 1}


async def test_unlisted_hostnames_create_no_app_and_are_counted_and_shown(space: Space) -> None:
    await space.post(of("shop", router()) + of("other", router(), router()) + router())
    assert await space.ledger("shop") == {"received": 1, "counted": 1}
    assert await space.ledger("acme") == {"received": 3, "unparsed": {"hostname": 3}}
    apps = (await space.client.get("/api/v1/apps", headers=ADMIN)).json()["apps"]
    assert [app["app"] for app in apps] == ["acme", "shop"]

    async def shown() -> list[tuple[str, str, int]]:
        refusals = (await space.client.get(DRAINS, headers=ADMIN)).json()["refusals"]
        return sorted((entry["user"], entry["token"], entry["count"]) for entry in refusals)

    async with asyncio.timeout(10):
        while await shown() != [("acme", "host", 1), ("acme", "other", 2)]:
            await asyncio.sleep(0.05)
    page = (await space.client.get("/", headers=ADMIN)).text
    assert "3 lines of a space that belong to no app" in page
    assert "rejected login" not in page.split("<details")[0]
    assert "drains link APP HOSTNAME" in page


async def test_a_linked_hostname_belongs_to_its_app_if_the_space_may_send_for_it(
    space: Space,
) -> None:
    await space.change("PUT", "/shop/links/shop.acme.internal")
    await space.change("PUT", "/api/links/api.acme.internal")
    await space.post(of("shop.acme.internal", router()) + of("api.acme.internal", router()))
    assert await space.ledger("shop") == {"received": 1, "counted": 1}
    assert await space.ledger("acme") == {"received": 1, "unparsed": {"hostname": 1}}
    assert await space.ledger("api") == {}


async def test_apps_are_allowed_and_disallowed_and_a_rotation_keeps_them(space: Space) -> None:
    await space.change("PUT", "/acme/apps/api")
    await space.change("DELETE", "/acme/apps/blog")
    rotated = await space.change("POST", "/acme/rotate", 200)
    assert SET.fullmatch(rotated["add"])
    await space.post(of("api", router()) + of("blog", router()))
    assert await space.ledger("api") == {"received": 1, "counted": 1}
    assert await space.ledger("blog") == {}
    [drain] = [
        entry
        for entry in (await space.client.get(DRAINS, headers=ADMIN)).json()["drains"]
        if entry["app"] == "acme"
    ]
    assert drain["space_apps"] == ["shop", "api"]


async def test_a_space_and_an_app_never_share_a_name(space: Space) -> None:
    await space.change("PUT", "/acme/apps/acme", 409)
    await space.change("POST", "", 409, apps=["acme"])
    await space.change("POST", "", 409, apps=["shop", "x"], space="x")
    await space.change("POST", "", 409, apps=["acme"], space="x")
    await space.change("PUT", "/shop/apps/api", 409)
    await space.change("DELETE", "/acme/apps/shop")
    await space.change("DELETE", "/acme/apps/blog", 409)


async def test_losses_of_a_dyno_belong_to_its_app(space: Space) -> None:
    """log-shuttle writes `heroku` as HOSTNAME of its own lines, before those of the app."""
    body = loss_line(7) + of("shop", router())
    await space.post(body, Logplex_Drop_Count="7", Logplex_Msg_Count="3")
    ledger = await space.ledger("shop")
    assert (ledger["promised"], ledger["received"], ledger["lost_upstream"]) == (3, 2, 7)
    assert await space.ledger("acme") == {}


def divide(
    frames: list[bytes | Damage], msg_count: int = 0, lost_count: int = 0
) -> dict[str, Portion]:
    body = SpaceBody(lambda hostname: hostname if hostname in ("shop", "blog") else UNLISTED)
    for frame in frames:
        body.add(frame)
    return body.portions(msg_count, lost_count)


def named(hostname: str) -> bytes:
    return message("x").replace(b" host ", b" %b " % hostname.encode())


SHOP, BLOG, OTHER = named("shop"), named("blog"), named("other")


def test_what_names_no_app_belongs_to_the_message_before_it_or_else_after_it() -> None:
    damage = Damage(3)
    assert divide([damage, b"no header", SHOP, damage, BLOG]) == {
        "shop": Portion([damage, b"no header", SHOP, damage], 0, 0),
        "blog": Portion([BLOG], 0, 0),
    }
    assert divide([damage]) == {UNLISTED: Portion([damage], 0, 0)}


def test_what_is_missing_belongs_to_the_only_app_or_else_to_the_space() -> None:
    assert divide([SHOP], 3, 2) == {"shop": Portion([SHOP], 3, 2)}
    assert divide([SHOP, BLOG], 3, 2) == {
        "shop": Portion([SHOP], 1, 0),
        "blog": Portion([BLOG], 1, 0),
        UNLISTED: Portion([], 1, 2),
    }
    assert divide([SHOP, BLOG], 2) == {
        "shop": Portion([SHOP], 1, 0),
        "blog": Portion([BLOG], 1, 0),
    }


@given(
    st.lists(st.sampled_from([SHOP, BLOG, OTHER, b"no header", Damage(3), b""])),
    st.integers(0, 20),
    st.integers(0, 20),
)
def test_every_message_is_in_one_place_and_nothing_is_promised_twice(
    frames: list[bytes | Damage], msg_count: int, lost_count: int
) -> None:
    portions = divide(frames, msg_count, lost_count)
    assert sum(len(portion.frames) for portion in portions.values()) == len(frames)
    assert sum(portion.lost_count for portion in portions.values()) == lost_count
    promised = sum(portion.msg_count for portion in portions.values())
    assert promised == (max(msg_count, len(frames)) if msg_count else 0)
    for app in ("shop", "blog"):
        texts = portions.get(app, Portion([], 0, 0)).frames
        others = {SHOP, BLOG, OTHER} - {named(app)}
        assert others.isdisjoint(texts)
