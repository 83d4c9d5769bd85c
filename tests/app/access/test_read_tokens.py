"""Read tokens: the apps that they allow, and their expiry."""

from __future__ import annotations

import pytest

from app.access.access_copy import AccessCopy
from app.access.cached_copy import MAX_STALENESS_S
from app.access.read_tokens import (
    ADMIN,
    Permissions,
    ReadTokens,
    current_permissions,
    new_token,
    pack_token,
)
from app.access.visible_store import restrict
from app.storage.interface.apps import SeenApp
from app.storage.interface.elements import Slot
from app.storage.interface.errors import StoreUnavailable
from app.storage.memory import MemoryStore
from tests.support.batches import append, batch
from tests.support.registry import access_copy, put_drain
from tests.support.service import Clock


class TokenStore(MemoryStore):
    """A store that can be made unavailable."""

    is_unavailable = False

    async def tokens(self) -> dict[str, bytes]:
        if self.is_unavailable:
            raise StoreUnavailable("Redis is unavailable")
        return await super().tokens()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def store(clock: Clock) -> TokenStore:
    return TokenStore(clock)


async def add_token(store: TokenStore, *apps: str, expires_s: int = 0) -> tuple[str, str]:
    token, token_id, record = new_token("for a test", apps, 0, expires_s)
    await store.put_token(token_id, pack_token(record))
    return token, token_id


async def test_a_token_allows_the_apps_that_it_names(clock: Clock, store: TokenStore) -> None:
    token, _ = await add_token(store, "shop", "blog-*")
    access = await ReadTokens(access_copy(store, clock), clock).permissions_of(token)
    assert access is not None
    assert not access.admin
    allowed_apps = [app for app in ("shop", "shop2", "blog-eu", "blog", "x") if access.allows(app)]
    assert allowed_apps == ["shop", "blog-eu"]


async def test_nothing_else_is_a_token(clock: Clock, store: TokenStore) -> None:
    token, token_id = await add_token(store, "*")
    tokens = ReadTokens(access_copy(store, clock), clock)
    unknown, _, _ = new_token("never added", ["*"], 0)
    for wrong in ("", "x", token[:-1], token + "x", unknown, token[:14] + unknown[14:], token_id):
        assert await tokens.permissions_of(wrong) is None


async def test_a_token_ends_when_it_expires(clock: Clock, store: TokenStore) -> None:
    token, _ = await add_token(store, "*", expires_s=int(clock.now_s) + 10)
    tokens = ReadTokens(access_copy(store, clock), clock)
    assert await tokens.permissions_of(token)
    clock.now_s += 10
    assert await tokens.permissions_of(token) is None


async def test_a_removed_token_ends_within_five_seconds(clock: Clock, store: TokenStore) -> None:
    token, token_id = await add_token(store, "*")
    tokens = ReadTokens(access_copy(store, clock), clock)
    assert await tokens.permissions_of(token)
    await store.remove_token(token_id)
    clock.now_s += 5
    assert await tokens.permissions_of(token) is None


async def test_a_clock_that_is_set_back_keeps_no_token_alive(
    clock: Clock, store: TokenStore
) -> None:
    token, token_id = await add_token(store, "*")
    monotonic = Clock(1_000)
    tokens = ReadTokens(AccessCopy(store, clock, monotonic=monotonic), clock)
    assert await tokens.permissions_of(token)
    await store.remove_token(token_id)
    new_one, _ = await add_token(store, "shop")
    clock.now_s -= 600
    assert await tokens.permissions_of(new_one)
    monotonic.now_s += MAX_STALENESS_S
    assert await tokens.permissions_of(token) is None


async def test_during_an_outage_known_tokens_work_and_others_are_not_rejected(
    clock: Clock, store: TokenStore
) -> None:
    token, _ = await add_token(store, "*")
    unknown, _, _ = new_token("never added", ["*"], 0)
    tokens = ReadTokens(access_copy(store, clock), clock)
    assert await tokens.permissions_of(token)
    store.is_unavailable = True
    clock.now_s += 3_600
    assert await tokens.permissions_of(token)
    with pytest.raises(StoreUnavailable):
        await tokens.permissions_of(unknown)


async def test_only_the_hash_of_a_token_is_stored(store: TokenStore) -> None:
    token, token_id = await add_token(store, "shop")
    [record] = (await store.tokens()).values()
    assert token.removeprefix(f"dyno_{token_id}_").encode() not in record


async def test_an_app_that_may_not_be_seen_does_not_exist(store: TokenStore) -> None:
    for app in ("shop", "blog"):
        await store.record_sightings([SeenApp(app, 1, 2, 0)], ttl_ms=10**9)
        await put_drain(store, app, "x")
        await append(store, app, batch())
    visible_store = restrict(store)
    current_permissions.set(Permissions(("blog",)))
    assert [sighting.app for sighting in await visible_store.seen_apps()] == ["blog"]
    assert list(await visible_store.drains()) == ["blog"]
    assert not (await visible_store.read("shop", [Slot("total", 0)])).inbox
    assert (await visible_store.read("blog", [Slot("total", 0)])).inbox
    contents = await visible_store.read_many([("shop", []), ("blog", []), ("shop", [])])
    assert [len(entry.inbox) for entry in contents] == [0, 1, 0]
    slots = [Slot("1m", 0), Slot("1m", 60)]
    parts = await visible_store.read_parts([("shop", slots), ("blog", slots)], 1)
    assert [(len(part.contents.inbox), part.slot_count) for part in parts] == [(0, 2), (1, 2)]
    current_permissions.set(ADMIN)
    assert len(await visible_store.seen_apps()) == 2


async def test_a_request_without_permissions_reads_nothing(store: TokenStore) -> None:
    with pytest.raises(LookupError):
        await restrict(store).seen_apps()
