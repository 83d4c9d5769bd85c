"""A cache of a small table in the store, refreshed while it is used.

A change takes effect on every worker within MAX_STALENESS_S. If the store is unavailable, hits are
served from the last copy and misses raise StoreUnavailable.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Generic, TypeVar

from app.storage.interface.errors import StoreUnavailable

MAX_STALENESS_S = 5
_REFRESH_AGE_S = 4  # less than MAX_STALENESS_S by the time that an answer takes
_MIN_READ_INTERVAL_S = 0.1  # limits the reads that misses cause

V = TypeVar("V")


class CachedCopy(Generic[V]):
    """A table that is read as a whole from the store, and its last copy."""

    def __init__(
        self,
        read: Callable[[], Awaitable[Mapping[str, V]]],
        clock: Callable[[], float],
        initial: Mapping[str, V],
        on_change: Callable[[Mapping[str, V]], Awaitable[None]] | None = None,
    ) -> None:
        """
        Args:
            read: reads the table from the store.
            clock: returns seconds.
            initial: the contents until the table is read.
            on_change: called in the background with the new contents after a change.
        """
        self._read_from_store = read
        self._clock = clock
        self._on_change = on_change
        self._read_s = 0.0  # when the read of `data` started
        self._request_s = 0.0
        self._refresh_task: asyncio.Task[None] | None = None
        self._notify_task: asyncio.Task[None] | None = None
        self._reported_data = initial
        self.data = initial
        self.last_error: StoreUnavailable | None = None  # of the last read; None if it succeeded

    async def fresh(self) -> Mapping[str, V]:
        """The contents, at most MAX_STALENESS_S old; older if the store is unavailable."""
        if self._age_s >= _REFRESH_AGE_S and not self.last_error:
            await self._refresh()
        elif (
            self._age_s > _REFRESH_AGE_S / 2
            and self._clock() - self._request_s > _MIN_READ_INTERVAL_S
        ):
            self._start_refresh()
        return self.data

    async def latest(self) -> Mapping[str, V]:
        """The contents, at most _MIN_READ_INTERVAL_S old. Use it after a miss in `fresh`.

        Raises:
            StoreUnavailable: the table could not be read.
        """
        if self._age_s > _MIN_READ_INTERVAL_S:
            await self._refresh()
        if self.last_error:
            raise self.last_error
        return self.data

    @property
    def _age_s(self) -> float:
        return self._clock() - self._read_s

    def _start_refresh(self) -> asyncio.Task[None]:
        if self._refresh_task is None or self._refresh_task.done():
            self._request_s = self._clock()
            self._refresh_task = asyncio.create_task(self._read(), name="refresh cached copy")
        return self._refresh_task

    async def _refresh(self) -> None:
        await asyncio.shield(self._start_refresh())

    async def _read(self) -> None:
        request_s = self._clock()
        try:
            data = await self._read_from_store()
        except StoreUnavailable as error:
            self.last_error = error
            return
        self.last_error = None
        self._read_s = request_s
        if data != self.data:
            self.data = data
            if self._on_change is not None and (
                self._notify_task is None or self._notify_task.done()
            ):
                self._notify_task = asyncio.create_task(
                    self._notify(self._on_change), name="cached copy"
                )

    async def _notify(self, on_change: Callable[[Mapping[str, V]], Awaitable[None]]) -> None:
        while self._reported_data is not self.data:
            data = self.data
            await on_change(data)
            self._reported_data = data

    async def close(self) -> None:
        """Wait until `on_change` was called for the last change."""
        if self._notify_task is not None:
            await self._notify_task
