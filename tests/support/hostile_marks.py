"""Generates lines with marks of custom metrics, most of them hostile, and knows their truth.

It shares no code with the parsers: each word is made together with its exact meaning.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from fractions import Fraction
from math import ceil

Series = tuple[str, str, str, str, str]  # kind, name, unit, source=, process type
_TIMES = {"s": Fraction(1000), "ms": Fraction(1), "us": Fraction(1, 1000), "ns": Fraction(1, 10**6)}
_SIZES = {"bytes": 1, "B": 1, "kB": 2**10, "MB": 2**20, "GB": 2**30}
_NOISE = (
    "at=info",
    "naïve✓",
    "count#",
    "#count",
    "acount#a=1",
    "measures#a=1",
    "count.a=1",
    "path=/?count#a=1",
    '{"m":"count#a=1"}',
    "\x1b[31mcount#a=1\x1b[0m",
    "duration=12ms",
    "[1]:",
)
_UNREADABLE = (
    "measure#a",
    "measure#a=",
    "measure#a=abc",
    "measure#a=1.2.3",
    "measure#a=--1",
    "measure#a=NaN",
    "measure#a=inf",
    "measure#a=0x10",
    "measure#a=1,5",
    "measure#a=" + "9" * 40,
    "measure#a=9000000000001",
    "measure#a=1" + "x" * 17,
    "count#a=-1",
    "sample#" + "n" * 101 + "=1",
    "sample#a/b=1",
    "sample#ä=1",
    "sample#a[0]=1",
)


@dataclass
class Truth:
    """The numbers of each series that were sent, and how many marks mean nothing."""

    numbers: dict[Series, list[Fraction]] = field(default_factory=dict)
    unreadable: int = 0  # in lines with a readable mark
    unreadable_lines: int = 0
    lines_without_marks: int = 0

    @property
    def marks(self) -> int:
        """The readable marks."""
        return sum(map(len, self.numbers.values()))

    def of_names(self, names: int) -> dict[Series, list[Fraction]]:
        """The series of the first names, in the order that the limits document."""
        order = sorted({name for _, name, *_ in self.numbers}, key=_order)[:names]
        return {series: sent for series, sent in self.numbers.items() if series[1] in order}


def _order(name: str) -> tuple[bool, str]:
    return name not in ("queue_time", "request.queue_time"), name


def quantile(numbers: list[Fraction], share: float) -> Fraction:
    """A quantile by nearest rank."""
    rank = max(1, ceil(Fraction(str(share)) * len(numbers)))
    return sorted(numbers)[rank - 1]


class HostileMarks:
    """An app that logs `names` different names, in any form."""

    def __init__(self, seed: int, *, names: int = 20, sources: int = 3) -> None:
        self._rng = random.Random(seed)
        self._names = [f"{letter}.n-{n}_X" for n in range(names) for letter in "qa"][:names]
        self._sources = ["", *(f"s{n}" for n in range(sources - 1))]
        self.truth = Truth()

    def line(self, process_type: str) -> str:
        """A line of a dyno of this process type."""
        rng = self._rng
        source = rng.choice(self._sources)
        marks = [self._mark() for _ in range(rng.choice((0, 0, 1, 1, 2, 5, 30)))]
        unreadable = rng.choices(_UNREADABLE, k=rng.choice((0, 0, 0, 1, 3)))
        words = [text for text, *_ in marks] + unreadable + rng.choices(_NOISE, k=rng.randrange(4))
        if source:
            words.append(f"source={source}")
        rng.shuffle(words)
        if not marks:
            self.truth.unreadable_lines += bool(unreadable)
            self.truth.lines_without_marks += not unreadable
        else:
            self.truth.unreadable += len(unreadable)
        for _, kind, name, unit, number in marks:
            series = (kind, name, unit, source, process_type)
            self.truth.numbers.setdefault(series, []).append(number)
        return rng.choice((" ", " ", "  ", "\t")).join(words)

    def _mark(self) -> tuple[str, str, str, str, Fraction]:
        rng = self._rng
        kind = rng.choice(("count", "measure", "measure", "sample"))
        name = rng.choice(self._names)
        if kind == "count" and rng.random() < 0.2:
            return f"count#{name}", kind, name, "", Fraction(1)
        digits, decimals = self._digits(kind)
        written, unit, number = self._unit(digits, decimals)
        quote = rng.choice(("", "", "", '"'))
        return f"{kind}#{name}={quote}{written}{quote}", kind, name, unit, number

    def _digits(self, kind: str) -> tuple[str, int]:
        """A decimal number as text, and how many decimals it has."""
        rng = self._rng
        number = str(int(10 ** rng.uniform(0, 9))) if rng.random() < 0.9 else "0"
        decimals = rng.choice((0, 0, 1, 3))
        if decimals:
            number = f"{number}.{rng.randrange(10**decimals):0{decimals}d}"
        if kind != "count" and rng.random() < 0.15:
            number = f"-{number}"
        return number, decimals

    def _unit(self, digits: str, decimals: int) -> tuple[str, str, Fraction]:
        """A number with a unit as written, the unit of its metric, and its value in that unit.

        The value has at most six decimals, so that sums are exact.
        """
        rng = self._rng
        number = Fraction(digits)
        family = rng.choice(("none", "time", "size", "word", "power"))
        if family == "time":
            unit = rng.choice([unit for unit in _TIMES if unit in ("s", "ms") or not decimals])
            return f"{digits}{unit}", "ms", number * _TIMES[unit]
        if family == "size":
            unit = rng.choice(list(_SIZES)[:3])
            return f"{digits}{unit}", "bytes", number * _SIZES[unit]
        if family == "word":
            return f"{digits}jobs", "jobs", number
        if family == "power":
            exponent = rng.choice((-2, -1, 0, 2))
            return f"{digits}{rng.choice('eE')}{exponent}", "", number * Fraction(10) ** exponent
        return digits, "", number
