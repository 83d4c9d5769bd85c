"""The values of a rollup's rows, and how two of them merge.

A value is one whole number, a summary of several columns, or a sketch (whose counts are added bin
by bin). Each column merges in one of these ways:

    add, min, max, or   as the names say
    latest              the columns (time, value) together: the later pair stays, of two pairs with
                        the same time the larger one

All of them are commutative and associative.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from typing import Any, ClassVar, Literal, NamedTuple, Self

import msgspec

Merge = Literal["add", "min", "max", "or", "latest"]
_COMBINE: dict[str, Callable[[int, int], int]] = {
    "add": operator.add,
    "min": min,
    "max": max,
    "or": operator.or_,
}


class Summary(msgspec.Struct, gc=False):
    """A value of several columns, the fields of the struct.

    `merges` says how each column merges. Columns that merge as `latest` come last.
    """

    merges: ClassVar[tuple[Merge, ...]]

    def merge(self, summary: Any) -> None:
        """Add what `summary`, of the same type, stands for."""
        first, second = msgspec.structs.astuple(self), msgspec.structs.astuple(summary)
        size = len(self.merges) - self.merges.count("latest")
        columns = [_COMBINE[self.merges[i]](first[i], second[i]) for i in range(size)]
        columns += max(first[size:], second[size:])
        for name, column in zip(self.__struct_fields__, columns, strict=True):
            setattr(self, name, column)

    def copy(self) -> Self:
        """Return an independent copy."""
        return type(self)(*msgspec.structs.astuple(self))


class TimingTotals(Summary):
    """Times of one source, in ms."""

    merges = ("add", "add", "max")

    count: int = 0
    total: int = 0
    largest: int = 0


class GaugeSummary(Summary):
    """A gauge's values, in the unit that the gauge is stored in."""

    merges = ("add", "add", "min", "max", "latest", "latest")

    count: int
    total: int
    smallest: int
    largest: int
    last_at_ms: int
    last: int

    def merge(self, summary: GaugeSummary) -> None:
        """Add the values that `summary` stands for: as `merges` says, in half the time."""
        self.count += summary.count
        self.total += summary.total
        self.smallest = min(self.smallest, summary.smallest)
        self.largest = max(self.largest, summary.largest)
        self.last_at_ms, self.last = max(
            (self.last_at_ms, self.last), (summary.last_at_ms, summary.last)
        )


class LatestText(Summary):
    """The text with the latest time, in Unix milliseconds."""

    merges = ("latest", "latest")

    at_ms: int = 0
    text: str = ""


class Values(NamedTuple):
    """The values of a section: the names, merges and types (int or str) of their columns."""

    names: tuple[str, ...]
    merges: tuple[Merge, ...]
    types: tuple[type, ...]
    summary: type[Summary] | None = None  # None for whole numbers and sketches

    def combine(self, first: Any, second: Any) -> Any:
        """Merge the second value into the first, which may change, and return the result."""
        if isinstance(first, int):
            return _COMBINE[self.merges[0]](first, second)
        if isinstance(first, Summary):
            first.merge(second)
        else:
            for index, count in second.items():
                first[index] = first.get(index, 0) + count
        return first

    def make(self, columns: Sequence[Any]) -> Any:
        """Make a value, which is not a sketch, of its columns."""
        return columns[0] if self.summary is None else self.summary(*columns)

    def columns(self, value: Any) -> tuple[Any, ...]:
        """Take a value apart, which is not a sketch."""
        return (value,) if self.summary is None else msgspec.structs.astuple(value)


def number(name: str, merge: Merge) -> Values:
    """Whole numbers."""
    return Values((name,), (merge,), (int,))


def summaries(summary: type[Summary]) -> Values:
    """Summaries of this type."""
    types = tuple(field.type for field in msgspec.structs.fields(summary))
    return Values(summary.__struct_fields__, summary.merges, types, summary)


COUNT = number("count", "add")
BINS = number("bins", "add")
MASK = number("minutes", "or")
