"""A coroutine that runs at once, as far as it can without waiting: most of what is asked for is
there already, and then nothing has to be set up for the case that it is not.
"""

from __future__ import annotations

from collections.abc import Coroutine, Generator
from typing import Any, Generic, TypeVar

T = TypeVar("T")


class Started(Generic[T]):
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
