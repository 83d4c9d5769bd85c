"""Ending background tasks."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Generator, Sequence
from typing import Any, Generic, TypeVar

_AGAIN_S = 0.1


async def cancel_and_wait(tasks: Sequence[asyncio.Task[Any]]) -> None:
    """Cancel tasks and wait for their end, whatever it is.

    One cancellation may not do: redis-py loses it in the middle of connecting (seen with 8.1), and
    the task goes on as if nothing had happened.
    """
    pending = {task for task in tasks if not task.done()}
    while pending:
        for task in pending:
            task.cancel()
        _, pending = await asyncio.wait(pending, timeout=_AGAIN_S)
    await asyncio.gather(*tasks, return_exceptions=True)


T = TypeVar("T")


class EagerCoroutine(Generic[T]):
    """`result` is what it returned, if `done`; else it is to be awaited, by the same task."""

    def __init__(self, coroutine: Coroutine[Any, Any, T]) -> None:
        self._coroutine = coroutine
        self.done = False
        self.result: T
        try:
            self._awaited = coroutine.send(None)
        except StopIteration as end:
            self.done = True
            self.result = end.value

    def close(self) -> None:
        """Give up what is not done."""
        self._coroutine.close()

    def __await__(self) -> Generator[Any, Any, T]:
        """Wait for the rest; once, and only if it is not done."""
        awaited = self._awaited
        while True:
            thrown: BaseException | None = None
            sent: Any = None
            try:
                sent = yield awaited
            except BaseException as error:  # a cancellation among them: it is the coroutine's
                thrown = error
            try:
                awaited = self._coroutine.throw(thrown) if thrown else self._coroutine.send(sent)
            except StopIteration as end:
                result: T = end.value
                return result
