"""A copy of something small in the store, kept fresh while it is used.

A change takes effect within CHANGE_WITHIN_S on every worker. While the store is away the last copy
goes on, and whoever it does not satisfy is told that nobody can say now.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Generic, TypeVar

from app.storage.interface import StoreUnavailable

CHANGE_WITHIN_S = 5
_REFRESH_S = 4  # so that with the time of an answer it is less than that
_AGAIN_S = 0.1  # what the copy does not hold makes us look at most so often

V = TypeVar("V")


class CachedCopy(Generic[V]):
    """The copy."""

    def __init__(
        self,
        read: Callable[[], Awaitable[Mapping[str, V]]],
        clock: Callable[[], float],
        first: Mapping[str, V],
        on_change: Callable[[Mapping[str, V]], Awaitable[None]] | None = None,
    ) -> None:
        """
        Args:
            read: reads it from the store.
            clock: in seconds.
            first: what is held before it was read once.
            on_change: told what is held now.
        """
        self._read_from_store = read
        self._clock = clock
        self._on_change = on_change
        self._read_s = 0.0  # when what is held was asked for
        self._asked_s = 0.0
        self._refreshing: asyncio.Task[None] | None = None
        self._telling: asyncio.Task[None] | None = None
        self._told = first
        self.held = first
        self.away: StoreUnavailable | None = None  # why the store could not be read last

    async def fresh(self) -> Mapping[str, V]:
        """What holds, to CHANGE_WITHIN_S; while the store is away, what held last."""
        if self._age_s >= _REFRESH_S and not self.away:
            await self._refresh()
        elif self._age_s > _REFRESH_S / 2 and self._clock() - self._asked_s > _AGAIN_S:
            self._refresh_soon()
        return self.held

    async def latest(self) -> Mapping[str, V]:
        """What holds now, to _AGAIN_S; for whoever the copy does not satisfy.

        Raises:
            StoreUnavailable: this cannot be told.
        """
        if self._age_s > _AGAIN_S:
            await self._refresh()
        if self.away:
            raise self.away
        return self.held

    @property
    def _age_s(self) -> float:
        return self._clock() - self._read_s

    def _refresh_soon(self) -> asyncio.Task[None]:
        if self._refreshing is None or self._refreshing.done():
            self._asked_s = self._clock()
            self._refreshing = asyncio.create_task(self._read(), name="read registry")
        return self._refreshing

    async def _refresh(self) -> None:
        await asyncio.shield(self._refresh_soon())

    async def _read(self) -> None:
        asked_s = self._clock()
        try:
            found = await self._read_from_store()
        except StoreUnavailable as error:
            self.away = error
            return
        self.away = None
        self._read_s = asked_s
        if found != self.held:
            self.held = found
            if self._on_change is not None and (self._telling is None or self._telling.done()):
                self._telling = asyncio.create_task(self._tell(self._on_change), name="mirror")

    async def _tell(self, on_change: Callable[[Mapping[str, V]], Awaitable[None]]) -> None:
        while self._told is not self.held:
            telling = self.held
            await on_change(telling)
            self._told = telling

    async def close(self) -> None:
        """Wait until what changed last was told."""
        if self._telling is not None:
            await self._telling
