"""Helpers for asyncio: ending tasks, long work, threads that write, deadlines, eager coroutines."""

from __future__ import annotations

import asyncio
import math
from collections.abc import (
    Awaitable,
    Callable,
    Coroutine,
    Generator,
    Hashable,
    Iterable,
    Sequence,
)
from typing import Any, Generic, ParamSpec, TypeVar

_CANCEL_INTERVAL_S = 0.1

P = ParamSpec("P")
T = TypeVar("T")
K = TypeVar("K", bound=Hashable)


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


async def wait_for_all(awaitables: Iterable[Awaitable[object]]) -> None:
    """Wait until all have ended; then raise the first error, if there is one."""
    results = await asyncio.gather(*awaitables, return_exceptions=True)
    errors = [result for result in results if isinstance(result, BaseException)]
    del results
    try:
        if errors:
            raise errors[0]
    finally:
        errors.clear()  # they refer to this frame, and to the frames that wait for it


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
        try:
            raise cancellation
        finally:
            cancellation = None  # refers to this frame, which holds what was written
    return writing.result()


class Deadlines(Generic[K]):
    """Deadlines that are hardly ever missed.

    asyncio sets and cancels a timer for each, which costs as much as to answer a small request.
    Here one timer checks them all, at about the time when the first may be missed.
    """

    def __init__(self, on_missed: Callable[[K], object]) -> None:
        """`on_missed`: called with an owner whose deadline has passed; it has none any more."""
        self._on_missed = on_missed
        self._deadlines: dict[K, float] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._check_at = math.inf

    def set(self, owner: K, deadline: float) -> None:
        """Set the deadline of an owner, on the event loop's clock."""
        self._deadlines[owner] = deadline
        if deadline < self._check_at:
            self._set_timer(deadline)

    def clear(self, owner: K) -> None:
        """The owner is in time; nothing happens if it has no deadline."""
        self._deadlines.pop(owner, None)

    def _set_timer(self, deadline: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = asyncio.get_running_loop().call_at(deadline, self._check)
        self._check_at = deadline

    def _check(self) -> None:
        self._timer, self._check_at = None, math.inf
        now = asyncio.get_running_loop().time()
        missed_owners = [owner for owner, deadline in self._deadlines.items() if deadline <= now]
        for owner in missed_owners:
            del self._deadlines[owner]
        if self._deadlines:
            self._set_timer(min(self._deadlines.values()))
        for owner in missed_owners:
            self._on_missed(owner)


class TimeLimits:
    """Bounds the time of waits that are nearly always short (Deadlines says why)."""

    def __init__(self) -> None:
        self._deadlines = Deadlines[TimeLimit](TimeLimit.cancel)

    def until(self, deadline: float) -> TimeLimit:
        """A context as that of asyncio.timeout_at; `deadline` is on the event loop's clock."""
        return TimeLimit(self._deadlines, deadline)


class TimeLimit:
    """The context of one wait."""

    __slots__ = ("_deadline", "_deadlines", "_is_over", "_task")

    def __init__(self, deadlines: Deadlines[TimeLimit], deadline: float) -> None:
        self._deadlines = deadlines
        self._deadline = deadline
        self._is_over = False
        self._task = asyncio.current_task()

    def __enter__(self) -> None:
        self._deadlines.set(self, self._deadline)

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        """
        Raises:
            TimeoutError: the wait took longer, and was cancelled.
        """
        self._deadlines.clear(self)
        if not self._is_over or self._task is None:
            return
        if self._task.uncancel() == 0 and kind is asyncio.CancelledError:
            raise TimeoutError

    def cancel(self) -> None:
        """End the wait."""
        self._is_over = True
        if self._task is not None:
            self._task.cancel()


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
        error: BaseException | None = None
        while True:
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
            finally:
                # Its traceback refers to this frame, and to those of the coroutine with all that
                # they hold. In a cycle, that would wait for the garbage collector.
                error = None
