"""Removes an app: its permission to send, its data and its alerts."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence
from typing import Protocol

from app.access.cached_copy import MAX_STALENESS_S
from app.access.custom_switch import switch_custom
from app.access.drain_admin import DrainAdmin
from app.access.drain_status import drain_statuses, removal_command
from app.rollup.resolutions import DAY_S, Resolution, align
from app.storage.interface.access import AccessStore
from app.storage.interface.apps import AppReader, AppRemover
from app.storage.interface.elements import Slot

_SLACK_S = 2 * DAY_S  # slots outlive their retention by about a day
_FUTURE_S = DAY_S  # more than the clock of any sender is ahead
_WHOLE_SLOTS = (Slot("total", 0), Slot("unreadable", 0))


class AppRemovalStore(AccessStore, AppReader, AppRemover, Protocol):
    """The roles of the store that the removal of an app needs."""


class AppArchive(Protocol):
    """Keeps data of apps for longer than the store."""

    async def names(self) -> set[str]:
        """All apps in the archive."""
        ...

    async def remove(self, app: str) -> None:
        """Delete all data of an app."""
        ...


class AppRemoval:
    """Removes apps from the store. A removal that failed half-way can be repeated."""

    def __init__(
        self,
        store: AppRemovalStore,
        resolutions: Sequence[Resolution],
        clock: Callable[[], float],
        memory_s: int,
        staleness_s: float = MAX_STALENESS_S,
        archive: AppArchive | None = None,
    ) -> None:
        """
        Args:
            resolutions: the stored ones, as the settings have them.
            memory_s: how long a removal is remembered, so that batches of the app that waited on
                a disk meanwhile are dropped.
            staleness_s: how long workers may accept a secret after its removal.
            archive: from which apps are removed, too; None for none.
        """
        self._store = store
        self._resolutions = tuple(resolutions)
        self._clock = clock
        self._memory_s = memory_s
        self._staleness_s = staleness_s
        self._archive = archive

    async def unknown_apps(self, apps: Sequence[str]) -> list[str]:
        """Those of these apps that have neither data nor a drain."""
        known_apps = {sighting.app for sighting in await self._store.seen_apps()}
        known_apps |= (await self._store.drains()).keys()
        if self._archive is not None:
            known_apps |= await self._archive.names()
        return [app for app in apps if app not in known_apps]

    async def remove(self, app: str) -> list[str]:
        """Remove an app; returns the Heroku commands that remove its drains, as far as known.

        If the app has a drain secret, this takes as long as workers may still accept it.
        A drain that goes on delivering without a secret (in local mode) brings the app back.

        Raises:
            DrainAdminError: other processes keep changing its drains.
            UserError: the archive is unavailable. If it is so from the start, nothing is removed.
        """
        if self._archive is not None:
            await self._archive.names()
        (status,) = await drain_statuses(self._store, [app])
        if status.secrets or status.links:
            await DrainAdmin(self._store, self._clock, "").remove(app)
            # Lines that are accepted until then would bring the app back.
            await asyncio.sleep(self._staleness_s)
        await switch_custom(self._store, app, is_on=False)
        now_s = int(self._clock())
        await self._store.remove_app(
            app, list(self._slots(now_s)), now_s=now_s, ttl_ms=self._memory_s * 1000
        )
        if self._archive is not None:
            await self._archive.remove(app)
        tokens = (status.active_token, status.other_token)
        return [removal_command(app, token) for token in tokens if token]

    def _slots(self, now_s: int) -> Iterator[Slot]:
        """Every slot in which an app may have data."""
        yield from _WHOLE_SLOTS
        for name, seconds, retention_s in self._resolutions:
            first = align(now_s - retention_s - _SLACK_S, seconds)
            for start in range(first, now_s + _FUTURE_S, seconds):
                yield Slot(name, start)
