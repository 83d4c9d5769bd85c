"""Merges many rollups of an app in memory that is bounded, whatever names they hold.

A rollup in memory is twenty times as large as its packed bytes, and each rollup of a hostile app
may name other process types and dynos than the one before. So names over the limits become "other"
while the rollups are merged, and not only when their merge is packed. The result is the same: a
name that is over a limit in one rollup is over it in every rollup that contains this one.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Generator, Iterable, Iterator
from typing import TypeVar

from app.rollup.accelerated import FastRollup, merge_packed, merge_rollups, pack
from app.rollup.codec import PackError, unpack
from app.rollup.rollup import UNLIMITED, CardinalityLimits, names_outside
from app.rollup.schema import OTHER

T = TypeVar("T")

ENTRIES_MIN = 256  # of a rollup whose names are worth looking at
CONDENSED_BYTES = 64 * 1024  # of the packed rollups of an interval: those of 8 dynos have 2 KB each
BYTES_PER_STEP = 32 * 1024  # of packed rollups, in a step: some milliseconds if all names are new


class BoundedMerge:
    """The merge of the rollups added so far. It has at most twice as many entries as allowed.

    The methods that add a rollup return whether limits were applied, which takes milliseconds.
    """

    def __init__(self, limits: CardinalityLimits) -> None:
        self.rollup = FastRollup()
        self._limits = limits
        self._entries_max = ENTRIES_MIN

    def add(self, data: bytes) -> bool:
        """Add a packed rollup.

        Raises:
            PackError: it is not exactly as `pack` writes it; app.rollup.codec may still read it.
        """
        merge_packed(self.rollup, data)
        return self._bound()

    def add_rollup(self, rollup: FastRollup) -> bool:
        """Add a rollup, which stays unchanged."""
        self.rollup.merge(rollup)
        return self._bound()

    def add_slowly(self, data: bytes) -> bool:
        """Add a packed rollup in any readable form.

        Raises:
            PackError, NewerVersion: it cannot be read; nothing of it was added.
        """
        self.rollup.add(unpack(data))
        return self._bound()

    def _bound(self) -> bool:
        if self.rollup.entry_count <= self._entries_max:
            return False
        self.rollup.apply_limits(self._limits)
        # Only what comes on top is looked at again: the merge of many rollups stays linear.
        self._entries_max = max(ENTRIES_MIN, 2 * self.rollup.entry_count)
        return True


def merge_bounded(rollups: Iterable[bytes], limits: CardinalityLimits) -> FastRollup:
    """Merge packed rollups within limits on their names, in one go.

    Raises:
        PackError, NewerVersion: one of them cannot be read.
    """
    return finish(merge_in_steps(rollups, limits))


def finish(steps: Generator[None, None, T]) -> T:
    """Run a generator to its end, without a pause. Returns its result."""
    while True:
        try:
            next(steps)
        except StopIteration as end:
            result: T = end.value
            return result


def merge_in_steps(
    rollups: Iterable[bytes], limits: CardinalityLimits
) -> Generator[None, None, FastRollup]:
    """Merge packed rollups within limits on their names; yields after each step.

    Raises:
        PackError, NewerVersion: one of them cannot be read.
    """
    rollups = list(rollups)
    merge = BoundedMerge(limits)
    try:
        yield from _add_in_steps(rollups, merge.add)
    except PackError:
        # The compiled reader accepts only the exact form. The Python reader defines what is
        # readable, and its error names the reason.
        merge = BoundedMerge(limits)
        yield from _add_in_steps(rollups, merge.add_slowly)
    return merge.rollup


def _add_in_steps(rollups: Iterable[bytes], add: Callable[[bytes], bool]) -> Iterator[None]:
    size = 0
    for data in rollups:
        is_limited = add(data)
        size += len(data)
        if is_limited or size >= BYTES_PER_STEP:
            size = 0
            yield


def condense(rollups: list[bytes], limits: CardinalityLimits) -> Generator[None, None, list[bytes]]:
    """Return these packed rollups of one interval, or their merge if they are large.

    Yields after each step.

    Raises:
        PackError, NewerVersion: one of them cannot be read.
    """
    if sum(map(len, rollups)) <= CONDENSED_BYTES:
        return rollups
    merged = yield from merge_in_steps(rollups, limits)
    return [pack(merged, limits)]


def without_new_names(data: bytes, known_names: Container[str]) -> bytes:
    """Return a packed rollup in which names that are not known are "other".

    These are the names of sources, process types and codes.

    Raises:
        PackError, NewerVersion: it cannot be read.
    """
    rollup = merge_rollups([data])
    names = names_outside(*rollup.names, known_names)
    names["code"] = {code: OTHER for _, code in rollup.errors if code not in known_names}
    rollup.rename(names)
    return pack(rollup, UNLIMITED)
