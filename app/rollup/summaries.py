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

from app.rollup.sketch import bins_of_runs, runs_of_bins
from parsers.numbers import MILLION

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


class NumberSum(Summary):
    """The sum of numbers with a fraction, which may be negative.

    It has two parts, because millionths alone overflow soon: 18 sizes of 512 GB are more than 63
    bits. Each part adds up on its own, so sums are exact until `whole` exceeds 63 bits, which takes
    a million numbers of NUMBER_LIMIT.

    Attributes:
        count: how many numbers.
        whole: the sum of the numbers, each rounded down.
        millionths: the sum of the rests.
    """

    merges: ClassVar[tuple[Merge, ...]] = ("add", "add", "add")

    count: int
    whole: int
    millionths: int

    @property
    def total(self) -> int:
        """The sum in millionths, which may have more than 63 bits."""
        return self.whole * MILLION + self.millionths


class NumberSummary(NumberSum):
    """Numbers with a fraction, which may be negative. Single ones are whole millionths."""

    merges = ("add", "add", "add", "min", "max", "latest", "latest")

    smallest: int
    largest: int
    last_at_ms: int
    last: int


class MeasureSummary(NumberSummary):
    """A NumberSummary of which a sketch is kept beside it."""


class LatestText(Summary):
    """The text with the latest time, in Unix milliseconds."""

    merges = ("latest", "latest")

    at_ms: int = 0
    text: str = ""


class Values(NamedTuple):
    """The values of a section.

    Attributes:
        names, merges, types: of their columns. A type is int, str, or list[int] for a sketch.
        summary: None for whole numbers and sketches.
        is_signed: whether their numbers may be negative.
    """

    names: tuple[str, ...]
    merges: tuple[Merge, ...]
    types: tuple[Any, ...]
    summary: type[Summary] | None = None
    is_signed: bool = False

    @property
    def has_count(self) -> bool:
        """Whether the first column counts values, so that it is not 0."""
        return self.summary is not None and self.merges[0] == "add"

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
        """Make a value of its columns."""
        if self.summary is not None:
            return self.summary(*columns)
        return bins_of_runs(columns[0]) if self.types == _SKETCH else columns[0]

    def columns(self, value: Any) -> tuple[Any, ...]:
        """Take a value apart."""
        if self.summary is not None:
            return msgspec.structs.astuple(value)
        return (list(runs_of_bins(value)),) if self.types == _SKETCH else (value,)


def number(name: str, merge: Merge) -> Values:
    """Whole numbers."""
    return Values((name,), (merge,), (int,))


def summaries(summary: type[Summary]) -> Values:
    """Summaries of this type."""
    types = tuple(field.type for field in msgspec.structs.fields(summary))
    is_signed = issubclass(summary, NumberSum)
    return Values(summary.__struct_fields__, summary.merges, types, summary, is_signed)


_SKETCH = (list[int],)
COUNT = number("count", "add")
BINS = number("bins", "add")  # of app.rollup.sketch
NUMBER_BINS = Values(("runs",), ("add",), _SKETCH)  # of app.rollup.number_sketch
MASK = number("minutes", "or")
