"""An app is removed with its drain secrets, and with every slot that may hold its data."""

from __future__ import annotations

from app.access.app_removal import AppRemoval
from app.access.drain_secrets import hash_secret
from app.rollup.resolutions import DAY_S, HOUR_S, resolutions
from app.storage.interface.apps import SeenApp
from app.storage.interface.elements import Slot
from app.storage.interface.store import Store
from tests.support.batches import DAY_MS, fill, write
from tests.support.registry import put_drain
from tests.support.service import NOW_S, Clock
from tests.support.store_calls import fold

TIERS = resolutions(DAY_S, 30 * DAY_S, 365 * DAY_S)


def removal(store: Store) -> AppRemoval:
    return AppRemoval(store, TIERS, Clock(), 3600, staleness_s=0)


async def test_an_app_that_only_has_a_drain_is_known(store: Store) -> None:
    await put_drain(store, "shop", hash_secret("secret"))
    await store.record_sightings([SeenApp("blog", 1, 2, 0)], ttl_ms=DAY_MS)

    assert await removal(store).unknown_apps(["shop", "blog", "none"]) == ["none"]


async def test_secrets_and_links_of_a_removed_app_are_gone(store: Store) -> None:
    for app in ("shop", "blog"):
        await put_drain(store, app, hash_secret(app))

    assert await removal(store).remove("shop") == []

    assert list(await store.drains()) == ["blog"]


async def test_every_slot_of_a_removed_app_is_gone(store: Store) -> None:
    hour = int(NOW_S) // HOUR_S * HOUR_S
    slots = [
        *(Slot("1m", hour + age_s) for age_s in (0, 300, -DAY_S - HOUR_S)),
        *(Slot("10m", hour - age_s) for age_s in (0, 30 * DAY_S)),
        *(Slot("1h", hour - age_s) for age_s in (0, 365 * DAY_S)),
        Slot("total", 0),
        Slot("unreadable", 0),
    ]
    elements = await fill(store, "shop", 2)
    await fold(store, "shop", elements[:1], [write(slot) for slot in slots])

    await removal(store).remove("shop")

    assert await store.read("shop", slots) == ([], {})
    assert await store.removed_apps() == {"shop": int(NOW_S)}
