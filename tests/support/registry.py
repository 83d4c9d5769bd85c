"""Sets drain records for tests."""

from __future__ import annotations

from app.storage.interface.store import Store


async def put_drain(store: Store, app: str, record: str) -> None:
    """Set the drain record of an app; "" removes it."""
    old_record = (await store.drains()).get(app, "")
    assert await store.compare_and_set_drain(app, old_record, record)


async def remove_drain(store: Store, app: str) -> None:
    """Remove the drain record of an app."""
    await put_drain(store, app, "")
