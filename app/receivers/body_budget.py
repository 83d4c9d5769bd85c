"""The memory for request bodies: taken as bytes arrive, and by the caller that brings them.

Strangers, readers and senders have separate budgets, so none of them can use up another's. In each,
a caller may hold only a share. What is over it is not read any further, so TCP slows its sender
down; other callers are not affected. If many callers together hold too much, the incomplete body of
the largest one that has been arriving longest is rejected.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable

from app.ingest.drain_post import SMALL_BYTES
from app.support.evicting_budget import EvictingBudget
from app.support.rejections import Rejections

# What a request costs before its body has come. Also bounds the number of incomplete bodies.
OVERHEAD_BYTES = 4 * 1024
POLL_S = 0.05


def _ignore() -> None:
    """Nobody is informed of a rejection."""


class BodyRejected(Exception):
    """The request is answered with this status and message, and its connection is closed."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


def too_many_bodies() -> BodyRejected:
    """The answer to a body for which there is no memory."""
    return BodyRejected(503, "Too many request bodies in memory. Retry in a few seconds.")


class BodyBudget:
    """The memory for the bodies of one kind of caller."""

    def __init__(
        self, rejections: Rejections, bytes_max: int, share_bytes_max: int | None = None
    ) -> None:
        """
        Args:
            bytes_max: for all bodies together; large ones may use only half of it.
            share_bytes_max: for all bodies of one caller; None for no such limit.
        """
        self._bytes_max = bytes_max
        self._share_bytes_max = share_bytes_max or math.inf
        self._rejections = rejections
        self._bytes_by_caller: dict[str, int] = {}
        # Checked here and not by the budget itself, which does not know the complete bodies.
        self._incomplete = EvictingBudget[IncompleteBody](bytes_max, self._reject)
        self.used_bytes = 0

    def try_take(self, caller: str, size: int) -> bool:
        """Take the memory of the bytes that arrived of a body; False if there is none."""
        used_bytes = self._bytes_by_caller.get(caller, 0)
        if used_bytes and used_bytes + size >= self._share_bytes_max:
            return False
        if self._is_full_for_all(size, size):
            return False
        self.used_bytes += size
        self._bytes_by_caller[caller] = used_bytes + size
        return True

    def _is_full_for_all(
        self, more: int, body_bytes: int, spare: IncompleteBody | None = None
    ) -> bool:
        """Whether there is no memory for `more` bytes of a body of this size."""
        bytes_max = self._bytes_max if body_bytes <= SMALL_BYTES else self._bytes_max // 2
        while self.used_bytes + more > bytes_max:
            if not self._incomplete.evict_one(spare):
                return True
        return False

    def take(self, caller: str, size: int) -> None:
        """Count bytes that are in memory."""
        self.used_bytes += size
        self._bytes_by_caller[caller] = self._bytes_by_caller.get(caller, 0) + size

    def release(self, caller: str, size: int) -> None:
        """Release the memory of a body."""
        self.used_bytes -= size
        remaining = self._bytes_by_caller[caller] - size
        if remaining:
            self._bytes_by_caller[caller] = remaining
        else:
            del self._bytes_by_caller[caller]

    def _reject(self, body: IncompleteBody) -> None:
        self._rejections.add("bodies")
        body.reject()

    # --- called by IncompleteBody ---------------------------------------------------------------

    def hold(self, body: IncompleteBody) -> None:
        """Register the present size of a body that is still arriving."""
        self._incomplete.hold(body, body.caller, body.size)
        while self.used_bytes > self._bytes_max and self._incomplete.evict_one():
            continue

    def forget(self, body: IncompleteBody) -> None:
        """A body is complete, or was given up."""
        self._incomplete.release(body)

    def must_wait(self, body: IncompleteBody) -> bool:
        """Whether no more of a body must be read yet.

        If incomplete bodies use up the share of their caller, the oldest one may go on, or none of
        them would end. Complete ones end without it.
        """
        more = 0 if body.size else OVERHEAD_BYTES
        if self._is_full_for_all(more, body.size, body):
            return True
        used_bytes = self._bytes_by_caller.get(body.caller, 0)
        if used_bytes < self._share_bytes_max:
            return False
        complete_bytes = used_bytes - self._incomplete.amount_of(body.caller)
        return complete_bytes >= self._share_bytes_max or not self._incomplete.is_oldest(body)

    def count_rejection(self) -> None:
        """Count a body that waited too long for memory."""
        self._rejections.add("bodies")


class IncompleteBody:
    """The memory of one body that is still arriving, or being inflated."""

    def __init__(
        self, budget: BodyBudget, caller: str, on_reject: Callable[[], None] = _ignore
    ) -> None:
        """`on_reject`: called when the body has to go for others; its memory is released."""
        self.caller = caller
        self.size = 0
        self.on_reject = on_reject
        self._budget = budget

    def begin(self) -> None:
        """Count a body that arrives in parts, and what its request costs without it."""
        self.add(OVERHEAD_BYTES)

    def add_last(self, size: int) -> None:
        """Count the bytes with which the body is complete."""
        self.size += size
        self._budget.take(self.caller, size)

    def add(self, size: int) -> None:
        """Count bytes that have arrived; the body may be rejected for others."""
        self.size += size
        self._budget.take(self.caller, size)
        self._budget.hold(self)

    @property
    def must_wait(self) -> bool:
        """Whether no more of the body must be read yet."""
        return self._budget.must_wait(self)

    async def wait_for_room(self, timeout_s: float) -> None:
        """Return once more of the body may be read.

        Raises:
            BodyRejected: 503, there was not enough memory in time.
        """
        waiting_s = 0.0
        while self.must_wait:
            if waiting_s > timeout_s:
                self._budget.count_rejection()
                raise too_many_bodies()
            await asyncio.sleep(POLL_S)
            waiting_s += POLL_S

    def complete(self) -> None:
        """Protect the body from rejection; its memory stays in use."""
        self._budget.forget(self)
        # Often a method of the owner of this object. As a cycle, both would wait for the garbage
        # collector, with all that the owner has read.
        self.on_reject = _ignore

    def hand_over(self) -> int:
        """The body is complete; returns its bytes, which the caller has to release."""
        self.complete()
        size, self.size = self.size, 0
        return size

    def release(self) -> None:
        """Release the memory; calls after the first one do nothing."""
        size = self.hand_over()
        if size:
            self._budget.release(self.caller, size)

    def reject(self) -> None:
        """Release the memory, and reject the request."""
        on_reject = self.on_reject
        self.release()
        on_reject()
