"""Sums of values that merge: of times, and of a gauge's readings."""

from __future__ import annotations

import msgspec


class TimingTotals(msgspec.Struct, gc=False):
    """Times in ms of one source. Merge: add, add, largest."""

    count: int = 0
    total: int = 0
    largest: int = 0

    def merge(self, other: TimingTotals) -> None:
        """Take another tally's values."""
        self.count += other.count
        self.total += other.total
        if other.largest > self.largest:
            self.largest = other.largest

    def copy(self) -> TimingTotals:
        """One of its own."""
        return TimingTotals(self.count, self.total, self.largest)


class GaugeSummary(msgspec.Struct, gc=False):
    """A gauge's values. Merge: add, add, smallest, largest, and the later of the last (of two at
    once the larger).
    """

    count: int
    total: int
    smallest: int
    largest: int
    last_at_ms: int
    last: int

    def merge(self, other: GaugeSummary) -> None:
        """Take another reading's values."""
        self.count += other.count
        self.total += other.total
        self.smallest = min(self.smallest, other.smallest)
        self.largest = max(self.largest, other.largest)
        self.last_at_ms, self.last = max(
            (self.last_at_ms, self.last), (other.last_at_ms, other.last)
        )

    def copy(self) -> GaugeSummary:
        """One of its own."""
        return GaugeSummary(
            self.count, self.total, self.smallest, self.largest, self.last_at_ms, self.last
        )
