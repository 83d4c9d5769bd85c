"""Drain records, and workers that verify with them, for tests."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from app.access.access_copy import AccessCopy
from app.access.drain_registry import DrainRegistry
from app.storage.interface.store import Store


def access_copy(
    store: Store, clock: Callable[[], float], directory: Path | None = None
) -> AccessCopy:
    """A worker's copy, whose age the test's clock measures too."""
    return AccessCopy(store, clock, directory, monotonic=clock)


def drain_registry(
    store: Store, clock: Callable[[], float], directory: Path | None = None, secret_key: str = ""
) -> DrainRegistry:
    """A registry with a copy of its own."""
    return DrainRegistry(store, access_copy(store, clock, directory), clock, secret_key)


async def put_drain(store: Store, app: str, record: str) -> None:
    """Set the drain record of an app; "" removes it."""
    old_record = (await store.drains()).get(app, "")
    assert await store.compare_and_set_drain(app, old_record, record)


async def remove_drain(store: Store, app: str) -> None:
    """Remove the drain record of an app."""
    await put_drain(store, app, "")
