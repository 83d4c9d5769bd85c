"""Summaries of values that merge: totals of times, and a gauge's extremes and last value."""

from __future__ import annotations

import msgspec


class TimingTotals(msgspec.Struct, gc=False):
    """Times of one source, in ms. Merge: add `count` and `total`, keep the larger `largest`."""

    count: int = 0
    total: int = 0
    largest: int = 0

    def merge(self, totals: TimingTotals) -> None:
        """Add the times that `totals` stands for."""
        self.count += totals.count
        self.total += totals.total
        if totals.largest > self.largest:
            self.largest = totals.largest

    def copy(self) -> TimingTotals:
        """Return an independent copy."""
        return TimingTotals(self.count, self.total, self.largest)


class GaugeSummary(msgspec.Struct, gc=False):
    """A gauge's values, in the unit that the gauge is stored in.

    Merge: add `count` and `total`, keep the smaller `smallest`, the larger `largest` and the latest
    `last`. Of two last values with the same time the larger one stays, so that merging commutes.
    """

    count: int
    total: int
    smallest: int
    largest: int
    last_at_ms: int
    last: int

    def merge(self, summary: GaugeSummary) -> None:
        """Add the values that `summary` stands for."""
        self.count += summary.count
        self.total += summary.total
        self.smallest = min(self.smallest, summary.smallest)
        self.largest = max(self.largest, summary.largest)
        self.last_at_ms, self.last = max(
            (self.last_at_ms, self.last), (summary.last_at_ms, summary.last)
        )

    def copy(self) -> GaugeSummary:
        """Return an independent copy."""
        return GaugeSummary(
            self.count, self.total, self.smallest, self.largest, self.last_at_ms, self.last
        )
