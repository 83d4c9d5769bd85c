"""The registry of drains, as a test wants it to be."""

from __future__ import annotations

from app.storage.interface import Store


async def put_drain(store: Store, app: str, record: str) -> None:
    """An app's record is this from now on; "" for none."""
    before = (await store.drains()).get(app, "")
    assert await store.compare_and_set_drain(app, before, record)


async def remove_drain(store: Store, app: str) -> None:
    """An app has no drain from now on."""
    await put_drain(store, app, "")
