"""Fills a table with the rollups of one app, in bounded memory and short turns.

Each rollup of a hostile app may name other dynos and process types than the one before. So beyond
NAMES_MAX names in a range, new ones are added up as "other", and beyond EVENTS_MAX events, only the
latest are kept. All sums stay exact.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

from app.query import table as reference
from app.rollup.bounded_merge import without_new_names
from app.rollup.rollup import DEFAULT_LIMITS, UNLIMITED
from parsers.samples import labels_of

PackedRollup = tuple[int, bytes]  # (start of the slot, packed rollup)

NAMES_MAX = 8_192  # in a range of an app; those of 1,000 dynos are few more than 1,000
EVENTS_MAX = 10_000  # in a range of an app: more than a page can show
RANGE_LIMITS = UNLIMITED._replace(  # of a page; a range may have more names than a slot
    open_names=8 * DEFAULT_LIMITS.open_names,
    open_series=8 * DEFAULT_LIMITS.open_series,
    open_bins=8 * DEFAULT_LIMITS.open_bins,
)
ENTRIES_MIN = 2 * EVENTS_MAX  # of sections merged as a whole, to be looked at
# A long query yields to other requests after this much work: 10 ms at most.
BYTES_PER_TURN = 128 * 1024
RENAMED_BYTES_FACTOR = 8  # so many times longer it takes if names must be replaced


class TableFill:
    """The rollups of an app on their way into a table."""

    def __init__(self, table: reference.Table, app: str) -> None:
        self._table = table
        self._app = app
        self._names: frozenset[str] | None = None  # the only ones, once they are too many
        self._size = 0
        self._entries_max = ENTRIES_MIN
        # An entry takes a byte or more. So not before as many can there be too many.
        self._bytes_to_check = ENTRIES_MIN

    async def add_yielding(self, packed_rollups: Iterable[PackedRollup]) -> None:
        """Add packed rollups, and let other tasks run meanwhile.

        Raises:
            PackError, NewerVersion: one of them cannot be read. The table is then unusable.
        """
        for start, data in packed_rollups:
            self.add(start, data)
            if self._size >= BYTES_PER_TURN:
                self._size = 0
                await asyncio.sleep(0)

    def add(self, start: int, data: bytes) -> None:
        """Add a packed rollup.

        Raises:
            PackError, NewerVersion: it cannot be read. The table is then unusable.
        """
        self._size += len(data)
        if self._names is not None:
            self._size += RENAMED_BYTES_FACTOR * len(data)
            data = without_new_names(data, self._names)
        self._table.add(self._app, start, data)
        if self._names is None and self._table.name_count > NAMES_MAX:
            names = frozenset(self._table.label_names())
            self._names = names.union(labels_of(name)[0] for name in names)
        self._bytes_to_check -= len(data)
        if self._bytes_to_check < 0:
            self._bound_whole_sections()

    def _bound_whole_sections(self) -> None:
        rollup = self._table.whole_rollup
        if rollup.entry_count > self._entries_max:
            rollup.keep_latest_events(EVENTS_MAX)
            rollup.apply_limits(RANGE_LIMITS)
            self._entries_max = max(ENTRIES_MIN, 2 * rollup.entry_count)
        self._bytes_to_check = self._entries_max - rollup.entry_count
