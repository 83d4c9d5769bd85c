"""Sums of values that merge: of times, and of a gauge's readings."""

from __future__ import annotations


class Tally:
    """Times in ms of one source. Merge: add, add, largest."""

    __slots__ = ("count", "largest", "total")

    def __init__(self, count: int = 0, total: int = 0, largest: int = 0) -> None:
        self.count = count
        self.total = total
        self.largest = largest

    def observe(self, value: int) -> None:
        """Take one value."""
        self.count += 1
        self.total += value
        self.largest = max(self.largest, value)

    def merge(self, other: Tally) -> None:
        """Take another tally's values."""
        self.count += other.count
        self.total += other.total
        self.largest = max(self.largest, other.largest)

    def copy(self) -> Tally:
        """One of its own."""
        return Tally(self.count, self.total, self.largest)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Tally) and (self.count, self.total, self.largest) == (
            other.count,
            other.total,
            other.largest,
        )

    __hash__ = None  # type: ignore[assignment]  # it changes


class Reading:
    """A gauge's values. Merge: add, add, smallest, largest, and the later of the last (of two at
    once the larger).
    """

    __slots__ = ("count", "largest", "last", "last_at_ms", "smallest", "total")

    def __init__(
        self, count: int, total: int, smallest: int, largest: int, last_at_ms: int, last: int
    ) -> None:
        self.count = count
        self.total = total
        self.smallest = smallest
        self.largest = largest
        self.last_at_ms = last_at_ms
        self.last = last

    def merge(self, other: Reading) -> None:
        """Take another reading's values."""
        self.count += other.count
        self.total += other.total
        self.smallest = min(self.smallest, other.smallest)
        self.largest = max(self.largest, other.largest)
        self.last_at_ms, self.last = max(
            (self.last_at_ms, self.last), (other.last_at_ms, other.last)
        )

    def copy(self) -> Reading:
        """One of its own."""
        return Reading(*self.values())

    def values(self) -> tuple[int, int, int, int, int, int]:
        """As the constructor takes them."""
        return (
            self.count,
            self.total,
            self.smallest,
            self.largest,
            self.last_at_ms,
            self.last,
        )

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Reading) and self.values() == other.values()

    __hash__ = None  # type: ignore[assignment]  # it changes
