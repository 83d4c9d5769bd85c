"""Helpers for asyncio: ending tasks, long work, threads that write, coroutines without a task."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Generator, Sequence
from typing import Any, Generic, ParamSpec, TypeVar

_CANCEL_INTERVAL_S = 0.1

P = ParamSpec("P")
T = TypeVar("T")


async def cancel_and_wait(tasks: Sequence[asyncio.Task[Any]]) -> None:
    """Cancel tasks and wait until they end, by whatever outcome.

    Cancels repeatedly: redis-py swallows a cancellation while it connects (seen with 8.1), and the
    task then continues as if nothing had happened.
    """
    pending = {task for task in tasks if not task.done()}
    while pending:
        for task in pending:
            task.cancel()
        _, pending = await asyncio.wait(pending, timeout=_CANCEL_INTERVAL_S)
    await asyncio.gather(*tasks, return_exceptions=True)


async def run_in_steps(steps: Generator[None, None, T]) -> T:
    """Run a generator to its end, and let other tasks run after each step. Returns its result."""
    while True:
        try:
            next(steps)
        except StopIteration as end:
            result: T = end.value
            return result
        await asyncio.sleep(0)


async def write_in_thread(write: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Call a function that writes or locks files in a thread.

    Nothing can stop a thread: if the caller is cancelled, this waits for the end of the call, so
    that a service that has shut down writes nothing more, and locks no file that it never closes.
    """
    writing = asyncio.create_task(asyncio.to_thread(write, *args, **kwargs))
    cancellation: asyncio.CancelledError | None = None
    while not writing.done():
        try:
            await asyncio.wait([writing])
        except asyncio.CancelledError as error:
            cancellation = error
    if cancellation is not None:
        writing.exception()  # nobody asks for the result any more
        raise cancellation
    return writing.result()


class EagerCoroutine(Generic[T]):
    """Runs a coroutine synchronously up to its first suspension, so cached answers need no task.

    If `is_done`, the return value is `result`. Otherwise await this object once, in the task that
    created it. An exception raised before the first suspension leaves the constructor.
    """

    def __init__(self, coroutine: Coroutine[Any, Any, T]) -> None:
        self._coroutine = coroutine
        self.is_done = False
        self.result: T
        try:
            self._pending_future = coroutine.send(None)
        except StopIteration as end:
            self.is_done = True
            self.result = end.value

    def close(self) -> None:
        """Abandon a coroutine that is not done."""
        self._coroutine.close()

    def __await__(self) -> Generator[Any, Any, T]:
        """Run the rest of the coroutine."""
        # This is "yield from" for a coroutine that has already been started once.
        future = self._pending_future
        while True:
            error: BaseException | None = None
            value: Any = None
            try:
                value = yield future
            except BaseException as exception:  # cancellations too: the coroutine must see them
                error = exception
            try:
                future = self._coroutine.throw(error) if error else self._coroutine.send(value)
            except StopIteration as end:
                result: T = end.value
                return result
