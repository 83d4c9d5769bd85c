"""Read tokens: what they open, for how long, and that nothing else does."""

from __future__ import annotations

import pytest

from app.access.read_tokens import ADMIN, Permissions, ReadTokens, current, new_token, pack_token
from app.access.visible_store import visible
from app.storage.interface import SeenApp, Slot, StoreUnavailable
from app.storage.memory import MemoryStore
from tests.support.batches import append, batch
from tests.support.registry import put_drain
from tests.support.service import Clock


class Tokens(MemoryStore):
    """A store that can be away."""

    away = False

    async def tokens(self) -> dict[str, bytes]:
        if self.away:
            raise StoreUnavailable("the store is away")
        return await super().tokens()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def store(clock: Clock) -> Tokens:
    return Tokens(clock)


async def added(store: Tokens, *apps: str, expires_s: int = 0) -> tuple[str, str]:
    token, token_id, kept = new_token("for a test", apps, 0, expires_s)
    await store.put_token(token_id, pack_token(kept))
    return token, token_id


async def test_a_token_opens_the_apps_that_it_names(clock: Clock, store: Tokens) -> None:
    token, _ = await added(store, "shop", "blog-*")
    access = await ReadTokens(store, clock).access(token)
    assert access is not None
    assert not access.admin
    allowed = [app for app in ("shop", "shop2", "blog-eu", "blog", "x") if access.allows(app)]
    assert allowed == ["shop", "blog-eu"]


async def test_nothing_else_is_a_token(clock: Clock, store: Tokens) -> None:
    token, token_id = await added(store, "*")
    tokens = ReadTokens(store, clock)
    other, _, _ = new_token("never added", ["*"], 0)
    for wrong in ("", "x", token[:-1], token + "x", other, token[:14] + other[14:], token_id):
        assert await tokens.access(wrong) is None


async def test_a_token_ends_when_it_expires(clock: Clock, store: Tokens) -> None:
    token, _ = await added(store, "*", expires_s=int(clock.now_s) + 10)
    tokens = ReadTokens(store, clock)
    assert await tokens.access(token)
    clock.now_s += 10
    assert await tokens.access(token) is None


async def test_a_removed_token_ends_within_five_seconds(clock: Clock, store: Tokens) -> None:
    token, token_id = await added(store, "*")
    tokens = ReadTokens(store, clock)
    assert await tokens.access(token)
    await store.remove_token(token_id)
    clock.now_s += 5
    assert await tokens.access(token) is None


async def test_while_the_store_is_away_known_tokens_go_on_and_no_other_is_judged(
    clock: Clock, store: Tokens
) -> None:
    token, _ = await added(store, "*")
    unknown, _, _ = new_token("never added", ["*"], 0)
    tokens = ReadTokens(store, clock)
    assert await tokens.access(token)
    store.away = True
    clock.now_s += 3_600
    assert await tokens.access(token)
    with pytest.raises(StoreUnavailable):
        await tokens.access(unknown)


async def test_of_a_token_only_its_hash_is_kept(store: Tokens) -> None:
    token, token_id = await added(store, "shop")
    [kept] = (await store.tokens()).values()
    assert token.removeprefix(f"dyno_{token_id}_").encode() not in kept


async def test_an_app_that_may_not_be_seen_does_not_exist(store: Tokens) -> None:
    for app in ("shop", "blog"):
        await store.record_sightings([SeenApp(app, 1, 2, 0)], ttl_ms=10**9)
        await put_drain(store, app, "x")
        await append(store, app, batch())
    shown = visible(store)
    current.set(Permissions(("blog",)))
    assert [seen.app for seen in await shown.seen_apps()] == ["blog"]
    assert list(await shown.drains()) == ["blog"]
    assert not (await shown.read("shop", [Slot("total", 0)])).inbox
    assert (await shown.read("blog", [Slot("total", 0)])).inbox
    found = await shown.read_many([("shop", []), ("blog", []), ("shop", [])])
    assert [len(each.inbox) for each in found] == [0, 1, 0]
    current.set(ADMIN)
    assert len(await shown.seen_apps()) == 2


async def test_what_nobody_let_through_sees_nothing(store: Tokens) -> None:
    with pytest.raises(LookupError):
        await visible(store).seen_apps()
