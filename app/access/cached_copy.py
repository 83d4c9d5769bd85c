"""A cache of a small table in the store, refreshed while it is used.

A change takes effect on every worker within MAX_STALENESS_S. If the store is unavailable, hits are
served from the last copy and misses raise StoreUnavailable. Ages are measured by a clock that
nobody can set.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

from app.storage.interface.errors import StoreUnavailable
from app.support.aio import cancel_and_wait

MAX_STALENESS_S = 5
_REFRESH_AGE_S = 4  # less than MAX_STALENESS_S by the time that an answer takes
_MIN_READ_INTERVAL_S = 0.1  # limits the reads that misses cause

T = TypeVar("T")


class CachedCopy(Generic[T]):
    """A table that is read as a whole from the store, and its last copy."""

    def __init__(
        self,
        read: Callable[[], Awaitable[T]],
        initial: T,
        on_change: Callable[[T], Awaitable[None]] | None = None,
        *,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """
        Args:
            read: reads the table from the store.
            initial: the contents until the table is read.
            on_change: called in the background with the new contents after a change.
            monotonic: returns seconds, which never go backwards.
        """
        self._read_from_store = read
        self._monotonic = monotonic
        self._on_change = on_change
        self._read_s = -float("inf")  # when the read of `data` began
        self._attempt_s = -float("inf")  # when the last read began, also one that failed
        self._begun_reads = 0
        self._ended_reads = 0  # the number of the last read that ended, also one that failed
        self._refresh_task: asyncio.Task[None] | None = None
        self._notify_task: asyncio.Task[None] | None = None
        self._reported_data = initial
        self.data = initial
        self.last_error: StoreUnavailable | None = None  # of the last read; None if it succeeded

    async def fresh(self) -> T:
        """The contents, at most MAX_STALENESS_S old; older if the store is unavailable."""
        for _ in range(2):  # the first may join a read that began long ago
            if self._age_s >= _REFRESH_AGE_S and not self.last_error:
                await self._refresh()
        if self._age_s > _REFRESH_AGE_S / 2 and self._pause_s == 0:
            self._start_refresh()
        return self.data

    async def latest(self) -> T:
        """The contents, from a read that began after this call. Use it after a miss in `fresh`.

        It waits for up to _MIN_READ_INTERVAL_S; concurrent calls share a read.

        Raises:
            StoreUnavailable: the table could not be read.
        """
        begun_reads = self._begun_reads
        while self._ended_reads <= begun_reads:
            await self._refresh()
            if self.last_error:
                raise self.last_error
        return self.data

    @property
    def _age_s(self) -> float:
        return self._monotonic() - self._read_s

    @property
    def _pause_s(self) -> float:
        """How long the next read must wait."""
        return max(0.0, self._attempt_s + _MIN_READ_INTERVAL_S - self._monotonic())

    def _start_refresh(self) -> asyncio.Task[None]:
        if self._refresh_task is None or self._refresh_task.done():
            self._refresh_task = asyncio.create_task(self._read(), name="refresh cached copy")
        return self._refresh_task

    async def _refresh(self) -> None:
        await asyncio.shield(self._start_refresh())

    async def _read(self) -> None:
        if pause_s := self._pause_s:
            await asyncio.sleep(pause_s)
        self._attempt_s = self._monotonic()
        self._begun_reads += 1
        try:
            data = await self._read_from_store()
        except StoreUnavailable as error:
            self.last_error = error
            return
        finally:
            self._ended_reads = self._begun_reads
        self.last_error = None
        self._read_s = self._attempt_s
        if data != self.data:
            self.data = data
            if self._on_change is not None and (
                self._notify_task is None or self._notify_task.done()
            ):
                self._notify_task = asyncio.create_task(
                    self._notify(self._on_change), name="cached copy"
                )

    async def _notify(self, on_change: Callable[[T], Awaitable[None]]) -> None:
        while self._reported_data is not self.data:
            data = self.data
            await on_change(data)
            self._reported_data = data

    async def close(self) -> None:
        """End a read that is under way, and wait until `on_change` returned for the last change."""
        if self._refresh_task is not None:
            await cancel_and_wait([self._refresh_task])
        if self._notify_task is not None:
            await self._notify_task
